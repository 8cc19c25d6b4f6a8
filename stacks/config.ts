import { UserError } from "../tuning/errors.ts";
import { POSTGRES_MAJORS, type PostgresMajor } from "../tuning/hardware.ts";
import { AWS_KEYS, type AwsConfig, readAwsConfig } from "./aws/config.ts";
import { BACKUP_KEYS, type BackupConfig, readBackupConfig } from "./backupConfig.ts";
import { type ConfigSource, json, oneOf, optional, wholeNumber, wrong } from "./configValues.ts";
import { DEFAULT_BUCKETS, MAX_BUCKETS, checkBuckets } from "../sharding/placement.ts";
import { checkShardCount } from "../sharding/shardMap.ts";
import { type MonitoringConfig, MONITORING_KEYS, readMonitoringConfig } from "./monitoringConfig.ts";
import { GUIDE, STAGES, type StageNumber } from "./guide.ts";
import { REGION_KEYS, type RegionsConfig, readRegions } from "./regionsConfig.ts";

export type { ConfigSource } from "./configValues.ts";

/** Configuration of one stack (`cgraph:…` in Pulumi.<stack>.yaml), checked and with defaults filled in. */
export interface StackConfig {
  /** Default 1. */
  readonly stage: StageNumber;
  /** Default docker. */
  readonly target: Target;
  /** Default 17: what Debian trixie, RDS and Citus all provide. */
  readonly postgresVersion: PostgresMajor;
  /** `fit` (default) scales servers down to the Docker host; `exact` refuses a host that is too small. */
  readonly localSize: "fit" | "exact";
  /** Ports on 127.0.0.1 in Docker. */
  readonly ports: Ports;
  /** Streaming replicas of the primary; default: the stage's. */
  readonly replicas: number | undefined;
  /** Who must have a write before it is acknowledged; default off (guide): the primary alone. */
  readonly synchronous: "off" | "on" | "strict";
  /** Members of etcd, an odd number; default 1 locally. */
  readonly etcdMembers: number;
  /** MiB of WAL that a replica may lack and still serve reads; default 16. */
  readonly maxReadLagMiB: number;
  /** PgBouncer processes; default: the stage's. */
  readonly poolers: number | undefined;
  /** Server connections of each pool; default: the guide's 50, fewer where max_connections does not carry them. */
  readonly poolSize: number | undefined;
  /** Shards and their buckets, at stage 4. */
  readonly sharding: ShardingConfig;
  /** Workers and shards of the Citus cluster, at stage 5. */
  readonly citus: CitusConfig;
  /** Partitions of messages by month, from stage 3 on. */
  readonly messages: MessagesConfig;
  /** MiB of the cache's container; default: an eighth of a server's memory. */
  readonly cacheMemoryMiB: number | undefined;
  /** Default: the stage's, less where the memory does not carry it. */
  readonly maxConnections: number | undefined;
  /** PostgreSQL settings of the user's own; default none. */
  readonly settings: Readonly<Record<string, string>>;
  /** Image that ours are built on; default debian:trixie-slim. */
  readonly baseImage: string;
  readonly backups: BackupConfig;
  /** Data volumes that are kept, the last one in use; `restore` adds one. Default [1]. */
  readonly dataGenerations: readonly number[];
  /**
   * Options of Docker's local volume driver for data volumes, `{volume}` being the volume's name: a disk of their own.
   * Default none. Of a volume that is there they cannot be changed.
   */
  readonly dataVolumeOptions: Readonly<Record<string, string>> | undefined;
  /** Generations of passwords that servers accept, the one in use first; written by `secrets rotate`. Default [1]. */
  readonly passwordGenerations: readonly number[];
  /** The same of the volume of backups. */
  readonly backupVolumeOptions: Readonly<Record<string, string>> | undefined;
  readonly monitoring: MonitoringConfig;
  /** Set by `migrate` for as long as it prepares a move; default none. */
  readonly phase: "none" | "prepare";
  /** While a move to stage 5 is prepared: the stage that goes on meanwhile; written by `migrate`. */
  readonly fromStage: 3 | 4 | undefined;
  /** Where servers are: home, and regions beside it. */
  readonly regions: RegionsConfig;
  /** Image of Toxiproxy, which keeps regions in Docker apart; written by `up`. */
  readonly toxiproxyImage: string;
  /** What only the target aws reads. */
  readonly aws: AwsConfig;
}

