import type pg from "pg";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ChatLoad, NO_DIFFERENCE } from "../../bench/chatLoad.ts";
import { distribution } from "../../bench/pauses.ts";
import type { DoctorReport } from "../../doctor/report.ts";
import { SERVER } from "../../monitoring/serverNames.ts";
import { bucketOf } from "../../sharding/placement.ts";
import { ShardRouter } from "../../sharding/ShardRouter.ts";
import { uuidv7 } from "../../sharding/uuid.ts";
import { cgraph, cgraphOk, freePort, removeStack, setConfig, uniqueStack } from "../support/cli.ts";
import { asOwner, currentValues } from "../support/chat.ts";
import { ask as askUrl, withUrl } from "../support/client.ts";
import { eventually } from "../support/eventually.ts";
import { FULL, LONG } from "../support/longDrills.ts";
import { ShardedChat } from "../support/shardedChat.ts";
import { insertUser } from "../support/shardServer.ts";

const LOAD = { clients: 10, oldMessages: 2000, perSecond: 40 };
/** One stack of two shards, since the machine that tests has two cores: made of a database in use; in the long drill from nothing too. */
const stack = uniqueStack();
let env: Record<string, string>;
let router: ShardRouter;

const ask = <T extends pg.QueryResultRow>(name: string, sql: string, values?: unknown[]): Promise<T[]> =>
  askUrl<T>(env[name], sql, values);
const userOn = async (shard: number): Promise<string> => {
  for (;;) {
    const id = uuidv7();
    if ((await router.shardFor(id)) === shard) return id;
  }
};

interface Moved {
  readonly steps: readonly {
    readonly id: string;
    readonly state: string;
    readonly facts: { readonly heldMs?: unknown };
  }[];
}

const CONFIG = { shards: "2", replicas: "1", maxConnections: "100", cacheMemoryMiB: "64", monitoring: "false" };
const readEnv = async (): Promise<void> => {
  env = JSON.parse(await cgraphOk("env", "--stack", stack, "--json")) as Record<string, string>;
};
const migrate = async (...args: string[]): Promise<Moved> =>
  JSON.parse(await cgraphOk("migrate", "--stack", stack, "--yes", "--json", ...args)) as Moved;

beforeAll(async () => {
  await setConfig(stack, CONFIG);
  await cgraphOk("up", "--stack", stack, "--stage", "3", "--port", String(await freePort()), "--no-install");
  await cgraphOk("schema", "apply", "--stack", stack);
  await asOwner(stack, async (client) => {
    await client.query(ChatLoad.seedSql(LOAD.oldMessages));
    await client.query("INSERT INTO settings (key, value) VALUES ('before', '1')");
  });
  await readEnv();
}, 900_000);
afterAll(async () => {
  await router.close();
  await removeStack(stack);
});

