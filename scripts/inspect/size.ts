/** `inspect size`: what takes the room. */
import type { Client } from "pg";
import { valueOf } from "../lib/databaseClient.ts";
import { bytes, table } from "../lib/print.ts";
import { OWN_SCHEMAS, rowsAsJson } from "./sql.ts";

export interface Size {
  readonly database: string;
  readonly databaseBytes: number;
  /** Of the application's tables, their indexes, and the long values that are stored beside the rows. */
  readonly tableBytes: number;
  readonly indexBytes: number;
  readonly toastBytes: number;
  /** All databases of the server; null where the user may not see it. */
  readonly databases: readonly { readonly name: string; readonly bytes: number | null }[];
  /** WAL on the server's disk; null where the user may not see it. */
  readonly walBytes: number | null;
}

const SIZE_SQL = `SELECT json_build_object(
  'database', current_database(),
  'databaseBytes', pg_database_size(current_database()),
  'tableBytes', s.tables - s.toast, 'indexBytes', s.indexes, 'toastBytes', s.toast,
  'databases', ${rowsAsJson(`SELECT datname AS name,
      CASE WHEN has_database_privilege(oid, 'CONNECT') OR pg_has_role('pg_read_all_stats', 'USAGE')
        THEN pg_database_size(oid) END AS bytes
    FROM pg_database WHERE datallowconn ORDER BY 2 DESC NULLS LAST, 1`)},
  'walBytes', NULL) AS value
FROM (SELECT coalesce(sum(pg_table_size(c.oid)), 0) AS tables, coalesce(sum(pg_indexes_size(c.oid)), 0) AS indexes,
    coalesce(sum(pg_total_relation_size(nullif(c.reltoastrelid, 0))), 0) AS toast
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
  WHERE c.relkind IN ('r', 'm') AND ${OWN_SCHEMAS}) s`;

export async function readSize(client: Client): Promise<Size> {
  const size = await valueOf<Size>(client, SIZE_SQL);
  // A right to call a function is asked for even where it would not be called: in a query of its own.
  const maySeeWal = await valueOf<boolean>(
    client,
    "SELECT has_function_privilege('pg_catalog.pg_ls_waldir()', 'EXECUTE') AS value",
  );
  if (!maySeeWal) return size;
  const walBytes = await valueOf<string>(client, "SELECT coalesce(sum(size), 0) AS value FROM pg_ls_waldir()");
  return { ...size, walBytes: Number(walBytes) };
}

export function showSize(size: Size): string {
  const { databaseBytes, tableBytes, indexBytes, toastBytes, walBytes, databases } = size;
  const share = (part: number): string => `${((100 * part) / databaseBytes).toFixed(1)} %`;
  const others = databases.filter(({ name }) => name !== size.database);
  return table([
    ["what", "size", "of the database"],
    [`database ${size.database}`, bytes(databaseBytes), ""],
    ["  tables", bytes(tableBytes), share(tableBytes)],
    ["  long values (TOAST)", bytes(toastBytes), share(toastBytes)],
    ["  indexes", bytes(indexBytes), share(indexBytes)],
    [
      "  PostgreSQL's own tables",
      bytes(databaseBytes - tableBytes - toastBytes - indexBytes),
      share(databaseBytes - tableBytes - toastBytes - indexBytes),
    ],
    ...others.map(({ name, bytes: size }) => [
      `database ${name}`,
      size === null ? "not for this user" : bytes(size),
      "",
    ]),
    ["WAL on the disk", walBytes === null ? "not for this user" : bytes(walBytes), ""],
  ]);
}
