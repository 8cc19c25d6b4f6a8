import { randomUUID } from "node:crypto";
import pg from "pg";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type TableFacts, FACTS_SQL, checkTables } from "../../sharding/checkTables.ts";
import { Directory } from "../../sharding/Directory.ts";
import { DeadlineError, ShardsFailedError, TakenError } from "../../sharding/errors.ts";
import { bucketOf, bucketSql } from "../../sharding/placement.ts";
import { publishMap, readOwned, setOwned } from "../../sharding/publish.ts";
import { classFilterSql, heldRowsSql, orphansSql, shardTablesSql } from "../../sharding/shardSql.ts";
import { type ShardMap, assignmentOf, classesOf, firstAssignment } from "../../sharding/shardMap.ts";
import { ShardRouter, type ShardRouterOptions } from "../../sharding/ShardRouter.ts";
import { TABLES, shardedTables } from "../../sharding/tables.ts";
import { uuidv7 } from "../../sharding/uuid.ts";
import { freePort } from "../support/cli.ts";
import { eventually } from "../support/eventually.ts";
import {
  type DatabaseServer,
  GLOBAL,
  ROUTER,
  buildRouter,
  insertUser,
  makeRouter,
  makeShards,
  shardName,
  startShardServer,
  withClient,
} from "../support/shardServer.ts";

const SHARDS = 4;
const BUCKETS = 256;
let server: DatabaseServer;
let map: ShardMap = { version: 1, shards: firstAssignment(BUCKETS, SHARDS) };
const routers: ShardRouter[] = [];

const newRouter = (options: Partial<ShardRouterOptions> = {}): ShardRouter => {
  const router = new ShardRouter({
    map: { connectionString: server.url(GLOBAL) },
    shards: [0, 1, 2, 3].map((shard) => ({ connectionString: server.url(shardName(shard)), max: 4 })),
    ...options,
  });
  routers.push(router);
  return router;
};
const shardOf = (id: string): number => map.shards[bucketOf(id, BUCKETS)] ?? -1;
/** A new user's id on a shard. */
const userOn = (shard: number): string => {
  for (;;) {
    const id = uuidv7();
    if (shardOf(id) === shard) return id;
  }
};

/** Moves a bucket's ownership, and its users, as whoever moves buckets will: off, rows, on, published. */
async function moveBucket(bucket: number, to: number, between: () => Promise<void> = async () => undefined) {
  const from = map.shards[bucket] ?? 0;
  const next = { version: map.version + 1, shards: map.shards.with(bucket, to) };
  await withClient(server, shardName(from), (client) => setOwned(client, from, next));
  await between();
  const rows = await server.query<{ id: string; username: string; email: string }>(
    shardName(from),
    `SELECT id, username, email FROM users WHERE ${bucketSql("id", BUCKETS)} = ${bucket}`,
  );
  await withClient(server, shardName(to), async (client) => {
    await client.query("SET session_replication_role = replica");
    for (const { id, username, email } of rows) {
      await client.query("INSERT INTO users (id, username, email) VALUES ($1, $2, $3)", [id, username, email]);
    }
    await client.query("RESET session_replication_role");
    await setOwned(client, to, next);
  });
  await withClient(server, GLOBAL, (client) => publishMap(client, next));
  map = next;
}

beforeAll(async () => {
  server = await startShardServer(await freePort());
  await makeShards(server, map, SHARDS);
  // The image is built where no stack has been up yet.
}, 900_000);
afterAll(async () => {
  await Promise.all(routers.map((router) => router.close()));
  await server.stop();
});

