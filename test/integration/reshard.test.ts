import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { DEFAULT_BUCKETS } from "../../sharding/placement.ts";
import { readMap, readOwned } from "../../sharding/publish.ts";
import { type ShardMap, assignmentOf, firstAssignment, movesBetween, rebalance } from "../../sharding/shardMap.ts";
import { ShardRouter } from "../../sharding/ShardRouter.ts";
import {
  type BucketsMove,
  type Lives,
  checkBuckets,
  cleanUp,
  clearBuckets,
  copyBuckets,
  giveBack,
  handOverBuckets,
  verifyBuckets,
} from "../../scripts/reshard/move.ts";
import type { AsOwner, Places } from "../../scripts/reshard/places.ts";
import { BrokenOff, breakingAt } from "../support/breakingOff.ts";
import { freePort } from "../support/cli.ts";
import {
  type DatabaseServer,
  GLOBAL,
  makeRouter,
  makeShards,
  placesOn,
  shardName,
  startShardServer,
} from "../support/shardServer.ts";
import { ShardedChat } from "../support/shardedChat.ts";

/** Four databases of one server; two of them have buckets to begin with. */
const SHARDS = 4;
const LEASE_MS = 10_000;
/** Moves are broken off at each question in the long drill, here at every seventh. */
const FULL = process.env["CGRAPH_TEST_FULL"] === "1";
const EVERY = FULL ? 1 : 7;
const first: ShardMap = { version: 1, shards: firstAssignment(DEFAULT_BUCKETS, 2) };
let server: DatabaseServer;
let places: Places;
let router: ShardRouter;
let chat: ShardedChat;

const quiet = (): void => undefined;

beforeAll(async () => {
  server = await startShardServer(await freePort());
  await makeShards(server, first, SHARDS);
  await makeRouter(server, first, SHARDS);
  places = placesOn(server, SHARDS);
  router = new ShardRouter({
    leaseMs: LEASE_MS,
    map: { connectionString: server.url(GLOBAL) },
    shards: Array.from({ length: SHARDS }, (_, shard) => ({ connectionString: server.url(shardName(shard)) })),
  });
  chat = new ShardedChat(router, { clients: 5, users: 200 });
  await chat.seed(5000);
}, 900_000);
afterAll(async () => {
  await router.close();
  await server.stop();
});

const currentMap = async (): Promise<ShardMap> => {
  const map = await places.global(readMap);
  if (!map) throw new Error("no map");
  return map;
};

/** Every shard's own word for what it has, and the map's, are the same. */
async function expectOwned(assignment: readonly number[]): Promise<void> {
  const owned = new Map<number, number[]>();
  for (const shard of places.shards) {
    owned.set(shard.number, (await shard.owner(readOwned))?.buckets ?? []);
  }
  expect(assignmentOf(owned, DEFAULT_BUCKETS)).toEqual(assignment);
  expect((await currentMap()).shards).toEqual(assignment);
}

/** Rows on shards that do not own them. */
async function strayRows(): Promise<number> {
  const found = await Promise.all(
    places.shards.map(({ owner }) =>
      owner(async (client) => {
        const { rows } = await client.query<{ n: number }>(
          "SELECT count(*) FILTER (WHERE NOT sharding.owns(sender_id))::int AS n FROM messages",
        );
        return rows[0]?.n ?? 0;
      }),
    ),
  );
  return found.reduce((sum, n) => sum + n, 0);
}

const streamsLeft = async (): Promise<number> =>
  (
    await server.query<{ n: number }>(
      shardName(0),
      `SELECT ((SELECT count(*) FROM pg_subscription) + (SELECT count(*) FROM pg_replication_slots)
        + (SELECT count(*) FROM pg_publication WHERE pubname LIKE 'cgraph_move%'))::int AS n`,
    )
  )[0]?.n ?? -1;