export interface ShardingConfig {
  /** `cgraph:shards`, default the stage's: 4. */
  readonly shards: number;
  /** `cgraph:buckets`, a power of two, default 256. Fixed with the first shard map. */
  readonly buckets: number;
}

export interface CitusConfig {
  /** `cgraph:workers`, default ours for the guide's N: 8. */
  readonly workers: number;
  /** `cgraph:shardCount`, default 64: pieces of each distributed table, so workers at most. Fixed with the first table. */
  readonly shardCount: number;
}

export interface MessagesConfig {
  /** `cgraph:messagesPremakeMonths`, default 4 (pg_partman's). */
  readonly premakeMonths: number;
  readonly retention: {
    /** `cgraph:messagesRetentionMonths`: whole months kept beside the current one; default: all. */
    readonly months: number | undefined;
    /** `cgraph:messagesRetention`: older months are moved to the schema `archive` (default) or dropped. */
    readonly action: "archive" | "drop";
  };
}

/** Ports on 127.0.0.1. The others move along with the first, so that two stacks need only one to be told apart. */
export interface Ports {
  /** `cgraph:port`, default 5432: the primary, without a pool. */
  readonly write: number;
  /** `cgraph:readPort`, default port + 1: replicas, without a pool. */
  readonly read: number;
  /** `cgraph:poolPort`, default port + 1000, so 6432 as in the guide. */
  readonly pool: number;
  /**
   * `cgraph:shardPort`, default port + 10: at stages 4 and 5 the first of the ports that lead to the other clusters' primaries
   * and replicas, two for each: the global database's first, then those of shards 1, 2, …; or those of workers 1, 2, …
   */
  readonly shards: number;
  /**
   * `cgraph:regionPort`, default port + 2000: the first of the ports of regions beside home, ten apart: to its primary wherever
   * that is, to its replicas, to its pools.
   */
  readonly regions: number;
  /** `cgraph:cachePort`, default port + 947, so 6379. */
  readonly cache: number;
  /** `cgraph:prometheusPort`, default port + 3658, so 9090. */
  readonly prometheus: number;
  /** `cgraph:alertmanagerPort`, default port + 3661, so 9093. */
  readonly alertmanager: number;
  /** `cgraph:grafanaPort`, default port + 3672, so 9104: 3000 would be below the others. */
  readonly grafana: number;
}

export const TARGETS = ["docker", "aws"] as const;
export type Target = (typeof TARGETS)[number];

/** Citus' documentation advises 32 to 128: each is a table with its indexes, and no worker has less than one. */
const DEFAULT_SHARD_COUNT = 64;
/** Each has ports of its own on this machine. */
const MAX_WORKERS = 128;

/** Every key, without `cgraph:`. */
export const KEYS = [
  "stage",
  "target",
  "postgresVersion",
  "localSize",
  "port",
  "readPort",
  "shardPort",
  "poolPort",
  "cachePort",
  "regionPort",
  "replicas",
  "shards",
  "buckets",
  "workers",
  "shardCount",
  "synchronous",
  "etcdMembers",
  "maxReadLagMiB",
  "poolers",
  "poolSize",
  "cacheMemoryMiB",
  "messagesPremakeMonths",
  "messagesRetentionMonths",
  "messagesRetention",
  "maxConnections",
  "settings",
  "baseImage",
  ...BACKUP_KEYS,
  "dataGenerations",
  "dataVolumeOptions",
  "passwordGenerations",
  "backupVolumeOptions",
  "phase",
  "fromStage",
  ...MONITORING_KEYS,
  ...REGION_KEYS,
  "toxiproxyImage",
  ...AWS_KEYS,
] as const;

