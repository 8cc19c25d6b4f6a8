/** Large tables with their columns, indexes and scans: what index advice stands on. */
import type { Query } from "../check.ts";
import { asJson, ofApplication, qualified, rootOf } from "../sql.ts";

export interface TableColumn {
  readonly name: string;
  /** As format_type writes it. */
  readonly type: string;
  /** As in pg_stats: a count, or, negative, a share of the rows; null: not known. */
  readonly distinct: number | null;
}

export interface TableIndex {
  readonly name: string;
  /** Key columns in order; null for an expression. */
  readonly columns: readonly (string | null)[];
  readonly unique: boolean;
  /** The condition of a partial index. */
  readonly predicate: string | null;
}

/** A table, or a partitioned one with all its partitions. */
export interface TableScanRow {
  /** Quoted, with its schema. */
  readonly table: string;
  readonly schema: string;
  readonly name: string;
  readonly rows: number;
  readonly bytes: number;
  /** Scans from start to end, rows that they read, scans of its indexes. */
  readonly scans: number;
  readonly scannedRows: number;
  readonly indexScans: number;
  readonly columns: readonly TableColumn[];
  readonly indexes: readonly TableIndex[];
  /** Partitions, quoted, with their schema; null where some of them have partitions of their own. */
  readonly partitions: readonly string[] | null;
}

const btree = "(SELECT oid FROM pg_am WHERE amname = 'btree')";

export const tableScans: Query<TableScanRow> = {
  name: "table-scans",
  asked: "reader",
  needs: [],
  sql: (
    facts,
  ) => `SELECT ${qualified("n", "c")} AS table, n.nspname AS schema, c.relname AS name, t.rows, t.bytes, t.scans,
      t."scannedRows", t."indexScans",
      ${asJson(`SELECT a.attname AS name, format_type(a.atttypid, NULL) AS type, s.n_distinct::float8 AS distinct
        FROM pg_attribute a LEFT JOIN pg_stats s ON s.schemaname = n.nspname AND s.tablename = c.relname
          AND s.attname = a.attname AND s.inherited = (c.relkind = 'p')
        WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum`)} AS columns,
      ${asJson(`SELECT i.relname AS name, x.indisunique AS unique, pg_get_expr(x.indpred, x.indrelid) AS predicate,
          (SELECT json_agg(a.attname ORDER BY k.place) FROM unnest((x.indkey::int2[])[0:x.indnkeyatts - 1])
            WITH ORDINALITY k (attnum, place) LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.attnum) AS columns
        FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid
        WHERE x.indrelid = c.oid AND x.indisvalid AND i.relam = ${btree}`)} AS indexes,
      CASE WHEN c.relkind = 'p' AND EXISTS (SELECT FROM pg_inherits h JOIN pg_class l ON l.oid = h.inhrelid
          WHERE h.inhparent = c.oid AND l.relkind = 'p') THEN NULL
        ELSE (SELECT coalesce(json_agg(${qualified("ln", "l")} ORDER BY l.relname), '[]') FROM pg_inherits h
          JOIN pg_class l ON l.oid = h.inhrelid JOIN pg_namespace ln ON ln.oid = l.relnamespace
          WHERE c.relkind = 'p' AND h.inhparent = c.oid) END AS partitions
    FROM (SELECT ${rootOf("c.oid")} AS root, sum(greatest(c.reltuples, pg_stat_get_live_tuples(c.oid), 0))::float8 AS rows,
        sum(c.relpages)::float8 * ${facts.blockBytes} AS bytes, sum(pg_stat_get_numscans(c.oid))::float8 AS scans,
        sum(pg_stat_get_tuples_returned(c.oid))::float8 AS "scannedRows",
        sum((SELECT coalesce(sum(pg_stat_get_numscans(x.indexrelid)), 0) FROM pg_index x WHERE x.indrelid = c.oid))::float8
          AS "indexScans"
      FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
      WHERE c.relkind = 'r' AND ${ofApplication(facts)}
      GROUP BY 1) t
    JOIN pg_class c ON c.oid = t.root JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE t.rows >= ${facts.thresholds.bigTableRows}
    ORDER BY t."scannedRows" DESC LIMIT 200`,
  add(own, others) {
    const of = (table: string) => others.filter((one) => one.table === table);
    return own.map((row) => {
      const same = of(row.table);
      const add = (part: "scans" | "scannedRows" | "indexScans"): number =>
        same.reduce((sum, one) => sum + one[part], row[part]);
      return { ...row, scans: add("scans"), scannedRows: add("scannedRows"), indexScans: add("indexScans") };
    });
  },
};
