import { setTimeout as sleep } from "node:timers/promises";
import type pg from "pg";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Member } from "../../scripts/lib/cluster.ts";
import { clusterMembers, currentPrimary } from "../../scripts/lib/cluster.ts";
import { clusterView } from "../../scripts/lib/clusters.ts";
import { docker, listLabelled } from "../../scripts/lib/docker.ts";
import { superuserScript } from "../../scripts/shards/owner.ts";
import type { CitusStatus } from "../../scripts/citus/report.ts";
import { uuidv7 } from "../../sharding/uuid.ts";
import { asOwner, currentValues } from "../support/chat.ts";
import { citusBase } from "../support/citusBase.ts";
import { CitusChat, SAME } from "../support/citusChat.ts";
import {
  findsNodes,
  findsNothing,
  findsPlacement,
  findsStatements,
  findsTenants,
} from "../support/citusDoctorCases.ts";
import { cgraph, cgraphOk, freePort, removeStack, setConfig, uniqueStack } from "../support/cli.ts";
import { ask as askUrl, withUrl } from "../support/client.ts";
import { eventually } from "../support/eventually.ts";

const found = await citusBase();
const missing = "missing" in found ? found.missing : undefined;
const stack = uniqueStack();
const CONFIG = {
  ...{ workers: "2", shardCount: "8", replicas: "1", poolers: "1", maxConnections: "100", monitoring: "false" },
  // Every month is a table of each shard.
  messagesPremakeMonths: "1",
};
const CLIENTS = { clients: 20, users: 200, perSecond: 60 };

let env: Record<string, string>;
let chat: CitusChat;

const ask = <T extends pg.QueryResultRow>(name: string, sql: string, values?: unknown[]): Promise<T[]> =>
  askUrl<T>(env[name], sql, values);
const readEnv = async (): Promise<void> => {
  env = JSON.parse(await cgraphOk("env", "--stack", stack, "--json")) as Record<string, string>;
};
const citus = (...args: string[]) => cgraph([...args, "--stack", stack]);
const workers = async (): Promise<CitusStatus> =>
  JSON.parse(await cgraphOk("workers", "--stack", stack, "--json")) as CitusStatus;
const shardsBy = async (): Promise<number[]> => (await workers()).workers.map(({ shards }) => shards);
const onWorker = async (cluster: string, sql: string): Promise<string> =>
  superuserScript(clusterView(await currentValues(stack), { cluster }).values, "cgraph_production", sql);

/** Clients write while `work` goes on; gives what they saw of it, when nothing is lost. */
async function under<T>(what: string, work: () => Promise<T>): Promise<{ value: T; errors: readonly string[] }> {
  chat.start();
  expect(await chat.progress(40)).toBe(true);
  chat.mark();
  const [writes, began] = [chat.writes, Date.now()];
  let value: T;
  try {
    value = await work();
  } finally {
    await chat.progress(20);
  }
  const seconds = (Date.now() - began) / 1000;
  const done = chat.writes - writes;
  const report = await chat.stop();
  console.log(
    `${what}: ${seconds.toFixed(1)} s, ${done} writes of 20 clients (${(done / seconds).toFixed(0)} a second), ` +
      `${report.errors} errors${report.errors > 0 ? ` (${report.messages.join("; ")})` : ""}, no write for ${report.longestPauseMs} ms at the most, the longest took ${report.longestMs} ms`,
  );
  expect(await chat.difference()).toEqual(SAME);
  return { value, errors: report.messages };
}

