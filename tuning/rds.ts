/** Settings as an RDS parameter group takes them: PostgreSQL's own internal units, and nothing that is the default anyway. */
import { type Setting, type Settings, pgSettingsText } from "./setting.ts";

/** One parameter of an RDS parameter group. */
export interface RdsParameter {
  readonly name: string;
  readonly value: string;
  /** Static parameters wait for a reboot; AWS refuses `immediate` for them. */
  readonly applyMethod: "immediate" | "pending-reboot";
}

/** pg_settings.unit of each setting that has one: RDS takes plain numbers in it. */
export const PG_UNITS: Readonly<Record<string, string>> = {
  autovacuum_naptime: "s",
  autovacuum_work_mem: "kB",
  checkpoint_timeout: "s",
  client_connection_check_interval: "ms",
  effective_cache_size: "8kB",
  idle_in_transaction_session_timeout: "ms",
  log_autovacuum_min_duration: "ms",
  log_min_duration_statement: "ms",
  log_temp_files: "kB",
  maintenance_work_mem: "kB",
  max_slot_wal_keep_size: "MB",
  max_wal_size: "MB",
  min_wal_size: "MB",
  shared_buffers: "8kB",
  tcp_keepalives_idle: "s",
  wal_buffers: "8kB",
  work_mem: "kB",
};

/** Settings of ours that RDS sets itself, each with what it does instead. */
export const MANAGED_BY_RDS: Readonly<Record<string, string>> = {
  archive_mode: "RDS archives by itself",
  archive_timeout: "five minutes",
  huge_pages: "on where the class has them",
  log_line_prefix: "RDS's own, with time, host, user and database",
  max_replication_slots: "20, which is enough below stage 4",
  max_wal_senders: "20, which is enough below stage 4",
  superuser_reserved_connections: "3, and more for its own administration",
  wal_keep_size: "2 GB, more than the guide's 1",
  wal_level: "logical, by rds.logical_replication",
};

/** Where RDS's own is less than what shards need, ours is set. */
const AT_LEAST: Readonly<Record<string, number>> = { max_replication_slots: 20, max_wal_senders: 20 };
const isManaged = (name: string, { value }: Setting): boolean =>
  name in MANAGED_BY_RDS && !(Number(value) > (AT_LEAST[name] ?? Infinity));

/**
 * Settings whose value of ours RDS computes from whatever class the server starts on, where the user has not set them: a
 * fixed number that fits the next class would keep a server from starting that reboots before it has got it.
 */
export const COMPUTED_BY_RDS: Readonly<Record<string, string>> = {
  shared_buffers: "a quarter of the class's memory, {DBInstanceClassMemory/32768}",
};

/**
 * What the family's defaults say, in the parameter group's words, for every setting of ours whose value can meet it: RDS's
 * own where it has one, else PostgreSQL's. A parameter that is written with its default value shows a difference for ever.
 */
const DEFAULTS: Readonly<Record<string, string>> = {
  autovacuum_analyze_scale_factor: "0.05",
  autovacuum_naptime: "15",
  autovacuum_vacuum_insert_scale_factor: "0.2",
  autovacuum_vacuum_scale_factor: "0.1",
  checkpoint_completion_target: "0.9",
  checkpoint_timeout: "300",
  client_connection_check_interval: "0",
  default_statistics_target: "100",
  effective_io_concurrency: "1",
  hash_mem_multiplier: "2",
  hot_standby_feedback: "0",
  idle_in_transaction_session_timeout: "86400000",
  jit: "1",
  log_autovacuum_min_duration: "10000",
  log_checkpoints: "1",
  log_lock_waits: "0",
  log_min_duration_statement: "-1",
  log_temp_files: "-1",
  maintenance_io_concurrency: "10",
  max_parallel_maintenance_workers: "2",
  max_parallel_workers_per_gather: "2",
  max_slot_wal_keep_size: "-1",
  max_wal_size: "2048",
  min_wal_size: "192",
  parallel_tuple_cost: "0.1",
  password_encryption: "scram-sha-256",
  "pg_stat_statements.track": "top",
  random_page_cost: "4",
  seq_page_cost: "1",
  shared_preload_libraries: "pg_stat_statements",
  tcp_keepalives_idle: "300",
  track_io_timing: "0",
  wal_compression: "zstd",
  work_mem: "4096",
};

/** A setting's value as RDS writes it: `1` and `0` for booleans, numbers in PostgreSQL's internal unit. */
export function rdsText(name: string, setting: Setting): string {
  if (typeof setting.value === "boolean") return setting.value ? "1" : "0";
  const unit = PG_UNITS[name];
  if (setting.unit && unit === undefined) throw new Error(`the unit in which RDS takes ${name} is not known`);
  return pgSettingsText(setting, unit ?? null);
}

/**
 * The parameter group of a server: what differs from the family's defaults, by name. `rds.logical_replication` is on from
 * the first day, because it is static: a later move would have to reboot for it. `chosen`: settings of the user's own.
 */
export function renderRdsParameters(settings: Settings, chosen: readonly string[] = []): RdsParameter[] {
  const own = Object.entries(settings)
    .filter(([name, one]) => !isManaged(name, one) && (!(name in COMPUTED_BY_RDS) || chosen.includes(name)))
    .map(([name, setting]): RdsParameter => ({
      name,
      value: rdsText(name, setting),
      applyMethod: setting.restart ? "pending-reboot" : "immediate",
    }))
    .filter(({ name, value }) => DEFAULTS[name] !== value);
  const logical: RdsParameter = { name: "rds.logical_replication", value: "1", applyMethod: "pending-reboot" };
  return [...own, logical].sort((a, b) => (a.name < b.name ? -1 : 1));
}
