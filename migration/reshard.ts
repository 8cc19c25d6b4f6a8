/** The steps of a move of buckets between shards, as plain data; like those of a move between stages. Pure. */
import { MOVED_ROWS_STAY_MS } from "../sharding/MapCache.ts";
import { pairsOf } from "../sharding/pairs.ts";
import { movesBetween, shardsOf } from "../sharding/shardMap.ts";
import type { Estimate, PlannedStep } from "./moveSteps.ts";

/** Which buckets are where, before and after. */
export interface ReshardPlan {
  readonly before: readonly number[];
  readonly after: readonly number[];
  /** Shards that the stack has, and is to have. */
  readonly shards: { readonly now: number; readonly then: number };
  /** Of all shards together. */
  readonly databaseBytes: number;
}

/** What to reckon with on two cores; not from a benchmark yet. */
const RESHARD_ESTIMATES = {
  copyBytesPerSecond: 12 * 1024 * 1024,
  compareBytesPerSecond: 60 * 1024 * 1024,
  handOverPauseSeconds: 0.3,
  clusterSeconds: 25,
} as const;

const estimate = (seconds: number, basis: string): Estimate => ({ seconds, basis });
const QUIET = { clients: "nothing", pause: null, movesBytes: 0, noReturn: null } as const;
/** What cannot be taken back once the step `clear` has begun. */
export const CLEARED = "the old copies of the buckets are deleted";
const NONE = "nothing to take back";

/** The ordered steps. */
export function planReshard({ before, after, shards, databaseBytes }: ReshardPlan): PlannedStep[] {
  const moves = movesBetween(before, after);
  const pairs = pairsOf(moves).length;
  const bytes = Math.round((databaseBytes * moves.length) / before.length);
  const added = Math.max(0, shards.then - shards.now);
  const words = `${moves.length} of ${before.length} buckets`;
  const steps: (PlannedStep | undefined)[] = [
    {
      ...QUIET,
      id: "check",
      title: "checks",
      does: "every cluster well and in step, no rows of the buckets where they are to go, no other move",
      duration: estimate(3, "like before"),
      wayBack: NONE,
    },
    added > 0
      ? {
          ...QUIET,
          id: "extend",
          title: "extend",
          does: `${added} more shards, empty; pools and router learn of them`,
          duration: estimate(added * RESHARD_ESTIMATES.clusterSeconds, "a cluster's start, an estimate"),
          wayBack: "they go again",
        }
      : undefined,
    {
      ...QUIET,
      id: "freeze",
      title: "freeze",
      does: "no schema changes but the move's own, pg_partman waits",
      duration: estimate(2, "like before"),
      wayBack: "schema changes are let go",
    },
    {
      ...QUIET,
      id: "copy",
      title: "copy",
      does: `${words} copied to where they go, and kept up to date`,
      duration: estimate(
        5 + bytes / RESHARD_ESTIMATES.copyBytesPerSecond,
        `${bytes} bytes at ${RESHARD_ESTIMATES.copyBytesPerSecond} a second, an estimate`,
      ),
      movesBytes: bytes,
      wayBack: "the copies are deleted",
    },
    {
      ...QUIET,
      id: "verify",
      title: "verify",
      does: "both copies of each bucket have the same rows, as of one moment",
      clients: "writes pause",
      pause: estimate(RESHARD_ESTIMATES.handOverPauseSeconds, "the moment that is compared, once for each two shards"),
      duration: estimate(
        2 + bytes / RESHARD_ESTIMATES.compareBytesPerSecond,
        `${bytes} bytes at ${RESHARD_ESTIMATES.compareBytesPerSecond} a second, an estimate`,
      ),
      wayBack: NONE,
    },
    {
      ...QUIET,
      id: "handover",
      title: "hand over",
      does: `${words} change their shard, in ${pairs} turns; a stream back keeps the old copies up to date`,
      clients: "writes pause",
      pause: estimate(
        RESHARD_ESTIMATES.handOverPauseSeconds,
        "once for each two shards, for clients of the one that gives",
      ),
      duration: estimate(2 * pairs, "like before"),
      wayBack: "the buckets go back, with what was written since",
    },
    {
      ...QUIET,
      id: "clear",
      title: "clear away",
      does: "the old copies are deleted, once no client can have an old map",
      duration: estimate(MOVED_ROWS_STAY_MS / 1000, "the lease of a client's map"),
      wayBack: "none",
      noReturn: CLEARED,
    },
    {
      ...QUIET,
      id: "finish",
      title: "finish",
      does: `${shardsOf(after).length} shards in the configuration, schema changes and pg_partman go on`,
      duration: estimate(2, "like before"),
      wayBack: "none",
    },
  ];
  return steps.filter((step) => step !== undefined);
}
