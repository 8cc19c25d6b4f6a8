import { UserError } from "./errors.ts";

/** Units that postgresql.conf understands. */
export type MemoryUnit = "B" | "kB" | "MB" | "GB";
export type TimeUnit = "ms" | "s" | "min";
export type Unit = MemoryUnit | TimeUnit;

/** One PostgreSQL setting, with what a person who meets it at night wants to know. */
export interface Setting {
  readonly value: number | string | boolean;
  /** Unit of a numeric value; absent where the setting has none. */
  readonly unit?: Unit;
  /** Whether a change takes effect only when the server restarts (pg_settings.context = postmaster). */
  readonly restart: boolean;
  /** Where the value comes from: the guide's section, PostgreSQL's documentation, pgtune, or our own reason. */
  readonly reason: string;
}

export type Settings = Readonly<Record<string, Setting>>;

/** Settings that only a restart changes, for the names that this project sets (PostgreSQL 16 and 17). */
const RESTART = new Set([
  "archive_mode",
  "autovacuum_max_workers",
  "bonjour",
  "cluster_name",
  "cron.database_name",
  "cron.max_running_jobs",
  "cron.use_background_workers",
  "hot_standby",
  "huge_pages",
  "listen_addresses",
  "max_connections",
  "max_locks_per_transaction",
  "max_logical_replication_workers",
  "max_prepared_transactions",
  "max_replication_slots",
  "max_wal_senders",
  "max_worker_processes",
  "port",
  "reserved_connections",
  "shared_buffers",
  "shared_preload_libraries",
  "superuser_reserved_connections",
  "track_activity_query_size",
  "unix_socket_directories",
  "wal_buffers",
  "wal_decode_buffer_size",
  "wal_level",
]);

/** Whether changing the setting of this name needs a restart. */
export const needsRestart = (name: string): boolean => RESTART.has(name);

/** A setting by its name, as an entry of Settings. */
export function setting(
  name: string,
  value: Setting["value"],
  unit: Unit | undefined,
  reason: string,
): [string, Setting] {
  return [name, { value, ...(unit ? { unit } : {}), restart: needsRestart(name), reason }];
}

const FACTORS: Readonly<Record<Unit, number>> = {
  B: 1,
  kB: 1024,
  MB: 1024 ** 2,
  GB: 1024 ** 3,
  ms: 1,
  s: 1000,
  min: 60_000,
};
const MEMORY = new Set<string>(["B", "kB", "MB", "GB"]);

/** A setting's value in bytes (memory) or milliseconds (time); other values as they are. */
export function baseValue(setting: Setting): number | string | boolean {
  return typeof setting.value === "number" && setting.unit ? setting.value * FACTORS[setting.unit] : setting.value;
}

/**
 * What pg_settings.setting shows for a setting, given pg_settings.unit (`8kB`, `16MB`, `ms`, … or null).
 * Booleans read `on` and `off`.
 */
export function pgSettingsText(setting: Setting, pgUnit: string | null): string {
  if (typeof setting.value === "boolean") return setting.value ? "on" : "off";
  if (typeof setting.value === "string" || !setting.unit || pgUnit === null) return String(setting.value);
  const match = /^(\d*)(\w+)$/.exec(pgUnit);
  const unit = match?.[2] as Unit | undefined;
  if (!unit || !(unit in FACTORS)) throw new Error(`unknown unit ${pgUnit} in pg_settings`);
  return String((setting.value * FACTORS[setting.unit]) / (Number(match?.[1] || 1) * FACTORS[unit]));
}

/** How a setting's value is written in postgresql.conf, without quotes: `1024MB`, `on`, `1.1`. */
export function confText(setting: Setting): string {
  if (typeof setting.value === "boolean") return setting.value ? "on" : "off";
  return `${setting.value}${setting.unit ?? ""}`;
}

/**
 * Reads a value as a person writes it in `cgraph:settings` (`32MB`, `on`, `1.5`, `lz4`) for a setting of that name.
 * Throws a UserError where a unit of the wrong kind is given.
 */
export function parseSetting(name: string, text: string, like?: Setting): Setting {
  const make = (value: Setting["value"], unit?: Unit): Setting => ({
    value,
    ...(unit ? { unit } : {}),
    restart: needsRestart(name),
    reason: "set by cgraph:settings",
  });
  const boolean = /^(on|true|yes)$/i.test(text) ? true : /^(off|false|no)$/i.test(text) ? false : undefined;
  if (boolean !== undefined && (!like || typeof like.value === "boolean")) return make(boolean);
  const match = /^(-?\d+(?:\.\d+)?)\s*(B|kB|MB|GB|ms|s|min)?$/.exec(text);
  if (match) {
    const unit = match[2] as Unit | undefined;
    if (like?.unit && unit && MEMORY.has(unit) !== MEMORY.has(like.unit)) {
      throw new UserError(
        `cgraph:settings: ${name} is ${text}, but it is measured in ${like.unit}`,
        `write a number with a unit such as ${like.unit}`,
      );
    }
    return make(Number(match[1]), unit ?? like?.unit);
  }
  if (like && typeof like.value !== "string") {
    throw new UserError(
      `cgraph:settings: ${name} is "${text}", which is no ${typeof like.value}`,
      `write a value like ${confText(like)}`,
    );
  }
  return make(text);
}
