/** What the steps of a move of buckets do, whatever the move is for. Each can be repeated. */
import { setTimeout as sleep } from "node:timers/promises";
import { MOVED_ROWS_STAY_MS } from "../../sharding/MapCache.ts";
import { backOf, bucketsFilterSql, forwardOf, streamName } from "../../sharding/moveSql.ts";
import { type Pair, pairsOf, roundsOf } from "../../sharding/pairs.ts";
import { readMap } from "../../sharding/publish.ts";
import { dropOldClassViewsSql } from "../../sharding/routerSql.ts";
import { movesBetween } from "../../sharding/shardMap.ts";
import { shardedTables } from "../../sharding/tables.ts";
import { EXIT, UserError } from "../../tuning/errors.ts";
import { type PairLives, clearPair, copyPair, deleteForeign } from "./copy.ts";
import { handOver } from "./handOver.ts";
import { type Places, patiently, shardPlace } from "./places.ts";
import { removeStream } from "./streams.ts";
import { comparePair } from "./verify.ts";

/** From one assignment of buckets to another. */
export interface BucketsMove {
  readonly before: readonly number[];
  readonly after: readonly number[];
}

/** What a move has to know again when it is gone on with: the lives of each pair's streams, by name. */
export type Lives = Readonly<Record<string, PairLives>>;

type Detail = (text: string) => void;

/** How often a pair is copied anew because a server was replaced meanwhile. */
const COPIES = 3;

const nameOf = (pair: Pair): string => streamName(forwardOf(pair));
const allPairs = ({ before, after }: BucketsMove): Pair[] => roundsOf(pairsOf(movesBetween(before, after))).flat();

/** Refuses where shards hold rows of the buckets that they are to get, or where another move has left its streams. */
export async function checkBuckets(places: Places, move: BucketsMove): Promise<void> {
  for (const pair of allPairs(move)) {
    await shardPlace(places, pair.to).owner(async (client) => {
      const { rows: left } = await client.query<{ name: string }>(
        "SELECT subname AS name FROM pg_subscription WHERE starts_with(subname, 'cgraph_move_')",
      );
      if (left[0]) {
        throw new UserError(
          `shard ${pair.to} has a subscription of another move: ${left[0].name}`,
          "finish that move first: ./cgraph-db reshard --resume",
          EXIT.refused,
        );
      }
      const { rows } = await client.query<{ held: string }>(
        shardedTables()
          .map(
            ({ name, shardKey }) =>
              `SELECT '${name}' AS held WHERE EXISTS (SELECT FROM public.${name} WHERE ${bucketsFilterSql(shardKey, pair.buckets, move.before.length)})`,
          )
          .join(" UNION ALL "),
      );
      if (rows.length === 0) return;
      throw new UserError(
        `shard ${pair.to} already holds rows of buckets that are shard ${pair.from}'s: ${rows.map(({ held }) => held).join(", ")}`,
        "an earlier move has left them: look at them, then delete them",
        EXIT.refused,
      );
    });
  }
}

/** Copies all that moves, round by round; `remember` is told of each pair as soon as it is there. */
export async function copyBuckets(
  places: Places,
  move: BucketsMove,
  before: Lives,
  remember: (lives: Lives) => void,
  detail: Detail,
): Promise<Lives> {
  let lives = before;
  for (const round of roundsOf(pairsOf(movesBetween(move.before, move.after)))) {
    await Promise.all(
      round.map(async (pair) => {
        const made = await copyPair(places, pair, move.before.length, before[nameOf(pair)], detail);
        lives = { ...lives, [nameOf(pair)]: made };
        remember(lives);
      }),
    );
  }
  return lives;
}

