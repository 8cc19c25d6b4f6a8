/** What somebody has changed in a running PostgreSQL server: settings, and who may connect. Pure. */
import { type ClusterDrift, type DriftKind, type Finding, type Remedies, sqlName } from "./drift.ts";

/** A row of pg_settings. */
export interface SettingRow {
  readonly name: string;
  readonly setting: string;
  readonly unit: string | null;
  /** bool, integer, real, string, enum. */
  readonly type: string;
  readonly source: string;
  readonly pending: boolean;
}

/** A row of pg_file_settings, in the order in which the server reads them. */
export interface FileRow {
  readonly name: string | null;
  readonly setting: string | null;
  readonly file: string;
  readonly line: number;
  readonly error: string | null;
}

/** A row of pg_hba_file_rules, as a line of pg_hba.conf. */
export interface HbaRow {
  readonly rule: string;
  readonly error: string | null;
}

/** What a server says of itself. */
export interface ServerFacts {
  readonly replica: boolean;
  readonly settings: readonly SettingRow[];
  readonly files: readonly FileRow[];
  readonly hba: readonly HbaRow[];
}

/** What the state says of it. */
export interface WantedServer {
  readonly name: string;
  readonly container: string;
  /** Values as in postgresql.conf. */
  readonly settings: Readonly<Record<string, string>>;
  readonly hba: readonly string[];
  /** Settings beside these that belong in its files. */
  readonly alsoInFiles: ReadonlySet<string>;
  /** The one-shot container that writes its files; undefined where Patroni does. */
  readonly writer: string | undefined;
}

const BYTES: Readonly<Record<string, number>> = { B: 1, kB: 2 ** 10, MB: 2 ** 20, GB: 2 ** 30, TB: 2 ** 40 };
const MS: Readonly<Record<string, number>> = { us: 0.001, ms: 1, s: 1000, min: 60_000, h: 3_600_000, d: 86_400_000 };

/** A number with or without a unit, in units of `pgUnit` (`8kB`, `ms`, null); undefined where it is none. */
function inUnit(text: string, pgUnit: string | null): number | undefined {
  const match = /^(-?[\d.]+(?:e-?\d+)?)\s*([a-zA-Z]*)$/i.exec(text.trim());
  if (!match) return undefined;
  const [, digits = "", unit = ""] = match;
  const value = Number(digits);
  const own = /^(\d*)(\w+)$/.exec(pgUnit ?? "");
  if (unit === "" || !own) return value;
  const factors = unit in BYTES ? BYTES : MS;
  const [from, to] = [factors[unit], factors[own[2] ?? ""]];
  return from === undefined || to === undefined ? undefined : (value * from) / (Number(own[1] || 1) * to);
}

const asBoolean = (text: string): string =>
  /^(on|true|yes|1)$/i.test(text) ? "on" : /^(off|false|no|0)$/i.test(text) ? "off" : text;

/** Whether a value as written in postgresql.conf is what pg_settings, or another file, shows. */
export function isSetting(expected: string, { setting, unit, type }: Pick<SettingRow, "setting" | "unit" | "type">) {
  if (type === "bool") return asBoolean(expected) === asBoolean(setting);
  if (type === "enum") return expected.toLowerCase() === setting.toLowerCase();
  if (type !== "integer" && type !== "real") return expected === setting;
  const [wanted, there] = [inUnit(expected, unit), inUnit(setting, unit)];
  if (wanted === undefined || there === undefined) return expected === setting;
  return Math.abs(wanted - there) <= (type === "integer" ? 0.5 : Math.abs(there) * 1e-9);
}

/** pg_settings' value in words: `65536 × 8kB`, `1000 ms`. */
export const shown = ({ setting, unit }: Pick<SettingRow, "setting" | "unit">): string => {
  if (unit === null || Number(setting) < 0) return setting;
  return /^\d/.test(unit) ? `${setting} × ${unit}` : `${setting} ${unit}`;
};

/** Whether a setting reads as 0 over a Unix socket, by which the server is asked: its file has to do. */
const isOfTcp = (name: string): boolean => name.startsWith("tcp_");

/**
 * A setting as it is: PostgreSQL goes on calling it pending after what was to come has been taken back (ALTER SYSTEM
 * RESET). `last`: what its files say in the end.
 */
function asItIs(row: SettingRow, last: string | undefined): SettingRow {
  const pending = row.pending && (last === undefined ? row.source === "configuration file" : !isSetting(last, row));
  return { ...row, pending, setting: isOfTcp(row.name) && last !== undefined ? last : row.setting };
}

const isAlterSystem = ({ file }: FileRow): boolean => file.endsWith("/postgresql.auto.conf");

/** Words and a list of them for `ALTER SYSTEM`, pg_hba.conf and the like of one server. */
class OneServer {
  readonly findings: Finding[] = [];
  readonly #where: string;

  constructor(where: string) {
    this.#where = where;
  }

