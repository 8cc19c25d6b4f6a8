/**
 * Made-up series that bring each alert about, for `promtool test rules`: looks every 15 seconds, for longer than the hour
 * over which some look back.
 */
import { type Alert, SEVERITIES, type Severity, alertName } from "../../monitoring/alerts/alert.ts";

/** Promtool's notation: `10` stays 10; `0+5` grows by 5 at each look; what has an `x` in it says itself how often. */
type Series = Readonly<Record<string, string>>;

interface Case {
  /** Well: nothing fires. */
  readonly well: Series;
  readonly warning?: Series;
  readonly critical?: Series;
}

const server = 'server="pg0"';
const one = (metric: string, well: number, warning?: number, critical?: number): Case => ({
  well: { [metric]: String(well) },
  ...(warning !== undefined && { warning: { [metric]: String(warning) } }),
  ...(critical !== undefined && { critical: { [metric]: String(critical) } }),
});
const hits = (hit: number, read: number): Series => ({
  [`pg_stat_database_blks_hit{${server}}`]: `0+${hit}`,
  [`pg_stat_database_blks_read{${server}}`]: `0+${read}`,
});
/** A hundred statements a look, of which so many last longer than half a second and than two. */
const durations = (slow: number, slower: number): Series => ({
  [`cgraph_statement_duration_seconds_bucket{${server},le="0.1"}`]: `0+${100 - slow - slower}`,
  [`cgraph_statement_duration_seconds_bucket{${server},le="0.5"}`]: `0+${100 - slow - slower}`,
  [`cgraph_statement_duration_seconds_bucket{${server},le="2"}`]: `0+${100 - slower}`,
  [`cgraph_statement_duration_seconds_bucket{${server},le="30"}`]: "0+100",
  [`cgraph_statement_duration_seconds_bucket{${server},le="+Inf"}`]: "0+100",
});
const of =
  (metric: string, size: string, limit: number, label: string) =>
  (value: number | string): Series => ({
    [`${metric}{${label}}`]: String(value),
    [`${size}{${label}}`]: String(limit),
  });
const disk = of("node_filesystem_avail_bytes", "node_filesystem_size_bytes", 1e9, 'volume="pg0-data"');
const shrinking = (avail: number | string, volume = "pg1-data"): Series =>
  of("node_filesystem_avail_bytes", "node_filesystem_size_bytes", 1e6, `volume="${volume}"`)(avail);
const cpu = of("cgraph_container_cpu_seconds_total", "cgraph_container_cpus", 2, 'container="pg0"');
const memory = of("cgraph_container_memory_bytes", "cgraph_container_memory_limit_bytes", 100, 'container="pg0"');
const pool = of(
  "pgbouncer_pools_server_active_connections",
  "pgbouncer_databases_max_connections",
  100,
  'pooler="pgbouncer0",database="cgraph_production"',
);
const host = of("node_memory_MemAvailable_bytes", "node_memory_MemTotal_bytes", 100, 'host="docker"');
const etcd = (up: number, leader: number): Series => ({
  'up{job="etcd",member="etcd0"}': String(up),
  'etcd_server_has_leader{member="etcd0"}': String(leader),
});
const connections = of("cgraph_connections_clients", "cgraph_connections_limit", 100, server);
/** Of two replicas so many stream. */
const streaming = (count: number): Series => ({ cgraph_replication_streaming: String(count) });

