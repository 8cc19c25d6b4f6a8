/**
 * SQL by which the tables of one whole database become those of a shard while they are in use, and back: primary keys with
 * the shard key in them, foreign keys that cross shards. Pure text.
 */
import { identifier } from "../components/sqlText.ts";
import { TABLES, type TablePlacement, shardedTables } from "./tables.ts";

/** A foreign key as it was, to be made again. */
export interface KeptForeignKey {
  readonly table: string;
  readonly name: string;
  /** As pg_get_constraintdef writes it. */
  readonly definition: string;
}

/** Foreign keys that would cross shards, as they are: rows of KeptForeignKey. */
export const crossingKeysSql = (tables: readonly TablePlacement[] = TABLES): string => {
  const wanted = shardedTables(tables).flatMap(({ name, foreignKeys }) =>
    foreignKeys
      .filter(({ kept }) => kept.as === "dropped")
      .map(({ references }) => `('${name}'::regclass, '${references}'::regclass)`),
  );
  return `SELECT conrelid::regclass::text AS "table", conname AS name,
      regexp_replace(pg_get_constraintdef(oid), ' NOT VALID$', '') AS definition
    FROM pg_constraint WHERE contype = 'f' AND conparentid = 0 AND (conrelid, confrelid) IN (${wanted.join(", ")})
    ORDER BY 1, 2`;
};

/** A table, or each partition of one: `leaf`, and whether the table is partitioned. */
export const leavesSql = (table: string): string =>
  `SELECT oid::regclass::text AS leaf, false AS partitioned FROM pg_class
     WHERE oid = 'public.${table}'::regclass AND relkind <> 'p'
   UNION ALL SELECT relid::regclass::text, true FROM pg_partition_tree('public.${table}')
     WHERE isleaf AND relid <> 'public.${table}'::regclass ORDER BY 1`;

export interface Leaf {
  readonly leaf: string;
  readonly partitioned: boolean;
}

/** A table's primary key: `name`, `columns`. */
export const primaryKeySql = (table: string): string =>
  `SELECT conname AS name, (SELECT array_agg(attname::text ORDER BY place) FROM unnest(conkey) WITH ORDINALITY k (number, place)
     JOIN pg_attribute ON attrelid = conrelid AND attnum = number) AS columns
   FROM pg_constraint WHERE conrelid = 'public.${table}'::regclass AND contype = 'p'`;

/** The name without its schema, and without quotes. */
const bare = (leaf: string): string => leaf.replace(/^.*\./, "").replaceAll('"', "");
/** PostgreSQL cuts names at 63 bytes. */
const keyName = (leaf: string): string => `${bare(leaf).slice(0, 50)}_pkey`;
export const nextKeyName = (leaf: string): string => `${bare(leaf).slice(0, 50)}_next_pkey`;

/** Makes the index of a primary key to be, beside the one there is; outside of any transaction. */
export const nextKeyIndexSql = (leaf: string, columns: readonly string[]): string =>
  `CREATE UNIQUE INDEX CONCURRENTLY ${identifier(nextKeyName(leaf))} ON ${leaf} (${columns.map(identifier).join(", ")})`;

/** Puts prepared indexes in the place of the primary key `current`, for which the table is locked for a moment. */
export function swapKeySql(
  table: string,
  current: string,
  columns: readonly string[],
  leaves: readonly Leaf[],
): string {
  const use = ({ leaf }: Leaf): string =>
    `ALTER TABLE ${leaf} ADD CONSTRAINT ${identifier(keyName(leaf))} PRIMARY KEY USING INDEX ${identifier(nextKeyName(leaf))}`;
  const parts = leaves.filter(({ partitioned }) => partitioned);
  const drop = `ALTER TABLE public.${table} DROP CONSTRAINT ${identifier(current)}`;
  if (parts.length === 0) return [drop, ...leaves.map(use)].join("; ");
  const whole = keyName(table);
  return [
    drop,
    `ALTER TABLE ONLY public.${table} ADD CONSTRAINT ${identifier(whole)} PRIMARY KEY (${columns.map(identifier).join(", ")})`,
    ...parts.flatMap((part) => [
      use(part),
      `ALTER INDEX public.${identifier(whole)} ATTACH PARTITION ${schemaOf(part.leaf)}${identifier(keyName(part.leaf))}`,
    ]),
  ].join("; ");
}

/** The schema that a name is written with, with its dot; an index is in its table's. */
const schemaOf = (leaf: string): string => (leaf.includes(".") ? leaf.slice(0, leaf.lastIndexOf(".") + 1) : "public.");

/** Whether rows that refer to nothing would have been deleted by the foreign key. */
export const cascades = ({ definition }: KeptForeignKey): boolean => /ON DELETE CASCADE/.test(definition);

/** Deletes the rows of a table whose foreign key would have deleted them, had it been there all along. */
export function deleteOrphansSql({ table, definition }: KeptForeignKey): string {
  const [, columns = "", target = "", keys] =
    /FOREIGN KEY \(([^)]+)\) REFERENCES ([^(\s]+)(?:\(([^)]+)\))?/.exec(definition) ?? [];
  const pairs = columns.split(", ").map((column, index) => `p.${(keys ?? "id").split(", ")[index]} = c.${column}`);
  return `DELETE FROM ${table} c WHERE NOT EXISTS (SELECT FROM ${target} p WHERE ${pairs.join(" AND ")})`;
}

/**
 * For each table that has triggers of a shard what drops them: one row, `drops`. Only for those: to drop what is not there
 * would lock the table as well.
 */
export const shardTriggersSql = `SELECT string_agg(format('DROP TRIGGER %I ON %s', tgname, tgrelid::regclass), '; ') AS drops
  FROM pg_trigger WHERE tgparentid = 0 AND tgname IN ('sharding_insert', 'sharding_change', 'sharding_key', 'sharding_global')
  GROUP BY tgrelid`;

/** Removes what a shard has beside tables; when its triggers are gone. */
export const dropShardingSql: readonly string[] = [
  "DROP SCHEMA IF EXISTS sharding CASCADE",
  "DROP FUNCTION IF EXISTS public.uuidv7()",
];
