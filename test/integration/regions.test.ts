import { setTimeout as sleep } from "node:timers/promises";
import pg from "pg";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { RegionalDatabase } from "../../regions/RegionalDatabase.ts";
import { roundTripMs } from "../../stacks/regionDelays.ts";
import { cgraph, cgraphOk, freePort, removeStack, setConfig, uniqueStack } from "../support/cli.ts";
import { ask } from "../support/client.ts";
import { eventually } from "../support/eventually.ts";
import { FULL } from "../support/longDrills.ts";

const [HOME, NEAR, FAR] = ["us-east-1", "eu-west-1", "ap-southeast-1"] as const;
const stack = uniqueStack();
/** Of a client far away that reads what it has just written; in the long drill 10 010 of them with a token. */
const PAIRS = FULL ? 11_440 : 400;
const AT_ONCE = 40;
let env: Record<string, string>;

interface Listed {
  readonly primary: { readonly region: string; readonly epoch: number } | null;
  readonly regions: readonly {
    readonly name: string;
    readonly lackingBytes: number | null;
    readonly state: { readonly writable: boolean; readonly clusters: readonly { readonly streams: boolean }[] } | null;
  }[];
  readonly promotions: readonly { readonly epoch: number; readonly lostBytes: number | null }[];
}

const region = (...args: string[]) => cgraph(["region", ...args, "--stack", stack]);
const list = async (): Promise<Listed> => JSON.parse((await region("list", "--json")).stdout) as Listed;
const median = (values: readonly number[]): number => [...values].sort((a, b) => a - b)[values.length >> 1] ?? 0;
const urlOf = (name: string, key = "DATABASE_URL"): string =>
  env[`${key}_${name.toUpperCase().replaceAll("-", "_")}`] ?? "";
/** Every region beside the primary's follows it. */
const following = async (): Promise<boolean> => {
  const { primary, regions } = await list();
  return regions.every(({ name, state }) =>
    name === primary?.region ? state?.writable : state?.clusters.every(({ streams }) => streams),
  );
};

/** Milliseconds of a question, one after the other. */
async function timed(url: string, sql: string, times: number): Promise<number[]> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    const took: number[] = [];
    for (let n = 0; n < times; n++) {
      const began = performance.now();
      await client.query(sql);
      took.push(performance.now() - began);
    }
    return took;
  } finally {
    await client.end();
  }
}

/** A client of a region that writes as long as it may, with the numbers and times of what was acknowledged. */
class Writer {
  readonly acknowledged: { readonly n: number; readonly at: number }[] = [];
  errors = 0;
  #stopped = false;
  readonly #running: Promise<void>;
  readonly name: string;

  constructor(region: string, time: string) {
    this.name = `${region}, ${time}`;
    this.#running = this.#run(urlOf(region));
  }

  async #run(url: string): Promise<void> {
    let client: pg.Client | undefined;
    for (let n = 1; !this.#stopped; n++) {
      try {
        if (!client) {
          client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 3000, query_timeout: 3000 });
          client.on("error", () => undefined);
          await client.connect();
        }
        await client.query("INSERT INTO written (region, n) VALUES ($1, $2)", [this.name, n]);
        this.acknowledged.push({ n, at: Date.now() });
        await sleep(20);
      } catch {
        this.errors++;
        void client?.end().catch(() => undefined);
        client = undefined;
        await sleep(200);
      }
    }
    await client?.end().catch(() => undefined);
  }

  async stop(): Promise<this> {
    this.#stopped = true;
    await this.#running;
    return this;
  }
}

/** What a region's writer was told is written, and is not. */
async function missing(writer: Writer): Promise<Writer["acknowledged"]> {
  const rows = await ask<{ n: number }>(urlOf(NEAR), "SELECT n FROM written WHERE region = $1", [writer.name]);
  const there = new Set(rows.map(({ n }) => n));
  return writer.acknowledged.filter(({ n }) => !there.has(n));
}

