/** Settings that servers have beside those of their size because rows stream between databases. Pure. */

/** Server connections of each pool to the router database: each holds one to every shard that it has asked. */
export const ROUTER_POOL_SIZE = 10;

/** Shards up to which another one needs no restart of the servers that are there. */
const SHARDS_AT_EASE = 16;

/**
 * What the global database's servers send: a stream to each shard, two more while a shard copies its tables, one to each
 * replica, and PostgreSQL's default of ten beside them.
 */
export function globalSettings(shards: number, replicas: number): Record<string, string> {
  const senders = String(10 + 3 * Math.max(shards, SHARDS_AT_EASE) + replicas);
  return { max_wal_senders: senders, max_replication_slots: senders };
}

/**
 * What a shard's servers send and receive beside PostgreSQL's defaults while buckets move: a stream from and to each other
 * shard, and two more while one copies tables.
 */
export function shardSettings(shards: number, cpus: number): Record<string, string> {
  const others = Math.max(shards, SHARDS_AT_EASE);
  const workers = 4 + others;
  const senders = String(10 + 2 * others);
  return {
    max_wal_senders: senders,
    max_replication_slots: senders,
    max_logical_replication_workers: String(workers),
    max_worker_processes: String(Math.max(1, Math.ceil(cpus)) + 8 + workers),
  };
}

/** PostgreSQL's defaults of what a server below stage 4 receives. */
const RECEIVED_AT_EASE = 4;

/**
 * What servers of one database receive while a move to a Citus cluster can be taken back: a stream from each of its nodes. Nothing
 * where PostgreSQL's defaults carry that: each of these needs a restart.
 */
export function followingSettings(nodes: number, cpus: number): Record<string, string> {
  if (nodes <= RECEIVED_AT_EASE) return {};
  return {
    max_replication_slots: String(10 + nodes),
    max_logical_replication_workers: String(nodes),
    max_worker_processes: String(Math.max(1, Math.ceil(cpus)) + 8 + nodes),
  };
}