/** Places in which the command ends at the nth question to any server: before it is asked, or when it was carried out. */
function breakingOff(whole: Places, nth: number, after: boolean): { places: Places; broke: () => boolean } {
  const { faulty, broke } = breakingAt(nth, after);
  const wrap =
    (owner: AsOwner): AsOwner =>
    (work) =>
      owner((client) => work(faulty(client)));
  return {
    broke,
    places: {
      ...whole,
      shards: whole.shards.map((shard) => ({ ...shard, owner: wrap(shard.owner) })),
      global: wrap(whole.global),
      router: wrap(whole.router),
    },
  };
}

/** Rows and what becomes of them when shards are added: in the long drill, with a server of its own. */
describe.runIf(FULL)("adding shards to four (a long drill: CGRAPH_TEST_FULL=1)", () => {
  const ROWS = 200_000;
  const four: ShardMap = { version: 1, shards: firstAssignment(DEFAULT_BUCKETS, 4) };

  it.for([
    [5, 1 / 5],
    [8, 1 / 2],
  ] as const)(
    "makes %i of them, and moves its share of the rows and no more",
    { timeout: 1_800_000 },
    async ([count, share]) => {
      const own = await startShardServer(await freePort());
      try {
        await makeShards(own, four, count);
        await makeRouter(own, four, count);
        const at = placesOn(own, count);
        for (const shard of [0, 1, 2, 3]) {
          await own.query(
            shardName(shard),
            `INSERT INTO users (id, username, email) SELECT id, id::text, id || '@example.org'
             FROM (SELECT md5('user ' || n)::uuid AS id FROM generate_series(1, 20000) n) u WHERE sharding.owns(id)`,
          );
          await own.query(
            shardName(shard),
            `INSERT INTO messages (conversation_id, sender_id, content)
             SELECT md5('c' || n % 500)::uuid, id, 'message ' || n
             FROM (SELECT n, md5('user ' || 1 + n % 20000)::uuid AS id FROM generate_series(1, ${ROWS}) n) m WHERE sharding.owns(id)`,
          );
        }
        const buckets: BucketsMove = {
          before: four.shards,
          after: rebalance(
            four.shards,
            Array.from({ length: count }, (_, n) => n),
          ),
        };
        let lives: Lives = {};
        const keep = (now: Lives): void => void (lives = now);
        await copyBuckets(at, buckets, lives, keep, quiet);
        await verifyBuckets(at, buckets, lives, keep, quiet);
        await handOverBuckets(at, buckets, lives, keep, quiet);
        const rows = await Promise.all(
          Array.from({ length: count }, async (_, shard) => {
            const [found] = await own.query<{ own: number; all: number }>(
              shardName(shard),
              "SELECT count(*) FILTER (WHERE sharding.owns(sender_id))::int AS own, count(*)::int AS all FROM messages",
            );
            return found ?? { own: 0, all: 0 };
          }),
        );
        expect(rows.reduce((sum, found) => sum + found.own, 0)).toBe(ROWS);
        const moved = rows.slice(4).reduce((sum, found) => sum + found.own, 0);
        // Those that were there gave, and got nothing.
        expect(rows.slice(0, 4).reduce((sum, found) => sum + found.all, 0)).toBe(ROWS);
        const most = Math.max(...rows.map((found) => found.own)) / (ROWS / count);
        console.log(
          `4 to ${count}: ${moved} of ${ROWS} rows moved (${((moved / ROWS) * 100).toFixed(1)} %), largest shard ${most.toFixed(3)} of the mean`,
        );
        expect(Math.abs(moved / ROWS - share)).toBeLessThan(0.02);
        await cleanUp(at, buckets, quiet, 0);
      } finally {
        await own.stop();
      }
    },
  );
});

