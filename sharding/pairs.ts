/** Which shards give buckets to which others when the map changes, and in what order. Pure. */
import { type BucketMove, classesOf, type BucketClass } from "./shardMap.ts";

/** All buckets that go from one shard to another. */
export interface Pair {
  readonly from: number;
  readonly to: number;
  /** Ascending. */
  readonly buckets: readonly number[];
}

/** Moves by giver and taker, ascending. */
export function pairsOf(moves: readonly BucketMove[]): Pair[] {
  const pairs = new Map<string, Pair & { buckets: number[] }>();
  for (const { bucket, from, to } of moves) {
    const key = `${from} ${to}`;
    const pair = pairs.get(key) ?? { from, to, buckets: [] };
    pair.buckets.push(bucket);
    pairs.set(key, pair);
  }
  return [...pairs.values()].sort((a, b) => a.from - b.from || a.to - b.to);
}

/**
 * Pairs in rounds in which no shard gives to two others or takes from two: a server's workers, and its disk, serve one copy
 * at a time.
 */
export function roundsOf(pairs: readonly Pair[]): Pair[][] {
  const rounds: { givers: Set<number>; takers: Set<number>; pairs: Pair[] }[] = [];
  for (const pair of pairs) {
    let round = rounds.find(({ givers, takers }) => !givers.has(pair.from) && !takers.has(pair.to));
    if (!round) rounds.push((round = { givers: new Set(), takers: new Set(), pairs: [] }));
    round.givers.add(pair.from);
    round.takers.add(pair.to);
    round.pairs.push(pair);
  }
  return rounds.map((round) => round.pairs);
}

/** The fewest classes that are exactly these of so many buckets: short row filters. */
export function coverOf(buckets: readonly number[], bucketCount: number): Omit<BucketClass, "shard">[] {
  const inside = new Set(buckets);
  return classesOf(Array.from({ length: bucketCount }, (_, bucket) => (inside.has(bucket) ? 1 : 0)))
    .filter(({ shard }) => shard === 1)
    .map(({ modulus, remainder }) => ({ modulus, remainder }));
}
