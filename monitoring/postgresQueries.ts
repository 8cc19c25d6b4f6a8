/** What postgres_exporter asks of each server beside its own questions, as its query file. JSON is YAML too. */
import type { PostgresMajor } from "../tuning/hardware.ts";
import { SERVER } from "./serverNames.ts";

type Usage = "LABEL" | "GAUGE" | "COUNTER";

/** A query and its columns; a column's metric is `cgraph_QUERY_COLUMN`. */
interface Query {
  readonly sql: string;
  readonly columns: Readonly<Record<string, readonly [Usage, string]>>;
}

const WAL_POSITION = "CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END";

/** By name. Every one is answered by a role that has pg_monitor. */
export const queries = (version: PostgresMajor): Readonly<Record<string, Query>> => ({
  server: {
    sql: `SELECT (NOT pg_is_in_recovery())::int AS primary, extract(epoch FROM now() - pg_postmaster_start_time()) AS uptime_seconds`,
    columns: {
      primary: ["GAUGE", "1 where it takes writes"],
      uptime_seconds: ["GAUGE", "Seconds since it started"],
    },
  },
  connections: {
    sql: `SELECT count(*) AS clients, count(*) FILTER (WHERE state = 'active') AS active,
      count(*) FILTER (WHERE wait_event_type = 'Lock') AS waiting_for_locks,
      current_setting('max_connections')::int AS limit FROM pg_stat_activity WHERE backend_type = 'client backend'`,
    columns: {
      clients: ["GAUGE", "Client connections"],
      active: ["GAUGE", "Client connections that run a statement"],
      waiting_for_locks: ["GAUGE", "Client connections that wait for a lock"],
      limit: ["GAUGE", "max_connections"],
    },
  },
  transactions: {
    sql: `SELECT coalesce(max(extract(epoch FROM clock_timestamp() - xact_start)), 0) AS longest_seconds,
      coalesce(max(extract(epoch FROM clock_timestamp() - state_change)) FILTER (WHERE state LIKE 'idle in transaction%'), 0)
        AS idle_seconds FROM pg_stat_activity WHERE backend_type = 'client backend'`,
    columns: {
      longest_seconds: ["GAUGE", "Age of the oldest transaction of a client"],
      idle_seconds: ["GAUGE", "How long the longest has been idle in a transaction"],
    },
  },
  transaction_ids: {
    sql: `SELECT max(age(datfrozenxid)) AS age, max(mxid_age(datminmxid)) AS multixact_age FROM pg_database`,
    columns: {
      age: ["GAUGE", "Transaction ids since the oldest that is not frozen"],
      multixact_age: ["GAUGE", "The same for multixacts"],
    },
  },
  tables: {
    sql: `SELECT coalesce(sum(n_dead_tup), 0) AS dead_tuples, coalesce(sum(n_live_tup), 0) AS live_tuples FROM pg_stat_user_tables`,
    columns: {
      dead_tuples: ["GAUGE", "Dead tuples of all tables"],
      live_tuples: ["GAUGE", "Live tuples of all tables"],
    },
  },
  growth: {
    sql: `SELECT c.relname AS relation, coalesce(sum(greatest(leaf.reltuples, 0)), 0) AS rows FROM pg_class c
      JOIN LATERAL pg_partition_tree(c.oid) tree ON tree.isleaf JOIN pg_class leaf ON leaf.oid = tree.relid
      WHERE c.relnamespace = 'public'::regnamespace AND c.relname IN ('users', 'messages', 'posts') GROUP BY 1
      UNION ALL SELECT relname, greatest(reltuples, 0) FROM pg_class
      WHERE relnamespace = 'public'::regnamespace AND relname IN ('users', 'messages', 'posts') AND relkind = 'r' AND NOT relispartition`,
    columns: { relation: ["LABEL", "The table"], rows: ["GAUGE", "Rows, as of the last ANALYZE"] },
  },
  statements: {
    sql: `SELECT coalesce(sum(calls), 0) AS calls, coalesce(sum(total_exec_time), 0) / 1000 AS seconds FROM pg_stat_statements`,
    columns: { calls: ["COUNTER", "Statements run"], seconds: ["COUNTER", "Seconds that they took"] },
  },
  replication: {
    sql: `SELECT application_name AS replica, (state = 'streaming')::int AS streaming,
      CASE WHEN pg_is_in_recovery() THEN 0 ELSE pg_wal_lsn_diff(pg_current_wal_lsn(), replay_lsn) END AS lag_bytes,
      coalesce(extract(epoch FROM replay_lag), 0) AS lag_seconds
      FROM pg_stat_replication WHERE application_name ~ '^${SERVER}$'`,
    columns: {
      replica: ["LABEL", "The replica"],
      streaming: ["GAUGE", "1 where it streams"],
      lag_bytes: ["GAUGE", "WAL that it has not replayed"],
      lag_seconds: ["GAUGE", "How long its last replayed write took to get there"],
    },
  },
  slots: {
    sql: `SELECT slot_name AS slot, slot_type, active::int AS active,
      coalesce(pg_wal_lsn_diff(${WAL_POSITION}, restart_lsn), 0) AS retained_bytes FROM pg_replication_slots`,
    columns: {
      slot: ["LABEL", "The slot"],
      slot_type: ["LABEL", "physical or logical"],
      active: ["GAUGE", "1 where somebody reads it"],
      retained_bytes: ["GAUGE", "WAL that it keeps"],
    },
  },
  wal: {
    sql: `SELECT pg_wal_lsn_diff(${WAL_POSITION}, '0/0') AS position_bytes`,
    columns: { position_bytes: ["COUNTER", "WAL written, or, on a replica, replayed"] },
  },
  archiver: {
    sql: `SELECT failed_count AS failed, archived_count AS archived, waiting,
      CASE WHEN waiting = 0 THEN 0 ELSE extract(epoch FROM now() - greatest(last_archived_time, oldest)) END AS behind_seconds
      FROM pg_stat_archiver, (SELECT count(*) FILTER (WHERE name LIKE '%.ready') AS waiting,
        min(modification) FILTER (WHERE name LIKE '%.ready') AS oldest FROM pg_ls_archive_statusdir()) files
      WHERE NOT pg_is_in_recovery()`,
    columns: {
      failed: ["COUNTER", "Attempts that failed"],
      archived: ["COUNTER", "WAL files archived"],
      waiting: ["GAUGE", "WAL files that wait to be archived"],
      behind_seconds: ["GAUGE", "How long WAL has waited since the last file was archived"],
    },
  },
  checkpoints: {
    sql:
      version >= 17
        ? "SELECT num_timed AS timed, num_requested AS requested FROM pg_stat_checkpointer"
        : "SELECT checkpoints_timed AS timed, checkpoints_req AS requested FROM pg_stat_bgwriter",
    columns: {
      timed: ["COUNTER", "Checkpoints because it was time"],
      requested: ["COUNTER", "Checkpoints because WAL had filled, or somebody asked"],
    },
  },
});

/** The file that postgres_exporter takes with --extend.query-path. */
export function queriesFile(version: PostgresMajor): string {
  const entries = Object.entries(queries(version)).map(([name, { sql, columns }]) => [
    `cgraph_${name}`,
    {
      query: sql.replace(/\s+/g, " "),
      master: true,
      metrics: Object.entries(columns).map(([column, [usage, description]]) => ({ [column]: { usage, description } })),
    },
  ]);
  return JSON.stringify(Object.fromEntries(entries), null, 1);
}
