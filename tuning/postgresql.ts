/**
 * From hardware to PostgreSQL settings: a pure function. For the guide's hardware it gives the guide's values; what the
 * guide leaves out carries its reason beside it.
 */
import { type CitusInput, citusSettings } from "./citus.ts";
import { type Hardware, type PostgresMajor, checkHardware } from "./hardware.ts";
import { checkMemory, fittingMaxConnections } from "./memory.ts";
import { extensions, observation, replication, safety } from "./operation.ts";
import { type Setting, type Settings, parseSetting, setting } from "./setting.ts";
import { UserError } from "./errors.ts";

/** A server that takes writes, or one that replays them and serves reads. */
export type Role = "primary" | "replica";

export interface TuningInput {
  readonly hardware: Hardware;
  readonly role: Role;
  readonly postgresMajor: PostgresMajor;
  /** Wanted max_connections; default: as many as the memory carries, at most the guide's 100. */
  readonly maxConnections?: number;
  /** GiB of WAL kept for replicas that fall behind (guide, stage 2: 1); default 0: there are none. */
  readonly walKeepGiB?: number;
  /** Database whose jobs pg_cron runs; default none: pg_cron is not loaded. */
  readonly cronDatabase?: string;
  /** Of a node of a Citus cluster; default: it is none. */
  readonly citus?: CitusInput;
  /** Settings of the user's own, as written in postgresql.conf; they win over ours, except the fixed ones. */
  readonly overrides?: Readonly<Record<string, string>>;
}

/** Settings that other parts depend on: backups, the move to shards, security. */
export const FIXED: readonly string[] = [
  "archive_command",
  "archive_mode",
  "data_directory",
  "fsync",
  "full_page_writes",
  "hba_file",
  "listen_addresses",
  "password_encryption",
  "port",
  "ssl",
  "unix_socket_directories",
  "wal_level",
];

const GUIDE_MEMORY = "guide: Stage 1 › Configuration › Memory";
const GUIDE_WAL = "guide: Stage 1 › Configuration › Write-Ahead Log";
const GUIDE_PLANNER = "guide: Stage 1 › Configuration › Query Planner";

const clamp = (value: number, low: number, high: number): number => Math.min(Math.max(value, low), high);
const floorPowerOfTwo = (value: number): number => 2 ** Math.floor(Math.log2(Math.max(value, 1)));

/**
 * Settings of one PostgreSQL server, by name.
 *
 * Throws a UserError for hardware outside 0.25 to 192 CPUs or 256 MiB to 1.5 TiB, for connections or overrides whose
 * memory adds up to more than the server has, and for overrides of settings that other parts depend on.
 */
export function tunePostgres(input: TuningInput): Settings {
  const { hardware } = input;
  checkHardware(hardware);
  const maxConnections = input.maxConnections ?? Math.min(100, fittingMaxConnections(hardware.memoryMiB));
  if (!Number.isInteger(maxConnections) || maxConnections < 10 || maxConnections > 10_000) {
    throw new UserError(
      `max_connections is ${maxConnections}; whole numbers from 10 to 10000 make sense`,
      "for more clients than that, put PgBouncer in front (stage 2)",
    );
  }
  const derived: Settings = Object.fromEntries([
    ...memory(hardware, maxConnections),
    ...wal(input),
    ...planner(hardware),
    ...parallelism(hardware),
    ...autovacuum(hardware),
    ...replication(input.role),
    ...safety(),
    ...observation(),
    ...extensions(input.cronDatabase),
  ]);
  const libraries = String(derived["shared_preload_libraries"]?.value);
  const whole: Settings = input.citus
    ? {
        ...derived,
        ...Object.fromEntries(citusSettings(input.citus, { cpus: hardware.cpus, maxConnections, libraries })),
      }
    : derived;
  const settings = withOverrides(whole, input.overrides ?? {});
  checkMemory(settings, hardware.memoryMiB);
  return settings;
}

