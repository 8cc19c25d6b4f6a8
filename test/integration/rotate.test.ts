import { spawn } from "node:child_process";
import { join } from "node:path";
import pg from "pg";
import { createClient } from "redis";
import { readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { superuserSql } from "../../scripts/lib/cluster.ts";
import { ROOT } from "../../scripts/lib/paths.ts";
import { openStack, stackValues } from "../../scripts/lib/stack.ts";
import { readStackConfig } from "../../scripts/lib/stackConfig.ts";
import type { StackValues } from "../../stacks/outputs.ts";
import { cgraph, cgraphOk, freePort, removeStack, setConfig, uniqueStack } from "../support/cli.ts";
import { ask } from "../support/client.ts";
import { eventually } from "../support/eventually.ts";
import { LoginLoad, logIn, logInToCache } from "../support/loginLoad.ts";

type RedisClient = Pick<ReturnType<typeof createClient>, "get" | "set">;

/** One stack, whose passwords change at stage 1 and, after a move, at stage 3. */
const stack = uniqueStack();
type Env = Record<string, string>;
let env: Env;
let values: StackValues;

const readEnv = async (): Promise<Env> => JSON.parse(await cgraphOk("env", "--stack", stack, "--json")) as Env;
const readValues = async (): Promise<StackValues> => stackValues(await openStack(stack));
const refresh = async (): Promise<void> => {
  env = await readEnv();
  values = await readValues();
};
const url = (of: Env, key: string): string => of[key] ?? "";
const rotate = (...args: string[]): Promise<string> => cgraphOk("secrets", "rotate", "--stack", stack, ...args);
const preview = async (): Promise<unknown> => JSON.parse(await cgraphOk("preview", "--stack", stack, "--json"));

/** Nothing of a password that is there before is there after. */
function expectOthers(before: StackValues, after: StackValues): void {
  const all = ({ passwords, cachePassword }: StackValues): (string | null)[] => [
    ...Object.values(passwords),
    cachePassword,
  ];
  const known = all(before).filter((one) => one !== null);
  expect(all(after).filter((one) => one !== null && known.includes(one))).toEqual([]);
}

beforeAll(async () => {
  await setConfig(stack, { maxConnections: "100", cacheMemoryMiB: "64", monitoring: "false" });
  await cgraphOk("up", "--stack", stack, "--port", String(await freePort()), "--no-install");
  await refresh();
  await cgraphOk("schema", "apply", "--stack", stack);
});
afterAll(() => removeStack(stack));

describe("passwords of a server on its own", () => {
  let before: { env: Env; values: StackValues };

  it("change without a failed login, by a command that is killed and called again", async () => {
    before = { env, values };
    const load = new LoginLoad({
      application: () => logIn(url(before.env, "DATABASE_URL")),
      owner: () => logIn(url(before.env, "DATABASE_OWNER_URL")),
      monitor: () => logIn(url(before.env, "DATABASE_MONITOR_URL")),
    });
    const killed = spawn(join(ROOT, "cgraph-db"), ["secrets", "rotate", "--stack", stack], { stdio: "ignore" });
    await eventually("the new passwords", async () =>
      Promise.resolve(readStackConfig(stack)["passwordGenerations"] === "[1,2]"),
    );
    killed.kill("SIGKILL");
    await rotate();
    await refresh();
    const after = new LoginLoad({
      application: () => logIn(url(env, "DATABASE_URL")),
      readonly: () => logIn(url(env, "DATABASE_READONLY_URL")),
    });
    await after.progress(10);
    expect(await after.stop()).toEqual({ failures: [], idle: [] });
    expect(await load.stop()).toEqual({ failures: [], idle: [] });
    expectOthers(before.values, values);
    expect(values.passwordGenerations).toEqual([2, 1]);
  });

  it("make sessions that act as the same roles", async () => {
    expect(
      await ask(
        url(env, "DATABASE_URL"),
        "SELECT session_user, current_user, current_setting('statement_timeout') AS t",
      ),
    ).toEqual([{ session_user: "cgraph_b", current_user: "cgraph", t: "30s" }]);
    await ask(url(env, "DATABASE_OWNER_URL"), "CREATE TABLE made_after_rotation (id int)");
    expect(
      await ask(url(env, "DATABASE_URL"), "SELECT tableowner FROM pg_tables WHERE tablename = 'made_after_rotation'"),
    ).toEqual([{ tableowner: "cgraph_owner" }]);
    expect(await ask(url(env, "DATABASE_URL"), "SELECT * FROM made_after_rotation")).toEqual([]);
  });

  it("are as the stack says, in every state", async () => {
    expect(await preview()).toMatchObject({ changes: [], verdict: "none", drift: [] });
  });

  it("are not refused while somebody uses them, who is named", async () => {
    const client = new pg.Client({ connectionString: url(before.env, "DATABASE_URL"), application_name: "old web" });
    client.on("error", () => undefined);
    await client.connect();
    const { code, stderr } = await cgraph(["secrets", "rotate", "--finish", "--stack", stack]);
    expect({ code, stderr }).toMatchObject({ code: 3, stderr: expect.stringContaining("old web") as string });
    await logIn(url(before.env, "DATABASE_URL"));
    const status = JSON.parse(await cgraphOk("status", "--stack", stack, "--json")) as { rotation: unknown };
    expect(status.rotation).toMatchObject({ phase: "using", olderSessions: [{ application: "old web", count: 1 }] });
    const load = new LoginLoad({ application: () => logIn(url(env, "DATABASE_URL")) });
    expect(JSON.parse(await rotate("--finish", "--end-sessions", "--json"))).toMatchObject({ endedSessions: 1 });
    expect(await load.stop()).toEqual({ failures: [], idle: [] });
    await expect(client.query("SELECT 1")).rejects.toThrow();
  });

  it("are refused from then on", async () => {
    for (const key of ["DATABASE_URL", "DATABASE_READONLY_URL", "DATABASE_OWNER_URL", "DATABASE_MONITOR_URL"]) {
      await expect(logIn(url(before.env, key)), key).rejects.toThrow(/password authentication failed/);
      await logIn(url(env, key));
    }
    expect(await cgraphOk("psql", "--stack", stack, "--", "-Atc", "SELECT current_user")).toBe("cgraph\n");
  });
});

describe("passwords at stage 3, to which the stack has moved since", () => {
  let before: { env: Env; values: StackValues };
  const redis = async <T>(of: Env, work: (client: RedisClient) => Promise<T>): Promise<T> => {
    const socket = { tls: true, ca: readFileSync(url(of, "PGSSLROOTCERT")), reconnectStrategy: false } as const;
    const client = createClient({ url: url(of, "REDIS_URL"), socket });
    client.on("error", () => undefined);
    await client.connect();
    try {
      return await work(client);
    } finally {
      client.destroy();
    }
  };
  /** Every way in: with a pool and without, to the primary and to replicas, and the cache. */
  const places = (of: Env, replicas: string) => ({
    "pool, writes": () => logIn(url(of, "DATABASE_URL")),
    "pool, reads": () => logIn(url(of, "DATABASE_REPLICA_URL")),
    primary: () => logIn(url(of, "DATABASE_DIRECT_URL")),
    replicas: () => logIn(replicas),
    cache: () => logInToCache(url(of, "REDIS_URL"), url(of, "PGSSLROOTCERT")),
  });
  const readUrl = (of: Env): string => {
    const found = new URL(url(of, "DATABASE_READONLY_URL"));
    found.port = String(values.endpoints.read?.port);
    return found.toString();
  };

  beforeAll(async () => {
    await setConfig(stack, { replicas: "1", poolers: "1" });
    await cgraphOk("up", "--stack", stack, "--stage", "3", "--no-install");
    await refresh();
    expect(values.passwordGenerations).toEqual([2]);
    await eventually(
      "the cache's follower",
      async () =>
        (await superuserSql(
          values.nodes[0]?.container ?? "",
          "SELECT count(*) FROM pg_replication_slots WHERE slot_name LIKE 'cgraph_cache_%' AND active",
        )) === "1",
    );
    before = { env, values };
  }, 600_000);

  it("change without a failed login anywhere, and the cache keeps what it has", async () => {
    await redis(before.env, (client) => client.set("kept", "yes"));
    const load = new LoginLoad(places(before.env, readUrl(before.env)));
    await rotate();
    await refresh();
    const after = new LoginLoad(places(env, readUrl(env)));
    await after.progress(10);
    expect(await after.stop()).toEqual({ failures: [], idle: [] });
    expect(await load.stop()).toEqual({ failures: [], idle: [] });
    expectOthers(before.values, values);
    expect(await redis(env, (client) => client.get("kept"))).toBe("yes");
    const followers = await superuserSql(
      values.nodes[0]?.container ?? "",
      "SELECT DISTINCT usename FROM pg_stat_replication ORDER BY 1",
    );
    expect(followers).toBe("cgraph_changes\nreplicator");
  });

  it("are refused by every part at the end, without a failed login by the new ones", async () => {
    const load = new LoginLoad(places(env, readUrl(env)));
    await rotate("--finish");
    expect(await load.stop()).toEqual({ failures: [], idle: [] });
    for (const [place, once] of Object.entries(places(before.env, readUrl(before.env)))) {
      await expect(once(), place).rejects.toThrow(/password authentication failed|SASL|WRONGPASS/);
    }
    expect(await preview()).toMatchObject({ changes: [], verdict: "none", drift: [] });
  });

  it("still let a lost replica come back and the cache be kept in step", async () => {
    expect(await cgraphOk("status", "--stack", stack)).toContain("healthy");
    await cgraphOk("switchover", "--stack", stack);
    await eventually("both servers in step", async () => (await cgraph(["status", "--stack", stack])).code === 0);
  });
});
