/** The dashboard's panels, once for Grafana and CloudWatch: the guide's list, then what explains it. */
import { CONNECTION_USE, cacheHitRatio, statementQuantile } from "./alerts/servers.ts";
import { DISK_USE, MEMORY_FREE, cpuUse, ioWait } from "./alerts/machines.ts";

export interface Line {
  /** PromQL; `window`: what rates are taken over. */
  readonly query: (window: string) => string;
  /** Of a line, such as `{{server}}`. */
  readonly legend: string;
}

/** RDS's own figure of each server, or one of the scheduled check's. */
export type CloudWatchFigure = { readonly metric: string } | { readonly own: string };

export interface Panel {
  readonly title: string;
  /** Grafana's name of the unit. */
  readonly unit: "percent" | "bytes" | "Bps" | "s" | "ms" | "short" | "ops";
  /** What must be there for it to have figures. */
  readonly needs?: "replicas" | "pool" | "cache";
  readonly lines: readonly Line[];
  readonly cloudWatch?: CloudWatchFigure;
}

const line = (legend: string, query: string | ((window: string) => string)): Line => ({
  legend,
  query: typeof query === "string" ? () => query : query,
});
const rate = (metric: string, by: string): ((window: string) => string) => {
  return (window) => `sum by (${by}) (rate(${metric}[${window}]))`;
};

export const PANELS: readonly Panel[] = [
  {
    title: "Statements a second",
    unit: "ops",
    lines: [line("{{server}}", rate("cgraph_statements_calls", "server"))],
    cloudWatch: { own: "statements" },
  },
  {
    title: "Duration of statements",
    unit: "ms",
    lines: [0.5, 0.95, 0.99].map((quantile) =>
      line(`{{server}} p${quantile * 100}`, (window) => statementQuantile(quantile, window)),
    ),
  },
  {
    title: "Active connections",
    unit: "short",
    lines: [line("{{server}}", "cgraph_connections_active")],
    cloudWatch: { metric: "DatabaseConnections" },
  },
  { title: "Connection utilisation", unit: "percent", lines: [line("{{server}}", CONNECTION_USE)] },
  {
    title: "Cache hit ratio",
    unit: "percent",
    lines: [line("{{server}}", cacheHitRatio)],
    cloudWatch: { own: "cache_hit_ratio" },
  },
  {
    title: "Replication lag",
    unit: "bytes",
    needs: "replicas",
    lines: [line("{{replica}}", "max by (replica) (cgraph_replication_lag_bytes)")],
    cloudWatch: { own: "replication_lag_bytes" },
  },
  {
    title: "Replication lag, in time",
    unit: "s",
    needs: "replicas",
    lines: [line("{{replica}}", "max by (replica) (cgraph_replication_lag_seconds)")],
    cloudWatch: { metric: "ReplicaLag" },
  },
  { title: "CPU", unit: "percent", lines: [line("{{host}}", cpuUse)], cloudWatch: { metric: "CPUUtilization" } },
  {
    title: "CPU of containers",
    unit: "percent",
    lines: [line("{{container}}", (window) => `100 * rate(cgraph_container_cpu_seconds_total[${window}])`)],
  },
  {
    title: "Memory available",
    unit: "percent",
    lines: [line("{{host}}", MEMORY_FREE)],
    cloudWatch: { metric: "FreeableMemory" },
  },
  {
    title: "Memory of containers",
    unit: "bytes",
    lines: [line("{{container}}", "cgraph_container_memory_bytes")],
  },
  {
    title: "Waiting for the disk",
    unit: "percent",
    lines: [line("{{host}}", ioWait)],
    cloudWatch: { metric: "DiskQueueDepth" },
  },
  {
    title: "Read from disks",
    unit: "Bps",
    lines: [line("{{device}}", rate("node_disk_read_bytes_total", "device"))],
    cloudWatch: { metric: "ReadLatency" },
  },
  {
    title: "Written to disks",
    unit: "Bps",
    lines: [line("{{device}}", rate("node_disk_written_bytes_total", "device"))],
    cloudWatch: { metric: "WriteLatency" },
  },
  {
    title: "Disk usage",
    unit: "percent",
    lines: [line("{{volume}}", DISK_USE)],
    cloudWatch: { metric: "FreeStorageSpace" },
  },
  { title: "Size of databases", unit: "bytes", lines: [line("{{server}} {{datname}}", "pg_database_size_bytes")] },
  {
    title: "Dead tuples",
    unit: "short",
    lines: [line("{{server}}", "cgraph_tables_dead_tuples")],
    cloudWatch: { own: "dead_tuples" },
  },
  { title: "WAL written", unit: "Bps", lines: [line("{{server}}", rate("cgraph_wal_position_bytes", "server"))] },
  {
    title: "WAL kept for slots",
    unit: "bytes",
    needs: "replicas",
    lines: [line("{{server}} {{slot}}", "cgraph_slots_retained_bytes")],
    cloudWatch: { metric: "OldestReplicationSlotLag" },
  },
  {
    title: "Oldest transaction",
    unit: "s",
    lines: [
      line("{{server}}", "cgraph_transactions_longest_seconds"),
      line("{{server}} idle", "cgraph_transactions_idle_seconds"),
    ],
  },
  { title: "Transaction id age", unit: "short", lines: [line("{{server}}", "cgraph_transaction_ids_age")] },
  {
    title: "Checkpoints an hour",
    unit: "short",
    lines: [
      line("{{server}} timed", (window) => `3600 * rate(cgraph_checkpoints_timed[${window}])`),
      line("{{server}} requested", (window) => `3600 * rate(cgraph_checkpoints_requested[${window}])`),
    ],
  },
  {
    title: "Commits and rollbacks a second",
    unit: "ops",
    lines: [
      line("{{server}} commits", rate("pg_stat_database_xact_commit", "server")),
      line("{{server}} rollbacks", rate("pg_stat_database_xact_rollback", "server")),
    ],
  },
  {
    title: "Clients waiting at the pools",
    unit: "short",
    needs: "pool",
    lines: [line("{{pooler}} {{database}}", "sum by (pooler, database) (pgbouncer_pools_client_waiting_connections)")],
  },
  {
    title: "Server connections of the pools",
    unit: "short",
    needs: "pool",
    lines: [line("{{pooler}} {{database}}", "sum by (pooler, database) (pgbouncer_pools_server_active_connections)")],
  },
  {
    title: "Cache: hits and misses a second",
    unit: "ops",
    needs: "cache",
    lines: [
      line("hits", rate("redis_keyspace_hits_total", "cache")),
      line("misses", rate("redis_keyspace_misses_total", "cache")),
    ],
  },
  { title: "Cache: memory", unit: "bytes", needs: "cache", lines: [line("used", "redis_memory_used_bytes")] },
  {
    title: "Hours since a backup",
    unit: "short",
    lines: [line("backup", "(time() - cgraph_backup_newest_timestamp_seconds) / 3600")],
  },
];

export interface Has {
  readonly replicas: boolean;
  readonly pool: boolean;
  readonly cache: boolean;
}

/** The panels that have figures where this is there. */
export const panelsOf = (has: Has): Panel[] => PANELS.filter(({ needs }) => needs === undefined || has[needs]);
