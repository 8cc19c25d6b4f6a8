/** SQL that turns tables of schema/ into a shard's, and that reads shards. Pure text, to be run any number of times. */
import { literal } from "../components/sqlText.ts";
import { bucketSql } from "./placement.ts";
import { type BucketClass } from "./shardMap.ts";
import {
  type ForeignKey,
  type ShardedTable,
  TABLES,
  type TablePlacement,
  globalTables,
  shardedTables,
} from "./tables.ts";

/** The schema of everything that is ours on a shard. */
export const SCHEMA = "sharding";
/** The publication of the global database, which every shard has a subscription to. */
export const GLOBAL_PUBLICATION = "cgraph_global";

const list = (columns: readonly string[]): string => columns.map(literal).join(", ");

/** Drops a foreign key by what it refers to, whatever its name is; a body of PL/pgSQL with a variable `name`. */
const dropForeignKey = (table: string, { columns, references }: ForeignKey): string => `
  FOR name IN SELECT conname FROM pg_constraint f WHERE conrelid = '${table}'::regclass AND contype = 'f' AND conparentid = 0
    AND confrelid = '${references}'::regclass AND ARRAY[${list(columns)}]::name[] = (SELECT array_agg(attname ORDER BY place)
      FROM unnest(conkey) WITH ORDINALITY k (number, place) JOIN pg_attribute ON attrelid = conrelid AND attnum = number)
  LOOP EXECUTE format('ALTER TABLE ${table} DROP CONSTRAINT %I', name); END LOOP;`;

/** The primary key with the shard key in it. A table that holds rows is not locked for the time that an index takes. */
const primaryKey = ({ name, shardKey, primaryKey: columns }: ShardedTable): string => `
  SELECT conname INTO name FROM pg_constraint p WHERE conrelid = '${name}'::regclass AND contype = 'p'
    AND NOT EXISTS (SELECT FROM pg_attribute WHERE attrelid = conrelid AND attnum = ANY (conkey) AND attname = '${shardKey}');
  IF name IS NOT NULL THEN
    IF EXISTS (SELECT FROM ${name}) THEN
      RAISE EXCEPTION 'the primary key of ${name} lacks the shard key ${shardKey}, and the table holds rows'
        USING HINT = 'make the new key while the table is in use, then apply this again';
    END IF;
    EXECUTE format('ALTER TABLE ${name} DROP CONSTRAINT %I, ADD PRIMARY KEY (${columns.join(", ")})', name);
  END IF;`;

/** A trigger, where there is none of this name: to make it anew would lock a table that is in use. */
const trigger = (table: string, name: string, when: string): string =>
  `DO $do$ BEGIN
  IF NOT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = '${table}'::regclass AND tgname = '${name}') THEN
    CREATE TRIGGER ${name} ${when};
  END IF;
END $do$;`;

/** Triggers of one sharded table: they refuse rows of buckets that are not this shard's. */
export const tableTriggersSql = ({ name, shardKey }: ShardedTable): string =>
  [
    trigger(
      name,
      "sharding_insert",
      `BEFORE INSERT ON ${name}
      FOR EACH ROW WHEN (NOT ${SCHEMA}.owns(NEW.${shardKey})) EXECUTE FUNCTION ${SCHEMA}.refuse_row('${shardKey}')`,
    ),
    trigger(
      name,
      "sharding_change",
      `BEFORE UPDATE OR DELETE ON ${name}
      FOR EACH ROW WHEN (NOT ${SCHEMA}.owns(OLD.${shardKey})) EXECUTE FUNCTION ${SCHEMA}.refuse_row('${shardKey}')`,
    ),
    trigger(
      name,
      "sharding_key",
      `BEFORE UPDATE OF ${shardKey} ON ${name}
      FOR EACH ROW WHEN (NEW.${shardKey} <> OLD.${shardKey}) EXECUTE FUNCTION ${SCHEMA}.refuse_key_change('${shardKey}')`,
    ),
  ].join("\n");

/** Triggers that refuse writes to global tables on a shard. */
export const globalTriggersSql = (tables: readonly TablePlacement[] = TABLES): string =>
  globalTables(tables)
    .map(({ name }) =>
      trigger(
        name,
        "sharding_global",
        `BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON ${name}
      FOR EACH STATEMENT EXECUTE FUNCTION ${SCHEMA}.refuse_global()`,
      ),
    )
    .join("\n");