describe("one database in use", () => {
  const url = (): string => env["DATABASE_URL"] ?? "";
  let load: ChatLoad;

  it("says what stands in the way of shards, and what a move to them would be", async () => {
    const plain = await cgraph(["migrate", "--stack", stack, "--stage", "4", "--yes"]);
    expect([plain.code, plain.stderr]).toEqual([3, expect.stringContaining("partitions convert --drop-old")]);
    await migrate("--rollback");
    await cgraphOk("partitions", "convert", "--drop-old", "--yes", "--stack", stack);
    const { code, stderr } = await cgraph(["up", "--stack", stack, "--stage", "4", "--no-install"]);
    expect([code, stderr]).toEqual([3, expect.stringContaining("./cgraph-db migrate --stage 4 does")]);
    const told = JSON.parse(await cgraphOk("preview", "--stack", stack, "--stage", "4", "--json")) as {
      verdict: string;
      steps: { id: string; pause: unknown }[];
    };
    expect(told.verdict).not.toBe("unsafe");
    const ids = told.steps.map(({ id }) => id.replace("4:", ""));
    expect(ids.filter((id) => id !== "restart")).toEqual(
      "check backup freeze home extend replicas tables global switch copy verify handover clear finish".split(" "),
    );
  });

  it("becomes shards: nothing is lost, nobody sees an error or needs another URL", async () => {
    load = new ChatLoad(url(), LOAD).start();
    expect(await load.progress(50, 60_000)).toBe(true);
    load.mark();
    if (FULL) {
      await migrate("--stage", "4", "--pause-after", "4:handover");
      await migrate("--rollback");
      expect(JSON.parse(await cgraphOk("preview", "--stack", stack, "--json"))).toMatchObject({ verdict: "none" });
    }
    const paused = await migrate("--stage", "4", "--pause-after", "4:switch");
    expect(paused.steps.find(({ id }) => id === "4:switch")?.state).toBe("done");
    await readEnv();
    // All is on shard 0 still, and global tables are written in the global database.
    await ask("DATABASE_URL", "INSERT INTO settings (key, value) VALUES ('after', '2')");
    expect(await ask("SHARD_MAP_URL", "SELECT key FROM settings ORDER BY key")).toEqual([
      { key: "after" },
      { key: "before" },
    ]);
    await expect(ask("DATABASE_DIRECT_URL", "DELETE FROM settings")).rejects.toMatchObject({ code: "SH003" });
    const { steps } = await migrate("--resume");
    expect(await load.progress(50, 60_000)).toBe(true);
    const report = await load.stop();
    console.log(
      `${report.inserted} writes; paused ${report.longestPauseMs} ms at the longest, ${distribution(report.pauses)}; held:`,
      Object.fromEntries(steps.flatMap(({ id, facts }) => (facts.heldMs === undefined ? [] : [[id, facts.heldMs]]))),
    );
    expect([report.errors, report.messages]).toEqual([0, []]);
    expect(await withUrl(url(), (client) => load.difference(client))).toEqual(NO_DIFFERENCE);
    router = ShardRouter.fromEnvironment(env);
    const { shards } = await router.map();
    expect([0, 1].map((shard) => shards.filter((of) => of === shard).length)).toEqual([128, 128]);
    // Both have messages by month, from the same month on.
    const months = "SELECT count(*)::int AS n FROM pg_inherits WHERE inhparent = 'messages'::regclass";
    expect(await ask("SHARD_1_URL", months)).toEqual(await ask("SHARD_0_URL", months));
  }, 1_800_000);

  it("has claimed every user's name, and goes on doing so", async () => {
    const names = "SELECT count(*)::int AS n FROM user_directory WHERE confirmed";
    expect(await ask("DATABASE_GLOBAL_URL", names)).toEqual([{ n: 1000 }]);
    const insert = (id: string, name: string) =>
      ask("DATABASE_URL", "INSERT INTO users (id, username, email) VALUES ($1, $2, $2 || '@example.org')", [id, name]);
    await expect(insert(uuidv7(), "load7")).rejects.toMatchObject({
      code: "23505",
      constraint: "idx_users_username",
    });
    const id = uuidv7();
    await insert(id, "somebody");
    await ask("DATABASE_URL", "UPDATE users SET username = 'somebody else' WHERE id = $1", [id]);
    const who = "SELECT user_id FROM user_directory WHERE username = $1";
    expect(await ask("DATABASE_GLOBAL_URL", who, ["somebody else"])).toEqual([{ user_id: id }]);
    await ask("DATABASE_URL", "DELETE FROM users WHERE id = $1", [id]);
    expect(await ask("DATABASE_GLOBAL_URL", who, ["somebody else"])).toEqual([]);
  });
});

