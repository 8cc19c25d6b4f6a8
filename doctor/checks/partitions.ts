/** Partitions by time: whether there are some for the time that comes, and whether rows fell beside them. */
import { count, duration } from "../../tuning/words.ts";
import type { Check, Query } from "../check.ts";
import { type Facts, extensionOf } from "../facts.ts";
import { type Finding, finding } from "../finding.ts";
import { identifier } from "../../components/sqlText.ts";
import { asJson, ofApplication, qualified } from "../sql.ts";

export interface PartitionedRow {
  /** Quoted, with its schema. */
  readonly table: string;
  readonly schema: string;
  readonly name: string;
  /** The column by whose ranges it is partitioned, quoted, and its type; null: an expression. */
  readonly key: string | null;
  readonly keyType: string | null;
  readonly partitions: readonly {
    /** Quoted, with its schema. */
    readonly name: string;
    /** `FOR VALUES FROM ('2025-01-01') TO ('2025-02-01')` or `DEFAULT`. */
    readonly bounds: string;
    readonly rows: number;
  }[];
  /** The stack's procedure that makes partitions ahead, quoted; null: none. */
  readonly procedure: string | null;
}

const partitioned: Query<PartitionedRow> = {
  name: "partitions",
  asked: "monitor",
  needs: [],
  sql: (facts) => `SELECT ${qualified("n", "c")} AS table, n.nspname AS schema, c.relname AS name,
      quote_ident(k.attname) AS key, k.atttypid::regtype::text AS "keyType",
      ${asJson(`SELECT ${qualified("ln", "l")} AS name, pg_get_expr(l.relpartbound, l.oid) AS bounds,
          greatest(l.reltuples, pg_stat_get_live_tuples(l.oid), 0)::float8 AS rows
        FROM pg_inherits i JOIN pg_class l ON l.oid = i.inhrelid JOIN pg_namespace ln ON ln.oid = l.relnamespace
        WHERE i.inhparent = c.oid`)} AS partitions,
      (SELECT quote_ident(m.nspname) || '.' || quote_ident(f.proname) FROM pg_proc f JOIN pg_namespace m ON m.oid = f.pronamespace
        WHERE m.nspname = 'cgraph_partitions' AND f.proname = 'maintain_' || c.relname) AS procedure
    FROM pg_partitioned_table p JOIN pg_class c ON c.oid = p.partrelid JOIN pg_namespace n ON n.oid = c.relnamespace
      LEFT JOIN pg_attribute k ON k.attrelid = c.oid AND k.attnum = p.partattrs[0]
    WHERE p.partstrat = 'r' AND p.partnatts = 1 AND ${ofApplication(facts)}`,
};

const TIMES = /^(date|timestamp)/;
const PARTMAN_NAME = /_p\d{8}(_\d{6})?"?$/;

interface Period {
  readonly from: number;
  readonly to: number;
}

/** A bound in milliseconds since 1970; without a zone it is UTC, as the session is. */
function timeOf(literal: string): number {
  if (literal === "MINVALUE") return Number.NEGATIVE_INFINITY;
  if (literal === "MAXVALUE") return Number.POSITIVE_INFINITY;
  const text = literal.replaceAll("'", "").replace(" ", "T");
  const withTime = text.includes("T") ? text : `${text}T00:00:00`;
  return Date.parse(/[+-]\d\d(:?\d\d)?$/.test(withTime) ? withTime.replace(/([+-]\d\d)$/, "$1:00") : `${withTime}Z`);
}

/** A partition's bounds; undefined for the default one. */
export function periodOf(bounds: string): Period | undefined {
  const match = /^FOR VALUES FROM \((.+)\) TO \((.+)\)$/.exec(bounds);
  return match ? { from: timeOf(match[1] ?? ""), to: timeOf(match[2] ?? "") } : undefined;
}

/** The period after one: as many months, where both ends are the first of a month; else as long. */
export function nextPeriod({ from, to }: Period): Period {
  const [start, end] = [new Date(from), new Date(to)];
  const isFirst = (date: Date): boolean => date.getUTCDate() === 1 && date.getTime() % 86_400_000 === 0;
  if (!isFirst(start) || !isFirst(end)) return { from: to, to: to + (to - from) };
  const months = 12 * (end.getUTCFullYear() - start.getUTCFullYear()) + end.getUTCMonth() - start.getUTCMonth();
  return { from: to, to: Date.UTC(end.getUTCFullYear(), end.getUTCMonth() + months, 1) };
}

/** The time as a bound of a partition: a date where it is midnight. */
const boundText = (time: number): string =>
  new Date(time)
    .toISOString()
    .replace(/T00:00:00\.000Z$/, "")
    .replace(/T(.*)\.000Z$/, " $1");

/** Statements that make so many partitions after the last one. */
export function createSql(row: PartitionedRow, last: Period, wanted: number): string[] {
  const statements: string[] = [];
  let period = last;
  for (let made = 0; made < wanted; made++) {
    period = nextPeriod(period);
    const stamp = new Date(period.from).toISOString().replace(/\D/g, "");
    const suffix = stamp.slice(8, 14) === "000000" ? stamp.slice(0, 8) : `${stamp.slice(0, 8)}_${stamp.slice(8, 14)}`;
    const name = `${identifier(row.schema)}.${identifier(`${row.name}_p${suffix}`)}`;
    statements.push(
      `CREATE TABLE ${name} PARTITION OF ${row.table} FOR VALUES FROM ('${boundText(period.from)}') TO ('${boundText(period.to)}');`,
    );
  }
  return statements;
}

