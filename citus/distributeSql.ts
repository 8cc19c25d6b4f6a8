/** SQL that makes Citus tables of schema/'s tables. Pure text; what is so already is left out by who runs it. */
import { literal } from "../components/sqlText.ts";
import { ANCHOR, type CitusTable } from "./tables.ts";

/** What is known of a table before it is distributed. */
export interface TableFacts {
  readonly name: string;
  readonly columns: readonly string[];
  /** Null: it is PostgreSQL's own, on the coordinator alone. */
  readonly kind: "distributed" | "reference" | "local" | null;
  readonly distributedBy: string | null;
  readonly primaryKey: { readonly constraint: string; readonly columns: readonly string[] } | null;
  readonly foreignKeys: readonly {
    readonly constraint: string;
    readonly columns: readonly string[];
    readonly references: string;
  }[];
}

const COLUMNS = `(SELECT json_agg(attname ORDER BY place) FROM unnest(conkey) WITH ORDINALITY k (number, place)
    JOIN pg_attribute ON attrelid = conrelid AND attnum = number)`;

/** One row for each table of the schema public that is no partition: `facts`, as TableFacts has it. */
export const FACTS_SQL = `
SELECT json_build_object(
  'name', c.relname,
  'columns', (SELECT json_agg(attname ORDER BY attnum) FROM pg_attribute WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped),
  'kind', CASE WHEN d.partmethod = 'h' THEN 'distributed' WHEN d.partmethod = 'n' AND d.repmodel = 't' THEN 'reference'
    WHEN d.logicalrelid IS NOT NULL THEN 'local' END,
  'distributedBy', CASE WHEN d.partmethod = 'h' THEN column_to_column_name(d.logicalrelid, d.partkey) END,
  'primaryKey', (SELECT json_build_object('constraint', conname, 'columns', ${COLUMNS}) FROM pg_constraint
    WHERE conrelid = c.oid AND contype = 'p'),
  'foreignKeys', coalesce((
    SELECT json_agg(json_build_object('constraint', conname, 'columns', ${COLUMNS}, 'references', r.relname))
    FROM pg_constraint JOIN pg_class r ON r.oid = confrelid
    WHERE conrelid = c.oid AND contype = 'f' AND conparentid = 0), '[]')) AS facts
FROM pg_class c LEFT JOIN pg_dist_partition d ON d.logicalrelid = c.oid
WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
ORDER BY c.relname`;

const list = (columns: readonly string[]): string => columns.join(", ");

/** Foreign keys that no Citus table may have, or that it is to get anew when both tables are what they should be. */
export const dropForeignKeysSql = ({ name, foreignKeys }: TableFacts): string[] =>
  foreignKeys.map(({ constraint }) => `ALTER TABLE ${name} DROP CONSTRAINT "${constraint}"`);

/** The primary key with the distribution column in it, where it lacks that. */
export function primaryKeySql(table: CitusTable, { primaryKey }: TableFacts): string[] {
  const { name, distributedBy, primaryKey: wanted } = table;
  if (distributedBy === null || primaryKey?.columns.includes(distributedBy)) return [];
  return [
    ...(primaryKey ? [`ALTER TABLE ${name} DROP CONSTRAINT "${primaryKey.constraint}"`] : []),
    `ALTER TABLE ${name} ADD PRIMARY KEY (${list(wanted)})`,
  ];
}

/** The guide's statements: a distributed table, co-located with the anchor, or a reference table. */
export function distributeSql({ name, distributedBy }: CitusTable, shardCount: number): string {
  if (distributedBy === null) return `SELECT create_reference_table(${literal(name)})`;
  const placed =
    name === ANCHOR ? `shard_count => ${shardCount}, colocate_with => 'none'` : `colocate_with => '${ANCHOR}'`;
  return `SELECT create_distributed_table(${literal(name)}, ${literal(distributedBy)}, ${placed})`;
}

/**
 * Foreign keys that are to be and are not, under PostgreSQL's own names for them: one without a name Citus would make without
 * validation, which a partitioned table's cannot be.
 */
export const addForeignKeysSql = (
  { name, foreignKeys }: CitusTable,
  facts: Pick<TableFacts, "foreignKeys">,
): string[] =>
  foreignKeys
    .filter(
      ({ columns, references }) =>
        !facts.foreignKeys.some((one) => one.references === references && list(one.columns) === list(columns)),
    )
    .map(
      ({ columns, references, cascades }) =>
        `ALTER TABLE ${name} ADD CONSTRAINT ${name}_${columns.join("_")}_fkey ` +
        `FOREIGN KEY (${list(columns)}) REFERENCES ${references}${cascades ? " ON DELETE CASCADE" : ""}`,
    );
