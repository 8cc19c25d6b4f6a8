/**
 * Where Prometheus has each metric: expressions in the order in which they are tried. First a stack's own (monitoring/ has
 * where they come from), then those of postgres_exporter, node_exporter and cAdvisor as other teams have them. `$database`
 * stands for the database's name. Every expression gives one series; rates are over an hour, as far apart as its values
 * are asked for.
 */
import { DISK_USE, SERVER_MEMORY, ioWait, serverCpu } from "../monitoring/alerts/machines.ts";
import { everyAlert } from "../monitoring/alerts/index.ts";
import { CONNECTION_USE, cacheHitRatio, statementQuantile } from "../monitoring/alerts/servers.ts";
import type { Metric } from "./metrics.ts";
import { DAY_MS, MONTH_DAYS } from "./series.ts";

const DATABASE = '{datname="$database"}';
const MESSAGES = '{datname="$database",relname=~"messages(_p[0-9]+)?"}';
const DISK = '{mountpoint=~"/|/var/lib/postgresql.*",fstype!~"tmpfs|overlay"}';
const SERVERS = '{name=~".*-pg[0-9]+"}';
const HOUR = "1h";
const MONTH_SECONDS = (MONTH_DAYS * DAY_MS) / 1000;

/** The server or volume that is worst off, as a share. */
const worst = (percent: string): string => `max(${percent}) / 100`;
const poolUse =
  everyAlert()
    .find(({ id }) => id === "pool_use")
    ?.figure({ rate: HOUR, trend: HOUR, halfTrend: "30m" }) ?? "";

export const PROMQL: Readonly<Record<Metric, readonly string[]>> = {
  users: [
    'max(cgraph_growth_rows{relation="users"})',
    'max(pg_stat_user_tables_n_live_tup{datname="$database",relname="users"})',
  ],
  databaseBytes: [`max(pg_database_size_bytes${DATABASE})`],
  messagesPerMonth: [
    // By the slope of a week: right from its first day on.
    `max(deriv(cgraph_growth_rows{relation="messages"}[7d])) * ${MONTH_SECONDS}`,
    `sum(max by (relname) (rate(pg_stat_user_tables_n_tup_ins${MESSAGES}[7d]))) * ${MONTH_SECONDS}`,
  ],
  queriesPerSecond: [
    `max(sum by (server) (rate(cgraph_statements_calls[${HOUR}])))`,
    `sum(rate(pg_stat_statements_calls_total${DATABASE}[${HOUR}]))`,
    `sum(rate(pg_stat_database_xact_commit${DATABASE}[${HOUR}])) + sum(rate(pg_stat_database_xact_rollback${DATABASE}[${HOUR}]))`,
  ],
  meanMs: [
    `1000 * sum(rate(cgraph_statements_seconds[${HOUR}])) / sum(rate(cgraph_statements_calls[${HOUR}]))`,
    `1000 * sum(rate(pg_stat_statements_seconds_total${DATABASE}[${HOUR}])) / sum(rate(pg_stat_statements_calls_total${DATABASE}[${HOUR}]))`,
  ],
  p95Ms: [`max(${statementQuantile(0.95, HOUR)})`],
  p99Ms: [`max(${statementQuantile(0.99, HOUR)})`],
  cpuShare: [
    worst(serverCpu(HOUR)),
    `max(rate(container_cpu_usage_seconds_total${SERVERS}[${HOUR}]) / on (name) (container_spec_cpu_quota / container_spec_cpu_period))`,
    `max(1 - avg by (instance) (rate(node_cpu_seconds_total{mode="idle"}[${HOUR}])))`,
  ],
  memoryShare: [
    worst(SERVER_MEMORY),
    `max(container_memory_working_set_bytes${SERVERS} / container_spec_memory_limit_bytes)`,
    "max(1 - node_memory_MemAvailable_bytes / node_memory_MemTotal_bytes)",
  ],
  connectionShare: [
    worst(CONNECTION_USE),
    "max(sum by (instance) (pg_stat_activity_count) / on (instance) pg_settings_max_connections)",
  ],
  poolShare: [worst(poolUse)],
  ioWaitShare: [worst(ioWait(HOUR)), `max(avg by (instance) (rate(node_cpu_seconds_total{mode="iowait"}[${HOUR}])))`],
  diskShare: [worst(DISK_USE), `max(1 - node_filesystem_avail_bytes${DISK} / node_filesystem_size_bytes${DISK})`],
  cacheHitRatio: [`min(${cacheHitRatio(HOUR)}) / 100`],
  deadRows: [
    "max(cgraph_tables_dead_tuples)",
    `sum(max by (schemaname, relname) (pg_stat_user_tables_n_dead_tup${DATABASE}))`,
  ],
};