function memory({ memoryMiB }: Hardware, maxConnections: number): [string, Setting][] {
  const sharedBuffers = Math.floor(memoryMiB / 4);
  const workMem = clamp(floorPowerOfTwo((memoryMiB * 0.4) / maxConnections), 1, 256);
  return [
    setting("shared_buffers", sharedBuffers, "MB", `${GUIDE_MEMORY}: 25 % of RAM`),
    setting("effective_cache_size", Math.floor((memoryMiB * 3) / 4), "MB", `${GUIDE_MEMORY}: 75 % of RAM`),
    setting(
      "work_mem",
      workMem,
      "MB",
      `${GUIDE_MEMORY}: 16 MB for 4 GB and 100 connections; 40 % of RAM shared by all`,
    ),
    setting(
      "maintenance_work_mem",
      clamp(Math.floor(memoryMiB / 16), 16, 2048),
      "MB",
      `${GUIDE_MEMORY}: 256 MB for 4 GB; a sixteenth of RAM`,
    ),
    setting("max_connections", maxConnections, undefined, "guide: Stage 1 › Server Specs: 100"),
    setting(
      "superuser_reserved_connections",
      3,
      undefined,
      "PostgreSQL's default: a way in when every other connection is taken",
    ),
    setting(
      "huge_pages",
      "try",
      undefined,
      "PostgreSQL's default: used where the kernel reserves them, harmless elsewhere",
    ),
    setting(
      "hash_mem_multiplier",
      2,
      undefined,
      "PostgreSQL's default since 15: hash tables may use twice work_mem before they spill",
    ),
  ];
}

/** WAL that may gather between checkpoints: enough that they come by time, not by volume; bounded by disk and replay time. */
function maxWalSizeMiB(diskGiB: number): number {
  return clamp(Math.floor(diskGiB * 2.56) * 64, 128, 32 * 1024);
}

function wal(input: TuningInput): [string, Setting][] {
  const { memoryMiB, diskGiB } = input.hardware;
  const maxWal = maxWalSizeMiB(diskGiB);
  const walBuffers = clamp(Math.floor(memoryMiB / 64), 1, 64);
  return [
    setting("wal_level", "logical", undefined, "the later moves use logical replication; changing it would restart"),
    setting("wal_buffers", walBuffers, "MB", `${GUIDE_WAL}: 64 MB for 4 GB; a sixteenth of shared_buffers below`),
    setting("checkpoint_completion_target", 0.9, undefined, GUIDE_WAL),
    setting(
      "checkpoint_timeout",
      15,
      "min",
      "each checkpoint makes pages be logged in full again; 15 min writes far less WAL than the default 5, replay stays in minutes",
    ),
    setting(
      "max_wal_size",
      maxWal,
      "MB",
      "16 % of the disk, at most 32 GB: the default 1 GB forces checkpoints under every bulk load",
    ),
    setting("min_wal_size", maxWal / 4, "MB", "segments are reused rather than made anew after each quiet hour"),
    setting(
      "wal_compression",
      "lz4",
      undefined,
      "full-page images shrink to a third for little CPU; disks are sold by MB/s",
    ),
    setting(
      "max_slot_wal_keep_size",
      Math.max(128, Math.floor(diskGiB * 0.2 * 1024)),
      "MB",
      "a fifth of the disk: a dead replica or consumer must not fill it",
    ),
    setting(
      "wal_keep_size",
      (input.walKeepGiB ?? 0) * 1024,
      "MB",
      "guide: Stage 2 › step 2: 1 GB where there are replicas",
    ),
    setting("archive_mode", "on", undefined, "backups from the first day; changing it would restart"),
    setting("archive_timeout", 60, "s", "PostgreSQL's docs: about a minute; the most that a lost disk loses"),
  ];
}

