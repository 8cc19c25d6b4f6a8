/** Alerts about what keeps servers together and what stands around them. */
import { guideThresholds } from "../../stacks/guide.ts";
import { type Alert, SOON } from "./alert.ts";

/** Alerts of a stage with replicas. */
export const clusterAlerts = (replicas: number, primaries = 1): Alert[] => [
  {
    id: "replication_lag",
    title: "Replication lag",
    unit: "bytes",
    bad: "above",
    thresholds: guideThresholds("replication_lag"),
    figure: () => "max by (replica) (cgraph_replication_lag_bytes)",
    meaning: "reads are stale, and a failover would lose what the replica has not received",
    source: "guide",
  },
  {
    id: "replica_missing",
    title: "Replicas that do not stream",
    unit: "replicas",
    bad: "above",
    thresholds: { warning: 0, critical: replicas > 1 ? replicas - 1 : null },
    figure: () => `${replicas} - (sum(cgraph_replication_streaming) or vector(0))`,
    holds: SOON,
    meaning: "it falls behind, and cannot take over",
    source: "the last one that is left is the last one that can take over",
  },
  {
    id: "no_primary",
    title: "Servers that take writes",
    unit: "servers",
    bad: "below",
    thresholds: { warning: null, critical: primaries },
    figure: () => "sum(cgraph_server_primary) or vector(0)",
    holds: { warning: 2, critical: 2 },
    meaning: "nothing can be written",
    source: "a failover takes some 20 seconds: longer means that there is none",
  },
  {
    id: "cluster_paused",
    title: "Patroni in maintenance mode",
    unit: "servers",
    bad: "above",
    thresholds: { warning: 0, critical: null },
    figure: () => "sum(patroni_is_paused)",
    meaning: "nothing takes over when the primary is lost",
    source: "it is set by people, who forget it",
  },
  {
    id: "etcd_unavailable",
    title: "Members of etcd that do not serve",
    unit: "members",
    bad: "above",
    thresholds: { warning: null, critical: 0 },
    figure: () => 'sum(1 - up{job="etcd"}) + (sum(1 - etcd_server_has_leader) or vector(0))',
    meaning: "the primary goes on while it reaches its replicas, but no other can take over",
    source: "Patroni decides nothing without etcd",
  },
];

export const POOL_ALERTS: readonly Alert[] = [
  {
    id: "pool_use",
    title: "Pool utilisation",
    unit: "%",
    bad: "above",
    thresholds: guideThresholds("connection_utilization"),
    figure: () =>
      "100 * sum by (pooler, database) (pgbouncer_pools_server_active_connections) / max by (pooler, database) (pgbouncer_databases_max_connections > 0)",
    meaning: "when all of a pool's server connections are busy, clients wait",
    source: "the guide's for connections",
  },
  {
    id: "pool_wait",
    title: "Waiting for a server connection",
    unit: "s",
    bad: "above",
    thresholds: { warning: 1, critical: 10 },
    figure: () => "max by (pooler, database) (pgbouncer_pools_client_maxwait_seconds)",
    holds: SOON,
    meaning: "a client waits before its first statement even begins",
    source: "a second is what people notice; PgBouncer gives up at a minute (query_wait_timeout)",
  },
];

export const CACHE_ALERTS: readonly Alert[] = [
  {
    id: "cache_down",
    title: "Cache down",
    unit: "servers",
    bad: "above",
    thresholds: { warning: 0, critical: null },
    figure: () => "1 - redis_up",
    holds: SOON,
    meaning: "every read that the cache answered goes to the database",
    source: "no data is lost with it, but the load multiplies",
  },
];