  add(kind: DriftKind, what: string, expected: string, found: string, remedy: string): void {
    this.findings.push({ kind, where: this.#where, what, expected, found, remedy });
  }
}

/** What makes a server's files as they were, and the server read them. */
const rewrite = ({ container, writer }: WantedServer, remedies: Remedies): string =>
  writer === undefined
    ? // Patroni writes them whenever it is told to reload.
      `docker kill --signal HUP ${container}`
    : // Started again, a writer would write what it is no longer given: nothing.
      `docker rm --force ${writer} && ${remedies.cgraph("up")}`;

/**
 * What gives a server settings that its start has fixed. What replicas must have as much of as their primary (such as
 * max_connections) goes down only when the primary itself has started anew, before them: not by `restart --rolling`,
 * which hands over first.
 */
const restartInPlace = ({ name, container }: WantedServer, scope: string): string =>
  `docker exec --user postgres ${container} patronictl -c /etc/cgraph/patroni.yml restart --force ${scope} ${name}`;

/** Compares a running server's settings and pg_hba.conf with what the state says. */
export function serverDrift(
  wanted: WantedServer,
  facts: ServerFacts,
  cluster: ClusterDrift | undefined,
  remedies: Remedies,
): Finding[] {
  const server = new OneServer(wanted.name);
  const rows = new Map(facts.settings.map((row) => [row.name, row]));
  const told = new Set<string>();
  const written = (name: string): string => wanted.settings[name] ?? "not set";

  for (const entry of facts.files.filter(isAlterSystem)) {
    if (entry.name === null || told.has(entry.name)) continue;
    told.add(entry.name);
    const waits = rows.get(entry.name)?.pending === true ? ", waits for a restart" : "";
    server.add(
      "setting",
      entry.name,
      written(entry.name),
      `${entry.setting ?? ""} (ALTER SYSTEM${waits})`,
      remedies.sql(wanted.container, `ALTER SYSTEM RESET ${sqlName(entry.name)}`, "SELECT pg_reload_conf()"),
    );
  }

  const explained = (name: string, row: SettingRow): boolean => {
    if (!cluster?.parameters.has(name)) return false;
    const value = cluster.parameters.get(name);
    return value === undefined || row.pending || isSetting(value, row);
  };
  const names = new Set([
    ...Object.keys(wanted.settings),
    ...facts.settings.filter((r) => r.pending).map((r) => r.name),
  ]);
  for (const name of names) {
    const last = facts.files.findLast((entry) => entry.name === name)?.setting ?? undefined;
    const running = rows.get(name);
    const row = running && asItIs(running, last);
    const expected = wanted.settings[name];
    // What ALTER ROLE and ALTER DATABASE give this very session is told with the roles. -1: derived by the server.
    if (told.has(name) || !row || /database|user/.test(row.source) || expected === "-1" || explained(name, row))
      continue;
    if (!row.pending && (expected === undefined || isSetting(expected, row))) continue;
    told.add(name);
    const fileIsRight = expected !== undefined && last !== undefined && isSetting(expected, { ...row, setting: last });
    const pendingRight = row.pending && (expected === undefined ? last === undefined : fileIsRight);
    const fixed = wanted.writer === undefined && row.source === "command line";
    server.add(
      "setting",
      name,
      written(name),
      row.pending ? `${shown(row)}, waits for a restart` : `${shown(row)} (${row.source})`,
      pendingRight
        ? remedies.cgraph("config apply")
        : fixed
          ? restartInPlace(wanted, rows.get("cluster_name")?.setting ?? "")
          : fileIsRight
            ? `docker kill --signal HUP ${wanted.container}`
            : rewrite(wanted, remedies),
    );
  }

  for (const { name, setting, file, line, error } of facts.files) {
    // The file that initdb made is what the written one comes after.
    if (file.endsWith("/postgresql.base.conf") || (name !== null && told.has(name))) continue;
    const belongs =
      name === null ||
      name in wanted.settings ||
      wanted.alsoInFiles.has(name) ||
      cluster?.parameters.has(name) === true;
    // An error is also what a value has that waits for a restart, which is told above.
    if (belongs && (error === null || rows.get(name ?? "")?.pending === true)) continue;
    if (name !== null) told.add(name);
    const place = `${file}:${line}`;
    const found = error === null ? `${setting ?? ""} (${place})` : `${error} (${place})`;
    server.add(
      "setting",
      name ?? "configuration file",
      name === null ? "no error" : written(name),
      found,
      rewrite(wanted, remedies),
    );
  }

  if (cluster?.changesAccess !== true) accessDrift(wanted, facts.hba, server, remedies);
  return server.findings;
}

const spaced = (rule: string): string => rule.trim().split(/\s+/).join(" ");

/** A rule of pg_hba.conf as the server tells it: certificates are verified in full without anybody having said so. */
const asTold = (rule: string): string =>
  / cert( |$)/.test(rule) && !rule.includes(" clientcert=") ? `${rule} clientcert=verify-full` : rule;

function accessDrift(wanted: WantedServer, rows: readonly HbaRow[], server: OneServer, remedies: Remedies): void {
  const expected = wanted.hba.map((rule) => asTold(spaced(rule)));
  const found = rows.map(({ rule, error }) => (error === null ? spaced(rule) : `line that is none: ${error}`));
  if (expected.join("\n") === found.join("\n")) return;
  const missing = expected.filter((rule) => !found.includes(rule));
  const added = found.filter((rule) => !expected.includes(rule));
  const moved = missing.length + added.length === 0;
  server.add(
    "access",
    "pg_hba.conf",
    moved ? "the rules in their order" : missing.join("; ") || "nothing more",
    moved ? "another order" : added.join("; ") || "missing",
    rewrite(wanted, remedies),
  );
}
