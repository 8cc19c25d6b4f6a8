/** The shard map: which shard has which bucket, and how it grows with the fewest moves. Pure. */
import { UserError } from "../tuning/errors.ts";
import { checkBuckets } from "./placement.ts";

/** One version of the map. Never changed: another assignment is another version. */
export interface ShardMap {
  /** From 1 on, one more with each change. */
  readonly version: number;
  /** The shard of each bucket, by bucket. */
  readonly shards: readonly number[];
}

/** One bucket that goes from shard to shard. */
export interface BucketMove {
  readonly bucket: number;
  readonly from: number;
  readonly to: number;
}

/** Buckets that are alike in their low bits: what `PARTITION BY HASH` calls a modulus and a remainder. */
export interface BucketClass {
  readonly shard: number;
  readonly modulus: number;
  readonly remainder: number;
}

/** Refuses a number of shards that is no whole number from 1 to the number of buckets. Throws a UserError. */
export function checkShardCount(count: number, buckets: number): void {
  checkBuckets(buckets);
  if (Number.isInteger(count) && count >= 1 && count <= buckets) return;
  throw new UserError(
    `${count} shards: ${buckets} buckets can be given to a whole number of shards from 1 to ${buckets}`,
    "set cgraph:shards to such a number",
  );
}

/** Refuses an assignment that is not one shard (a whole number from 0) for each bucket. Throws a UserError. */
export function checkAssignment(shards: readonly (number | null | undefined)[]): asserts shards is readonly number[] {
  checkBuckets(shards.length);
  // Not `find`: a hole in the list counts as a bucket without a shard.
  for (let bucket = 0; bucket < shards.length; bucket++) {
    const shard = shards[bucket];
    if (shard === null || shard === undefined) {
      throw new UserError(`bucket ${bucket} has no shard`, "give every bucket exactly one");
    }
    if (!Number.isInteger(shard) || shard < 0) {
      throw new UserError(`bucket ${bucket} is given to shard ${shard}`, "number shards from 0 on");
    }
  }
}

/**
 * The assignment that follows from what each shard says it owns. Throws a UserError that names a bucket which nobody or
 * more than one owns.
 */
export function assignmentOf(owned: ReadonlyMap<number, Iterable<number>>, buckets: number): number[] {
  checkBuckets(buckets);
  const shards = new Array<number | undefined>(buckets).fill(undefined);
  for (const [shard, own] of owned) {
    for (const bucket of own) {
      if (!Number.isInteger(bucket) || bucket < 0 || bucket >= buckets) {
        throw new UserError(`shard ${shard} owns bucket ${bucket}; there are 0 to ${buckets - 1}`, "take it from it");
      }
      const other = shards[bucket];
      if (other !== undefined && other !== shard) {
        throw new UserError(`bucket ${bucket} has two shards, ${other} and ${shard}`, "take it from one of them");
      }
      shards[bucket] = shard;
    }
  }
  const whole: readonly (number | undefined)[] = shards;
  checkAssignment(whole);
  return [...whole];
}

/**
 * Buckets by their bits backwards: here those that are alike in their low bits stand together, so that what stands
 * together is few classes.
 */
function byReversedBits(buckets: number): number[] {
  const bits = Math.log2(buckets);
  return Array.from({ length: buckets }, (_, place) => {
    let bucket = 0;
    for (let bit = 0; bit < bits; bit++) if (place & (1 << bit)) bucket |= 1 << (bits - 1 - bit);
    return bucket;
  });
}

/** How many buckets each of the shards is to have: those with the most now get the odd ones. */
function quotas(counts: ReadonlyMap<number, number>, buckets: number): Map<number, number> {
  const most = [...counts].sort(([a, m], [b, n]) => n - m || a - b);
  const [each, odd] = [Math.floor(buckets / most.length), buckets % most.length];
  return new Map(most.map(([shard], index) => [shard, index < odd ? each + 1 : each]));
}

/**
 * An assignment of the same buckets onto these shards, as even as it can be (they differ by one bucket at most), with
 * the fewest moves there can be: from four to eight half of the buckets move, from four to five a fifth, and no bucket
 * moves between shards that stay. Throws a UserError for shards that are none, twice the same, or more than buckets.
 */
export function rebalance(assignment: readonly number[], onto: readonly number[]): number[] {
  checkAssignment(assignment);
  checkShardCount(onto.length, assignment.length);
  const ids = new Set(onto);
  const wrong = onto.find((shard, index) => !Number.isInteger(shard) || shard < 0 || onto.indexOf(shard) < index);
  if (wrong !== undefined) throw new UserError(`shard ${wrong} stands twice or is no number`, "name each shard once");
  const counts = new Map([...ids].sort((a, b) => a - b).map((shard) => [shard, 0]));
  for (const shard of assignment) if (ids.has(shard)) counts.set(shard, (counts.get(shard) ?? 0) + 1);
  const quota = quotas(counts, assignment.length);

  const shards = [...assignment];
  const kept = new Map<number, number>();
  const free: number[] = [];
  for (const bucket of byReversedBits(shards.length)) {
    const shard = shards[bucket] ?? 0;
    const keeps = kept.get(shard) ?? 0;
    if (keeps < (quota.get(shard) ?? 0)) kept.set(shard, keeps + 1);
    else free.push(bucket);
  }
  for (const [shard, wanted] of [...quota].sort(([a], [b]) => a - b)) {
    for (const bucket of free.splice(0, wanted - (kept.get(shard) ?? 0))) shards[bucket] = shard;
  }
  return shards;
}

/** The first assignment of so many buckets to shards 0 to count − 1. Throws a UserError for impossible numbers. */
export function firstAssignment(buckets: number, count: number): number[] {
  checkShardCount(count, buckets);
  return rebalance(
    Array<number>(buckets).fill(0),
    Array.from({ length: count }, (_, shard) => shard),
  );
}

/** What has to be moved from one assignment to another of as many buckets, by bucket. */
export function movesBetween(before: readonly number[], after: readonly number[]): BucketMove[] {
  checkAssignment(before);
  checkAssignment(after);
  if (before.length !== after.length) {
    throw new UserError(
      `the maps have ${before.length} and ${after.length} buckets`,
      "the number of buckets is fixed when a stack is made",
    );
  }
  return before.flatMap((from, bucket) => {
    const to = after[bucket] ?? from;
    return from === to ? [] : [{ bucket, from, to }];
  });
}

/** The fewest classes that cover every bucket once, each of one shard: the partitions of a router. */
export function classesOf(assignment: readonly number[]): BucketClass[] {
  checkAssignment(assignment);
  const split = (modulus: number, remainder: number): BucketClass[] => {
    const shard = assignment[remainder] ?? 0;
    const whole = assignment.every((one, bucket) => bucket % modulus !== remainder || one === shard);
    if (whole) return [{ shard, modulus, remainder }];
    return [...split(2 * modulus, remainder), ...split(2 * modulus, remainder + modulus)];
  };
  return split(1, 0);
}

/** Shards that a map names, ascending. */
export const shardsOf = (assignment: readonly number[]): number[] => [...new Set(assignment)].sort((a, b) => a - b);
