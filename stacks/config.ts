import { UserError } from "../tuning/errors.ts";
import { POSTGRES_MAJORS, type PostgresMajor } from "../tuning/hardware.ts";
import { BACKUPS, STAGES, type StageNumber } from "./guide.ts";

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
  /** Port on 127.0.0.1 in Docker; default 5432. */
  readonly port: number;
  /** Default: the stage's, less where the memory does not carry it. */
  readonly maxConnections: number | undefined;
  /** PostgreSQL settings of the user's own; default none. */
  readonly settings: Readonly<Record<string, string>>;
  /** Image that ours are built on; default debian:trixie-slim. */
  readonly baseImage: string;
  /** Default 24 (guide: daily). */
  readonly backupIntervalHours: number;
  /** Default 7 (guide). */
  readonly backupRetentionDays: number;
  /** Data volumes that are kept, the last one in use; `restore` adds one. Default [1]. */
  readonly dataGenerations: readonly number[];
}

export type Target = "docker" | "aws";

/** Reads one key (without `cgraph:`) as the text that stands in the stack's configuration. */
export type ConfigSource = (key: string) => string | undefined;

const KEYS = [
  "stage",
  "target",
  "postgresVersion",
  "localSize",
  "port",
  "maxConnections",
  "settings",
  "baseImage",
  "backupIntervalHours",
  "backupRetentionDays",
  "dataGenerations",
] as const satisfies readonly (keyof StackConfig)[];

type Key = (typeof KEYS)[number];

const wrong = (key: Key, text: string, wanted: string): UserError =>
  new UserError(`cgraph:${key} is "${text}", which is not ${wanted}`, `set it: pulumi config set cgraph:${key} VALUE`);

function wholeNumber(source: ConfigSource, key: Key, min: number, max: number, byDefault: number): number {
  const text = source(key);
  if (text === undefined) return byDefault;
  const value = Number(text);
  if (!/^\d+$/.test(text) || value < min || value > max) {
    throw wrong(key, text, `a whole number from ${min} to ${max}`);
  }
  return value;
}

function oneOf<T extends string>(source: ConfigSource, key: Key, allowed: readonly T[], byDefault: T): T {
  const text = source(key);
  if (text === undefined) return byDefault;
  const found = allowed.find((value) => value === text);
  if (found === undefined) throw wrong(key, text, `one of ${allowed.join(", ")}`);
  return found;
}

function json(source: ConfigSource, key: Key): unknown {
  const text = source(key);
  if (text === undefined) return undefined;
  try {
    return JSON.parse(text);
  } catch {
    throw wrong(key, text, "JSON");
  }
}

function settings(source: ConfigSource): Record<string, string> {
  const value = json(source, "settings") ?? {};
  const entries = typeof value === "object" && !Array.isArray(value) ? Object.entries(value) : null;
  if (!entries?.every(([, v]) => ["string", "number", "boolean"].includes(typeof v))) {
    throw wrong("settings", source("settings") ?? "", 'an object such as {"work_mem": "32MB"}');
  }
  return Object.fromEntries(entries.map(([name, v]) => [name, String(v)]));
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

/** Reads and checks a stack's configuration. Throws a UserError that names the key, the value and what is allowed. */
export function readConfig(source: ConfigSource): StackConfig {
  const maxConnections = wholeNumber(source, "maxConnections", 10, 10_000, 0);
  const version = wholeNumber(source, "postgresVersion", 1, 99, 17);
  const postgresVersion = POSTGRES_MAJORS.find((major) => major === version);
  if (postgresVersion === undefined) {
    throw wrong("postgresVersion", String(version), `one of ${POSTGRES_MAJORS.join(", ")}`);
  }
  const stage = wholeNumber(source, "stage", 1, STAGES.length, 1) as StageNumber;
  const target = oneOf(source, "target", ["docker", "aws"] as const, "docker");
  if (stage > 1 || target !== "docker") {
    throw new UserError(
      `stage ${stage} on ${target} is not in this version yet; stage 1 on docker is`,
      "see CHANGELOG.md for what is there",
    );
  }
  return {
    stage,
    target,
    postgresVersion,
    localSize: oneOf(source, "localSize", ["fit", "exact"] as const, "fit"),
    port: wholeNumber(source, "port", 1024, 65_535, 5432),
    maxConnections: maxConnections === 0 ? undefined : maxConnections,
    settings: settings(source),
    baseImage: source("baseImage") ?? "debian:trixie-slim",
    backupIntervalHours: wholeNumber(source, "backupIntervalHours", 1, 168, BACKUPS.intervalHours.value),
    backupRetentionDays: wholeNumber(source, "backupRetentionDays", 1, 3650, BACKUPS.retentionDays.value),
    dataGenerations: generations(source),
  };
}

/** Refuses keys under `cgraph:` that nothing reads: most likely a spelling mistake. Keys come without `cgraph:`. */
export function checkKeys(keys: readonly string[]): void {
  const unknown = keys.find((key) => !(KEYS as readonly string[]).includes(key));
  if (unknown !== undefined) {
    throw new UserError(`cgraph:${unknown} is not a setting of this project`, `known are ${KEYS.join(", ")}`);
  }
}
