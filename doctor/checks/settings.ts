/** Settings: what endangers data anywhere, and what differs from what tuning/ derives. */
import { isSetting } from "../../migration/driftPostgres.ts";
import { UserError } from "../../tuning/errors.ts";
import { fittingMaxConnections } from "../../tuning/memory.ts";
import { tunePostgres } from "../../tuning/postgresql.ts";
import { type Settings, confText, pgSettingsText } from "../../tuning/setting.ts";
import { bytes } from "../../tuning/words.ts";
import type { Check, Judged, Query } from "../check.ts";
import type { Facts, HardwareFacts, StackFacts } from "../facts.ts";
import { type Finding, type Severity, finding } from "../finding.ts";

export interface ServerSettingRow {
  readonly name: string;
  readonly setting: string;
  readonly unit: string | null;
  /** bool, integer, real, string, enum. */
  readonly type: string;
  readonly source: string;
  /** The file that it stands in; null: none, or the role may not see it. */
  readonly file: string | null;
  /** Whether another value waits for a restart. */
  readonly pending: boolean;
}

const settings: Query<ServerSettingRow> = {
  name: "settings",
  asked: "monitor",
  needs: [],
  sql: () => `SELECT name, setting, unit, vartype AS type, source, sourcefile AS file, pending_restart AS pending
    FROM pg_settings WHERE context <> 'internal'`,
};

interface Danger {
  readonly value: string;
  readonly severity: Severity;
  readonly why: string;
}

/** Values that nobody should have in use, each with what it means. */
const DANGERS: Readonly<Record<string, Danger>> = {
  fsync: { value: "off", severity: "critical", why: "a crash of the machine destroys the database" },
  full_page_writes: { value: "off", severity: "critical", why: "a crash leaves pages half written, beyond repair" },
  autovacuum: { value: "off", severity: "critical", why: "dead rows are never removed, and transaction ids run out" },
  track_counts: { value: "off", severity: "critical", why: "autovacuum sees nothing to do" },
  zero_damaged_pages: { value: "on", severity: "critical", why: "damaged pages are emptied instead of told" },
  ignore_checksum_failure: { value: "on", severity: "critical", why: "damaged pages are read as if they were whole" },
  password_encryption: { value: "md5", severity: "warning", why: "whoever has read a verifier can log in with it" },
  synchronous_commit: { value: "off", severity: "info", why: "a crash loses what was committed in the last moments" },
};

/** What ALTER ROLE or ALTER DATABASE gives this very session says nothing of the server. */
const isOfServer = ({ source }: ServerSettingRow): boolean =>
  !/^(database|user|client|session|interactive)/.test(source);

const MEMORY: Readonly<Record<string, number>> = { B: 1, kB: 1024, MB: 1024 ** 2, GB: 1024 ** 3 };

/** A value in words: `256 MiB` for 32768 times 8kB. */
function shown({ setting, unit }: ServerSettingRow): string {
  const [, factor = "", name = ""] = /^(\d*)(\w+)$/.exec(unit ?? "") ?? [];
  const size = MEMORY[name];
  if (unit === null || Number(setting) < 0) return setting;
  return size === undefined ? `${setting} ${unit}` : bytes(Number(setting) * Number(factor || 1) * size);
}

const alterSystem = (name: string, value: string, restart: boolean): string[] => [
  `ALTER SYSTEM SET ${name} = '${value.replaceAll("'", "''")}';`,
  ...(restart ? [] : ["SELECT pg_reload_conf();"]),
];

const isAutoConf = (file: string | null): boolean => file?.endsWith("postgresql.auto.conf") === true;

function dangers(rows: readonly ServerSettingRow[], stack: StackFacts | undefined): Finding[] {
  return rows.flatMap((row) => {
    const danger = DANGERS[row.name];
    if (danger?.value !== row.setting || !isOfServer(row)) return [];
    const other = row.type === "bool" ? (danger.value === "on" ? "off" : "on") : "";
    const value = row.name === "password_encryption" ? "scram-sha-256" : other === "" ? "on" : other;
    return [
      finding({
        check: "setting",
        severity: danger.severity,
        subject: row.name,
        says: `${row.setting}: ${danger.why}`,
        evidence: { setting: row.setting, source: row.source },
        fix: stack && !isAutoConf(row.file) ? [stack.command("config apply")] : alterSystem(row.name, value, false),
      }),
    ];
  });
}

/**
 * A stack's server against its configuration, which is derived from its hardware. What merely waits for a restart is not
 * told: without its files it cannot be known from what was taken back meanwhile, and `preview` reads those.
 */
