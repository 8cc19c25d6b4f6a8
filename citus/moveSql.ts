/**
 * SQL by which a database's rows come to a Citus cluster while they are in use. PostgreSQL's own logical replication writes
 * into tables that are one server's, not into Citus' (it would pass Citus by, and say nothing): so it ends in a staging database
 * on one of the nodes, whose triggers write every change into Citus' tables, in the same order. Pure text.
 */
import { checksumSql, identifier, literal } from "../components/sqlText.ts";
import { DATABASE } from "../components/roles.ts";
import { ANCHOR } from "./tables.ts";

/** The publication at every source. */
export const PUBLICATION = "cgraph_citus";
/** The name of a source's slot and subscription. */
export const streamOf = (source: string): string => `cgraph_citus_${source}`;
/** The staging database of a source. */
export const stagingOf = (source: string): string => `cgraph_staging_${source}`;

/** A table as a source has it. */
export interface SourceTable {
  readonly name: string;
  readonly columns: readonly { readonly name: string; readonly type: string; readonly notNull: boolean }[];
  /** Null where it has none. */
  readonly primaryKey: readonly string[] | null;
}

/** One whose changes can be followed. */
export interface KeyedTable extends SourceTable {
  readonly primaryKey: readonly string[];
}

/** One row, `tables`: the named tables with columns and primary key, as SourceTable has them. */
export const sourceTablesSql = (tables: readonly string[]): string => `
SELECT json_agg(json_build_object('name', c.relname,
  'columns', (SELECT json_agg(json_build_object('name', attname, 'type', format_type(atttypid, atttypmod), 'notNull', attnotnull)
    ORDER BY attnum) FROM pg_attribute WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped AND attgenerated = ''),
  'primaryKey', (SELECT json_agg(attname ORDER BY place) FROM pg_constraint,
    unnest(conkey) WITH ORDINALITY k (number, place) JOIN pg_attribute ON attnum = number
    WHERE conrelid = c.oid AND contype = 'p' AND attrelid = c.oid)) ORDER BY c.relname)
FROM pg_class c WHERE relnamespace = 'public'::regnamespace AND relname IN (${tables.map(literal).join(", ")})`;

/** At the source: what the stream's role may read, and what is published. */
export const publishSql = (tables: readonly string[], streamRole: string): string =>
  `GRANT USAGE ON SCHEMA public TO ${streamRole};
GRANT SELECT ON ${tables.map((table) => `public.${table}`).join(", ")} TO ${streamRole};
DROP PUBLICATION IF EXISTS ${PUBLICATION};
CREATE PUBLICATION ${PUBLICATION} FOR TABLE ${tables.map((table) => `public.${table}`).join(", ")}
  WITH (publish = 'insert, update, delete', publish_via_partition_root = true);`;

/** The staging database's tables: the source's columns and keys, nothing else. */
export const stagingTablesSql = (tables: readonly KeyedTable[]): string =>
  tables
    .map(
      ({ name, columns, primaryKey }) =>
        `CREATE TABLE IF NOT EXISTS public.${name} (${columns
          .map((column) => `${identifier(column.name)} ${column.type}${column.notNull ? " NOT NULL" : ""}`)
          .join(", ")}, PRIMARY KEY (${primaryKey.map(identifier).join(", ")}));`,
    )
    .join("\n");

/** What comes back from the Citus cluster is not sent there again (`origin = none`). */
export const subscribeSql = (source: string, conninfo: string): string =>
  `CREATE SUBSCRIPTION ${streamOf(source)} CONNECTION ${literal(conninfo)} PUBLICATION ${PUBLICATION}
   WITH (slot_name = '${streamOf(source)}', copy_data = true, origin = none)`;

/** `tables`, and how many are copied, rows copied by those at work, errors so far: separated by |. */
export const copyStateSql = (source: string): string =>
  `SELECT count(*), count(*) FILTER (WHERE srsubstate = 'r'),
     (SELECT coalesce(sum(tuples_processed), 0) FROM pg_stat_progress_copy WHERE datname = current_database()),
     (SELECT coalesce(sum(apply_error_count + sync_error_count), 0) FROM pg_stat_subscription_stats WHERE subname = '${streamOf(source)}')
   FROM pg_subscription_rel JOIN pg_subscription s ON s.oid = srsubid WHERE subname = '${streamOf(source)}'`;

/** How many processes still apply what a subscription brings. */
export const appliersSql = (source: string): string =>
  `SELECT count(*) FROM pg_stat_subscription WHERE subname = '${streamOf(source)}' AND pid IS NOT NULL`;

const TARGET = "target";

/** The columns by which a row is found in Citus, and those that may change: its distribution column never does. */
const changing = (table: SourceTable, keys: readonly string[]): string[] =>
  table.columns.map(({ name }) => name).filter((name) => !keys.includes(name));

/**
 * A trigger that writes each change of a staging table into Citus' table of the same name, in the same transaction but for the
 * moment of its commit: Citus' part is committed first. A server that dies between the two does the change again: so a row
 * that is there already is left as it is, and one that is to go may be gone. `key`: Citus' primary key.
 */