/** Rows that this shard owns, without those that are being moved in or are not yet cleared away: for questions to all shards. */
export const ownedViewSql = ({ name, shardKey }: ShardedTable): string =>
  `CREATE OR REPLACE VIEW ${SCHEMA}.${name} WITH (security_invoker = true) AS SELECT t.* FROM public.${name} t, ${SCHEMA}.this_shard s
  WHERE get_bit(s.owned, ${SCHEMA}.bucket(t.${shardKey}, length(s.owned))) = 1;
GRANT SELECT ON ${SCHEMA}.${name} TO PUBLIC;`;

const plpgsql = (body: string): string => `DO $$ DECLARE name text; BEGIN${body}
END $$;`;

/** Drops the foreign keys that would cross shards, a statement each. */
export const dropForeignKeysSql = (tables: readonly TablePlacement[] = TABLES): string[] =>
  shardedTables(tables).flatMap(({ name, foreignKeys }) =>
    foreignKeys.filter(({ kept }) => kept.as === "dropped").map((key) => plpgsql(dropForeignKey(name, key))),
  );

/**
 * What a shard has beside schema/*.sql and schema/sharding/: keys, no foreign key to rows of other shards, and triggers
 * that refuse rows of other shards. Refuses by itself to lock a table that holds rows.
 */
export function shardTablesSql(tables: readonly TablePlacement[] = TABLES): string {
  const sharded = shardedTables(tables);
  return [
    // First all foreign keys: they hold on to the primary keys that change.
    ...dropForeignKeysSql(tables),
    plpgsql(sharded.map(primaryKey).join("")),
    ...sharded.map(tableTriggersSql),
    ...sharded.map(ownedViewSql),
    globalTriggersSql(tables),
    "",
  ].join("\n");
}

/** The global database's publication: its tables and the shard map. */
export const globalPublicationSql = (tables: readonly TablePlacement[] = TABLES): string => `DO $$ BEGIN
  IF NOT EXISTS (SELECT FROM pg_publication WHERE pubname = '${GLOBAL_PUBLICATION}') THEN
    CREATE PUBLICATION ${GLOBAL_PUBLICATION} FOR TABLE ${SCHEMA}.maps, ${globalTables(tables)
      .map(({ name }) => name)
      .join(", ")};
  END IF;
END $$;
`;

/** The condition on a table's rows that are in one class of buckets; fit for a publication's row filter. */
export const classFilterSql = (column: string, { modulus, remainder }: Omit<BucketClass, "shard">): string =>
  `${bucketSql(column, modulus)} = ${remainder}`;

/**
 * Counts rows that refer to nothing, one row for each foreign key that shards cannot check: `child`, `parent`, `orphans`.
 * To be run where all shards are seen: in the router database.
 */
export function orphansSql(tables: readonly TablePlacement[] = TABLES): string {
  const questions = shardedTables(tables).flatMap(({ name, foreignKeys }) =>
    foreignKeys
      .filter(({ kept }) => kept.as === "dropped")
      .map(({ columns, references }) => {
        const target = tables.find((table) => table.name === references);
        const matches = columns.map((column, index) => `p.${target?.primaryKey[index] ?? "id"} = c.${column}`);
        return `SELECT '${name}' AS child, '${references}' AS parent, count(*)::int AS orphans FROM ${name} c
  WHERE NOT EXISTS (SELECT FROM ${references} p WHERE ${matches.join(" AND ")})`;
      }),
  );
  return questions.join("\nUNION ALL ");
}

/** Names of these tables that hold any row: `name`. */
export const filledTablesSql = (tables: readonly TablePlacement[]): string =>
  tables
    .map(({ name }) => `SELECT ${literal(name)} AS name WHERE EXISTS (SELECT FROM public.${name})`)
    .join("\nUNION ALL ");

/** Counts a shard's rows, those of its own buckets and all others: `table`, `own`, `foreign`. */
export const heldRowsSql = (tables: readonly TablePlacement[] = TABLES): string =>
  shardedTables(tables)
    .map(
      ({
        name,
        shardKey,
      }) => `SELECT '${name}' AS "table", count(*) FILTER (WHERE ${SCHEMA}.owns(${shardKey}))::int AS own,
  count(*) FILTER (WHERE NOT ${SCHEMA}.owns(${shardKey}))::int AS foreign FROM ${name}`,
    )
    .join("\nUNION ALL ");