/** Names of ports whose key is not their name. */
const PORT_KEYS: Readonly<Record<string, string>> = { write: "port", shards: "shardPort", regions: "regionPort" };

function sharding(source: ConfigSource): ShardingConfig {
  const buckets = wholeNumber(source, "buckets", 1, MAX_BUCKETS, DEFAULT_BUCKETS);
  checkBuckets(buckets);
  const byDefault = Math.min(GUIDE[4].primaries.value, buckets);
  // Not wholeNumber: what is wrong depends on the buckets.
  const shards = Number(source("shards") ?? byDefault);
  checkShardCount(shards, buckets);
  return { shards, buckets };
}

function citus(source: ConfigSource): CitusConfig {
  const shardCount = wholeNumber(source, "shardCount", 1, 1024, DEFAULT_SHARD_COUNT);
  const workers = wholeNumber(source, "workers", 1, MAX_WORKERS, Math.min(GUIDE[5].primaries.value, shardCount));
  if (workers > shardCount) {
    throw new UserError(
      `cgraph:workers is ${workers}, but there are ${shardCount} shards (cgraph:shardCount): some workers would have none`,
      `use ${shardCount} workers or fewer; a stack that has no tables yet may have more shards`,
    );
  }
  return { workers, shardCount };
}

function ports(source: ConfigSource): Ports {
  const write = wholeNumber(source, "port", 1024, 61_800, 5432);
  const beside = (key: string, offset: number): number => wholeNumber(source, key, 1024, 65_535, write + offset);
  const found = {
    write,
    read: beside("readPort", 1),
    shards: beside("shardPort", 10),
    pool: beside("poolPort", 1000),
    regions: beside("regionPort", 2000),
    cache: beside("cachePort", 947),
    prometheus: beside("prometheusPort", 3658),
    alertmanager: beside("alertmanagerPort", 3661),
    grafana: beside("grafanaPort", 3672),
  };
  if (new Set(Object.values(found)).size < Object.keys(found).length) {
    const said = Object.entries(found).map(([name, port]) => `${PORT_KEYS[name] ?? `${name}Port`} ${port}`);
    throw new UserError(
      `two ports are the same: ${said.join(", ")}`,
      "give each its own: pulumi config set cgraph:poolPort VALUE",
    );
  }
  return found;
}

/** An object of plain values, as text. */
function texts(source: ConfigSource, key: string, example: string): Record<string, string> | undefined {
  const value = json(source, key);
  if (value === undefined) return undefined;
  const entries = typeof value === "object" && value !== null && !Array.isArray(value) ? Object.entries(value) : null;
  if (!entries?.every(([, v]) => ["string", "number", "boolean"].includes(typeof v))) {
    throw wrong(key, source(key) ?? "", `an object such as ${example}`);
  }
  return Object.fromEntries(entries.map(([name, v]) => [name, String(v)]));
}

/** A folder that two servers, or a server and what a restore puts in its place, would share loses one of them. */
function volumeOptions(source: ConfigSource, key: string): Record<string, string> | undefined {
  const options = texts(source, key, '{"type": "none", "o": "bind", "device": "/mnt/pg/{volume}"}');
  const device = options?.["device"] ?? "";
  if (device.includes("/") && !device.includes("{volume}")) {
    throw wrong(key, device, "a place for each volume: its device must have {volume} in it");
  }
  return options;
}

function generations(source: ConfigSource): number[] {
  const value = json(source, "dataGenerations") ?? [1];
  const valid =
    Array.isArray(value) &&
    value.length > 0 &&
    value.every((n: unknown, i) => Number.isInteger(n) && Number(n) > (i === 0 ? 0 : Number(value[i - 1])));
  if (!valid) throw wrong("dataGenerations", source("dataGenerations") ?? "", "an ascending list such as [1, 2]");
  return value as number[];
}

