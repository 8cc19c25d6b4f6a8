/** `inspect tables`: size, dead rows and bloat, table by table; a partitioned one as a whole. */
import type { Client } from "pg";
import { valueOf } from "../lib/databaseClient.ts";
import { bytes, table } from "../lib/print.ts";
import { OWN_SCHEMAS, count, percent, qualified, rowsAsJson } from "./sql.ts";

/** One table that holds rows, as the server tells it. */
export interface TableRow {
  readonly name: string;
  /** The partitioned table that it is a part of, however deep; null: of none. */
  readonly root: string | null;
  readonly heapBytes: number;
  readonly toastBytes: number;
  readonly indexBytes: number;
  /** As of the last VACUUM or ANALYZE; null: there was none yet. */
  readonly rows: number | null;
  readonly deadRows: number;
  readonly lastVacuum: string | null;
  readonly lastAnalyze: string | null;
  /** Transactions since the oldest row was frozen: autovacuum forces it from autovacuum_freeze_max_age on. */
  readonly frozenAge: number;
}

/** What statistics say of a table's rows, to estimate how much room they need. */
export interface RowStatistics {
  readonly name: string;
  readonly heapBytes: number;
  readonly blockBytes: number;
  /** Percent. */
  readonly fillfactor: number;
  /** null: never analysed. */
  readonly rows: number | null;
  readonly columns: number;
  /** Columns of which there are statistics that the user may read. */
  readonly described: number;
  /** Bytes of an average row's values. */
  readonly widthBytes: number;
  readonly hasNulls: boolean;
}

/** One line of the report: a table, or a partitioned one with all of its parts. */
export interface TableReport {
  readonly name: string;
  readonly partitions: number;
  readonly totalBytes: number;
  readonly heapBytes: number;
  readonly indexBytes: number;
  readonly toastBytes: number;
  readonly rows: number | null;
  readonly deadRows: number;
  /** Of all rows. */
  readonly deadShare: number | null;
  /** Estimated room beyond what the rows need, dead rows' included; null where statistics are missing. */
  readonly bloatBytes: number | null;
  readonly bloatShare: number | null;
  readonly lastVacuum: string | null;
  readonly lastAnalyze: string | null;
  readonly frozenAge: number;
}

const NAME = qualified("n.nspname", "c.relname");
const TABLES_SQL = `SELECT ${rowsAsJson(`SELECT ${NAME} AS name,
    (SELECT ${qualified("rn.nspname", "rc.relname")} FROM pg_class rc JOIN pg_namespace rn ON rn.oid = rc.relnamespace
     WHERE c.relispartition AND rc.oid = pg_partition_root(c.oid)) AS root,
    pg_table_size(c.oid) - coalesce(pg_total_relation_size(nullif(c.reltoastrelid, 0)), 0) AS "heapBytes",
    coalesce(pg_total_relation_size(nullif(c.reltoastrelid, 0)), 0) AS "toastBytes",
    pg_indexes_size(c.oid) AS "indexBytes",
    CASE WHEN c.reltuples >= 0 THEN c.reltuples::float8 END AS rows,
    coalesce(s.n_dead_tup, 0) AS "deadRows",
    greatest(s.last_vacuum, s.last_autovacuum) AS "lastVacuum",
    greatest(s.last_analyze, s.last_autoanalyze) AS "lastAnalyze",
    age(c.relfrozenxid) AS "frozenAge"
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace LEFT JOIN pg_stat_all_tables s ON s.relid = c.oid
  WHERE c.relkind IN ('r', 'm') AND ${OWN_SCHEMAS}`)} AS value`;

const STATISTICS_SQL = `SELECT ${rowsAsJson(`SELECT ${NAME} AS name, pg_relation_size(c.oid) AS "heapBytes",
    current_setting('block_size')::int AS "blockBytes",
    coalesce((SELECT option_value::int FROM pg_options_to_table(c.reloptions) WHERE option_name = 'fillfactor'), 100) AS fillfactor,
    CASE WHEN c.reltuples >= 0 THEN c.reltuples::float8 END AS rows,
    count(*) AS columns, count(s.attname) AS described,
    coalesce(sum((1 - s.null_frac) * s.avg_width), 0)::float8 AS "widthBytes", coalesce(bool_or(s.null_frac > 0), false) AS "hasNulls"
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    LEFT JOIN pg_stats s ON s.schemaname = n.nspname AND s.tablename = c.relname AND s.attname = a.attname AND NOT s.inherited
  WHERE c.relkind IN ('r', 'm') AND ${OWN_SCHEMAS} GROUP BY c.oid, n.nspname, c.relname`)} AS value`;

export const readTables = (client: Client): Promise<TableRow[]> => valueOf(client, TABLES_SQL);
/** The user must be able to read a table to be told its statistics: pg_monitor is not enough. */
export const readStatistics = (client: Client): Promise<RowStatistics[]> => valueOf(client, STATISTICS_SQL);

