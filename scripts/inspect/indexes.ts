/** `inspect indexes`: which are used, which are not, which are there twice. */
import type { Client } from "pg";
import { valueOf } from "../lib/databaseClient.ts";
import { bytes, table } from "../lib/print.ts";
import { OWN_SCHEMAS, qualified, rowsAsJson } from "./sql.ts";

/** One index as a server tells it. */
export interface IndexRow {
  readonly name: string;
  readonly table: string;
  /** The partitioned index that it is a part of, and that one's table; null: of none. */
  readonly root: string | null;
  readonly rootTable: string | null;
  readonly bytes: number;
  readonly scans: number;
  readonly rowsRead: number;
  readonly rowsFetched: number;
  /** Whether it enforces something or tells replication which row is meant: then it is needed without any scan. */
  readonly enforces: boolean;
  readonly valid: boolean;
  /** The same text for indexes that do the same. */
  readonly signature: string;
}

export interface IndexFacts {
  readonly indexes: readonly IndexRow[];
  /** Since when scans are counted; null: since the server was made. */
  readonly since: string | null;
}

export interface IndexReport {
  readonly name: string;
  readonly table: string;
  readonly partitions: number;
  readonly bytes: number;
  /** On all servers that were asked. */
  readonly scans: number;
  readonly rowsRead: number;
  readonly rowsFetched: number;
  /** What is to be said of it: invalid, unused, the same as another. */
  readonly findings: readonly string[];
}

const NAME = qualified("n.nspname", "c.relname");
const INDEXES = `SELECT ${NAME} AS name, ${qualified("n.nspname", "t.relname")} AS table,
    (SELECT ${qualified("rn.nspname", "rc.relname")} FROM pg_class rc JOIN pg_namespace rn ON rn.oid = rc.relnamespace
     WHERE c.relispartition AND rc.oid = pg_partition_root(c.oid)) AS root,
    (SELECT ${qualified("rn.nspname", "rc.relname")} FROM pg_class rc JOIN pg_namespace rn ON rn.oid = rc.relnamespace
     WHERE c.relispartition AND rc.oid = pg_partition_root(t.oid)) AS "rootTable",
    pg_relation_size(c.oid) AS bytes, coalesce(s.idx_scan, 0) AS scans, coalesce(s.idx_tup_read, 0) AS "rowsRead",
    coalesce(s.idx_tup_fetch, 0) AS "rowsFetched",
    i.indisunique OR i.indisexclusion OR i.indisreplident AS enforces, i.indisvalid AS valid,
    concat_ws('|', i.indrelid, c.relam, i.indkey, i.indclass, i.indcollation, i.indoption, i.indisunique,
      pg_get_expr(i.indexprs, i.indrelid), pg_get_expr(i.indpred, i.indrelid)) AS signature
  FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_class t ON t.oid = i.indrelid
    JOIN pg_namespace n ON n.oid = c.relnamespace LEFT JOIN pg_stat_all_indexes s ON s.indexrelid = c.oid
  WHERE c.relkind = 'i' AND t.relkind IN ('r', 'm') AND ${OWN_SCHEMAS}`;

export const readIndexes = (client: Client): Promise<IndexFacts> =>
  valueOf(
    client,
    `SELECT json_build_object('indexes', ${rowsAsJson(INDEXES)},
       'since', (SELECT stats_reset FROM pg_stat_database WHERE datname = current_database())) AS value`,
  );

/** Scans by index: what a replica answers, which counts its own and no others. */
export const SCANS_SQL = `SELECT coalesce(json_object_agg(${NAME}, s.idx_scan), '{}') FROM pg_stat_all_indexes s
  JOIN pg_class c ON c.oid = s.indexrelid JOIN pg_namespace n ON n.oid = c.relnamespace WHERE s.idx_scan > 0 AND ${OWN_SCHEMAS}`;

/** What is said of an index: parts of a partitioned one are told together. */
function findingsOf(parts: readonly IndexRow[], scans: number, twins: readonly string[]): string[] {
  const invalid = parts.filter(({ valid }) => !valid);
  return [
    ...(invalid.length > 0 ? ["invalid: a build was broken off; drop it or REINDEX INDEX CONCURRENTLY"] : []),
    ...(scans === 0 && !parts.some(({ enforces }) => enforces) ? ["unused"] : []),
    ...(twins.length > 0 ? [`the same as ${twins.join(", ")}`] : []),
  ];
}

/** The largest first. `replicas`: scans by index of each replica that was asked. */
export function reportIndexes(
  { indexes }: IndexFacts,
  replicas: readonly Readonly<Record<string, number>>[] = [],
): IndexReport[] {
  const scansOf = ({ name, scans }: IndexRow): number =>
    replicas.reduce((all, replica) => all + (replica[name] ?? 0), scans);
  const sum = (parts: readonly IndexRow[], pick: (part: IndexRow) => number): number =>
    parts.reduce((all, part) => all + pick(part), 0);
  const groups = Map.groupBy(indexes, ({ name, root }) => root ?? name);
  const bySignature = Map.groupBy(indexes, ({ signature }) => signature);
  return [...groups]
    .map(([name, parts]): IndexReport => {
      const scans = sum(parts, scansOf);
      const [first] = parts;
      const twins = (bySignature.get(first?.signature ?? "") ?? [])
        .map((twin) => twin.root ?? twin.name)
        .filter((twin) => twin !== name);
      return {
        name,
        table: first?.rootTable ?? first?.table ?? "",
        partitions: parts.filter(({ root }) => root !== null).length,
        bytes: sum(parts, (part) => part.bytes),
        scans,
        rowsRead: sum(parts, (part) => part.rowsRead),
        rowsFetched: sum(parts, (part) => part.rowsFetched),
        findings: findingsOf(parts, scans, twins),
      };
    })
    .sort((a, b) => b.bytes - a.bytes || a.name.localeCompare(b.name));
}

export function showIndexes(reports: readonly IndexReport[], since: string | null, asked: string): string {
  if (reports.length === 0) return "There are no indexes.";
  return [
    table([
      ["index", "table", "size", "scans", "rows read", "rows fetched", ""],
      ...reports.map((one) => [
        one.partitions > 0 ? `${one.name} (${one.partitions} partitions)` : one.name,
        one.table,
        bytes(one.bytes),
        String(one.scans),
        String(one.rowsRead),
        String(one.rowsFetched),
        one.findings.join("; "),
      ]),
    ]),
    `scans are counted ${since === null ? "since the statistics began" : `since ${since.slice(0, 16).replace("T", " ")}`}, ${asked}`,
  ].join("\n");
}