/** One generation, or two that follow each other: each role has two names to log in by, which take turns. */
function passwordGenerations(source: ConfigSource): number[] {
  const value = json(source, "passwordGenerations") ?? [1];
  const [first, second, ...more] = Array.isArray(value) ? (value as unknown[]) : [];
  const isGeneration = (one: unknown): one is number => Number.isInteger(one) && Number(one) > 0;
  if (isGeneration(first) && more.length === 0) {
    if (second === undefined) return [first];
    if (isGeneration(second) && Math.abs(second - first) === 1) return [first, second];
  }
  throw wrong("passwordGenerations", source("passwordGenerations") ?? "", "[1], or [2, 1] while they are rotated");
}

/** Reads and checks a stack's configuration. Throws a UserError that names the key, the value and what is allowed. */
export function readConfig(source: ConfigSource): StackConfig {
  const version = wholeNumber(source, "postgresVersion", 1, 99, 17);
  const postgresVersion = POSTGRES_MAJORS.find((major) => major === version);
  if (postgresVersion === undefined) {
    throw wrong("postgresVersion", String(version), `one of ${POSTGRES_MAJORS.join(", ")}`);
  }
  const stage = wholeNumber(source, "stage", 1, STAGES.length, 1) as StageNumber;
  const target = oneOf(source, "target", TARGETS, "docker");
  const regions = readRegions(source, stage, target, target === "aws" ? source("region") : undefined);
  return {
    stage,
    target,
    postgresVersion,
    localSize: oneOf(source, "localSize", ["fit", "exact"] as const, "fit"),
    ports: ports(source),
    sharding: sharding(source),
    citus: citus(source),
    replicas: optional(source, "replicas", 1, 15),
    synchronous: oneOf(source, "synchronous", ["off", "on", "strict"] as const, "off"),
    etcdMembers: Number(oneOf(source, "etcdMembers", ["1", "3", "5"] as const, "1")),
    maxReadLagMiB: wholeNumber(source, "maxReadLagMiB", 1, 1_048_576, 16),
    poolers: optional(source, "poolers", 1, 8),
    poolSize: optional(source, "poolSize", 1, 5000),
    messages: {
      premakeMonths: wholeNumber(source, "messagesPremakeMonths", 1, 60, 4),
      retention: {
        // None at all would put away the month that is being written.
        months: optional(source, "messagesRetentionMonths", 1, 1200),
        action: oneOf(source, "messagesRetention", ["archive", "drop"] as const, "archive"),
      },
    },
    cacheMemoryMiB: optional(source, "cacheMemoryMiB", 64, 1_048_576),
    maxConnections: optional(source, "maxConnections", 10, 10_000),
    settings: texts(source, "settings", '{"work_mem": "32MB"}') ?? {},
    baseImage: source("baseImage") ?? "debian:trixie-slim",
    backups: readBackupConfig(source),
    dataGenerations: generations(source),
    dataVolumeOptions: volumeOptions(source, "dataVolumeOptions"),
    backupVolumeOptions: volumeOptions(source, "backupVolumeOptions"),
    passwordGenerations: passwordGenerations(source),
    monitoring: readMonitoringConfig(source, target === "docker" && stage > 1, target === "docker"),
    phase: oneOf(source, "phase", ["none", "prepare"] as const, "none"),
    fromStage: optional(source, "fromStage", 3, 4) as 3 | 4 | undefined,
    regions,
    toxiproxyImage: source("toxiproxyImage") ?? "ghcr.io/shopify/toxiproxy:2.12.0",
    aws: readAwsConfig(source, stage, target === "aws" ? regions : undefined),
  };
}

/** Refuses keys under `cgraph:` that nothing reads: most likely a spelling mistake. Keys come without `cgraph:`. */
export function checkKeys(keys: readonly string[]): void {
  const unknown = keys.find((key) => !(KEYS as readonly string[]).includes(key));
  if (unknown !== undefined) {
    throw new UserError(`cgraph:${unknown} is not a setting of this project`, `known are ${KEYS.join(", ")}`);
  }
}