function triggerSql(table: SourceTable, key: readonly string[]): string {
  const { name, columns } = table;
  const names = columns.map((column) => identifier(column.name));
  const same = (row: string): string =>
    key.map((one) => `${identifier(one)} = ${row}.${identifier(one)}`).join(" AND ");
  const set = changing(table, key).map((one) => `${identifier(one)} = NEW.${identifier(one)}`);
  const update =
    set.length === 0
      ? "NULL;"
      : `UPDATE ${TARGET}.${name} SET ${set.join(", ")} WHERE ${same("OLD")};
    IF NOT FOUND THEN RAISE EXCEPTION 'a row of ${name} that has changed is not in the Citus cluster'; END IF;`;
  return `CREATE OR REPLACE FUNCTION ${TARGET}.${name}_changed() RETURNS trigger LANGUAGE plpgsql AS $body$
BEGIN
  IF TG_OP = 'INSERT' THEN
    INSERT INTO ${TARGET}.${name} (${names.join(", ")}) VALUES (${names.map((one) => `NEW.${one}`).join(", ")}) ON CONFLICT DO NOTHING;
  ELSIF TG_OP = 'DELETE' THEN
    DELETE FROM ${TARGET}.${name} WHERE ${same("OLD")};
  ELSIF (${key.map((one) => `NEW.${identifier(one)}`).join(", ")}) IS DISTINCT FROM (${key.map((one) => `OLD.${identifier(one)}`).join(", ")}) THEN
    DELETE FROM ${TARGET}.${name} WHERE ${same("OLD")};
    INSERT INTO ${TARGET}.${name} (${names.join(", ")}) VALUES (${names.map((one) => `NEW.${one}`).join(", ")}) ON CONFLICT DO NOTHING;
  ELSE
    ${update}
  END IF;
  RETURN NULL;
END $body$;
DROP TRIGGER IF EXISTS to_citus ON public.${name};
CREATE TRIGGER to_citus AFTER INSERT OR UPDATE OR DELETE ON public.${name} FOR EACH ROW EXECUTE FUNCTION ${TARGET}.${name}_changed();
ALTER TABLE public.${name} ENABLE ALWAYS TRIGGER to_citus;`;
}

/** In the staging database: the way to Citus' tables on the same node, and the triggers. `keyOf`: Citus' primary key of a table. */
export const triggersSql = (tables: readonly SourceTable[], keyOf: (table: string) => readonly string[]): string =>
  `CREATE EXTENSION IF NOT EXISTS postgres_fdw;
DROP SERVER IF EXISTS citus CASCADE;
CREATE SERVER citus FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host '/run/postgresql', dbname '${DATABASE}', use_remote_estimate 'false');
CREATE USER MAPPING FOR postgres SERVER citus OPTIONS (user 'postgres');
CREATE SCHEMA IF NOT EXISTS ${TARGET};
IMPORT FOREIGN SCHEMA public LIMIT TO (${tables.map(({ name }) => name).join(", ")}) FROM SERVER citus INTO ${TARGET};
${tables.map((table) => triggerSql(table, keyOf(table.name))).join("\n")}`;

/** Rows of a table and a checksum of them that can be added up over several databases: separated by |. */
export const sumSql = ({ name, columns }: SourceTable): string =>
  `SELECT count(*), coalesce(${checksumSql(columns.map((column) => `t.${identifier(column.name)}`))}, 0) FROM public.${name} t`;

/** Tables in an order in which every row finds the rows that it refers to: users, what is nobody's, then the rest. */
export const fillOrder = <T extends SourceTable>(tables: readonly T[], isReference: (name: string) => boolean): T[] => {
  const rank = ({ name }: SourceTable): number => (isReference(name) ? 0 : name === ANCHOR ? 1 : 2);
  return [...tables].sort((a, b) => rank(a) - rank(b));
};

/** At the source, while the rows change over: nobody writes there any more, and who did is sent away. */
export const closeSql = (database: string): string =>
  `ALTER DATABASE ${database} SET default_transaction_read_only = on;
SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
  WHERE datname = '${database}' AND backend_type = 'client backend' AND usename <> 'postgres';
SELECT pg_current_wal_insert_lsn();`;

export const openSql = (database: string): string => `ALTER DATABASE ${database} RESET default_transaction_read_only;
SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
  WHERE datname = '${database}' AND backend_type = 'client backend' AND usename <> 'postgres';`;

/** At the source: whether all up to this position has been written into Citus. */
export const arrivedSql = (source: string, lsn: string): string =>
  `SELECT coalesce(bool_and(confirmed_flush_lsn >= '${lsn}'), false) FROM pg_replication_slots WHERE slot_name = '${streamOf(source)}'`;

/** At the source: how many bytes of WAL have not been written into Citus. */
export const lagSql = (source: string): string =>
  `SELECT coalesce(max(pg_wal_lsn_diff(pg_current_wal_lsn(), confirmed_flush_lsn)), 0)::bigint FROM pg_replication_slots
   WHERE slot_name = '${streamOf(source)}'`;

/** At the source: drops the stream's slot, and those of tables that were being copied, also where nobody else can. */
export const dropSlotSql = (source: string): string =>
  `SELECT pg_terminate_backend(active_pid, 5000) FROM pg_replication_slots
  WHERE active AND (slot_name = '${streamOf(source)}' OR slot_name ~ '^pg_[0-9]+_sync_');
SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots
  WHERE NOT active AND (slot_name = '${streamOf(source)}' OR slot_name ~ '^pg_[0-9]+_sync_');`;

/** At the source: forgets it all. */
export const unpublishSql = (source: string): string => `SET default_transaction_read_only = off;
DROP PUBLICATION IF EXISTS ${PUBLICATION};
${dropSlotSql(source)}`;
