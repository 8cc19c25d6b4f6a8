/** Copying half of a shard's rows to another while both are kept in step, beside pg_dump and pg_restore of the same rows. */
import { setTimeout as sleep } from "node:timers/promises";
import type { ClientBase } from "pg";
import { type BucketsMove, type Lives, clearBuckets, copyBuckets } from "../scripts/reshard/move.ts";
import { ShardRouter } from "../sharding/ShardRouter.ts";
import { DEFAULT_BUCKETS } from "../sharding/placement.ts";
import { firstAssignment, rebalance } from "../sharding/shardMap.ts";
import { freePort } from "../test/support/cli.ts";
import {
  type DatabaseServer,
  GLOBAL,
  makeRouter,
  makeShards,
  placesOn,
  shardName,
  startShardServer,
} from "../test/support/shardServer.ts";
import type { Report } from "./report.ts";

export interface ReshardOptions {
  readonly runs: number;
  /** Messages of the shard of which half move. */
  readonly messages: number;
  /** Messages of each of the shards that are asked together. */
  readonly asked: number;
  readonly onProgress: (text: string) => void;
}

const USERS = 20_000;
const SETTINGS =
  "-c shared_buffers=1GB -c max_wal_size=8GB -c maintenance_work_mem=512MB -c work_mem=64MB -c checkpoint_timeout=15min";

/** Users and messages of those that are the shard's own. */
async function seed(server: DatabaseServer, shard: number, messages: number): Promise<void> {
  await server.query(
    shardName(shard),
    `INSERT INTO users (id, username, email) SELECT id, id::text, id || '@example.org'
       FROM (SELECT md5('user ' || n)::uuid AS id FROM generate_series(1, ${USERS}) n) u WHERE sharding.owns(id)`,
  );
  await server.query(
    shardName(shard),
    `INSERT INTO messages (conversation_id, sender_id, content)
       SELECT md5('conversation ' || n % 5000)::uuid, u.ids[1 + n % cardinality(u.ids)],
         'message ' || n || ' well i think that is a good idea, see you there at eight'
       FROM generate_series(1, ${messages}) n, (SELECT array_agg(id) AS ids FROM users) u`,
  );
  await server.query(shardName(shard), "VACUUM ANALYZE");
}

const countOf = async (server: DatabaseServer, database: string): Promise<number> =>
  (await server.query<{ n: number }>(database, "SELECT count(*)::int AS n FROM messages"))[0]?.n ?? 0;

const seconds = async (work: () => Promise<unknown>): Promise<number> => {
  const began = performance.now();
  await work();
  return (performance.now() - began) / 1000;
};

interface Copied {
  readonly rows: number;
  readonly moveSeconds: number;
  readonly dumpSeconds: number;
}

/** Rows, and how long each way took. What the move brought is dumped and restored, so that both have the same rows. */
async function copyOnce(server: DatabaseServer, move: BucketsMove): Promise<Copied> {
  const places = placesOn(server, 2);
  let lives: Lives = {};
  const quiet = (): void => undefined;
  const moveSeconds = await seconds(() => copyBuckets(places, move, lives, (now) => void (lives = now), quiet));
  const rows = await countOf(server, shardName(1));
  const dumpSeconds = await seconds(() =>
    server.bash(`rm -rf /tmp/dump; export PGHOST=/tmp PGUSER=postgres
      pg_dump --format=directory --jobs=2 --compress=lz4 --no-publications --no-subscriptions --file=/tmp/dump ${shardName(1)}
      createdb restored && pg_restore --jobs=2 --dbname=restored /tmp/dump && psql -qc 'ANALYZE' restored`),
  );
  if ((await countOf(server, "restored")) !== rows) throw new Error("the restored copy has other rows");
  await server.query("postgres", "DROP DATABASE restored");
  await clearBuckets(places, move, quiet);
  for (const shard of [0, 1]) await server.query(shardName(shard), "VACUUM ANALYZE");
  return { rows, moveSeconds, dumpSeconds };
}

interface Asked {
  readonly shards: number;
  readonly allMs: number;
  readonly slowestMs: number;
}

