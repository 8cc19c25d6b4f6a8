import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";

import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ChatLoad, NO_DIFFERENCE } from "../../bench/chatLoad.ts";
import { convert as partition } from "../../migration/partitions/run.ts";
import { MESSAGES } from "../../migration/partitions/sql.ts";
import { globalSchema, wholeSchema } from "../../scripts/lib/schemaParts.ts";
import type { AsOwner } from "../../scripts/reshard/places.ts";
import { type Kept, convert, readKept, revert } from "../../scripts/toShards/convert.ts";
import {
  type JoinLife,
  type JoinPlaces,
  isJoined,
  join,
  missingOf,
  unjoin,
  whileJoined,
} from "../../scripts/toShards/join.ts";
import { DEFAULT_BUCKETS } from "../../sharding/placement.ts";
import { readOwned } from "../../sharding/publish.ts";
import { unfollowUsersSql } from "../../sharding/joinSql.ts";
import { globalTriggersSql } from "../../sharding/shardSql.ts";
import { BrokenOff, breakingAt } from "../support/breakingOff.ts";
import { freePort } from "../support/cli.ts";
import { type DatabaseServer, GLOBAL, makeDatabase, startShardServer, withClient } from "../support/shardServer.ts";

/** The command ends at each question in the long drill, here at every 17th. */
const EVERY = process.env["CGRAPH_TEST_FULL"] === "1" ? 1 : 17;
const WHOLE = "whole";
const OLD_MESSAGES = 3000;
let server: DatabaseServer;

const quiet = (): void => undefined;
const owner: AsOwner = (work) => withClient(server, WHOLE, work);

/** Everything that a database's tables are: columns, constraints, indexes, triggers, functions. */
const shape = (): Promise<unknown> =>
  owner(async (client) => {
    const { rows } = await client.query<{ line: string }>(`
      SELECT format('%s %s %s', conrelid::regclass, conname, pg_get_constraintdef(oid)) AS line FROM pg_constraint
        WHERE connamespace = 'public'::regnamespace AND NOT (contype = 'f' AND conparentid <> 0)
      UNION ALL SELECT regexp_replace(pg_get_indexdef(indexrelid), 'USING', 'USING') FROM pg_index JOIN pg_class c ON c.oid = indexrelid
        WHERE relnamespace = 'public'::regnamespace
      UNION ALL SELECT pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal
      UNION ALL SELECT oid::regprocedure::text FROM pg_proc WHERE pronamespace IN
        (SELECT oid FROM pg_namespace WHERE nspname IN ('public', 'sharding'))
      ORDER BY 1`);
    return rows.map(({ line }) => line);
  });

beforeAll(async () => {
  server = await startShardServer(await freePort());
  await makeDatabase(server, WHOLE, wholeSchema());
  await makeDatabase(server, GLOBAL, globalSchema());
  await owner(async (client) => {
    await client.query(ChatLoad.seedSql(OLD_MESSAGES));
    await client.query("INSERT INTO settings (key, value) VALUES ('motd', '\"hi\"'), ('limit', '3')");
    await client.query("INSERT INTO forums (name) SELECT 'forum ' || n FROM generate_series(1, 20) n");
    await partition(client, MESSAGES, { premakeMonths: 2, onProgress: quiet });
    await client.query("DROP TABLE messages_unpartitioned");
  });
}, 300_000);
afterAll(() => server.stop());

describe("a database in use", () => {
  let before: unknown;
  let load: ChatLoad;

  beforeAll(async () => {
    before = await shape();
    load = new ChatLoad(server.url(WHOLE), { clients: 6, oldMessages: OLD_MESSAGES, perSecond: 60 }).start();
    expect(await load.progress(50, 30_000)).toBe(true);
  });

  it("becomes shard 0 with all buckets, and no client notices", async () => {
    // Indexes wait for whoever looks at the database as it was, for longer than the owner waits for locks elsewhere.
    const looking = withClient(server, WHOLE, async (client) => {
      await client.query("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT FROM users LIMIT 1");
      await sleep(1500);
    });
    await owner(async (client) => {
      await client.query("SET lock_timeout = '500ms'");
      await convert(client, DEFAULT_BUCKETS, quiet);
    });
    await looking;
    expect((await owner(readOwned))?.buckets).toHaveLength(DEFAULT_BUCKETS);
    const left = await owner(readKept);
    expect(left).toEqual({ foreignKeys: [], primaryKeys: [] });
    // A row without its parent on this shard is what shards are about; one of the same shard is still refused.
    const message = (sender: string) =>
      owner((client) =>
        client.query("INSERT INTO messages (conversation_id, sender_id) VALUES ($1, $2)", [randomUUID(), sender]),
      );
    const [user] = await server.query<{ id: string }>(WHOLE, "SELECT id FROM users LIMIT 1");
    await message(user?.id ?? "");
    await expect(message(randomUUID())).rejects.toMatchObject({ code: "23503" });
  });

  it("broken off anywhere goes on, and becomes what it was, foreign keys and all", async () => {
    // What the dropped key would have refused.
    await owner((client) =>
      client.query("DELETE FROM messages WHERE conversation_id NOT IN (SELECT id FROM conversations)"),
    );
    await owner((client) => revert(client, kept, quiet));
    expect(await shape()).toEqual(before);
    let breaks = 0;
    for (const after of [false, true]) {
      for (let at = 1; ; at += EVERY) {
        const there = breakingAt(at, after);
        const back = breakingAt(at, after);
        const off = (error: unknown): void => {
          if (!(error instanceof BrokenOff)) throw error;
        };
        await owner((client) => convert(there.faulty(client), DEFAULT_BUCKETS, quiet)).catch(off);
        await owner((client) => convert(client, DEFAULT_BUCKETS, quiet));
        await owner((client) => revert(back.faulty(client), kept, quiet)).catch(off);
        await owner((client) => revert(client, kept, quiet));
        breaks++;
        expect(await shape()).toEqual(before);
        if (!there.broke() && !back.broke()) break;
      }
    }
    console.log(`broken off ${breaks} times`);
    expect(breaks).toBeGreaterThan(20 / EVERY);
    const report = await load.stop();
    expect([report.errors, report.messages]).toEqual([0, []]);
    expect(await owner((client) => load.difference(client))).toEqual(NO_DIFFERENCE);
  }, 900_000);

  let kept: Kept;
  beforeAll(async () => {
    kept = await owner(readKept);
    expect(kept.foreignKeys.length).toBeGreaterThan(4);
    expect(kept.primaryKeys.map(({ table }) => table)).toEqual(["messages", "posts"]);
  });
});

