/** Parts that the doctor's queries share, and names in SQL. Correct for PostgreSQL 14 to 17. */
import { literal } from "../components/sqlText.ts";
import type { Facts } from "./facts.ts";

/** Stands in each of our statements: by it pg_stat_statements knows them from the application's. */
export const MARK = "/* cgraph-db doctor */";

/** A name as SQL takes it, quoted wherever it might be needed. */
export const identifier = (name: string): string =>
  /^[a-z_][a-z0-9_]*$/.test(name) && !RESERVED.has(name) ? name : `"${name.replaceAll('"', '""')}"`;

/** Words that stand for themselves in SQL: as a column's name they are quoted. */
const RESERVED = new Set(
  `all analyse analyze and any array as asc asymmetric authorization between bigint binary bit boolean both case cast char
  character check coalesce collate collation column concurrently constraint create cross current_catalog current_date
  current_role current_schema current_time current_timestamp current_user dec decimal default deferrable desc distinct do
  else end except exists extract false fetch float for foreign freeze from full grant greatest group grouping having ilike
  in initially inner inout int integer intersect interval into is isnull join lateral leading least left like limit
  localtime localtimestamp national natural nchar none normalize not notnull null nullif numeric offset on only or order
  out outer overlaps overlay placing position precision primary real references returning right row select session_user
  setof similar smallint some substring symmetric system_user table tablesample then time timestamp to trailing treat trim
  true union unique user using values varchar variadic verbose when where window with xmlattributes xmlconcat xmlelement
  xmlexists xmlforest xmlnamespaces xmlparse xmlpi xmlroot xmlserialize xmltable`.split(/\s+/),
);

/**
 * The application's own relations: nothing of PostgreSQL's, of temporary schemas, of extensions, nor of what keeps
 * partitions and jobs. Needs `c` (pg_class) and `n` (its pg_namespace).
 */
export const ofApplication = ({ otherSchemas }: Pick<Facts, "otherSchemas">): string =>
  `n.nspname !~ '^pg_' AND n.nspname <> ALL (ARRAY[${["information_schema", ...otherSchemas].map(literal).join(", ")}])
   AND c.relpersistence <> 't'
   AND NOT EXISTS (SELECT FROM pg_depend x
     WHERE x.classid = 'pg_class'::regclass AND x.objid = c.oid AND x.deptype = 'e')`;

/** `schema.name`, quoted. */
export const qualified = (schema: string, relation: string): string =>
  `quote_ident(${schema}.nspname) || '.' || quote_ident(${relation}.relname)`;

/** The partitioned table that a partition belongs to in the end; itself, where it is none. */
export const rootOf = (oid: string): string => `coalesce(pg_partition_root(${oid}), ${oid})`;

/** Rows of a query as JSON: every way to a server gives the same types. */
export const asJson = (query: string): string => `(SELECT coalesce(json_agg(row_to_json(t)), '[]') FROM (${query}) t)`;