/** PostgreSQL's storage: a page's and a row's header, a row's pointer, and what rows are aligned to. */
const [PAGE_HEADER, ROW_HEADER, ROW_POINTER, ALIGNMENT] = [24, 23, 4, 8];
const aligned = (size: number): number => Math.ceil(size / ALIGNMENT) * ALIGNMENT;

/** Bytes that a table has beyond what its rows need, estimated from statistics; null where they are missing. */
export function bloatOf(table: RowStatistics): number | null {
  const { rows, columns, described, blockBytes, fillfactor, widthBytes, hasNulls, heapBytes } = table;
  if (heapBytes === 0) return 0;
  if (rows === null || described < columns) return null;
  const nullBitmap = hasNulls ? Math.ceil(columns / 8) : 0;
  const rowBytes = ROW_POINTER + aligned(ROW_HEADER + nullBitmap) + aligned(widthBytes);
  const rowsInPage = Math.max(1, Math.floor(((blockBytes - PAGE_HEADER) * fillfactor) / 100 / rowBytes));
  return Math.max(0, heapBytes - Math.ceil(rows / rowsInPage) * blockBytes);
}

const sum = (values: readonly number[]): number => values.reduce((all, one) => all + one, 0);
/** Undefined as soon as one is unknown. */
const sumOfKnown = (values: readonly (number | null)[]): number | null =>
  values.some((value) => value === null) ? null : sum(values.map(Number));
/** Of partitions the one that has waited longest counts; never before any other. */
const oldest = (times: readonly (string | null)[]): string | null =>
  times.some((time) => time === null) ? null : ([...times].sort()[0] ?? null);

function reportOf(name: string, parts: readonly TableRow[], bloat: ReadonlyMap<string, number | null>): TableReport {
  const [heapBytes, indexBytes, toastBytes, deadRows] = [
    sum(parts.map((part) => part.heapBytes)),
    sum(parts.map((part) => part.indexBytes)),
    sum(parts.map((part) => part.toastBytes)),
    sum(parts.map((part) => part.deadRows)),
  ];
  const rows = sumOfKnown(parts.map((part) => part.rows));
  const bloatBytes = sumOfKnown(parts.map((part) => bloat.get(part.name) ?? null));
  return {
    name,
    partitions: parts.filter(({ root }) => root !== null).length,
    totalBytes: heapBytes + indexBytes + toastBytes,
    heapBytes,
    indexBytes,
    toastBytes,
    rows,
    deadRows,
    deadShare: rows === null || rows + deadRows === 0 ? null : deadRows / (rows + deadRows),
    bloatBytes,
    bloatShare: bloatBytes === null || heapBytes === 0 ? null : bloatBytes / heapBytes,
    lastVacuum: oldest(parts.map((part) => part.lastVacuum)),
    lastAnalyze: oldest(parts.map((part) => part.lastAnalyze)),
    frozenAge: Math.max(0, ...parts.map((part) => part.frozenAge)),
  };
}

/** The largest first. `partitions`: each by itself instead of the partitioned table as a whole. */
export function reportTables(
  rows: readonly TableRow[],
  statistics: readonly RowStatistics[],
  { partitions = false }: { readonly partitions?: boolean } = {},
): TableReport[] {
  const bloat = new Map(statistics.map((one) => [one.name, bloatOf(one)]));
  const groups = Map.groupBy(rows, ({ name, root }) => (partitions ? name : (root ?? name)));
  return [...groups]
    .map(([name, parts]) => reportOf(name, parts, bloat))
    .sort((a, b) => b.totalBytes - a.totalBytes || a.name.localeCompare(b.name));
}

const moment = (time: string | null): string => (time === null ? "never" : time.slice(0, 16).replace("T", " "));

export function showTables(reports: readonly TableReport[]): string {
  if (reports.length === 0) return "There are no tables.";
  const unknown = reports.filter(({ bloatBytes }) => bloatBytes === null).length;
  return [
    table([
      [
        "table",
        "total",
        "heap",
        "indexes",
        "TOAST",
        "rows, about",
        "dead",
        "",
        "bloat, about",
        "",
        "vacuumed",
        "analysed",
      ],
      ...reports.map((one) => [
        one.partitions > 0 ? `${one.name} (${one.partitions} partitions)` : one.name,
        bytes(one.totalBytes),
        bytes(one.heapBytes),
        bytes(one.indexBytes),
        bytes(one.toastBytes),
        one.rows === null ? "unknown" : count(one.rows),
        count(one.deadRows),
        percent(one.deadShare),
        one.bloatBytes === null ? "unknown" : bytes(one.bloatBytes),
        percent(one.bloatShare),
        moment(one.lastVacuum),
        moment(one.lastAnalyze),
      ]),
    ]),
    ...(unknown > 0
      ? [
          `bloat is unknown of ${unknown}: never analysed, or the user may not read them (a table's statistics are its readers')`,
        ]
      : []),
  ].join("\n");
}