describe("the global database", () => {
  let places: JoinPlaces;
  let life: JoinLife;
  let stopped = false;
  let busy: Promise<void>;
  const each =
    (database: string) =>
    (statements: readonly string[]): Promise<string> =>
      withClient(server, database, async (client) => {
        for (const statement of statements) await client.query(statement);
        return "";
      });

  beforeAll(async () => {
    await owner((client) => convert(client, DEFAULT_BUCKETS, quiet));
    places = {
      first: { number: 0, owner, superuser: each(WHOLE), conninfo: server.conninfo(WHOLE) },
      global: (work) => withClient(server, GLOBAL, work),
      globalSuperuser: each(GLOBAL),
      streamRole: "postgres",
    };
    // Users come, get other names and go; settings change.
    busy = owner(async (client) => {
      for (let n = 0; !stopped; n++) {
        const id = randomUUID();
        await client.query("INSERT INTO users (id, username, email) VALUES ($1, $2, $2)", [id, `new ${n}`]);
        await client.query("UPDATE users SET username = $2 WHERE id = $1", [id, `newer ${n}`]);
        if (n % 3 === 0) await client.query("DELETE FROM users WHERE id = $1", [id]);
        await client.query("UPDATE settings SET value = to_jsonb($1::int) WHERE key = 'limit'", [n]);
        await sleep(5);
      }
    });
  });

  it("gets global tables and the directory of names while they change, and keeps them", async () => {
    life = await join(places, undefined, quiet);
    expect(await isJoined(places, life)).toBe(true);
    await sleep(500);
    stopped = true;
    await busy;
    const missing = await whileJoined(places, life, (clients) => missingOf(clients, 10_000));
    expect(missing).toEqual([]);
    const names = "SELECT md5(string_agg(ROW(id, username, email)::text, ',' ORDER BY id)) AS sum FROM";
    const [here] = await server.query(WHOLE, `${names} users`);
    const [there] = await server.query(
      GLOBAL,
      `${names} (SELECT user_id AS id, username, email FROM user_directory) d`,
    );
    expect(there).toEqual(here);
  });

  it("begins anew where nobody kept the directory for a while", async () => {
    await owner((client) => client.query(unfollowUsersSql));
    await server.query(WHOLE, "INSERT INTO users (username, email) VALUES ('unseen', 'unseen@example.org')");
    life = await join(places, life, quiet);
    const who = "SELECT username FROM user_directory WHERE email = 'unseen@example.org'";
    expect(await server.query(GLOBAL, who)).toEqual([{ username: "unseen" }]);
  });

  it("is noticed where it lacks something", async () => {
    await server.query(GLOBAL, "DELETE FROM settings WHERE key = 'motd'");
    const missing = await whileJoined(places, life, (clients) => missingOf(clients, 10_000));
    expect(missing).toEqual(["settings: 2 rows on shard 0, 1 in the global database"]);
  });

  it("begins anew where the stream is not the one that began, and leaves nothing when it ends", async () => {
    const other = { ...life, global: "another life" };
    expect(await whileJoined(places, other, () => Promise.resolve(1))).toBeUndefined();
    life = await join(places, other, quiet);
    expect(await whileJoined(places, life, (clients) => missingOf(clients, 10_000))).toEqual([]);
    await unjoin(places);
    await unjoin(places);
    const [left] = await server.query<{ n: number }>(
      WHOLE,
      `SELECT ((SELECT count(*) FROM pg_subscription) + (SELECT count(*) FROM pg_replication_slots)
        + (SELECT count(*) FROM pg_publication WHERE pubname LIKE 'cgraph_join%')
        + (SELECT count(*) FROM pg_replication_origin) + (SELECT count(*) FROM pg_class WHERE relname = 'user_directory'))::int AS n`,
    );
    expect(left).toEqual({ n: 0 });
  });

  it("has the writes of global tables from then on: shard 0 refuses them", async () => {
    await owner((client) => client.query(globalTriggersSql()));
    await expect(owner((client) => client.query("UPDATE settings SET value = '1'"))).rejects.toMatchObject({
      code: "SH003",
    });
  });
});
