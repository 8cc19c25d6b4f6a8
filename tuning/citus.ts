/**
 * Settings that nodes of a Citus cluster have beside those of their size. Pure. What Citus 14's documentation (Configuration
 * Reference, Cluster Management) does not give carries our reason.
 */
import { type Setting, setting } from "./setting.ts";

export interface CitusInput {
  readonly workers: number;
  /** Standbys of each node. */
  readonly replicas: number;
  /** How nodes log in to each other: connection parameters as libpq reads them. */
  readonly nodeConnection: string;
}

/** Workers up to which another one needs no restart of the nodes that are there. */
const WORKERS_AT_EASE = 16;
/** Moves of shards that one node sends and receives at a time. */
const MOVES_AT_A_TIME = 4;

/** The node's settings; `libraries`: shared_preload_libraries without Citus. */
export function citusSettings(
  { workers, replicas, nodeConnection }: CitusInput,
  { cpus, maxConnections, libraries }: { cpus: number; maxConnections: number; libraries: string },
): [string, Setting][] {
  const streams = 10 + replicas + 2 * MOVES_AT_A_TIME + Math.max(workers, WORKERS_AT_EASE);
  const logicalWorkers = 4 + 4 * MOVES_AT_A_TIME;
  const none = undefined;
  return [
    setting(
      "shared_preload_libraries",
      `citus,${libraries}`,
      none,
      "Citus first: it takes hooks that the others see after it",
    ),
    setting(
      "max_prepared_transactions",
      2 * maxConnections,
      none,
      "a write over several nodes is prepared on each; as many as Patroni would set",
    ),
    setting(
      "output_plugin_libraries",
      "pgoutput,test_decoding,wal2json,citus",
      none,
      "what may decode the WAL: subscriptions and moves of shards, pgcopydb, splits of shards",
    ),
    setting("max_wal_senders", streams, none, "a replica's stream each, and two for every move of shards"),
    setting("max_replication_slots", streams, none, "as max_wal_senders"),
    setting("max_logical_replication_workers", logicalWorkers, none, "four for every move of shards"),
    setting(
      "max_worker_processes",
      Math.max(1, Math.ceil(cpus)) + 16 + logicalWorkers,
      none,
      "parallel queries, Citus' own workers, those of moves",
    ),
    setting(
      "max_locks_per_transaction",
      256,
      none,
      "a change of a partitioned table locks every shard of every partition",
    ),
    setting("citus.node_conninfo", nodeConnection, none, "nodes know each other by certificates"),
    setting("citus.stat_tenants_track", "all", none, "which senders take most of a node's time (doctor)"),
  ];
}
