/** What CloudWatch cannot see of a server, read from PostgreSQL itself by a role that has pg_monitor. */

/** What counters and positions say at one moment. */
export interface Sample {
  readonly isReplica: boolean;
  /** Bytes: what it has written, or, as a replica, replayed. */
  readonly walPosition: number;
  readonly blocksHit: number;
  readonly blocksRead: number;
  readonly deadTuples: number;
  readonly statements: number;
}

/** One row; needs the extension pg_stat_statements in the database that it is asked of. */
export const SAMPLE_SQL = `
SELECT pg_is_in_recovery() AS "isReplica",
  (CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END - '0/0')::float8
    AS "walPosition",
  (SELECT coalesce(sum(blks_hit), 0)::float8 FROM pg_stat_database) AS "blocksHit",
  (SELECT coalesce(sum(blks_read), 0)::float8 FROM pg_stat_database) AS "blocksRead",
  (SELECT coalesce(sum(n_dead_tup), 0)::float8 FROM pg_stat_user_tables) AS "deadTuples",
  (SELECT coalesce(sum(calls), 0)::float8 FROM pg_stat_statements) AS statements`;

/** A server's figures, by the name under which they are published. */
export interface Figures {
  /** Percent, since the sample before; absent with the first. */
  readonly cache_hit_ratio?: number;
  /** How many ran since the sample before; absent with the first. */
  readonly statements?: number;
  /** Absent while no primary answers. */
  readonly replication_lag_bytes?: number;
  readonly dead_tuples: number;
}

export const UNITS: Readonly<Record<keyof Figures, string>> = {
  cache_hit_ratio: "Percent",
  statements: "Count",
  replication_lag_bytes: "Bytes",
  dead_tuples: "Count",
};

/** Counters that were reset meanwhile, or a server that started anew, begin from nothing. */
const grown = (before: number, now: number): number => (now >= before ? now - before : now);

/** What two samples in a row, and the primary's position before the second, say. */
export function figuresOf(before: Sample | undefined, now: Sample, primaryPosition: number | undefined): Figures {
  const hit = grown(before?.blocksHit ?? 0, now.blocksHit);
  const read = grown(before?.blocksRead ?? 0, now.blocksRead);
  return {
    ...(before && {
      // One that reads nothing misses nothing.
      cache_hit_ratio: hit + read === 0 ? 100 : (100 * hit) / (hit + read),
      statements: grown(before.statements, now.statements),
    }),
    ...(primaryPosition !== undefined && {
      replication_lag_bytes: now.isReplica ? Math.max(0, primaryPosition - now.walPosition) : 0,
    }),
    dead_tuples: now.deadTuples,
  };
}

/** A line that CloudWatch takes figures from (embedded metric format). */
export function metricLine(
  namespace: string,
  dimensions: Readonly<Record<string, string>>,
  figures: Figures,
  timestamp: number,
): string {
  const names = Object.keys(figures) as (keyof Figures)[];
  return JSON.stringify({
    _aws: {
      Timestamp: timestamp,
      CloudWatchMetrics: [
        {
          Namespace: namespace,
          Dimensions: [Object.keys(dimensions)],
          Metrics: names.map((name) => ({ Name: name, Unit: UNITS[name] })),
        },
      ],
    },
    ...dimensions,
    ...figures,
  });
}
