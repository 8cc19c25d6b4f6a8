/** Moves of shards in the background: Citus carries them out one after the other, whoever looks on. SQL and sums, pure. */

/** One move of a rebalance; of reference tables too, which come first to a new node: they have no shard. */
export interface RebalanceMove {
  /** blocked, runnable, running, done, error, unscheduled, cancelling, cancelled. */
  readonly state: string;
  readonly shard: number | null;
  readonly fromNode: number | null;
  readonly toNode: number | null;
  readonly retries: number;
  /** What went wrong with it, if anything. */
  readonly message: string | null;
}

/** The newest rebalance. */
export interface Rebalance {
  readonly job: number;
  /** scheduled, running, finished, cancelling, cancelled, failing, failed. */
  readonly state: string;
  readonly moves: readonly RebalanceMove[];
}

/** A JSON object, Rebalance, or null where there was none yet. */
export const REBALANCE_SQL = String.raw`
SELECT coalesce((
  SELECT json_build_object('job', job_id, 'state', state, 'moves', coalesce((
    SELECT json_agg(json_build_object('state', t.status, 'retries', coalesce(t.retry_count, 0), 'message', nullif(t.message, ''),
      'shard', part[1]::bigint, 'fromNode', part[2]::int, 'toNode', part[3]::int) ORDER BY t.task_id)
    FROM pg_dist_background_task t
      LEFT JOIN LATERAL regexp_match(t.command, 'citus_move_shard_placement\((\d+), *(\d+), *(\d+)') part ON true
    WHERE t.job_id = j.job_id), '[]'))
  FROM pg_dist_background_job j WHERE job_type = 'rebalance' ORDER BY job_id DESC LIMIT 1), 'null');`;

/** A JSON object: of each distributed shard's number the bytes that move with it, those of all tables distributed alike. */
export const MOVED_BYTES_SQL = `
WITH sizes AS MATERIALIZED (SELECT shard_id, max(size) AS bytes FROM citus_shard_sizes() GROUP BY shard_id)
SELECT coalesce(json_object_agg(shardid, bytes), '{}') FROM (
  SELECT s.shardid, sum(z.bytes) OVER (PARTITION BY t.colocationid, s.shardminvalue)::bigint AS bytes
  FROM pg_dist_shard s JOIN pg_dist_partition t ON t.logicalrelid = s.logicalrelid AND t.partmethod = 'h'
    LEFT JOIN sizes z ON z.shard_id = s.shardid) moved;`;

/** Spreads shards over all nodes that take them, or only empties those that no longer do. Gives the job; 0: nothing to move. */
export const rebalanceSql = ({ drainOnly }: { readonly drainOnly: boolean }): string =>
  `SELECT coalesce(citus_rebalance_start(drain_only => ${drainOnly}, shard_transfer_mode => 'force_logical'), 0);`;

const ENDED = new Set(["finished", "failed", "cancelled"]);
export const hasEnded = ({ state }: Rebalance): boolean => ENDED.has(state);
export const isUnderWay = (rebalance: Rebalance | null): rebalance is Rebalance =>
  rebalance !== null && !hasEnded(rebalance);

/** How far a rebalance has come. */
export interface RebalanceProgress {
  readonly job: number;
  readonly state: string;
  readonly movesDone: number;
  readonly movesTotal: number;
  readonly bytesDone: number;
  readonly bytesTotal: number;
}

export function progressOf(
  { job, state, moves }: Rebalance,
  bytes: Readonly<Record<string, number>>,
): RebalanceProgress {
  const shards = moves.filter(({ shard }) => shard !== null);
  const done = shards.filter((move) => move.state === "done");
  const sum = (its: readonly RebalanceMove[]): number =>
    its.reduce((total, { shard }) => total + (bytes[String(shard)] ?? 0), 0);
  return {
    ...{ job, state, movesDone: done.length, movesTotal: shards.length },
    ...{ bytesDone: sum(done), bytesTotal: sum(shards) },
  };
}

/** Moves that are under way or to come, to and from a node. */
export const movesAt = (rebalance: Rebalance | null, nodeId: number): { to: number; from: number } => {
  const open = isUnderWay(rebalance) ? rebalance.moves.filter(({ state }) => state !== "done") : [];
  return {
    to: open.filter(({ toNode }) => toNode === nodeId).length,
    from: open.filter(({ fromNode }) => fromNode === nodeId).length,
  };
};