describe("moving buckets while they are in use", () => {
  const move: BucketsMove = { before: first.shards, after: rebalance(first.shards, [0, 1, 2, 3]) };
  let lives: Lives = {};
  const remember = (now: Lives): void => void (lives = now);

  beforeAll(() => chat.start());

  it("from two shards to four moves half, loses nothing, doubles nothing, shows no client an error", async () => {
    expect(movesBetween(move.before, move.after)).toHaveLength(128);
    await checkBuckets(places, move);
    await copyBuckets(places, move, lives, remember, quiet);
    await verifyBuckets(places, move, lives, remember, quiet);
    chat.markPauses();
    await handOverBuckets(places, move, lives, remember, quiet);
    await sleep(1000);
    const report = await chat.stop();
    console.log(
      `writes ${report.writes}, longest pause ${Math.round(report.longestPauseMs)} ms, longest transaction ${Math.round(report.longestMs)} ms`,
    );
    expect(report.errors).toEqual([]);
    await expectOwned(move.after);
    expect(await chat.difference()).toEqual({ lost: 0, doubled: 0, wrong: 0 });
    // The way back is open: the old rows are there.
    expect(await strayRows()).toBeGreaterThan(0);
  }, 300_000);

  it("is taken back with what was written since", async () => {
    chat.start();
    await sleep(1000);
    await giveBack(places, move, lives, quiet);
    await sleep(500);
    expect((await chat.stop()).errors).toEqual([]);
    await expectOwned(move.before);
    expect(await chat.difference()).toEqual({ lost: 0, doubled: 0, wrong: 0 });
    await clearBuckets(places, move, quiet);
    expect(await strayRows()).toBe(0);
    expect(await streamsLeft()).toBe(0);
  }, 300_000);

  it("again, for good: what was moved is cleared away from where it was", async () => {
    chat.start();
    lives = {};
    await checkBuckets(places, move);
    await copyBuckets(places, move, lives, remember, quiet);
    await verifyBuckets(places, move, lives, remember, quiet);
    await handOverBuckets(places, move, lives, remember, quiet);
    await cleanUp(places, move, quiet, LEASE_MS + 1000);
    expect((await chat.stop()).errors).toEqual([]);
    await expectOwned(move.after);
    expect(await chat.difference()).toEqual({ lost: 0, doubled: 0, wrong: 0 });
    expect(await strayRows()).toBe(0);
    expect(await streamsLeft()).toBe(0);
  }, 300_000);

  it("that breaks off at a question to any server, answered or not, goes on and is taken back", async () => {
    const { shards } = await currentMap();
    // A whole shard's: the router's tables stay few.
    const small: BucketsMove = { before: shards, after: shards.map((shard) => (shard === 3 ? 2 : shard)) };
    lives = {};
    chat.start();
    await copyBuckets(places, small, lives, remember, quiet);
    await verifyBuckets(places, small, lives, remember, quiet);
    /** Has `work` broken off at every question, and looks that whoever comes after it can go both ways. */
    const breaking = async (
      prepare: () => Promise<unknown>,
      work: (places: Places) => Promise<unknown>,
    ): Promise<number> => {
      let breaks = 0;
      for (const after of [false, true]) {
        for (let at = after ? 1 : 2; ; at += EVERY) {
          await prepare();
          const broken = breakingOff(places, at, after);
          await work(broken.places).catch((error: unknown) => {
            if (!(error instanceof BrokenOff)) throw error;
          });
          if (!broken.broke()) break;
          breaks++;
          if (breaks % 2 === 0) await there(places);
          await back(places);
          await expectOwned(small.before);
        }
      }
      return breaks;
    };
    const there = (at: Places) => handOverBuckets(at, small, lives, remember, quiet);
    const back = (at: Places) => giveBack(at, small, lives, quiet);
    const forward = await breaking(() => back(places), there);
    const backward = await breaking(() => there(places), back);
    await back(places);
    console.log(`broken off ${forward} times on the way there, ${backward} on the way back`);
    expect(forward).toBeGreaterThan(40 / EVERY);
    expect(backward).toBeGreaterThan(40 / EVERY);
    expect((await chat.stop()).errors).toEqual([]);
    expect(await chat.difference()).toEqual({ lost: 0, doubled: 0, wrong: 0 });
    await clearBuckets(places, small, quiet);
    expect(await streamsLeft()).toBe(0);
  }, 1_800_000);
});