describe("a stack in three regions", () => {
  beforeAll(async () => {
    const config = { regions: JSON.stringify([HOME, NEAR, FAR]), monitoring: "false", maxConnections: "100" };
    await setConfig(stack, config);
    await cgraphOk("up", "--stack", stack, "--stage", "2", "--port", String(await freePort()), "--no-install");
    await eventually("every region to follow", following, 120_000);
    env = JSON.parse(await cgraphOk("env", "--stack", stack, "--json")) as Record<string, string>;
    await ask(
      env["DATABASE_OWNER_URL"],
      "CREATE TABLE written (region text, n int, at timestamptz DEFAULT clock_timestamp(), PRIMARY KEY (region, n))",
    );
  }, 1_200_000);
  afterAll(() => removeStack(stack));

  it("has its primary at home, is well, and would not change", async () => {
    const { primary, promotions } = await list();
    expect([primary, promotions]).toEqual([expect.objectContaining({ region: HOME, epoch: 1 }), []]);
    const { code, stdout } = await cgraph(["status", "--stack", stack, "--json"]);
    expect(code, stdout).toBe(0);
    const { nodes } = JSON.parse(stdout) as { nodes: { name: string; role: string }[] };
    expect(Object.fromEntries(nodes.map(({ name, role }) => [name, role]))).toEqual({
      pg0: "primary",
      pg1: "replica",
      [`${NEAR}-pg0`]: "standby_leader",
      [`${FAR}-pg0`]: "standby_leader",
    });
    const preview = JSON.parse(await cgraphOk("preview", "--stack", stack, "--json")) as { verdict: string };
    expect(preview.verdict).toBe("none");
  });

  it("reads in each region as fast as next to it, and writes from there as far as it is", async () => {
    const local = median(await timed(urlOf(HOME, "DATABASE_REPLICA_URL"), "SELECT count(*) FROM written", 200));
    for (const name of [NEAR, FAR]) {
      const read = median(await timed(urlOf(name, "DATABASE_REPLICA_URL"), "SELECT count(*) FROM written", 200));
      const sql = `INSERT INTO written (region, n) SELECT '${name} timed', count(*) FROM written WHERE region = '${name} timed'`;
      const write = median(await timed(urlOf(name), sql, 9));
      console.log(`${name}: a read ${read.toFixed(2)} ms (home ${local.toFixed(2)}), a write ${write.toFixed(0)} ms`);
      expect(read - local).toBeLessThan(5);
      expect(write).toBeGreaterThan(roundTripMs(HOME, name) * 0.95);
    }
  });

  it(
    "shows a far client what it has just written, always; without a token it would not",
    { timeout: 900_000 },
    async () => {
      const database = RegionalDatabase.fromEnvironment(FAR, env, { waitMs: 400, maxConnections: AT_ONCE });
      const [pairs, unseen] = [
        { with: 0, without: 0 },
        { with: 0, without: 0 },
      ];
      let next = 0;
      const count = async (client: pg.PoolClient, n: number): Promise<boolean> =>
        (await client.query("SELECT FROM written WHERE region = 'pair' AND n = $1", [n])).rowCount === 1;
      const work = async (): Promise<void> => {
        for (let n = next++; n < PAIRS; n = next++) {
          const { token } = await database.write((client) =>
            client.query("INSERT INTO written (region, n) VALUES ('pair', $1)", [n]),
          );
          // Some ask without, as many as it takes to see that it matters.
          const how = n % (FULL ? 8 : 2) === 0 ? "without" : "with";
          pairs[how]++;
          if (!(await database.read((client) => count(client, n), how === "with" ? token : {}))) unseen[how]++;
        }
      };
      try {
        await Promise.all(Array.from({ length: AT_ONCE }, work));
      } finally {
        await database.close();
      }
      console.log(
        `${pairs.with} pairs with a token, ${unseen.with} unseen; ${pairs.without} without, ${unseen.without} unseen`,
      );
      expect(unseen.with).toBe(0);
      expect(unseen.without).toBeGreaterThan(0);
    },
  );

  it("refuses to move the primary away from a region that is well, to where it is, and to nowhere", async () => {
    const refused = async (to: string) => {
      const { code, stderr } = await region("promote", to, "--yes");
      return [code, /cgraph-db: (.*)/.exec(stderr)?.[1]];
    };
    expect(await refused(NEAR)).toEqual([3, `${HOME} is healthy and takes the writes`]);
    expect(await refused(HOME)).toEqual([3, `the primary is in ${HOME} already`]);
    expect(await refused("mars")).toEqual([2, "there is no region mars"]);
  });

  it(
    "goes on elsewhere when the primary's region is cut off, and never takes writes in two",
    { timeout: 300_000 },
    async () => {
      const [home, near] = [new Writer(HOME, "lost"), new Writer(NEAR, "lost")];
      await eventually("writes", () => Promise.resolve(home.acknowledged.length > 50 && near.acknowledged.length > 10));
      await cgraphOk("region", "cut", HOME, "--stack", stack);
      const cutAt = Date.now();
      const promoted = await region("promote", NEAR, "--yes", "--json");
      expect(promoted.code, promoted.stderr).toBe(0);
      const { seconds, lostBytes } = JSON.parse(promoted.stdout) as { seconds: number; lostBytes: number | null };
      console.log(`promoted ${seconds.toFixed(1)} s after the command; lost: ${lostBytes} bytes`);
      // In CI two suites share the machine.
      expect(seconds).toBeLessThan(FULL ? 30 : 90);
      expect(lostBytes).toBeGreaterThanOrEqual(0);
      await eventually("writes where the primary is now", () =>
        Promise.resolve((near.acknowledged.at(-1)?.at ?? 0) > cutAt + 3000),
      );
      await cgraphOk("region", "heal", HOME, "--stack", stack);
      await eventually("the old region to follow", following, 120_000);
      const last = near.acknowledged.length;
      await eventually("more writes", () => Promise.resolve(near.acknowledged.length > last + 20));
      await Promise.all([home.stop(), near.stop()]);
      // One writes after the other: home's clients reach the new primary only when home follows.
      const homeBefore = home.acknowledged.filter(({ at }) => at < cutAt + seconds * 1000).at(-1)?.at ?? 0;
      const nearAfter = near.acknowledged.find(({ at }) => at > cutAt)?.at ?? 0;
      console.log(
        `home's last write ${homeBefore - cutAt} ms after the cut, the next region's first ${nearAfter - cutAt} ms`,
      );
      expect(nearAfter).toBeGreaterThan(homeBefore);
      // What home had acknowledged while nobody else heard of it is what is lost, and said.
      const [lost, lostNear] = [await missing(home), await missing(near)];
      const { promotions } = await list();
      console.log(
        `lost: ${lost.length} writes of home's clients, ${promotions[0]?.lostBytes} bytes of WAL; ${lostNear.length} of the others`,
      );
      // Of the others at most what was on its way when the region was cut off: nothing that the new primary has acknowledged.
      expect(lostNear.filter(({ at }) => at >= cutAt)).toEqual([]);
      expect(promotions).toHaveLength(1);
      if (lost.length + lostNear.length > 0) expect(promotions[0]?.lostBytes).toBeGreaterThan(0);
    },
  );

  it("hands the primary back while clients of the pools wait, and loses nothing", { timeout: 300_000 }, async () => {
    const [home, near] = [new Writer(HOME, "handed over"), new Writer(NEAR, "handed over")];
    await eventually("writes", () => Promise.resolve(home.acknowledged.length > 10 && near.acknowledged.length > 50));
    const { code, stdout, stderr } = await region("promote", HOME, "--force", "--yes", "--json");
    expect(code, stderr).toBe(0);
    const done = JSON.parse(stdout) as { seconds: number; planned: boolean; lostBytes: number | null };
    const after = [home, near].map(({ acknowledged }) => acknowledged.length);
    await eventually("more writes", () =>
      Promise.resolve([home, near].every(({ acknowledged }, index) => acknowledged.length > (after[index] ?? 0) + 10)),
    );
    await Promise.all([home.stop(), near.stop()]);
    console.log(
      `handed over in ${done.seconds.toFixed(1)} s, ${home.errors + near.errors} errors, ${done.lostBytes} bytes`,
    );
    expect(done.planned).toBe(true);
    expect(await Promise.all([home, near].map(missing))).toEqual([[], []]);
    await eventually("every region to follow", following, 120_000);
    const preview = JSON.parse(await cgraphOk("preview", "--stack", stack, "--json")) as { verdict: string };
    expect(preview.verdict).toBe("none");
  });
});