const AGGREGATE = "SELECT sender_id, count(*) FROM sharding.messages GROUP BY sender_id ORDER BY 2 DESC LIMIT 10";

/** All shards asked at once, beside the slowest of them asked alone. */
async function askOnce(server: DatabaseServer, shards: number): Promise<Asked> {
  const router = new ShardRouter({
    map: { connectionString: server.url(GLOBAL) },
    shards: Array.from({ length: shards }, (_, shard) => ({ connectionString: server.url(shardName(shard)) })),
  });
  try {
    const ask = (client: ClientBase) => client.query(AGGREGATE);
    const all = () => router.onAll(ask, { deadlineMs: 120_000 });
    await all();
    const allMs = (await seconds(all)) * 1000;
    const alone: number[] = [];
    for (let shard = 0; shard < shards; shard++)
      alone.push((await seconds(() => server.query(shardName(shard), AGGREGATE))) * 1000);
    return { shards, allMs, slowestMs: Math.max(...alone) };
  } finally {
    await router.close();
  }
}

/** `bench reshard`: rows a second of a move's copy, and what asking all shards costs. */
export async function benchReshard({ runs, messages, asked, onProgress }: ReshardOptions): Promise<Report> {
  const copies: Copied[] = [];
  const answers: Asked[] = [];
  const server = await startShardServer(await freePort(), SETTINGS);
  try {
    const before = firstAssignment(DEFAULT_BUCKETS, 1);
    await makeShards(server, { version: 1, shards: before }, 2);
    await makeRouter(server, { version: 1, shards: before }, 2);
    await seed(server, 0, messages);
    onProgress(`${messages} messages are there`);
    for (let round = 1; round <= runs; round++) {
      const copied = await copyOnce(server, { before, after: rebalance(before, [0, 1]) });
      copies.push(copied);
      onProgress(
        `round ${round}: ${copied.rows} rows, ${copied.moveSeconds.toFixed(0)} s; dumped and restored ${copied.dumpSeconds.toFixed(0)} s`,
      );
      // What autovacuum and the checkpointer make of it is not the next one's.
      await sleep(5000);
    }
  } finally {
    await server.stop();
  }
  for (const shards of [2, 4]) {
    const many = await startShardServer(await freePort(), SETTINGS);
    try {
      await makeShards(many, { version: 1, shards: firstAssignment(DEFAULT_BUCKETS, shards) }, shards);
      for (let shard = 0; shard < shards; shard++) await seed(many, shard, asked);
      for (let round = 1; round <= runs; round++) answers.push(await askOnce(many, shards));
      onProgress(`${shards} shards asked`);
    } finally {
      await many.stop();
    }
  }
  const rate = (of: (copied: Copied) => number): number[] => copies.map((copied) => copied.rows / of(copied));
  return {
    name: "reshard",
    title: "Half of a shard moves to a new one; all shards are asked at once",
    date: new Date().toISOString(),
    method: [
      "Shards are databases of one server, so both ways share its CPUs and its disk. The move's copy: first copy by logical replication, indexes, both streams caught up. Beside it pg_dump (directory, two jobs) and pg_restore (two jobs) of the same rows, with indexes and ANALYZE.",
      "All shards: an aggregate over every message, by onAll in parallel; beside it the slowest shard, asked alone.",
    ],
    panels: [
      {
        title: "Rows copied a second, indexes included",
        unit: "rows/s",
        groups: [
          {
            title: `${messages} messages`,
            series: [
              { name: "move", values: rate(({ moveSeconds }) => moveSeconds) },
              { name: "pg_dump and pg_restore", values: rate(({ dumpSeconds }) => dumpSeconds) },
            ],
          },
        ],
      },
      {
        title: "An aggregate over all messages, milliseconds",
        unit: "ms",
        groups: [2, 4].map((shards) => {
          const own = answers.filter((one) => one.shards === shards);
          return {
            title: `${shards} shards of ${asked} messages`,
            series: [
              { name: "onAll", values: own.map(({ allMs }) => allMs) },
              { name: "slowest shard alone", values: own.map(({ slowestMs }) => slowestMs) },
            ],
          };
        }),
      },
    ],
    facts: { copies, answers },
  };
}
