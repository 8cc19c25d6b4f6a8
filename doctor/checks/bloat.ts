/**
 * Bloat: what tables and btree indexes take beyond what their rows need, estimated from statistics without reading them.
 *
 * Rows: the tuple's header, its columns in their order with their average widths and alignment. Entries of an index: the
 * same, without merging duplicates, so that bloat is rather underestimated there. Sizes are those of the last vacuum or
 * analyze, so that they belong to the counts beside them, and no lock is waited for.
 */
import { bytes } from "../../tuning/words.ts";
import type { Check, Query } from "../check.ts";
import { type Finding, above, finding } from "../finding.ts";
import { ofApplication, qualified, rootOf } from "../sql.ts";
import { byWhole, sum } from "../whole.ts";

/** Width in bytes (null: not known), alignment (c 1, s 2, i 4, d 8), share of nulls, whether its length varies. */
export type Column = readonly [width: number | null, alignment: string, nulls: number, varies: boolean];

export interface SizeRow {
  /** Quoted, with its schema. */
  readonly name: string;
  /** The partitioned table or index that it is a part of; itself, where it is of none. */
  readonly whole: string;
  readonly tuples: number;
  readonly pages: number;
  /** Percent. */
  readonly fillfactor: number;
  readonly columns: readonly Column[];
}

const ALIGNMENTS: Readonly<Record<string, number>> = { c: 1, s: 2, i: 4, d: 8 };
const aligned = (offset: number, to: number): number => Math.ceil(offset / to) * to;

/** A value shorter than this is stored with one byte of header and no alignment. */
const SHORT_BYTES = 127;

/** Bytes of a row's columns, one after the other; undefined where a width is not known. */
export function dataBytes(columns: readonly Column[]): number | undefined {
  let offset = 0;
  for (const [width, alignment, nulls, varies] of columns) {
    if (width === null) return undefined;
    const needsNone = varies && width < SHORT_BYTES;
    const start = needsNone ? offset : aligned(offset, ALIGNMENTS[alignment] ?? 1);
    // A null takes nothing, not even what aligns it.
    offset += (start + width - offset) * (1 - nulls);
  }
  return offset;
}

const PAGE_HEADER = 24;
const ITEM_POINTER = 4;
const HEAP_HEADER = 23;
const INDEX_HEADER = 8;
/** Pointers to its neighbours at the end of each page of a btree. */
const BTREE_SPECIAL = 16;

const hasNulls = (columns: readonly Column[]): boolean => columns.some(([, , nulls]) => nulls > 0);

/** Pages that a table's rows need; undefined where a column's width is not known. */
export function tablePages(row: SizeRow, blockBytes: number): number | undefined {
  const data = dataBytes(row.columns);
  if (data === undefined) return undefined;
  const header = HEAP_HEADER + (hasNulls(row.columns) ? Math.ceil(row.columns.length / 8) : 0);
  const tuple = ITEM_POINTER + aligned(header, 8) + aligned(data, 8);
  const perPage = Math.max(1, Math.floor(((blockBytes - PAGE_HEADER) * row.fillfactor) / 100 / tuple));
  return Math.ceil(row.tuples / perPage);
}

/** The same of a btree index, with its inner pages and its first one. */
export function indexPages(row: SizeRow, blockBytes: number): number | undefined {
  const data = dataBytes(row.columns);
  if (data === undefined) return undefined;
  const header = INDEX_HEADER + (hasNulls(row.columns) ? 8 : 0);
  const tuple = ITEM_POINTER + header + aligned(data, 8);
  const usable = blockBytes - PAGE_HEADER - BTREE_SPECIAL;
  let level = Math.ceil(row.tuples / Math.max(1, Math.floor((usable * row.fillfactor) / 100 / tuple)));
  let pages = 1 + level;
  const fanout = Math.max(2, Math.floor((usable * 0.7) / tuple));
  while (level > 1) {
    level = Math.ceil(level / fanout);
    pages += level;
  }
  return pages;
}

/** Statistics of columns are shown to whoever may read the table. */
const columnsSql = (relation: string, stats: string): string => `(SELECT coalesce(json_agg(json_build_array(
    coalesce(s.avg_width, CASE WHEN a.attlen > 0 THEN a.attlen END), a.attalign, coalesce(s.null_frac, 0), a.attlen < 0)
    ORDER BY a.attnum), '[]')
  FROM pg_attribute a LEFT JOIN pg_stats s ON ${stats}
  WHERE a.attrelid = ${relation} AND a.attnum > 0 AND NOT a.attisdropped)`;

const fillfactor = (otherwise: number): string =>
  `coalesce((SELECT option_value::int FROM pg_options_to_table(c.reloptions) WHERE option_name = 'fillfactor'), ${otherwise}) AS fillfactor`;

const big = (facts: { readonly blockBytes: number; readonly thresholds: { readonly bloatBytes: number } }): string =>
  `c.reltuples > 0 AND c.relpages > ${Math.floor(facts.thresholds.bloatBytes / facts.blockBytes)}`;

const tableSizes: Query<SizeRow> = {
  name: "table-sizes",
  asked: "reader",
  needs: [],
  sql: (
    facts,
  ) => `SELECT ${qualified("n", "c")} AS name, ${qualified("rn", "r")} AS whole, c.reltuples::float8 AS tuples,
      c.relpages AS pages, ${fillfactor(100)},
      ${columnsSql("c.oid", "s.schemaname = n.nspname AND s.tablename = c.relname AND s.attname = a.attname AND NOT s.inherited")} AS columns
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
      JOIN pg_class r ON r.oid = ${rootOf("c.oid")} JOIN pg_namespace rn ON rn.oid = r.relnamespace
    WHERE c.relkind IN ('r', 'm') AND ${big(facts)} AND ${ofApplication(facts)}`,
};

