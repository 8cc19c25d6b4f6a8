/** Settings that do not follow from the hardware: replication, safety, what is logged and measured, extensions. */
import type { Role } from "./postgresql.ts";
import { type Setting, setting } from "./setting.ts";

export function replication(role: Role): [string, Setting][] {
  return [
    setting(
      "max_wal_senders",
      10,
      undefined,
      "PostgreSQL's default; the guide's 5 is too few for three replicas, a base backup and a move's streams",
    ),
    setting("max_replication_slots", 10, undefined, "PostgreSQL's default, as max_wal_senders"),
    setting(
      "hot_standby_feedback",
      role === "replica",
      undefined,
      "a replica's long reads hold back vacuum rather than being cancelled",
    ),
  ];
}

export function safety(): [string, Setting][] {
  return [
    setting("password_encryption", "scram-sha-256", undefined, "guide: Stage 2 › step 2"),
    setting(
      "idle_in_transaction_session_timeout",
      5,
      "min",
      "guide: Common Pitfalls › Long-Running Transactions: 5 minutes",
    ),
    setting("client_connection_check_interval", 10, "s", "a query whose client has gone is stopped within ten seconds"),
    setting("tcp_keepalives_idle", 60, "s", "dead clients are noticed in minutes, not in two hours"),
  ];
}

export function observation(): [string, Setting][] {
  return [
    setting("pg_stat_statements.track", "top", undefined, "its default: statements as clients send them"),
    setting("track_io_timing", true, undefined, "tells slow disks from slow plans; cheap on current clocks"),
    setting("log_min_duration_statement", 1000, "ms", "guide: Stage 1 › What to Do Now"),
    setting("log_lock_waits", true, undefined, "who waits for whom, once it has taken deadlock_timeout"),
    setting("log_temp_files", 10, "MB", "sorts that spilled: candidates for more work_mem or an index"),
    setting("log_autovacuum_min_duration", 60, "s", "vacuums that take a minute are worth a line"),
    setting("log_checkpoints", true, undefined, "PostgreSQL's default since 15"),
    setting("log_line_prefix", "%m [%p] %q%u@%d/%a ", undefined, "who did it, from which application"),
  ];
}

export function extensions(cronDatabase: string | undefined): [string, Setting][] {
  const statements = "pg_stat_statements: guide: Performance › Query Optimization";
  if (cronDatabase === undefined) {
    return [setting("shared_preload_libraries", "pg_stat_statements", undefined, statements)];
  }
  return [
    setting(
      "shared_preload_libraries",
      "pg_stat_statements,pg_cron",
      undefined,
      `${statements}; pg_cron: keeps partitions by month (guide: Stage 3 › Partitioning Large Tables)`,
    ),
    setting("cron.database_name", cronDatabase, undefined, "where the jobs are kept"),
    setting("cron.use_background_workers", true, undefined, "jobs need no connection and no password"),
    setting("cron.max_running_jobs", 4, undefined, "each takes one of max_worker_processes"),
  ];
}