describe.skipIf(missing !== undefined)(
  `a Citus cluster${missing === undefined ? "" : ` (skipped: ${missing})`}`,
  () => {
    beforeAll(async () => {
      await setConfig(stack, { ...CONFIG, ...("baseImage" in found && { baseImage: found.baseImage }) });
      const began = Date.now();
      await cgraphOk("up", "--stack", stack, "--stage", "5", "--port", String(await freePort()), "--no-install");
      const up = Date.now();
      await cgraphOk("schema", "apply", "--stack", stack);
      console.log(`up from nothing: ${(up - began) / 1000} s, schema: ${(Date.now() - up) / 1000} s`);
      await readEnv();
      chat = new CitusChat(() => env["DATABASE_URL"] ?? "", CLIENTS);
      await chat.seed();
    }, 900_000);
    afterAll(() => removeStack(stack));

    it("runs the guide's statements as they stand", async () => {
      await asOwner(stack, async (client) => {
        await client.query(`
        CREATE SCHEMA guide;
        -- Citus' views are in public.
        SET search_path = guide, public;
        CREATE TABLE messages (id uuid, sender_id uuid, content text, PRIMARY KEY (id, sender_id));
        CREATE TABLE reactions (id uuid, user_id uuid, emoji text, PRIMARY KEY (id, user_id));
        CREATE TABLE settings (key text PRIMARY KEY, value jsonb);`);
        await client.query("SELECT create_distributed_table('messages', 'sender_id')");
        await client.query("SELECT create_distributed_table('reactions', 'user_id')");
        await client.query("SELECT create_reference_table('settings')");
        const { rows } = await client.query<{ kind: string; by: string }>(
          `SELECT citus_table_type AS kind, distribution_column AS by FROM citus_tables
         WHERE table_name IN ('messages'::regclass, 'reactions'::regclass, 'settings'::regclass)
         ORDER BY table_name::text`,
        );
        expect(rows.map(({ kind, by }) => `${kind} ${by}`)).toEqual([
          ...["distributed sender_id", "distributed user_id", "reference <none>"],
        ]);
        await client.query("DROP SCHEMA guide CASCADE");
      });
    });

    it("takes rows through the pool, joins them where they are, and lets replicas' port read them", async () => {
      const [user = "", other = ""] = chat.users;
      const [message, emoji] = [uuidv7(), "ok"];
      const at = "2026-11-01T00:00:00";
      await ask(
        "DATABASE_URL",
        "INSERT INTO messages (id, conversation_id, sender_id, content, inserted_at) VALUES ($1, $1, $2, 'hi', $3)",
        [...[message, user, at]],
      );
      for (const by of [user, other]) {
        await ask(
          "DATABASE_URL",
          "INSERT INTO reactions (message_id, message_inserted_at, user_id, emoji) VALUES ($1, $2, $3, $4)",
          [...[message, at, by, emoji]],
        );
      }
      const join = `SELECT m.content, r.emoji, u.username FROM messages m
      JOIN reactions r ON r.user_id = m.sender_id AND r.message_id = m.id JOIN users u ON u.id = m.sender_id
      WHERE m.sender_id = '${user}' AND m.conversation_id = '${message}'`;
      expect(await ask("DATABASE_URL", join)).toEqual([{ content: "hi", emoji, username: `u${user}` }]);
      const plan = (await ask<{ "QUERY PLAN": string }>("DATABASE_URL", `EXPLAIN ${join}`)).map(
        (row) => row["QUERY PLAN"],
      );
      expect(plan.join("\n")).toMatch(/Task Count: 1\b/);
      for (const name of ["DATABASE_REPLICA_URL", "DATABASE_READONLY_URL"]) {
        await eventually(`${name} reads it`, async () => (await ask(name, join)).length === 1);
      }
    });

    it("keeps roles within their limits", async () => {
      const refused = (name: string, sql: string) => expect(ask(name, sql)).rejects.toMatchObject({ code: "42501" });
      await refused("DATABASE_URL", "CREATE TABLE more (id uuid)");
      await refused("DATABASE_URL", "DROP TABLE messages");
      await refused("DATABASE_OWNER_URL", "SELECT citus_remove_node('worker1-pg0', 5432)");
      await refused("DATABASE_URL", "SELECT citus_add_node('worker9-pg0', 5432)");
      await expect(ask("DATABASE_READONLY_URL", "DELETE FROM settings")).rejects.toMatchObject({ code: "25006" });
      await refused("DATABASE_READONLY_URL", "SELECT * FROM pg_dist_authinfo");
    });

    it("is well in doctor's eyes, node by node", { timeout: 120_000 }, () => findsNothing(stack));

    it("says what each worker holds", async () => {
      const status = JSON.parse(await cgraphOk("status", "--stack", stack, "--json")) as { citus: CitusStatus };
      expect(status.citus).toMatchObject({ shardCount: 8, rebalance: null });
      expect(status.citus.workers.map(({ name, shards }) => [name, shards])).toEqual([
        ["worker1", 4],
        ["worker2", 4],
      ]);
      expect(status.citus.workers.reduce((sum, { share }) => sum + share, 0)).toBeCloseTo(1);
      expect(status.citus.skew).toBeGreaterThanOrEqual(1);
      const text = await cgraphOk("status", "--stack", stack);
      expect(text).toMatch(/worker1 +worker1-pg[01] +4 /);
      expect(text).toContain("skew: the largest worker has");
    });

    it("refuses what cannot be, before anything is changed", async () => {
      const [user = ""] = chat.users;
      for (const [args, code, words] of [
        [["workers", "remove", "--count", "2", "--yes"], 3, "of 2 workers one at least has to stay"],
        [["workers", "add", "--count", "0"], 2, "0 is no number of workers"],
        [["isolate-tenant", "somebody"], 2, '"somebody" is not the id of a user'],
        [["isolate-tenant", user, "--to", "worker7"], 2, "use one of worker1, worker2"],
        [["up", "--stage", "4", "--no-install"], 3, "up does not move its rows from a Citus cluster"],
        [["rebalance", "--yes"], 3, "see ./cgraph-db workers"],
      ] as const) {
        const { code: ended, stderr } = await citus(...args);
        expect([ended, stderr]).toEqual([code, expect.stringContaining(words)]);
      }
      for (const [change, words] of [
        [{ workers: "1" }, "worker2 with its 4 shards ("],
        [{ shardCount: "16" }, "cgraph:shardCount is 16, but the tables were distributed over 8 shards"],
      ] as const) {
        await setConfig(stack, change);
        const { code, stderr } = await citus("up", "--no-install");
        expect([code, stderr]).toEqual([3, expect.stringContaining(words)]);
        await setConfig(stack, CONFIG);
      }
    });

    it("moves no shard while a worker is of another version", async () => {
      const version = (from: string, to: string): string =>
        `UPDATE pg_extension SET extversion = '${to}' WHERE extname = 'citus' AND extversion = '${from}';`;
      const now = await onWorker("worker2", "SELECT extversion FROM pg_extension WHERE extname = 'citus';");
      await onWorker("worker2", version(now, "13.2-1"));
      try {
        const { code, stderr } = await citus("workers", "rebalance");
        expect([code, stderr]).toEqual([3, expect.stringContaining("worker2 has PostgreSQL 17, Citus")]);
        expect(stderr).toContain("(extension 13.2-1)");
      } finally {
        await onWorker("worker2", version("13.2-1", now));
      }
      expect((await citus("workers", "rebalance")).code).toBe(0);
    });

    it("has other passwords while nodes go on reaching each other", async () => {
      const everywhere = "SELECT count(*)::int AS n FROM messages m JOIN users u ON u.id = m.sender_id";
      const before = await ask<{ n: number }>("DATABASE_URL", everywhere);
      for (const args of [[], ["--finish"]]) {
        await cgraphOk("secrets", "rotate", "--stack", stack, "--yes", ...args);
        await readEnv();
        for (const name of ["DATABASE_URL", "DATABASE_READONLY_URL", "DATABASE_OWNER_URL"]) {
          expect([name, await ask(name, everywhere)]).toEqual([name, before]);
        }
      }
      await withUrl(env["DATABASE_URL"], async (client) => {
        await client.query("BEGIN");
        await client.query("UPDATE users SET username = username || 'x'");
        await client.query("ROLLBACK");
      });
    }, 300_000);

    it("has backups of each node that can be restored", async () => {
      for (const cluster of ["coordinator", "worker1"]) {
        await eventually(
          `${cluster} has a backup`,
          async () =>
            (JSON.parse(await cgraphOk("backups", "--cluster", cluster, "--stack", stack, "--json")) as object[])
              .length > 0,
          200_000,
        );
        const { code, stdout, stderr } = await citus("backup", "verify", "--cluster", cluster, "--json");
        expect([cluster, code, stderr]).toEqual([cluster, 0, expect.anything()]);
        expect(JSON.parse(stdout)).toMatchObject({ ok: true });
      }
    }, 500_000);

    it("goes back to one moment on all nodes, with transactions of several nodes whole or not at all", async () => {
      for (const cluster of ["coordinator", "worker1", "worker2"]) {
        await cgraphOk("backup", "--cluster", cluster, "--stack", stack);
      }
      const [one, two] = [await userOn(1), await userOn(2)];
      const conversation = uuidv7();
      const pairs = async (): Promise<number[]> => {
        const rows = await ask<{ n: number }>(
          "DATABASE_URL",
          "SELECT count(*)::int AS n FROM messages WHERE conversation_id = $1 GROUP BY content",
          [conversation],
        );
        return rows.map(({ n }) => n);
      };
      const insert = "INSERT INTO messages (id, conversation_id, sender_id, content) VALUES ($1, $2, $3, $4)";
      let goesOn = true;
      const writers = Array.from({ length: 6 }, (_, writer) =>
        withUrl(env["DATABASE_URL"], async (client) => {
          for (let n = 0; goesOn; n++) {
            await client.query("BEGIN");
            for (const sender of [one, two]) {
              await client.query(insert, [uuidv7(), conversation, sender, `${writer} ${n}`]);
            }
            await client.query("COMMIT");
          }
        }),
      );
      await sleep(3000);
      await cgraphOk("backup", "point", "noon", "--stack", stack);
      await sleep(3000);
      goesOn = false;
      await Promise.all(writers);
      const all = (await pairs()).length;
      for (const to of ["noon", "latest"]) {
        const began = Date.now();
        await cgraphOk("restore", "--to", to, "--stack", stack, "--yes");
        const found = await pairs();
        console.log(`restored to ${to} in ${(Date.now() - began) / 1000} s: ${found.length} of ${all} pairs`);
        expect(found.filter((n) => n !== 2)).toEqual([]);
        expect(found.length).toBeGreaterThan(0);
        expect(found.length).toBeLessThan(all);
        for (const user of [one, two]) expect(await writeOf(user)).toBe(true);
        const preview = JSON.parse(await cgraphOk("preview", "--stack", stack, "--json")) as { verdict: string };
        expect(preview.verdict).toBe("none");
      }
    }, 900_000);

    it("goes on when a worker's primary is killed: nothing acknowledged is lost", async () => {
      const view = clusterView(await currentValues(stack), { cluster: "worker1" });
      const before = await currentPrimary(view.values);
      const user = await userOn(1);
      const { value } = await under("a worker's primary killed", async () => {
        await docker(["kill", before.container]);
        const began = Date.now();
        await eventually("a write on that worker", () => writeOf(user), 90_000);
        const failover = Date.now() - began;
        expect((await currentPrimary(view.values)).name).not.toBe(before.name);
        await docker(["start", before.container]);
        await eventually(
          "its return",
          async () =>
            (await clusterMembers(view.values)).filter(({ state }: Member) => ["running", "streaming"].includes(state))
              .length === 2,
          90_000,
        );
        return failover;
      });
      console.log(`the first write to the lost worker's shards: ${value} ms after it was killed`);
      expect(value).toBeLessThan(60_000);
      await eventually("the coordinator to have all again", async () => (await shardsBy()).join() === "4,4");
    }, 300_000);

    it("gets a worker while clients write: shards move, nobody sees an error, nothing is lost", async () => {
      const { value, errors } = await under("workers add", () =>
        cgraphOk("workers", "add", "--stack", stack, "--json"),
      );
      expect(errors).toEqual([]);
      expect(JSON.parse(value)).toMatchObject({ workers: 3, added: ["worker3"], moved: { state: "finished" } });
      const shards = await shardsBy();
      expect([shards.length, shards.reduce((sum, one) => sum + one, 0), Math.min(...shards)]).toEqual([3, 8, 2]);
      expect(JSON.parse(await cgraphOk("config", "show", "--stack", stack, "--json"))).toMatchObject({ workers: "3" });
    }, 600_000);

    it("gives a user a shard alone on a worker of choice, while they write", async () => {
      const user = await userOn(1);
      const isolate = (...args: string[]) => citus("isolate-tenant", user, ...args);
      const { value, errors } = await under("isolate-tenant", () => isolate("--to", "worker3", "--json"));
      expect([value.code, value.stderr, errors]).toEqual([0, expect.anything(), []]);
      expect(JSON.parse(value.stdout)).toMatchObject({ user, worker: "worker3" });
      const again = await isolate();
      expect([again.code, again.stderr]).toEqual([3, expect.stringContaining("has a shard alone already")]);
      expect((await shardsBy()).reduce((sum, one) => sum + one, 0)).toBe(10);
    }, 300_000);

    it("lets a worker go while clients write: its shards first, and its volumes stay", async () => {
      const { value, errors } = await under("workers remove", () =>
        cgraphOk("workers", "remove", "--yes", "--stack", stack, "--json"),
      );
      expect(errors).toEqual([]);
      const { keptVolumes, ...said } = JSON.parse(value) as { keptVolumes: string[] };
      expect(said).toMatchObject({ workers: 2, removed: ["worker3"] });
      const volumes = (await listLabelled("volume", stack)).map(({ name }) => name);
      expect(volumes.filter((name) => name.includes("-worker3-")).sort()).toEqual([...keptVolumes].sort());
      // Each restore before has left another generation of data volumes.
      const generations = volumes.filter((name) => name.includes("-coordinator-pg0-data")).length;
      expect(keptVolumes).toHaveLength(2 * generations + 1);
      expect((await shardsBy()).reduce((sum, one) => sum + one, 0)).toBe(10);
      const nodes = await onWorker("coordinator", "SELECT count(*) FROM pg_dist_node WHERE groupid = 3;");
      expect(nodes).toBe("0");
      const back = await citus("workers", "add");
      expect([back.code, back.stderr]).toEqual([3, expect.stringContaining("have been here before")]);
    }, 600_000);

    it("is watched, every node's servers and replicas", async () => {
      await setConfig(stack, { monitoring: "true", grafana: "false" });
      await cgraphOk("up", "--stack", stack, "--no-install");
      const { prometheus } = (await currentValues(stack)).endpoints;
      const figures = async (query: string, label: string): Promise<string> => {
        const url = `http://localhost:${prometheus?.port}/api/v1/query?query=${encodeURIComponent(query)}`;
        const { data } = (await (await fetch(url)).json()) as {
          data: { result: { metric: Record<string, string> }[] };
        };
        return data.result
          .map(({ metric }) => metric[label] ?? "")
          .sort()
          .join();
      };
      const servers = ["coordinator", "worker1", "worker2"].flatMap((cluster) => [`${cluster}-pg0`, `${cluster}-pg1`]);
      const seen = (what: string, query: string, label: string, wanted: string) =>
        eventually(what, async () => (await figures(query, label)) === wanted, 120_000);
      await seen("all servers", "pg_up == 1", "server", servers.join());
      await eventually(
        "all replicas",
        async () => (await figures("cgraph_replication_streaming == 1", "replica")).split(",").length === 3,
      );
      await seen("no server to be missed", 'ALERTS{alertname=~"NoPrimary|ReplicaMissing|ServerDown"}', "alertname", "");
    }, 400_000);

    describe("and doctor", () => {
      it("names statements that ask every shard, and joins across shards, with what to do", { timeout: 180_000 }, () =>
        asOwner(stack, (client) => findsStatements(client, stack)),
      );
      it("names tables that are not distributed, and shards that are too large", { timeout: 180_000 }, () =>
        asOwner(stack, (client) => findsPlacement(client, stack)),
      );
      it("names what was prepared on a node and left there", { timeout: 120_000 }, () => findsNodes(stack));
      it("names the user who asks most", { timeout: 240_000 }, () =>
        asOwner(stack, (client) => findsTenants(client, stack)),
      );
    });
  },
);

/** One of the clients' users whose rows are on a worker. */
async function userOn(group: number): Promise<string> {
  const ids = chat.users.map((id) => `('${id}'::uuid)`).join(", ");
  return onWorker(
    "coordinator",
    `SELECT id FROM (VALUES ${ids}) u (id) JOIN pg_dist_placement p
       ON p.shardid = get_shard_id_for_distribution_column('messages', id) AND p.groupid = ${group} LIMIT 1;`,
  );
}

/** Whether a message of this user can be written now. */
async function writeOf(user: string): Promise<boolean> {
  const id = uuidv7();
  await ask(
    "DATABASE_DIRECT_URL",
    "INSERT INTO messages (id, conversation_id, sender_id, content) VALUES ($1, $1, $2, 'probe')",
    [...[id, user]],
  );
  return true;
}