function ofStack(rows: readonly ServerSettingRow[], stack: StackFacts): Finding[] {
  return rows.flatMap((row) => {
    const wanted = stack.settings[row.name];
    if (wanted === undefined || wanted === "-1" || stack.otherwiseSet.includes(row.name)) return [];
    if (!isOfServer(row) || isSetting(wanted, row)) return [];
    return [
      finding({
        check: "setting",
        severity: "warning",
        subject: row.name,
        says: `${shown(row)}, by the configuration ${wanted}${row.pending ? "; another value waits for a restart" : ""}`,
        evidence: { setting: row.setting, unit: row.unit, wanted, pendingRestart: row.pending },
        fix: isAutoConf(row.file)
          ? [`ALTER SYSTEM RESET ${row.name};`, "SELECT pg_reload_conf();"]
          : [stack.command("config apply")],
        note: isAutoConf(row.file)
          ? `or keep it, for good: ${stack.command("config set settings …")}`
          : `${stack.command("preview")} says who has changed it`,
      }),
    ];
  });
}

/** Settings that follow from processors and memory alone. A server that is far off in the first ones wastes its memory. */
const DERIVED: Readonly<Record<string, Severity>> = {
  shared_buffers: "warning",
  effective_cache_size: "warning",
  work_mem: "warning",
  maintenance_work_mem: "info",
  random_page_cost: "info",
  effective_io_concurrency: "info",
  max_parallel_workers: "info",
};

/** A disk and its size are not known: nothing that is compared follows from them. */
const SOME_DISK = { diskGiB: 100, storage: { kind: "ssd" } } as const;

function tuned(rows: readonly ServerSettingRow[], hardware: HardwareFacts, facts: Facts): Settings | UserError {
  const maxConnections = Number(rows.find(({ name }) => name === "max_connections")?.setting ?? 100);
  try {
    return tunePostgres({
      hardware: { ...hardware, ...SOME_DISK },
      role: facts.inRecovery ? "replica" : "primary",
      postgresMajor: facts.version >= 170_000 ? 17 : 16,
      maxConnections,
    });
  } catch (error) {
    if (error instanceof UserError) return error;
    throw error;
  }
}

function ofHardware(rows: readonly ServerSettingRow[], hardware: HardwareFacts, facts: Facts): Finding[] {
  const wanted = tuned(rows, hardware, facts);
  if (wanted instanceof UserError) {
    return [
      finding({
        check: "setting",
        severity: "warning",
        subject: "max_connections",
        says: wanted.message,
        evidence: { cpus: hardware.cpus, memoryMiB: hardware.memoryMiB },
        fix: alterSystem("max_connections", String(Math.min(100, fittingMaxConnections(hardware.memoryMiB))), true),
        note: "needs a restart; a pool (PgBouncer) serves more clients by fewer connections",
      }),
    ];
  }
  return rows.flatMap((row) => {
    const severity = DERIVED[row.name];
    const setting = wanted[row.name];
    if (severity === undefined || setting === undefined) return [];
    const [there, want] = [Number(row.setting), Number(pgSettingsText(setting, row.unit))];
    const factor = Math.max(there, want) / Math.max(Math.min(there, want), 1e-9);
    if (factor <= facts.thresholds.settingFactor) return [];
    return [
      finding({
        check: "setting",
        severity,
        subject: row.name,
        says: `${shown(row)}; for ${hardware.cpus} CPUs and ${hardware.memoryMiB} MiB tuning derives ${confText(setting)} (${setting.reason})`,
        evidence: { setting: row.setting, unit: row.unit, wanted: confText(setting) },
        fix: alterSystem(row.name, confText(setting), setting.restart),
        note: setting.restart ? "needs a restart" : null,
      }),
    ];
  });
}

/** Dangerous values anywhere; differences from tuning where the hardware is known. */
export const settingCheck: Check<ServerSettingRow> = {
  id: "setting",
  query: settings,
  each: true,
  judge(rows, facts): Judged {
    const { stack, hardware } = facts;
    const endangering = dangers(rows, stack);
    const told = new Set(endangering.map(({ subject }) => subject));
    const others = stack ? ofStack(rows, stack) : hardware ? ofHardware(rows, hardware, facts) : [];
    return {
      findings: [...endangering, ...others.filter(({ subject }) => !told.has(subject))],
      notChecked:
        stack || hardware
          ? undefined
          : "the server's hardware is not known, so only dangerous values were looked for: give --cpus and --memory",
    };
  },
};
