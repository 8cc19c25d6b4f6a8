/** Parts that the doctor's queries share, and names in SQL. Correct for PostgreSQL 14 to 17. */
import { literal } from "../components/sqlText.ts";
import type { Facts } from "./facts.ts";

/** Stands in each of our statements: by it pg_stat_statements knows them from the application's. */
export const MARK = "/* cgraph-db doctor */";

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