describe("stage 4", () => {
  it("is well: every cluster has a primary and a replica", async () => {
    const status = JSON.parse(await cgraphOk("status", "--stack", stack, "--json")) as {
      nodes: { name: string; role: string }[];
      sharding: { shards: number; buckets: number };
    };
    expect(status.sharding).toMatchObject({ shards: 2, buckets: 256 });
    const roles = Object.fromEntries(status.nodes.map(({ name, role }) => [name, role]));
    expect(Object.keys(roles).sort()).toEqual(
      ["global-pg0", "global-pg1", "pg0", "pg1", "shard1-pg0", "shard1-pg1"].sort(),
    );
    expect(Object.values(roles).filter((role) => role === "primary")).toHaveLength(3);
  });

  it("is examined cluster by cluster, and nothing is critical", async () => {
    const { code, stdout, stderr } = await cgraph(["doctor", "--stack", stack, "--json"]);
    const reports = JSON.parse(stdout) as DoctorReport[];
    expect(reports.map(({ cluster, replicas }) => [cluster, replicas.length])).toEqual([
      ["shard0", 1],
      ["global", 1],
      ["shard1", 1],
    ]);
    // A move has just written all of it: what is to be vacuumed may be told, but nothing worse.
    const bad = reports.flatMap(({ findings }) => findings.filter(({ severity }) => severity === "critical"));
    expect(bad, stderr).toEqual([]);
    expect(code).toBeLessThan(2);
    const one = await cgraph(["doctor", "--stack", stack, "--cluster", "shard1", "--markdown"]);
    expect(one.stdout).toContain(`stack ${stack}, shard1, `);
  });

  it("shows no change in a preview, and applies its schema again without one", async () => {
    expect(JSON.parse(await cgraphOk("preview", "--stack", stack, "--json"))).toMatchObject({ changes: [] });
    const maps = await ask("SHARD_MAP_URL", "SELECT version FROM sharding.maps");
    await cgraphOk("schema", "apply", "--stack", stack);
    expect(await ask("SHARD_MAP_URL", "SELECT version FROM sharding.maps")).toEqual(maps);
  });

  it("routes each user to a shard through the pools, which refuses the others", async () => {
    const ids = [await userOn(0), await userOn(1)];
    const counted = async (): Promise<(number | undefined)[]> => {
      const { values } = await router.onAll(
        async (client) =>
          (await client.query<{ n: number }>("SELECT count(*)::int AS n FROM sharding.users")).rows[0]?.n,
        { deadlineMs: 60_000 },
      );
      return [values.get(0), values.get(1)];
    };
    const before = await counted();
    for (const id of ids) await router.transaction(id, (client) => insertUser(client, id));
    for (const [shard, id] of ids.entries()) {
      expect(await ask(`SHARD_${shard}_URL`, "SELECT id FROM users WHERE id = $1", [id])).toEqual([{ id }]);
      await eventually("the replica has the user", async () => {
        const rows = await ask(`SHARD_${shard}_REPLICA_URL`, "SELECT id FROM users WHERE id = $1", [id]);
        return rows.length === 1;
      });
    }
    const wrong = ask("SHARD_0_URL", "INSERT INTO users (id, username, email) VALUES ($1, 'x', 'x')", [
      await userOn(1),
    ]);
    await expect(wrong).rejects.toMatchObject({ code: "SH001" });
    expect(await counted()).toEqual(before.map((n) => (n ?? 0) + 1));
  });

  it("shows all shards as one database at DATABASE_URL", async () => {
    const id = await userOn(1);
    await ask("DATABASE_URL", "INSERT INTO users (id, username, email) VALUES ($1, 'one', 'one@example.org')", [id]);
    expect(await ask("SHARD_1_URL", "SELECT username FROM users WHERE id = $1", [id])).toEqual([{ username: "one" }]);
    const seen = await ask<{ username: string }>("DATABASE_URL", "SELECT username FROM users WHERE username = 'one'");
    expect(seen).toEqual([{ username: "one" }]);
    const buckets = await ask<{ bucket: number }>("SHARD_MAP_URL", "SELECT sharding.bucket($1, 256) AS bucket", [id]);
    expect(buckets).toEqual([{ bucket: bucketOf(id, 256) }]);
  });

  it("replicates global tables to every shard, where clients cannot write them", async () => {
    await ask("DATABASE_GLOBAL_URL", "INSERT INTO settings (key, value) VALUES ('motd', '\"hi\"')");
    for (const shard of [0, 1]) {
      await eventually(`shard ${shard} has the setting`, async () => {
        const rows = await ask(`SHARD_${shard}_URL`, "SELECT value FROM settings WHERE key = 'motd'");
        return rows.length === 1;
      });
      const writing = ask(`SHARD_${shard}_URL`, "DELETE FROM settings");
      await expect(writing).rejects.toMatchObject({ code: "SH003" });
    }
  });

  it("refuses what would lose rows: fewer shards, other buckets, another stage", async () => {
    const up = (...args: string[]) => cgraph(["up", "--stack", stack, "--no-install", ...args]);
    const refused = async (key: string, value: string, before: string, words: string) => {
      await setConfig(stack, { [key]: value });
      const { code, stderr } = await up();
      expect(stderr).toContain(words);
      expect(code).toBe(3);
      await setConfig(stack, { [key]: before });
    };
    await refused("shards", "1", "2", "shard 1 would go, but the shard map gives it 128 buckets");
    await refused("buckets", "512", "256", "cgraph:buckets is 512, but the stack has 256");
    const { code, stderr } = await up("--stage", "3");
    expect([code, stderr]).toEqual([3, expect.stringContaining("up does not move its rows from shards")]);
  });

  it("switches one cluster over, by its name or by its server's", async () => {
    const done = JSON.parse(await cgraphOk("switchover", "--stack", stack, "--cluster", "shard1", "--json")) as object;
    expect(done).toMatchObject({ from: "shard1-pg0", to: "shard1-pg1" });
    const said = await cgraph(["switchover", "--stack", stack, "--cluster", "shard7"]);
    expect([said.code, said.stderr]).toEqual([2, expect.stringContaining("use one of shard0, global, shard1")]);
    const where = "SELECT setting FROM pg_settings WHERE name = 'cluster_name'";
    const answer = await cgraphOk(
      "psql",
      "--stack",
      stack,
      "--cluster",
      "shard1",
      "--role",
      "postgres",
      "--",
      "-XAtc",
      where,
    );
    expect(answer.trim()).toContain("shard1");
    const id = await userOn(1);
    await router.transaction(id, (client) => insertUser(client, id));
    await cgraphOk("switchover", "--stack", stack, "--to", "shard1-pg0");
  });

  it("has backups of each cluster, and a restore point of all at one moment", async () => {
    const taken = async (cluster: string): Promise<boolean> =>
      (JSON.parse(await cgraphOk("backups", "--cluster", cluster, "--stack", stack, "--json")) as object[]).length > 0;
    // The schedule has begun each cluster's first.
    for (const cluster of ["shard0", "shard1"]) {
      await eventually(`${cluster} has a backup`, () => taken(cluster), 200_000);
    }
    await cgraphOk("backup", "--cluster", "shard1", "--stack", stack);
    // A replica that restarts breaks a backup off, and it is tried again minutes later: the global database's may be late.
    const ready = await taken("global");
    const point = await cgraph(["backup", "point", "before-move", "--stack", stack, "--json"]);
    if (point.code === 0) {
      const points = JSON.parse(point.stdout) as object;
      expect(Object.keys(points).sort()).toEqual(["global", "shard0", "shard1"]);
      const again = await cgraph(["backup", "point", "before-move", "--stack", stack]);
      expect([again.code, again.stderr]).toEqual([
        2,
        expect.stringContaining("there is a restore point before-move already on shard0"),
      ]);
    } else {
      expect([ready, point.stderr]).toEqual([
        false,
        expect.stringContaining("there is no backup to begin with on global"),
      ]);
    }
    // Of all clusters at once, and so to a moment that all have; the long drill of reshardFailover.test.ts does it.
    const restoring = await cgraph(["restore", "--to", "0/3000148", "--stack", stack, "--yes"]);
    expect([restoring.code, restoring.stderr]).toEqual([2, expect.stringContaining("is one cluster's own")]);
  });

  it("says what is wrong with a wish to move buckets before it does anything", async () => {
    for (const [args, code, words] of [
      [["--shards", "3.5"], 2, "3.5 shards: 256 buckets can be given to"],
      [["--shards", "3", "--pause-after", "nonsense"], 2, "the move has no step nonsense"],
      [["--resume"], 3, "no buckets of stack"],
    ] as const) {
      const result = await cgraph(["reshard", "--stack", stack, "--yes", ...args]);
      expect([result.code, result.stderr]).toEqual([code, expect.stringContaining(words)]);
    }
  });

  it("is watched, every cluster's servers, replicas and pools", async () => {
    await setConfig(stack, { monitoring: "true", grafana: "false" });
    await cgraphOk("up", "--stack", stack, "--no-install");
    const { prometheus } = (await currentValues(stack)).endpoints;
    const figures = async (query: string, label: string): Promise<string[]> => {
      const url = `http://localhost:${prometheus?.port}/api/v1/query?query=${encodeURIComponent(query)}`;
      const { data } = (await (await fetch(url)).json()) as {
        data: { result: { metric: Record<string, string> }[] };
      };
      return data.result.map(({ metric }) => metric[label] ?? "").sort();
    };
    const servers = ["", "global-", "shard1-"].flatMap((cluster) => [`${cluster}pg0`, `${cluster}pg1`]).sort();
    // Each is asked at a time of its own.
    const seen = (what: string, query: string, label: string, wanted: readonly string[]) =>
      eventually(what, async () => (await figures(query, label)).join() === wanted.join(), 120_000);
    await seen("all servers", "pg_up == 1", "server", servers);
    const replicas = servers.filter((server) => server.endsWith("pg1")).length;
    await eventually("all replicas", async () => {
      return (await figures("cgraph_replication_streaming == 1", "replica")).length === replicas;
    });
    await seen("all pools", "pgbouncer_up == 1", "pooler", ["pgbouncer0", "pgbouncer1"]);
    await seen("all servers' memory", `cgraph_container_memory_bytes{container=~"${SERVER}"}`, "container", servers);
    await seen("nothing that does not answer", "up == 0", "instance", []);
    // Pending for as long as nothing had been asked yet.
    const lacking = 'ALERTS{alertname=~"NoPrimary|ReplicaMissing|ServerDown"}';
    await eventually("no server to be missed", async () => (await figures(lacking, "alertname")).length === 0);
  }, 300_000);

  // Buckets have moved in Docker above already, and by twos and fours in reshard.test.ts.
  it.runIf(FULL)(
    `gets a third shard in use: a third of the buckets move, nothing is lost, no client sees an error${LONG}`,
    async () => {
      const reshard = (...args: string[]) => cgraphOk("reshard", "--stack", stack, "--yes", "--json", ...args);
      const plan = JSON.parse(await reshard("--shards", "3", "--dry-run")) as {
        moves: unknown[];
        steps: { id: string }[];
      };
      expect(plan.moves).toHaveLength(85);
      expect(plan.steps.map(({ id }) => id)).toEqual([
        "check",
        "extend",
        "freeze",
        "copy",
        "verify",
        "handover",
        "clear",
        "finish",
      ]);
      await reshard("--shards", "3", "--pause-after", "extend");
      const refused = await cgraph(["up", "--stack", stack, "--no-install"]);
      expect([refused.code, refused.stderr]).toEqual([3, expect.stringContaining("reshard --resume")]);
      env = JSON.parse(await cgraphOk("env", "--stack", stack, "--json")) as Record<string, string>;
      expect(env["SHARD_2_URL"]).toBeDefined();
      await router.close();
      router = ShardRouter.fromEnvironment(env);
      const [known] = await ask<{ n: number }>("DATABASE_URL", "SELECT count(*)::int AS n FROM users");
      const chat = new ShardedChat(router, { clients: 5, users: 100 });
      await chat.seed(2000);
      chat.start();
      const { steps } = JSON.parse(await reshard("--resume")) as {
        steps: { id: string; state: string; facts: object }[];
      };
      const report = await chat.stop();
      console.log(
        `writes ${report.writes}, longest pause ${Math.round(report.longestPauseMs)} ms`,
        steps.find(({ id }) => id === "handover")?.facts,
      );
      expect(report.errors).toEqual([]);
      expect(await chat.difference()).toEqual({ lost: 0, doubled: 0, wrong: 0 });
      const { shards } = await router.map();
      expect([0, 1, 2].map((shard) => shards.filter((of) => of === shard).length)).toEqual([86, 85, 85]);
      const [counted] = await ask<{ n: number }>("DATABASE_URL", "SELECT count(*)::int AS n FROM users");
      expect(counted?.n).toBe((known?.n ?? 0) + 100);
      expect(JSON.parse(await cgraphOk("preview", "--stack", stack, "--json"))).toMatchObject({ changes: [] });
    },
    1_200_000,
  );
});