/** What makes partitions of a table: the stack's procedure, pg_partman, or nobody. */
function keeperOf(row: PartitionedRow, facts: Facts): "stack" | "partman" | undefined {
  if (row.procedure !== null) return "stack";
  const named = row.partitions.some(({ name }) => PARTMAN_NAME.test(name));
  return extensionOf(facts, "pg_partman") && named ? "partman" : undefined;
}

function futureFinding(row: PartitionedRow, periods: readonly Period[], facts: Facts): Finding[] {
  const { now, thresholds } = facts;
  const last = periods.reduce<Period | undefined>((late, one) => (late && late.to >= one.to ? late : one), undefined);
  if (!last || last.to === Number.POSITIVE_INFINITY) return [];
  const future = periods.filter(({ from }) => from > now).length;
  if (future >= thresholds.futurePartitions) return [];
  const length = last.to - last.from;
  // What ended long ago is kept for reading: nothing is written to it any more.
  if (now - last.to > 2 * length) return [];
  const covered = last.to > now;
  const hasDefault = row.partitions.some(({ bounds }) => bounds === "DEFAULT");
  const left = (last.to - now) / 1000;
  const keeper = keeperOf(row, facts);
  const partman = extensionOf(facts, "pg_partman")?.schema ?? "partman";
  return [
    finding({
      check: "partition",
      severity: covered ? "warning" : "critical",
      subject: row.table,
      says: covered
        ? `${future} partitions ahead of now; the last one ends in ${duration(left)}`
        : `no partition for now: the last one ended ${duration(-left)} ago, ${hasDefault ? "rows go to the default partition" : "inserts fail"}`,
      evidence: { future, lastEndsAt: new Date(last.to).toISOString(), hasDefault, keptBy: keeper ?? null },
      fix:
        keeper === "stack"
          ? [`CALL ${row.procedure}();`]
          : keeper === "partman"
            ? [`SELECT ${identifier(partman)}.run_maintenance('${`${row.schema}.${row.name}`.replaceAll("'", "''")}');`]
            : createSql(row, last, thresholds.futurePartitions - future),
      note: keeper
        ? "that it was not done by itself has a reason: see cron.job_run_details, and premake"
        : hasDefault
          ? "waits for a scan of the default partition, which must hold no row of that time"
          : null,
    }),
  ];
}

function defaultFinding(row: PartitionedRow, facts: Facts): Finding[] {
  const stray = row.partitions.find(({ bounds, rows }) => bounds === "DEFAULT" && rows > 0);
  if (!stray) return [];
  const partman = extensionOf(facts, "pg_partman")?.schema ?? "partman";
  const name = `${row.schema}.${row.name}`.replaceAll("'", "''");
  return [
    finding({
      check: "partition",
      severity: "warning",
      subject: stray.name,
      says: `the default partition of ${row.table} holds rows, about ${count(stray.rows)}: no other one was there for them`,
      evidence: { table: row.table, rows: stray.rows },
      fix: keeperOf(row, facts)
        ? [`CALL ${identifier(partman)}.partition_data_proc('${name}');`]
        : [
            ...(row.key === null ? [] : [`SELECT min(${row.key}), max(${row.key}) FROM ${stray.name};`]),
            "BEGIN;",
            `ALTER TABLE ${row.table} DETACH PARTITION ${stray.name};`,
            `CREATE TABLE … PARTITION OF ${row.table} FOR VALUES FROM ('…') TO ('…');`,
            `INSERT INTO ${row.table} SELECT * FROM ${stray.name};`,
            `TRUNCATE ${stray.name};`,
            `ALTER TABLE ${row.table} ATTACH PARTITION ${stray.name} DEFAULT;`,
            "COMMIT;",
          ],
      note: "as long as they are there, a partition for them cannot be made: nobody reads or writes the table while they move",
    }),
  ];
}

/** Tables by time with too few partitions ahead, and rows in default partitions. */
export const partitionCheck: Check<PartitionedRow> = {
  id: "partition",
  query: partitioned,
  judge(rows, facts) {
    const byTime = rows.filter(({ keyType }) => TIMES.test(keyType ?? ""));
    const others = rows.filter((row) => !byTime.includes(row)).map(({ table }) => table);
    const findings = byTime.flatMap((row) => {
      const periods = row.partitions.flatMap(({ bounds }) => periodOf(bounds) ?? []);
      return [...futureFinding(row, periods, facts), ...defaultFinding(row, facts)];
    });
    return {
      findings: [
        ...findings,
        ...rows.filter((row) => !byTime.includes(row)).flatMap((row) => defaultFinding(row, facts)),
      ],
      notChecked:
        others.length === 0
          ? undefined
          : `${others.join(", ")}: partitioned by ranges of something else than time, whose next values are not known`,
    };
  },
};
