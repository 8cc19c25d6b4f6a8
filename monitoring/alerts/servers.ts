/** Alerts about PostgreSQL servers. Series come from monitoring/postgresQueries.ts, postgres_exporter and the sampler. */
import { guideThresholds } from "../../stacks/guide.ts";
import { type Alert, SOON } from "./alert.ts";

const GiB = 1024 ** 3;

const perServer = (metric: string, window: string): string => `sum by (server) (rate(${metric}[${window}]))`;
const hit = (window: string): string => perServer("pg_stat_database_blks_hit", window);
const read = (window: string): string => perServer("pg_stat_database_blks_read", window);

/** Milliseconds below which a share of the statements stays. */
export const statementQuantile = (quantile: number, window: string): string =>
  `1000 * histogram_quantile(${quantile}, sum by (server, le) (rate(cgraph_statement_duration_seconds_bucket[${window}])))`;
export const cacheHitRatio = (window: string): string => `100 * ${hit(window)} / (${hit(window)} + ${read(window)})`;
export const CONNECTION_USE = "100 * cgraph_connections_clients / cgraph_connections_limit";

export const SERVER_ALERTS: readonly Alert[] = [
  {
    id: "connection_utilization",
    title: "Connection utilisation",
    unit: "%",
    bad: "above",
    thresholds: guideThresholds("connection_utilization"),
    figure: () => CONNECTION_USE,
    meaning: "when max_connections are in use, nobody else gets in",
    source: "guide",
  },
  {
    id: "cache_hit_ratio",
    title: "Cache hit ratio",
    unit: "%",
    bad: "below",
    thresholds: guideThresholds("cache_hit_ratio"),
    // A server that reads next to nothing misses next to nothing, whatever the share: from 100 blocks a second on.
    figure: ({ rate }) => `(${cacheHitRatio(rate)}) and (${read(rate)} > 100)`,
    meaning: "what is not in shared buffers is read from the disk: slower by a hundred times",
    source: "guide",
  },
  {
    id: "query_duration_p99",
    title: "99th percentile of statements",
    unit: "ms",
    bad: "above",
    thresholds: guideThresholds("query_duration_p99"),
    figure: ({ rate }) => statementQuantile(0.99, rate),
    meaning: "one statement in a hundred takes longer: users notice",
    source: "guide",
  },
  {
    id: "dead_tuples",
    title: "Dead tuples",
    unit: "tuples",
    bad: "above",
    thresholds: guideThresholds("dead_tuples"),
    figure: () => "cgraph_tables_dead_tuples",
    meaning: "VACUUM does not keep up, or a transaction keeps it from removing them: tables and indexes bloat",
    source: "guide",
  },
  {
    id: "server_down",
    title: "Server down",
    unit: "servers",
    bad: "above",
    thresholds: { warning: null, critical: 0 },
    // Of a server whose container is gone the exporter may not answer in time.
    figure: () => '(1 - pg_up) or (1 - up{job="postgresql"})',
    holds: SOON,
    meaning: "a PostgreSQL server takes no connections",
    source: "a replica that is down leaves nothing to fail over to; a primary that is down writes nothing",
  },
  {
    id: "long_transaction",
    title: "Long transaction",
    unit: "s",
    bad: "above",
    thresholds: { warning: 300, critical: 1800 },
    figure: () => "cgraph_transactions_longest_seconds",
    holds: SOON,
    meaning: "it holds its locks, and VACUUM removes nothing that is younger than it",
    source: "guide: five minutes (pitfall 3); half an hour is beyond any request",
  },
  {
    id: "idle_in_transaction",
    title: "Idle in transaction",
    unit: "s",
    bad: "above",
    thresholds: { warning: 60, critical: 180 },
    figure: () => "cgraph_transactions_idle_seconds",
    holds: SOON,
    meaning: "a client has left a transaction open and does nothing",
    source: "at five minutes PostgreSQL ends it with an error (idle_in_transaction_session_timeout): told before",
  },
  {
    id: "transaction_id_age",
    title: "Transaction id age",
    unit: "transactions",
    bad: "above",
    thresholds: { warning: 500e6, critical: 1000e6 },
    figure: () => "cgraph_transaction_ids_age",
    meaning: "at two thousand million PostgreSQL takes no more writes",
    source: "autovacuum freezes from 200 million on (autovacuum_freeze_max_age): 500 says that it cannot",
  },
  {
    id: "deadlocks",
    title: "Deadlocks in five minutes",
    unit: "deadlocks",
    bad: "above",
    thresholds: { warning: 0, critical: 10 },
    figure: ({ rate }) => `sum by (server) (increase(pg_stat_database_deadlocks[${rate}]))`,
    holds: { warning: 1, critical: 1 },
    meaning: "two transactions waited for each other, and one was ended with an error",
    source: "each is a failed request, and a sign of transactions that lock in different orders",
  },
  {
    id: "checkpoints_requested",
    title: "Requested checkpoints an hour",
    unit: "checkpoints",
    bad: "above",
    thresholds: { warning: 12, critical: 60 },
    figure: ({ trend }) => `3600 * rate(cgraph_checkpoints_requested[${trend}])`,
    meaning: "WAL fills max_wal_size before the time is up: every page is written whole again after each checkpoint",
    source: "more often than every five minutes, PostgreSQL's own checkpoint_timeout",
  },
  {
    id: "slot_retained_wal",
    title: "WAL kept for a replication slot",
    unit: "bytes",
    bad: "above",
    thresholds: { warning: GiB, critical: 10 * GiB },
    figure: () => "max by (server, slot) (cgraph_slots_retained_bytes)",
    meaning: "a slot that nobody reads keeps WAL until the disk is full",
    source: "wal_keep_size is 1 GiB (guide): beyond it the slot alone keeps it",
  },
];