/** Compares all that was copied. A pair whose servers were replaced meanwhile is copied anew. */
export async function verifyBuckets(
  places: Places,
  move: BucketsMove,
  before: Lives,
  remember: (lives: Lives) => void,
  detail: Detail,
): Promise<Lives> {
  let lives = before;
  for (const pair of allPairs(move)) {
    for (let tries = 1; ; tries++) {
      lives = {
        ...lives,
        [nameOf(pair)]: await copyPair(places, pair, move.before.length, lives[nameOf(pair)], detail),
      };
      remember(lives);
      const found = await patiently(() => comparePair(places, pair, move.before.length, detail));
      if (found.length === 0) break;
      if (tries === COPIES) {
        throw new UserError(
          `what shard ${pair.to} has got is not what shard ${pair.from} has:\n  ${found.slice(0, 10).join("\n  ")}`,
          "--rollback takes the move back; nothing was taken from any shard",
          EXIT.failed,
        );
      }
      // Somebody was replaced between the look at it and the comparison, or rows were lost: anew.
      await clearPair(places, pair, move.before.length);
      lives = Object.fromEntries(Object.entries(lives).filter(([name]) => name !== nameOf(pair)));
    }
  }
  return lives;
}

/** Hands all buckets over, pair by pair; gives for how long the router's clients were held each time, in milliseconds. */
export async function handOverBuckets(
  places: Places,
  move: BucketsMove,
  before: Lives,
  remember: (lives: Lives) => void,
  detail: Detail,
): Promise<number[]> {
  const held: number[] = [];
  let lives = before;
  for (const pair of allPairs(move)) {
    for (let tries = 1; ; tries++) {
      detail(`shard ${pair.from} to ${pair.to}: ${pair.buckets.length} buckets`);
      const result = await patiently(() => handOver(places, forwardOf(pair), lives[nameOf(pair)]?.forward, detail));
      if (result.done) {
        held.push(result.heldMs);
        break;
      }
      if (tries === COPIES) {
        throw new UserError(
          `the changes of shard ${pair.from} do not arrive at shard ${pair.to}`,
          "see ./cgraph-db logs, then --resume, or --rollback",
          EXIT.failed,
        );
      }
      lives = await verifyBuckets(places, { before: move.before, after: only(move, pair) }, lives, remember, detail);
    }
  }
  return held;
}

/** The assignment in which only this pair's buckets have moved. */
const only = ({ before }: BucketsMove, { buckets, to }: Pair): number[] =>
  before.map((shard, bucket) => (buckets.includes(bucket) ? to : shard));

/** Gives all buckets back to where they were, with what was written since. */
export async function giveBack(places: Places, move: BucketsMove, lives: Lives, detail: Detail): Promise<void> {
  for (const pair of allPairs(move).reverse()) {
    detail(`shard ${pair.to} back to ${pair.from}: ${pair.buckets.length} buckets`);
    const result = await patiently(() => handOver(places, backOf(pair), lives[nameOf(pair)]?.back, detail));
    if (result.done) continue;
    throw new UserError(
      `shard ${pair.from} does not have what was written on shard ${pair.to} since: a server was replaced meanwhile`,
      "there is no way back without losing that: go on with --resume",
      EXIT.refused,
    );
  }
}

/** Removes streams, and what they have brought; only while the givers have the buckets. */
export async function clearBuckets(places: Places, move: BucketsMove, detail: Detail): Promise<void> {
  for (const pair of allPairs(move).reverse()) {
    detail(`shard ${pair.from} to ${pair.to}`);
    await clearPair(places, pair, move.before.length);
  }
}

/** Removes streams, and from the givers the rows that are others' now, once no client can still have an old map. */
export async function cleanUp(
  places: Places,
  move: BucketsMove,
  detail: Detail,
  graceMs: number = MOVED_ROWS_STAY_MS,
): Promise<void> {
  const { rows } = await places.global((client) =>
    client.query<{ age: number }>(
      "SELECT (extract(epoch FROM clock_timestamp() - max(published_at)) * 1000)::float8 AS age FROM sharding.maps",
    ),
  );
  const waitMs = Math.max(0, graceMs - (rows[0]?.age ?? 0));
  if (waitMs > 0) detail(`clients may have an old map for ${Math.ceil(waitMs / 1000)} s more`);
  await sleep(waitMs);
  for (const pair of allPairs(move)) {
    detail(`shard ${pair.from}: rows that are shard ${pair.to}'s now`);
    await removeStream(places, backOf(pair));
    await removeStream(places, forwardOf(pair));
    await deleteForeign(places, pair.from, pair.buckets, move.before.length);
  }
  const map = await places.global(readMap);
  for (const shard of places.shards) {
    await shard.owner((client) => client.query(dropOldClassViewsSql(shard.number, map?.shards ?? move.after)));
  }
}