const indexSizes: Query<SizeRow> = {
  name: "index-sizes",
  asked: "reader",
  needs: [],
  // An expression's statistics go by the index's name, a column's by its table's.
  sql: (
    facts,
  ) => `SELECT ${qualified("n", "c")} AS name, ${qualified("rn", "r")} AS whole, c.reltuples::float8 AS tuples,
      c.relpages AS pages, ${fillfactor(90)},
      ${columnsSql(
        "c.oid",
        `s.schemaname = n.nspname AND NOT s.inherited
         AND s.tablename = CASE WHEN x.indkey[a.attnum - 1] = 0 THEN c.relname ELSE t.relname END
         AND s.attname = CASE WHEN x.indkey[a.attnum - 1] = 0 THEN a.attname ELSE (SELECT k.attname FROM pg_attribute k
           WHERE k.attrelid = t.oid AND k.attnum = x.indkey[a.attnum - 1]) END`,
      )} AS columns
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_index x ON x.indexrelid = c.oid
      JOIN pg_class t ON t.oid = x.indrelid
      JOIN pg_class r ON r.oid = ${rootOf("c.oid")} JOIN pg_namespace rn ON rn.oid = r.relnamespace
    WHERE c.relkind = 'i' AND c.relam = (SELECT oid FROM pg_am WHERE amname = 'btree') AND x.indisvalid
      AND ${big(facts)} AND ${ofApplication(facts)}`,
};

interface Wasted extends SizeRow {
  readonly sizeBytes: number;
  readonly wastedBytes: number;
}

/** Parts that waste more than their share, and names of those whose widths are not known. */
function wasted(
  rows: readonly SizeRow[],
  blockBytes: number,
  percent: number,
  pagesOf: (row: SizeRow, blockBytes: number) => number | undefined,
): { readonly bloated: Wasted[]; readonly unknown: string[] } {
  const unknown = rows.filter((row) => pagesOf(row, blockBytes) === undefined).map(({ name }) => name);
  const bloated = rows
    .map((row) => ({
      ...row,
      sizeBytes: row.pages * blockBytes,
      wastedBytes: (row.pages - (pagesOf(row, blockBytes) ?? row.pages)) * blockBytes,
    }))
    .filter((row) => (100 * row.wastedBytes) / row.sizeBytes > percent);
  return { bloated, unknown };
}

const notReadable = (unknown: readonly string[], what: string): string | undefined =>
  unknown.length === 0
    ? undefined
    : `${what} ${unknown.slice(0, 3).join(", ")}${unknown.length > 3 ? ` and ${unknown.length - 3} more` : ""}: no statistics that this role may see (GRANT pg_read_all_data shows them), or none yet (ANALYZE)`;

interface Kind {
  readonly check: "table-bloat" | "index-bloat";
  readonly fix: (name: string) => string;
  readonly note: string;
}

function bloatFindings(
  rows: readonly Wasted[],
  { check, fix, note }: Kind,
  limits: { readonly bloatBytes: number; readonly bloatCriticalBytes: number },
): Finding[] {
  return byWhole(rows).flatMap(([whole, parts]) => {
    const [size, waste] = [sum(parts.map((one) => one.sizeBytes)), sum(parts.map((one) => one.wastedBytes))];
    const severity = above(waste, limits.bloatBytes, limits.bloatCriticalBytes);
    if (!severity) return [];
    const worst = [...parts].sort((a, b) => b.wastedBytes - a.wastedBytes);
    const percent = Math.round((100 * waste) / size);
    return [
      finding({
        check,
        severity,
        subject: whole,
        says: `about ${bytes(waste)} of ${bytes(size)} are empty (${percent} %)${parts.length > 1 ? ` in ${parts.length} partitions` : ""}`,
        evidence: { bytes: size, wastedBytes: Math.round(waste), wastedPercent: percent },
        fix: worst.map(({ name }) => fix(name)),
        note,
      }),
    ];
  });
}

/** Tables of which more is empty than autovacuum needs. */
export const tableBloatCheck: Check<SizeRow> = {
  id: "table-bloat",
  query: tableSizes,
  judge(rows, { thresholds, blockBytes }) {
    const { bloated, unknown } = wasted(rows, blockBytes, thresholds.tableBloatPercent, tablePages);
    const kind: Kind = {
      check: "table-bloat",
      fix: (name) => `VACUUM (FULL, ANALYZE) ${name};`,
      note: "writes it anew, nobody reads or writes it meanwhile; new rows fill the space in time too, and pg_repack does it in use",
    };
    return { findings: bloatFindings(bloated, kind, thresholds), notChecked: notReadable(unknown, "tables") };
  },
};

/** Btree indexes of which more is empty than random order leaves. */
export const indexBloatCheck: Check<SizeRow> = {
  id: "index-bloat",
  query: indexSizes,
  judge(rows, { thresholds, blockBytes }) {
    const { bloated, unknown } = wasted(rows, blockBytes, thresholds.indexBloatPercent, indexPages);
    const kind: Kind = {
      check: "index-bloat",
      fix: (name) => `REINDEX INDEX CONCURRENTLY ${name};`,
      note: "needs its size once more on the disk while it runs",
    };
    return { findings: bloatFindings(bloated, kind, thresholds), notChecked: notReadable(unknown, "indexes") };
  },
};