function planner({ storage }: Hardware): [string, Setting][] {
  const ssd = storage.kind === "ssd";
  return [
    setting(
      "random_page_cost",
      ssd ? 1.1 : 4,
      undefined,
      ssd ? `${GUIDE_PLANNER}: SSD` : "PostgreSQL's default, for disks",
    ),
    setting(
      "seq_page_cost",
      ssd ? 0.5 : 1,
      undefined,
      ssd
        ? "beside the guide's 1.1 the default 1 makes reports read whole tables by index, page by page: measured 1.5 times slower"
        : "PostgreSQL's default",
    ),
    setting(
      "parallel_tuple_cost",
      ssd ? 0.05 : 0.1,
      undefined,
      ssd
        ? "the default's ratio to seq_page_cost: without it one process sorts alone what two sort in 0.75 of the time (measured)"
        : "PostgreSQL's default",
    ),
    setting(
      "effective_io_concurrency",
      ssd ? 200 : 2 * storage.spindles,
      undefined,
      ssd ? GUIDE_PLANNER : "two requests in flight for each disk",
    ),
    setting(
      "maintenance_io_concurrency",
      ssd ? 200 : 10,
      undefined,
      ssd ? "as effective_io_concurrency: vacuum prefetches too" : "PostgreSQL's default",
    ),
    setting(
      "default_statistics_target",
      100,
      undefined,
      "PostgreSQL's default: point queries gain nothing from more; raise it for single columns",
    ),
    setting("jit", false, undefined, "compiling costs more than CGraph's short queries take"),
  ];
}

function parallelism({ cpus }: Hardware): [string, Setting][] {
  const cores = Math.max(1, Math.ceil(cpus));
  const perQuery = cores === 1 ? 1 : clamp(Math.ceil(cores / 2), 2, 4);
  const perQueryReason = "PostgreSQL's default of 2, half the cores on larger servers, at most 4 (pgtune)";
  return [
    setting(
      "max_worker_processes",
      cores + 8,
      undefined,
      "a parallel worker for each core, and eight for logical replication, pg_cron and other extensions",
    ),
    setting("max_parallel_workers", cores, undefined, "pgtune: one for each core"),
    setting("max_parallel_workers_per_gather", perQuery, undefined, perQueryReason),
    setting("max_parallel_maintenance_workers", perQuery, undefined, perQueryReason),
  ];
}

function autovacuum({ cpus, memoryMiB, storage }: Hardware): [string, Setting][] {
  const workers = clamp(Math.floor(cpus / 4), 3, 8);
  return [
    setting(
      "autovacuum_work_mem",
      clamp(Math.floor((memoryMiB * 3) / 64 / workers), 1, 512),
      "MB",
      "the workers share 3/64 of RAM (64 MB each for 4 GB); PostgreSQL 17 packs dead tuples densely",
    ),
    setting("autovacuum_max_workers", workers, undefined, "default 3; more tables than that are busy on big servers"),
    setting("autovacuum_naptime", 30, "s", "looks for work twice as often as the default"),
    setting(
      "autovacuum_vacuum_cost_limit",
      storage.kind === "ssd" ? 2000 : 400,
      undefined,
      "the default 200 is made for one disk; an SSD takes ten times that beside its other work",
    ),
    setting(
      "autovacuum_vacuum_scale_factor",
      0.1,
      undefined,
      "half the default; busy tables get the guide's 0.05 of their own",
    ),
    setting("autovacuum_analyze_scale_factor", 0.05, undefined, "half the default; busy tables get the guide's 0.02"),
    setting(
      "autovacuum_vacuum_insert_scale_factor",
      0.1,
      undefined,
      "messages are inserted and rarely changed: freeze them early",
    ),
  ];
}

function withOverrides(settings: Settings, overrides: Readonly<Record<string, string>>): Settings {
  const merged: Record<string, Setting> = { ...settings };
  for (const [name, text] of Object.entries(overrides)) {
    if (!/^[a-z][a-z0-9_.]*$/.test(name)) {
      throw new UserError(`cgraph:settings: "${name}" is no PostgreSQL setting`, "use names as in postgresql.conf");
    }
    if (FIXED.includes(name)) {
      throw new UserError(
        `cgraph:settings: ${name} is fixed, because backups, moves between stages or security depend on it`,
        "remove it from cgraph:settings",
      );
    }
    merged[name] = parseSetting(name, text, settings[name]);
  }
  return merged;
}