export const CASES: Readonly<Record<string, Case>> = {
  connection_utilization: { well: connections(69), warning: connections(75), critical: connections(95) },
  cache_hit_ratio: { well: hits(1e6, 5000), warning: hits(970_000, 30_000), critical: hits(900_000, 100_000) },
  query_duration_p99: { well: durations(0, 0), warning: durations(3, 0), critical: durations(0, 3) },
  dead_tuples: one(`cgraph_tables_dead_tuples{${server}}`, 9e6, 11e6, 60e6),
  server_down: one(`pg_up{${server}}`, 1, undefined, 0),
  long_transaction: one(`cgraph_transactions_longest_seconds{${server}}`, 299, 301, 1801),
  idle_in_transaction: one(`cgraph_transactions_idle_seconds{${server}}`, 59, 61, 181),
  transaction_id_age: one(`cgraph_transaction_ids_age{${server}}`, 499e6, 501e6, 1001e6),
  deadlocks: {
    well: { [`pg_stat_database_deadlocks{${server}}`]: "7" },
    warning: { [`pg_stat_database_deadlocks{${server}}`]: "0+0.1" },
    critical: { [`pg_stat_database_deadlocks{${server}}`]: "0+1" },
  },
  checkpoints_requested: {
    well: { [`cgraph_checkpoints_requested{${server}}`]: "0+0.02" },
    warning: { [`cgraph_checkpoints_requested{${server}}`]: "0+0.1" },
    critical: { [`cgraph_checkpoints_requested{${server}}`]: "0+0.5" },
  },
  slot_retained_wal: one(`cgraph_slots_retained_bytes{${server},slot="pg1"}`, 1e9, 2e9, 11e9),
  replication_lag: one('cgraph_replication_lag_bytes{replica="pg1"}', 1e6, 2e6, 110e6),
  replica_missing: { well: streaming(2), warning: streaming(1), critical: streaming(0) },
  no_primary: one(`cgraph_server_primary{${server}}`, 1, undefined, 0),
  cluster_paused: one(`patroni_is_paused{${server}}`, 0, 1),
  etcd_unavailable: { well: etcd(1, 1), critical: etcd(1, 0) },
  pool_use: { well: pool(69), warning: pool(75), critical: pool(95) },
  pool_wait: one('pgbouncer_pools_client_maxwait_seconds{pooler="pgbouncer0",database="cgraph_production"}', 0, 2, 11),
  cache_down: one('redis_up{cache="redis"}', 1, 0),
  disk_usage: { well: disk(31e7), warning: disk(25e7), critical: disk(1e8) },
  disk_full_soon: {
    well: {
      ...shrinking("950000-200"),
      // Grew by a sixth at once, ten minutes ago; has grown since it began, twenty minutes ago.
      ...shrinking("480000x279 330000x40", "grown"),
      ...shrinking("_x240 480000-2000x79", "begun"),
    },
    warning: shrinking("400000-100"),
    critical: shrinking("450000-400"),
  },
  cpu: { well: cpu("0+20"), warning: cpu("0+26"), critical: cpu("0+29") },
  memory: { well: memory(89), warning: memory(92), critical: memory(98) },
  host_memory: { well: host(11), warning: host(9), critical: host(4) },
  io_wait: {
    well: { 'node_cpu_seconds_total{host="docker",mode="iowait"}': "0+2" },
    warning: { 'node_cpu_seconds_total{host="docker",mode="iowait"}': "0+4" },
    critical: { 'node_cpu_seconds_total{host="docker",mode="iowait"}': "0+8" },
  },
  exporter_down: one('up{job="haproxy"}', 1, 0),
  archiving_behind: one(`cgraph_archiver_behind_seconds{${server}}`, 60, 301, 1801),
  backup_age: one("cgraph_backup_newest_timestamp_seconds", -3600, -36 * 3600, -80 * 3600),
  backup_unverified: one("cgraph_backup_verified_timestamp_seconds", -3600, -8 * 86_400, -15 * 86_400),
  backup_damaged: one("cgraph_backup_damaged", 0, undefined, 1),
};

const LOOKS = 320;
/** `10` for all looks, `0+5` so many times. */
const values = (notation: string): string => {
  if (notation.includes("x")) return notation;
  return `${notation.slice(1).search(/[+-]/) < 0 ? `${notation}+0` : notation}x${LOOKS}`;
};

/**
 * The input of `promtool test rules`: all alerts at once, their series being each other's strangers. Once all is well,
 * once everything is bad enough for a warning, once for a critical alert.
 */
export function ruleTests(alerts: readonly Alert[], rulesFile: string): string {
  const test = (level: "well" | Severity) => {
    const concerned = alerts.filter(({ thresholds }) => level === "well" || thresholds[level] !== null);
    const series = concerned.flatMap(({ id }) => {
      const made = CASES[id]?.[level];
      if (!made) throw new Error(`${id} has no case for ${level}`);
      return Object.entries(made);
    });
    const severities = level === "well" ? SEVERITIES : [level];
    return {
      name: level,
      interval: "15s",
      input_series: series.map(([name, text]) => ({ series: name, values: values(text) })),
      promql_expr_test: concerned.flatMap(({ id }) =>
        severities.map((severity) => ({
          expr: `count(ALERTS{alertname="${alertName(id)}",severity="${severity}",alertstate="firing"}) or vector(0)`,
          eval_time: "80m",
          exp_samples: [{ value: level === "well" ? 0 : 1, labels: "{}" }],
        })),
      ),
    };
  };
  const tests = (["well", ...SEVERITIES] as const).map(test);
  return JSON.stringify({ rule_files: [rulesFile], evaluation_interval: "15s", tests });
}
