/**
 * Where Prometheus has each metric: expressions in the order in which they are tried. Names are those of postgres_exporter,
 * pgbouncer_exporter, node_exporter and cAdvisor; `cgraph_…` are the application's own. `$database` stands for the
 * database's name. Every expression gives one series; rates are over an hour, as far apart as its values are asked for.
 */
import { MONTH_DAYS } from "./series.ts";
import type { Metric } from "./metrics.ts";

const DATABASE = '{datname="$database"}';
const MESSAGES = '{datname="$database",relname=~"messages(_p[0-9]+)?"}';
const DISK = '{mountpoint=~"/|/var/lib/postgresql.*",fstype!~"tmpfs|overlay"}';
const SERVERS = '{name=~".*-pg[0-9]+"}';

/** Milliseconds below which so many of the application's queries end. */
const quantile = (share: number): readonly string[] => [
  `1000 * histogram_quantile(${share}, sum by (le) (rate(cgraph_query_duration_seconds_bucket[1h])))`,
];

export const PROMQL: Readonly<Record<Metric, readonly string[]>> = {
  users: ["max(cgraph_users_total)", `max(pg_stat_user_tables_n_live_tup{datname="$database",relname="users"})`],
  databaseBytes: [`max(pg_database_size_bytes${DATABASE})`],
  messagesPerMonth: [
    `sum(increase(cgraph_messages_total[30d])) * ${MONTH_DAYS} / 30`,
    `sum(max by (relname) (increase(pg_stat_user_tables_n_tup_ins${MESSAGES}[30d]))) * ${MONTH_DAYS} / 30`,
  ],
  queriesPerSecond: [
    `sum(rate(pg_stat_statements_calls_total${DATABASE}[1h]))`,
    `sum(rate(pg_stat_database_xact_commit${DATABASE}[1h])) + sum(rate(pg_stat_database_xact_rollback${DATABASE}[1h]))`,
  ],
  meanMs: [
    `1000 * sum(rate(pg_stat_statements_seconds_total${DATABASE}[1h])) / sum(rate(pg_stat_statements_calls_total${DATABASE}[1h]))`,
  ],
  p95Ms: quantile(0.95),
  p99Ms: quantile(0.99),
  cpuShare: [
    `max(rate(container_cpu_usage_seconds_total${SERVERS}[1h]) / on (name) (container_spec_cpu_quota / container_spec_cpu_period))`,
    `max(1 - avg by (instance) (rate(node_cpu_seconds_total{mode="idle"}[1h])))`,
  ],
  memoryShare: [
    `max(container_memory_working_set_bytes${SERVERS} / container_spec_memory_limit_bytes)`,
    "max(1 - node_memory_MemAvailable_bytes / node_memory_MemTotal_bytes)",
  ],
  connectionShare: ["max(sum by (instance) (pg_stat_activity_count) / on (instance) pg_settings_max_connections)"],
  poolShare: [
    "max(pgbouncer_pools_server_active_connections / on (instance, database) group_left pgbouncer_databases_pool_size)",
  ],
  ioWaitShare: [`max(avg by (instance) (rate(node_cpu_seconds_total{mode="iowait"}[1h])))`],
  diskShare: [`max(1 - node_filesystem_avail_bytes${DISK} / node_filesystem_size_bytes${DISK})`],
  cacheHitRatio: [
    `sum(rate(pg_stat_database_blks_hit${DATABASE}[1h])) / (sum(rate(pg_stat_database_blks_hit${DATABASE}[1h])) + sum(rate(pg_stat_database_blks_read${DATABASE}[1h])))`,
  ],
  deadRows: [`sum(max by (schemaname, relname) (pg_stat_user_tables_n_dead_tup${DATABASE}))`],
};