describe("placement", () => {
  it("of 100 000 ids is the same in TypeScript, in SQL, in row filters, and in PostgreSQL's own hash partitions", async () => {
    const ids = Array.from({ length: 100_000 }, (_, i) => (i % 2 ? randomUUID() : uuidv7()));
    await withClient(server, GLOBAL, async (client) => {
      await client.query("CREATE TEMP TABLE parted (id uuid, said int) PARTITION BY HASH (id)");
      for (let remainder = 0; remainder < 8; remainder++) {
        await client.query(
          `CREATE TEMP TABLE part_${remainder} PARTITION OF parted FOR VALUES WITH (MODULUS 8, REMAINDER ${remainder})`,
        );
      }
      const buckets = ids.map((id) => bucketOf(id, BUCKETS));
      await client.query("INSERT INTO parted SELECT * FROM unnest($1::uuid[], $2::int[])", [ids, buckets]);
      const { rows } = await client.query(`SELECT count(*)::int AS rows,
        count(*) FILTER (WHERE satisfies_hash_partition('parted'::regclass, ${BUCKETS}, said, id))::int AS partitions,
        count(*) FILTER (WHERE sharding.bucket(id, ${BUCKETS}) = said)::int AS function,
        count(*) FILTER (WHERE ${bucketSql("id", BUCKETS)} = said)::int AS filter,
        count(*) FILTER (WHERE tableoid = format('part_%s', said % 8)::regclass)::int AS routed,
        count(*) FILTER (WHERE (${classFilterSql("id", { modulus: 2048, remainder: 5 })})
          = satisfies_hash_partition('parted'::regclass, 2048, 5, id))::int AS classes FROM parted`);
      const all = ids.length;
      expect(rows).toEqual([{ rows: all, partitions: all, function: all, filter: all, routed: all, classes: all }]);
    });
  });

  it("goes into row filters of publications as it is", async () => {
    await server.query(
      shardName(0),
      `CREATE PUBLICATION class FOR TABLE messages WHERE (${classFilterSql("sender_id", { modulus: 8, remainder: 3 })})`,
    );
    await server.query(shardName(0), "DROP PUBLICATION class");
  });

  it("has ids of version 7 in SQL too", async () => {
    const before = Date.now();
    const rows = await server.query<{ id: string }>(
      GLOBAL,
      "SELECT uuidv7()::text AS id FROM generate_series(1, 1000)",
    );
    for (const { id } of rows) {
      expect(id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
      // The container's clock is this machine's.
      expect(Math.abs(Number.parseInt(id.replaceAll("-", "").slice(0, 12), 16) - before)).toBeLessThan(60_000);
    }
    expect(new Set(rows.map(({ id }) => id)).size).toBe(1000);
  });
});

describe("the tables of a shard", () => {
  it("are what sharding/tables.ts says: keys, foreign keys, none forgotten", async () => {
    const [row] = await server.query<{ facts: TableFacts[] }>(shardName(0), FACTS_SQL);
    const facts = row?.facts ?? [];
    expect(() => checkTables(TABLES, facts)).not.toThrow();
    for (const table of TABLES) {
      const found = facts.find(({ name }) => name === table.name);
      expect(found?.primaryKey, table.name).toEqual(table.primaryKey);
      const kept = table.foreignKeys.filter((key) => key.kept.as === "local");
      expect(found?.foreignKeys.map(({ references }) => references).sort(), table.name).toEqual(
        kept.map(({ references }) => references).sort(),
      );
    }
  });

  it("can be set up again, and refuse to change keys under rows", async () => {
    await server.query(shardName(1), shardTablesSql());
    await server.query("postgres", "CREATE DATABASE used");
    await server.query(
      "used",
      "CREATE TABLE messages (id uuid, inserted_at timestamp, sender_id uuid, PRIMARY KEY (id, inserted_at))",
    );
    await server.query("used", "INSERT INTO messages VALUES (gen_random_uuid(), now(), gen_random_uuid())");
    const only = [
      { name: "messages", shardKey: "sender_id", primaryKey: ["id", "inserted_at", "sender_id"], foreignKeys: [] },
    ];
    await expect(server.query("used", shardTablesSql(only))).rejects.toThrow(
      "the primary key of messages lacks the shard key sender_id, and the table holds rows",
    );
  });

  it("refuse rows of other shards, changes of their shard key, and writes to global tables", async () => {
    const [mine, theirs] = [userOn(0), userOn(1)];
    await withClient(server, shardName(0), async (client) => {
      await insertUser(client, mine);
      await expect(insertUser(client, theirs)).rejects.toMatchObject({
        code: "SH001",
        message: `users.id ${theirs}: bucket ${bucketOf(theirs, BUCKETS)} is not on shard 0`,
        detail: `bucket ${bucketOf(theirs, BUCKETS)}, map version 1`,
      });
      await expect(client.query("UPDATE users SET id = $2 WHERE id = $1", [mine, theirs])).rejects.toMatchObject({
        code: "SH002",
      });
      await expect(client.query("INSERT INTO settings (key, value) VALUES ('a', '1')")).rejects.toMatchObject({
        code: "SH003",
      });
      // Who applies a stream of changes is not a client.
      await client.query("BEGIN; SET LOCAL session_replication_role = replica");
      await insertUser(client, theirs);
      await client.query("COMMIT");
      await expect(client.query("DELETE FROM users WHERE id = $1", [theirs])).rejects.toMatchObject({ code: "SH001" });
      const { rows } = await client.query<{ table: string; own: number; foreign: number }>(heldRowsSql());
      expect(rows.find(({ table }) => table === "users")).toEqual({ table: "users", own: 1, foreign: 1 });
      // Questions to all shards do not see what is another's.
      expect((await client.query("SELECT id FROM sharding.users")).rows).toEqual([{ id: mine }]);
      await client.query("SET session_replication_role = replica; DELETE FROM users");
    });
  });

  it("refuse everything where nothing was said of the shard", async () => {
    await server.query("postgres", "CREATE DATABASE unset TEMPLATE shard3");
    await server.query("unset", "TRUNCATE sharding.this_shard");
    await withClient(server, "unset", (client) =>
      expect(insertUser(client, randomUUID())).rejects.toThrow("this database is not set up as a shard"),
    );
  });
});

describe("the shard map in the global database", () => {
  const insert = (version: number, shards: string) =>
    server.query(GLOBAL, `INSERT INTO sharding.maps (version, shards) VALUES (${version}, ${shards})`);

  it("takes no bucket without a shard, no other number of buckets, no version out of turn", async () => {
    const all = (expression: string) => `(SELECT array_agg(${expression} ORDER BY b) FROM generate_series(0, 255) b)`;
    await expect(insert(2, all("CASE WHEN b = 17 THEN NULL ELSE 0 END"))).rejects.toThrow("bucket 17 has no shard");
    await expect(insert(2, all("CASE WHEN b = 17 THEN -1 ELSE 0 END"))).rejects.toThrow("every_bucket_has_one_shard");
    await expect(insert(2, "'{0,1}'")).rejects.toThrow("the map has 2 buckets, there are 256");
    await expect(insert(2, "'{}'")).rejects.toThrow(/buckets|every_bucket_has_one_shard/);
    await expect(insert(3, all("0"))).rejects.toMatchObject({ code: "40001" });
    await expect(insert(1, all("0"))).rejects.toMatchObject({ code: "40001" });
    for (const sql of [
      "DELETE FROM sharding.maps",
      "UPDATE sharding.maps SET shards[1] = 3",
      "TRUNCATE sharding.maps",
    ]) {
      await expect(server.query(GLOBAL, sql), sql).rejects.toThrow("not changed or deleted");
    }
  });

  it("agrees with what the shards own", async () => {
    const owned = new Map<number, number[]>();
    for (let shard = 0; shard < SHARDS; shard++) {
      const said = await withClient(server, shardName(shard), readOwned);
      expect(said?.shard).toBe(shard);
      owned.set(shard, said?.buckets ?? []);
    }
    expect(assignmentOf(owned, BUCKETS)).toEqual(map.shards);
  });

  it("answers in SQL as the library does", async () => {
    const ids = Array.from({ length: 200 }, () => randomUUID());
    const rows = await server.query<{ shard: number }>(
      GLOBAL,
      "SELECT sharding.shard_of(id) AS shard FROM unnest($1::uuid[]) WITH ORDINALITY u (id, n) ORDER BY n",
      [ids],
    );
    expect(rows.map(({ shard }) => shard)).toEqual(ids.map(shardOf));
  });

  it("reaches the shards with the global tables, which clients cannot write there", async () => {
    await server.query(GLOBAL, "INSERT INTO feature_flags (name, enabled) VALUES ('dark', true)");
    for (const shard of [0, 1]) {
      const slot = `cgraph_global_shard${shard}`;
      await server.query(GLOBAL, `SELECT pg_create_logical_replication_slot('${slot}', 'pgoutput')`);
      await server.query(
        shardName(shard),
        `CREATE SUBSCRIPTION ${slot} CONNECTION '${server.conninfo(GLOBAL)}'
         PUBLICATION cgraph_global WITH (create_slot = false, slot_name = '${slot}')`,
      );
    }
    for (const shard of [0, 1]) {
      await eventually(`shard ${shard} has the flag`, async () => {
        const rows = await server.query(
          shardName(shard),
          "SELECT FROM feature_flags JOIN sharding.maps ON version = 1",
        );
        return rows.length === 1;
      });
    }
  });
});

describe("the router", () => {
  it("leads each user to one shard, and users to as few as there are", async () => {
    const router = newRouter();
    const ids = Array.from({ length: 40 }, () => uuidv7());
    for (const id of ids) await router.withShard(id, (client) => insertUser(client, id));
    for (let shard = 0; shard < SHARDS; shard++) {
      const rows = await server.query<{ id: string }>(shardName(shard), "SELECT id FROM users");
      expect(rows.map(({ id }) => id).sort()).toEqual(ids.filter((id) => shardOf(id) === shard).sort());
    }
    const groups = await router.shardsFor(ids);
    expect([...groups.values()].flat().sort()).toEqual([...ids].sort());
    for (const [shard, own] of groups) expect(own.map(shardOf)).toEqual(own.map(() => shard));
    await expect(router.shardFor("ann")).rejects.toThrow('"ann" is not a UUID');
  });

  it("with a stale map is refused by the old shard, reads the map, and succeeds on the new one", async () => {
    const id = userOn(0);
    const [stale, fresh] = [newRouter({ refreshMs: 3_600_000, leaseMs: 3_600_000 }), newRouter()];
    await stale.withShard(id, (client) => insertUser(client, id));
    await moveBucket(bucketOf(id, BUCKETS), 1);
    expect(await fresh.shardFor(id)).toBe(1);
    expect(await stale.shardFor(id)).toBe(0);
    const tried: number[] = [];
    await stale.withShard(id, async (client, shard) => {
      tried.push(shard);
      const { rowCount } = await client.query("UPDATE users SET display_name = 'Ann' WHERE id = $1", [id]);
      expect(rowCount).toBe(1);
    });
    expect(tried).toEqual([0, 1]);
    // A transaction does not even begin on the wrong shard.
    await moveBucket(bucketOf(id, BUCKETS), 2);
    tried.length = 0;
    await stale.transaction(id, async (_, shard) => void tried.push(shard));
    expect(tried).toEqual([2]);
  });

  it("waits for a bucket that is between two shards", async () => {
    const id = userOn(3);
    const router = newRouter();
    await router.withShard(id, (client) => insertUser(client, id));
    let written: Promise<number> | undefined;
    await moveBucket(bucketOf(id, BUCKETS), 0, async () => {
      written = router.transaction(id, async (client, shard) => {
        await client.query("UPDATE users SET display_name = 'late' WHERE id = $1", [id]);
        return shard;
      });
      await new Promise((resolve) => setTimeout(resolve, 300));
    });
    expect(await written).toBe(0);
    const rows = await server.query(shardName(0), "SELECT display_name FROM users WHERE id = $1", [id]);
    expect(rows).toEqual([{ display_name: "late" }]);
  });

  it("keeps a bucket where it is while a transaction relies on it", async () => {
    const id = userOn(1);
    const router = newRouter();
    let released = false;
    let releasing: Promise<void> | undefined;
    await router.transaction(id, async (client) => {
      const without = { version: map.version, shards: map.shards.map((shard) => (shard === 1 ? 0 : shard)) };
      releasing = withClient(server, shardName(1), (mover) => setOwned(mover, 1, without)).then(
        () => void (released = true),
      );
      await new Promise((resolve) => setTimeout(resolve, 300));
      expect(released).toBe(false);
      await insertUser(client, id);
    });
    await releasing;
    await expect(withClient(server, shardName(1), (client) => insertUser(client, userOn(1)))).rejects.toMatchObject({
      code: "SH001",
    });
    await withClient(server, shardName(1), (client) => setOwned(client, 1, map));
  });

  it("tells a mistake from a stale map: a row of another user is refused at once", async () => {
    const [mine, theirs] = [userOn(0), userOn(2)];
    const router = newRouter({ moveWaitMs: 60_000 });
    let tries = 0;
    const wrong = router.withShard(mine, (client) => {
      tries++;
      return insertUser(client, theirs);
    });
    await expect(wrong).rejects.toMatchObject({ code: "SH001" });
    expect(tries).toBe(1);
  });

  it("gives connections back clean, and says where a transaction was rolled back", async () => {
    const id = userOn(2);
    const router = newRouter();
    for (let i = 0; i < 10; i++) {
      const failing = router.withShard(id, async (client) => {
        await client.query("BEGIN");
        throw new Error("mine");
      });
      await expect(failing).rejects.toThrow("mine");
    }
    const idle = await server.query(
      shardName(2),
      "SELECT FROM pg_stat_activity WHERE datname = 'shard2' AND state LIKE 'idle in transaction%'",
    );
    expect(idle).toEqual([]);
    const swallowed = router.transaction(id, (client) => client.query("SELECT 1/0").catch(() => undefined));
    await expect(swallowed).rejects.toThrow("the transaction was rolled back");
  });

  it("routes without the global database, by the shards' copies of the map", async () => {
    const router = newRouter({ map: { connectionString: server.url("nowhere") }, refreshMs: 0 });
    const read = async (): Promise<boolean> => (await router.map()).version === map.version;
    expect(await eventually("the copies have the newest map", read)).toBe(true);
    const none = newRouter({
      map: { connectionString: server.url("nowhere") },
      shards: [{ connectionString: server.url(shardName(3)) }],
    });
    await expect(none.map()).rejects.toThrow('database "nowhere" does not exist');
  });

  it("refuses a map that names a shard without a URL", async () => {
    const router = newRouter({ shards: [0, 1].map((shard) => ({ connectionString: server.url(shardName(shard)) })) });
    await expect(router.map()).rejects.toThrow(/names shard [23]; URLs are there for 2/);
    expect(() => ShardRouter.fromEnvironment({ SHARD_MAP_URL: "postgresql://x" })).toThrow("SHARD_0_URL is not set");
  });
});

describe("a question to all shards", () => {
  const users = async (client: pg.ClientBase): Promise<string[]> =>
    (await client.query<{ id: string }>("SELECT id FROM sharding.users")).rows.map(({ id }) => id);

  it("is answered for every bucket exactly once, also while one moves", async () => {
    const router = newRouter();
    const ids = async (): Promise<string[]> =>
      [...(await router.onAll(users, { deadlineMs: 20_000 })).values.values()].flat().sort();
    const before = await ids();
    expect(new Set(before).size).toBe(before.length);
    const moving = map.shards
      .flatMap((shard, bucket) => (shard === 0 && bucket % 16 === 0 ? [bucket] : []))
      .slice(0, 3);
    const state = { asking: true };
    const answers: string[][] = [];
    const asker = (async () => {
      while (state.asking) answers.push(await ids());
    })();
    for (const bucket of moving) await moveBucket(bucket, 3);
    state.asking = false;
    await asker;
    expect(answers.length).toBeGreaterThan(0);
    for (const answer of answers) expect(answer).toEqual(before);
  });

  it("cannot write", async () => {
    const router = newRouter();
    const writing = router.onAll((client, shard) => insertUser(client, userOn(shard)), { deadlineMs: 10_000 });
    await expect(writing).rejects.toThrow("read-only transaction");
  });

  it("fails as a whole where one shard fails or is late, or gives what the others said", async () => {
    const router = newRouter();
    const work = async (client: pg.ClientBase, shard: number): Promise<number> => {
      if (shard === 1) await client.query("SELECT 1/0");
      if (shard === 2) await client.query("SELECT pg_sleep(60)");
      return shard;
    };
    // Connections first: on a busy machine they take longer than the deadline.
    await router.onAll(async () => undefined, { deadlineMs: 60_000 });
    const refused = await router.onAll(work, { deadlineMs: 5000 }).catch((error: unknown) => error);
    expect(refused).toBeInstanceOf(ShardsFailedError);
    const { failures, values } = refused as ShardsFailedError<number>;
    expect([...failures.keys()]).toEqual([1, 2]);
    expect([...values]).toEqual([
      [0, 0],
      [3, 3],
    ]);
    expect(failures.get(1)?.message).toBe("division by zero");
    const allowed = await router.onAll(work, { deadlineMs: 5000, partial: "allow" });
    expect([...allowed.values.keys()]).toEqual([0, 3]);
    const none = router.onAll(() => Promise.reject(new Error("no")), { deadlineMs: 5000, partial: "allow" });
    await expect(none).rejects.toThrow("4 of 4 shards failed");
    // The server does not run on with what nobody waits for.
    await eventually("nothing runs on", async () => {
      const rows = await server.query(
        "postgres",
        "SELECT FROM pg_stat_activity WHERE query LIKE '%pg_sleep(60)%' AND state = 'active' AND pid <> pg_backend_pid()",
      );
      return rows.length === 0;
    });
  });

  it("keeps its deadline while no connection is free", async () => {
    const router = newRouter({
      shards: [0, 1, 2, 3].map((shard) => ({ connectionString: server.url(shardName(shard)), max: 1 })),
    });
    let leave = (): void => undefined;
    const held = router.withShard(userOn(1), () => new Promise<void>((resolve) => (leave = resolve)));
    await eventually("the connection is taken", async () => {
      const result = await router.onAll(async () => 1, { deadlineMs: 500, partial: "allow" });
      return [...result.failures.values()].some((error) => error instanceof DeadlineError);
    });
    leave();
    await held;
  });
});

describe("the router database", () => {
  const ask = <T extends pg.QueryResultRow>(sql: string, values?: unknown[]) => server.query<T>(ROUTER, sql, values);
  const plan = async (sql: string): Promise<string> =>
    (await ask<{ "QUERY PLAN": string }>(`EXPLAIN (VERBOSE, COSTS OFF) ${sql}`))
      .map((row) => row["QUERY PLAN"])
      .join("\n");
  const build = (): Promise<void> => buildRouter(server, map, SHARDS);

  beforeAll(() => makeRouter(server, map, SHARDS));

  it("looks like one database: reads, writes, and finds each row once", async () => {
    const router = newRouter();
    const { values } = await router.onAll(
      async (client) => (await client.query("SELECT id FROM sharding.users")).rowCount ?? 0,
      { deadlineMs: 60_000 },
    );
    const [row] = await ask<{ n: number; ids: number }>(
      "SELECT count(*)::int AS n, count(DISTINCT id)::int AS ids FROM users",
    );
    const all = [...values.values()].reduce((sum, n) => sum + n, 0);
    expect(row).toEqual({ n: all, ids: all });
    const id = userOn(2);
    await ask("INSERT INTO users (id, username, email) VALUES ($1, 'routed', 'r@example.org')", [id]);
    await ask("UPDATE users SET display_name = 'R' WHERE id = $1", [id]);
    expect(await server.query(shardName(2), "SELECT username, display_name FROM users WHERE id = $1", [id])).toEqual([
      { username: "routed", display_name: "R" },
    ]);
    // Defaults are the shards'.
    const [message] = await ask<{ id: string; inserted_at: Date }>(
      "INSERT INTO messages (conversation_id, sender_id, content) VALUES (uuidv7(), $1, 'hi') RETURNING id, inserted_at",
      [id],
    );
    expect(message?.id).toMatch(/^[0-9a-f-]{36}$/);
    expect(message?.inserted_at).toBeInstanceOf(Date);
    expect(await ask("SELECT name FROM feature_flags")).toEqual([{ name: "dark" }]);
    await ask("DELETE FROM messages WHERE sender_id = $1", [id]);
  });

  it("asks one shard where the shard key is given, and all at once where it is not", async () => {
    const one = await plan(`SELECT * FROM messages WHERE sender_id = '${userOn(1)}'`);
    expect(one.match(/Foreign Scan/g)).toHaveLength(1);
    const all = await plan("SELECT * FROM users WHERE username = 'ann'");
    expect(all.match(/Async Foreign Scan/g)?.length).toBe(classesOf(map.shards).length);
    expect(all).toContain("WHERE ((username = 'ann'))");
  });

  it("leaves aggregates and joins by the shard key to the shards, no others", async () => {
    const grouped = await plan("SELECT sender_id, count(*) FROM messages GROUP BY sender_id");
    expect(grouped).toContain("GROUP BY 1");
    const joined = await plan(
      "SELECT u.username, m.content FROM users u JOIN messages m ON m.sender_id = u.id WHERE u.username = 'ann'",
    );
    expect(joined).toMatch(/Remote SQL: SELECT .* INNER JOIN/);
    // Rows come here to be counted: the shards can give no partial counts.
    const counted = await plan("SELECT count(*) FROM messages");
    expect(counted).toContain("Remote SQL: SELECT NULL FROM");
  });

  it("counts what refers to nothing", async () => {
    const id = userOn(3);
    await ask("INSERT INTO users (id, username, email) VALUES ($1, 'lone', 'l@example.org')", [id]);
    await ask("INSERT INTO group_members (group_id, user_id) VALUES (uuidv7(), $1)", [id]);
    const rows = await ask<{ child: string; parent: string; orphans: number }>(orphansSql());
    expect(rows).toHaveLength(6);
    expect(rows.find(({ child }) => child === "group_members")?.orphans).toBeGreaterThanOrEqual(1);
    expect(rows.find(({ child }) => child === "votes")).toEqual({ child: "votes", parent: "posts", orphans: 0 });
  });

  it("follows the map", async () => {
    const id = userOn(0);
    await ask("INSERT INTO users (id, username, email) VALUES ($1, 'mover', 'm@example.org')", [id]);
    await moveBucket(bucketOf(id, BUCKETS), 1);
    await build();
    // The row that was left behind does not count.
    expect(await ask("SELECT username FROM users WHERE username = 'mover'")).toEqual([{ username: "mover" }]);
    await ask("UPDATE users SET display_name = 'there' WHERE id = $1", [id]);
    expect(await server.query(shardName(1), "SELECT display_name FROM users WHERE id = $1", [id])).toEqual([
      { display_name: "there" },
    ]);
  });
});

describe("names that are unique over all shards", () => {
  it("are claimed first, and a second user is told which is taken", async () => {
    const pool = new pg.Pool({ connectionString: server.url(GLOBAL) });
    const router = newRouter();
    const directory = new Directory(pool);
    const register = (id: string, username: string, email: string, fails?: string) =>
      directory.register(id, { username, email }, () =>
        router.withShard(id, async (client) => {
          if (fails !== undefined) await client.query(fails);
          await client.query("INSERT INTO users (id, username, email) VALUES ($1, $2, $3)", [id, username, email]);
        }),
      );
    const [ann, bob] = [userOn(0), userOn(3)];
    await register(ann, "ann", "ann@example.org");
    await expect(register(bob, "ann", "bob@example.org")).rejects.toThrow(new TakenError("username"));
    await expect(register(bob, "bob", "ann@example.org")).rejects.toMatchObject({ field: "email" });
    // A row that is refused frees its names; where nobody knows, they stay until somebody looks.
    await expect(register(bob, "bob", "bob@example.org", "SELECT 1/0")).rejects.toThrow("division by zero");
    expect(await directory.find("username", "bob")).toBeNull();
    const kill = "SELECT pg_terminate_backend(pg_backend_pid())";
    await expect(register(bob, "bob", "bob@example.org", kill)).rejects.toThrow();
    expect(await directory.find("email", "bob@example.org")).toBe(bob);
    const restore = (id: string) =>
      router.withShard(
        id,
        async (client) => (await client.query("SELECT FROM users WHERE id = $1", [id])).rowCount === 1,
      );
    expect(await directory.settle(restore)).toEqual({ confirmed: 0, released: 0 });
    // Confirmed are those who came through the router database.
    expect(await directory.settle(restore, 0)).toEqual({ confirmed: 3, released: 1 });

    const update = (username: string) =>
      router.withShard(ann, (client) => client.query("UPDATE users SET username = $2 WHERE id = $1", [ann, username]));
    await directory.rename(ann, { username: "anna", email: "ann@example.org" }, () => update("anna"));
    await register(bob, "ann", "bob@example.org");
    const taken = directory.rename(bob, { username: "anna", email: "bob@example.org" }, () => update("never"));
    await expect(taken).rejects.toMatchObject({ field: "username" });
    expect(await directory.find("username", "anna")).toBe(ann);
    await pool.end();
  });
});

describe.runIf(process.env["CGRAPH_TEST_FULL"] === "1")("routing (a long drill: CGRAPH_TEST_FULL=1)", () => {
  it("costs at most 5 % over a plain connection", async () => {
    const router = newRouter();
    const plain = new pg.Pool({ connectionString: server.url(shardName(1)), max: 4 });
    const id = userOn(1);
    await router.withShard(id, (client) => insertUser(client, id));
    const question = { name: "user", text: "SELECT * FROM users WHERE id = $1", values: [id] };
    const time = async (ask: () => Promise<unknown>): Promise<number> => {
      const start = performance.now();
      for (let i = 0; i < 1000; i++) await ask();
      return performance.now() - start;
    };
    const directly = async () => {
      const client = await plain.connect();
      await client.query(question).finally(() => client.release());
    };
    const routed = () => router.withShard(id, (client) => client.query(question));
    const ratios: number[] = [];
    // Side by side, so that whatever else the machine does is in both.
    for (let round = 0; round < 30; round++) {
      const first = round % 2 === 0 ? await time(directly) : await time(routed);
      const second = round % 2 === 0 ? await time(routed) : await time(directly);
      ratios.push(round % 2 === 0 ? second / first : first / second);
    }
    await plain.end();
    const median = ratios.slice(2).sort((a, b) => a - b)[14] ?? Infinity;
    console.log(`routing: ${((median - 1) * 100).toFixed(1)} % over a plain connection`);
    expect(median).toBeLessThanOrEqual(1.05);
  });
});

describe("every sharded table", () => {
  it("takes its own rows through the router, foreign keys to the same shard checked", async () => {
    const router = newRouter();
    const user = userOn(2);
    await router.transaction(user, async (client) => {
      await insertUser(client, user);
      await client.query("INSERT INTO messages (conversation_id, sender_id, content) VALUES ($1, $2, 'hi')", [
        uuidv7(),
        user,
      ]);
      await client.query("INSERT INTO conversation_members VALUES ($1, $2)", [uuidv7(), user]);
      await client.query("INSERT INTO group_members (group_id, user_id) VALUES ($1, $2)", [uuidv7(), user]);
    });
    const nobody = userOn(2);
    const orphan = router.withShard(nobody, (client) =>
      client.query("INSERT INTO messages (conversation_id, sender_id) VALUES ($1, $2)", [uuidv7(), nobody]),
    );
    await expect(orphan).rejects.toMatchObject({ code: "23503" });
    expect(shardedTables()).toHaveLength(9);
  });
});
