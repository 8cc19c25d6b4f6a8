/**
 * SQL of the router database: one place where all shards look like one database. Each sharded table is partitioned by hash
 * of its shard key, each partition a foreign table (postgres_fdw) on the shard that has those buckets, so that a question
 * with the user's id goes to one shard. Pure text.
 */
import { literal } from "../components/sqlText.ts";
import { SCHEMA, classFilterSql } from "./shardSql.ts";
import { type BucketClass, type ShardMap, classesOf, shardsOf } from "./shardMap.ts";
import { type ShardedTable, TABLES, type TablePlacement, globalTables, shardedTables } from "./tables.ts";

/** A database that the router reads, by libpq's keywords: host, port, dbname, sslmode, sslrootcert, … */
export type ForeignServer = Readonly<Record<string, string>>;

/** A role of the router database and its password on shards and global database; none: as they know it without one. */
export interface ForeignUser {
  readonly role: string;
  readonly options: Readonly<Record<string, string>>;
}

export const GLOBAL_SERVER = "global";
export const shardServer = (shard: number): string => `shard${shard}`;
/** Where the shards' tables are read from once, to be made alike here. */
const IMPORTED = "sharding_imported";

/** A shard's view of one class of buckets: `messages_of_4_1`. */
const classView = (table: string, { modulus, remainder }: BucketClass): string => `${table}_of_${modulus}_${remainder}`;

const optionList = (options: Readonly<Record<string, string>>, verb = ""): string =>
  Object.entries(options)
    .map(([key, value]) => `${verb}${key} ${literal(value)}`)
    .join(", ");

/**
 * What a shard needs for the router: a view for each class of buckets that it has. A shard's whole table would not do: it
 * may hold rows of buckets that are just being moved.
 */
export function classViewsSql(
  shard: number,
  assignment: readonly number[],
  tables: readonly TablePlacement[] = TABLES,
): string {
  const classes = classesOf(assignment).filter((one) => one.shard === shard);
  return shardedTables(tables)
    .flatMap(({ name, shardKey }) =>
      classes.map((one) => {
        const view = `${SCHEMA}.${classView(name, one)}`;
        // A table with triggers in the router database is changed there row by row, found by its place.
        const columns = name === CLAIMED ? "ctid, *" : "*";
        return `CREATE OR REPLACE VIEW ${view} WITH (security_invoker = true) AS SELECT ${columns} FROM public.${name} WHERE ${classFilterSql(shardKey, one)};
GRANT SELECT, INSERT, UPDATE, DELETE ON ${view} TO PUBLIC;`;
      }),
    )
    .join("\n");
}

/** Drops a shard's views of classes that it does not have any more; to be run when the router does not read them. */
export function dropOldClassViewsSql(
  shard: number,
  assignment: readonly number[],
  tables: readonly TablePlacement[] = TABLES,
): string {
  const current = shardedTables(tables).flatMap(({ name }) =>
    classesOf(assignment)
      .filter((one) => one.shard === shard)
      .map((one) => literal(classView(name, one))),
  );
  return `DO $$ DECLARE name text; BEGIN
  FOR name IN SELECT viewname FROM pg_views WHERE schemaname = '${SCHEMA}' AND viewname ~ '_of_[0-9]+_[0-9]+$'
    AND NOT viewname = ANY (ARRAY[${current.join(", ")}]::name[])
  LOOP EXECUTE format('DROP VIEW ${SCHEMA}.%I', name); END LOOP;
END $$;`;
}

/**
 * Servers and users. To be run by a superuser, through standard input: it may hold passwords. Foreign scans of several
 * shards run at the same time (`async_capable`).
 */
export function routerServersSql(
  servers: Readonly<Record<string, ForeignServer>>,
  users: readonly ForeignUser[],
  owner: string,
): string {
  const common = { async_capable: "true", fetch_size: "1000", batch_size: "100" };
  const made = Object.entries(servers).map(([name, options]) => {
    const all = { ...options, ...common };
    const mappings = users.map(
      ({ role, options: own }) => `DROP USER MAPPING IF EXISTS FOR ${role} SERVER ${name};
CREATE USER MAPPING FOR ${role} SERVER ${name} OPTIONS (${optionList({ user: role, ...own })});`,
    );
    return `DO $$ BEGIN
  IF EXISTS (SELECT FROM pg_foreign_server WHERE srvname = '${name}') THEN
    ALTER SERVER ${name} OPTIONS (${optionList(all, "SET ")});
  ELSE
    CREATE SERVER ${name} FOREIGN DATA WRAPPER postgres_fdw OPTIONS (${optionList(all)});
  END IF;
END $$;
ALTER SERVER ${name} OWNER TO ${owner};
GRANT USAGE ON FOREIGN SERVER ${name} TO PUBLIC;
${mappings.join("\n")}`;
  });
  return `CREATE EXTENSION IF NOT EXISTS postgres_fdw;
${made.join("\n")}
DO $$ BEGIN
  -- Joins and aggregates by the shard key are the shards' work.
  EXECUTE format('ALTER DATABASE %I SET enable_partitionwise_join = on', current_database());
  EXECUTE format('ALTER DATABASE %I SET enable_partitionwise_aggregate = on', current_database());
END $$;`;
}

/** Names of tables that are being made, and of those that they have taken the place of. */
const next = (table: string): string => `public.next_${table}`;
const previous = (table: string): string => `previous_${table}`;

/** Whose names are claimed in the directory. Not a partitioned table: a row's place says where it is in all of it. */
const CLAIMED = "users";
/** The unique indexes of the names in users: the router's clients are told of these. */
const UNIQUE_NAMES = ["username", "email", "wallet_address"] as const;

/**
 * Who writes users in the router database claims their names in the directory, in the same transaction. A claim stays
 * unconfirmed, as one of a client that died: `Directory.settle` looks whether the user is there.
 */
const claimNamesSql = `CREATE OR REPLACE FUNCTION ${SCHEMA}.claim_names() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  taken text;
  claimed bigint;
BEGIN
  IF TG_OP = 'DELETE' THEN
    DELETE FROM public.user_directory WHERE user_id = OLD.id;
    RETURN NULL;
  END IF;
  SELECT name INTO taken FROM (
    ${UNIQUE_NAMES.map(
      (name) => `SELECT '${name}' AS name FROM public.user_directory WHERE ${name} = NEW.${name} AND user_id <> NEW.id`,
    ).join(" UNION ALL ")}) t LIMIT 1;
  IF taken IS NULL AND TG_OP = 'UPDATE' THEN
    UPDATE public.user_directory SET ${UNIQUE_NAMES.map((name) => `${name} = NEW.${name}`).join(", ")}, confirmed = false, claimed_at = now()
      WHERE user_id = NEW.id;
  ELSIF taken IS NULL THEN
    -- Claimed before by whoever asks the directory itself: then it stays as it is.
    INSERT INTO public.user_directory (user_id, ${UNIQUE_NAMES.join(", ")})
      VALUES (NEW.id, ${UNIQUE_NAMES.map((name) => `NEW.${name}`).join(", ")}) ON CONFLICT DO NOTHING;
    GET DIAGNOSTICS claimed = ROW_COUNT;
    IF claimed = 0 AND NOT EXISTS (SELECT FROM public.user_directory WHERE user_id = NEW.id
      AND username = NEW.username AND email = NEW.email) THEN taken := 'username'; END IF;
  END IF;
  IF taken IS NOT NULL THEN
    RAISE unique_violation USING MESSAGE = format('duplicate key value violates unique constraint "idx_users_%s"', taken),
      CONSTRAINT = 'idx_users_' || taken, TABLE = 'users', SCHEMA = 'public';
  END IF;
  RETURN NEW;
END $$;`;
const claimTriggersSql = `CREATE TRIGGER claim_names BEFORE INSERT OR UPDATE OF ${UNIQUE_NAMES.join(", ")} ON ${next(CLAIMED)}
  FOR EACH ROW EXECUTE FUNCTION ${SCHEMA}.claim_names();
CREATE TRIGGER release_names AFTER DELETE ON ${next(CLAIMED)} FOR EACH ROW EXECUTE FUNCTION ${SCHEMA}.claim_names();`;

const partition = ({ name }: ShardedTable, one: BucketClass, tag: string): string => {
  const view = classView(name, one);
  return `CREATE FOREIGN TABLE ${SCHEMA}.${view}_${tag} PARTITION OF ${next(name)}
  FOR VALUES WITH (MODULUS ${one.modulus}, REMAINDER ${one.remainder})
  SERVER ${shardServer(one.shard)} OPTIONS (schema_name '${SCHEMA}', table_name '${view}');`;
};

/**
 * Makes the tables of a map beside those that are in use; can be repeated. To be run when the shards have their class views.
 * Columns and defaults are those of the first shard's tables. `tag`: what tells their partitions from those in use.
 */
export function prepareRouterSql(
  assignment: readonly number[],
  tag: string,
  tables: readonly TablePlacement[] = TABLES,
): string {
  const sharded = shardedTables(tables);
  const classes = classesOf(assignment);
  const first = shardServer(shardsOf(assignment)[0] ?? 0);
  const names = sharded.map(({ name }) => name);
  return `SET LOCAL client_min_messages = warning;
DROP SCHEMA IF EXISTS ${IMPORTED} CASCADE;
CREATE SCHEMA ${IMPORTED};
CREATE SCHEMA IF NOT EXISTS ${SCHEMA};
GRANT USAGE ON SCHEMA ${SCHEMA} TO PUBLIC;
IMPORT FOREIGN SCHEMA public LIMIT TO (${names.join(", ")}) FROM SERVER ${first} INTO ${IMPORTED} OPTIONS (import_default 'true');
${names.map((name) => `DROP TABLE IF EXISTS ${next(name)} CASCADE;`).join("\n")}
${sharded
  .map(
    (table) => `CREATE TABLE ${next(table.name)} (LIKE ${IMPORTED}.${table.name} INCLUDING DEFAULTS)
  PARTITION BY HASH (${table.shardKey});
${classes.map((one) => partition(table, one, tag)).join("\n")}`,
  )
  .join("\n")}
${names.includes(CLAIMED) ? `${claimNamesSql}\n${claimTriggersSql}` : ""}
DROP SCHEMA ${IMPORTED} CASCADE;`;
}

/** Puts prepared tables in the place of those in use: some renames, for which clients hardly wait. */
export const swapRouterSql = (tables: readonly TablePlacement[] = TABLES): string =>
  shardedTables(tables)
    .map(
      ({ name }) => `DROP TABLE IF EXISTS public.${previous(name)} CASCADE;
ALTER TABLE IF EXISTS public.${name} RENAME TO ${previous(name)};
ALTER TABLE ${next(name)} RENAME TO ${name};`,
    )
    .join("\n");

/** Drops the tables whose place others have taken. */
export const dropPreviousRouterSql = (tables: readonly TablePlacement[] = TABLES): string =>
  shardedTables(tables)
    .map(({ name }) => `DROP TABLE IF EXISTS public.${previous(name)} CASCADE;`)
    .join("\n");

/** All tables by a map, the global ones too; in one transaction, in place of those of an earlier one. */
export function routerTablesSql(map: ShardMap, tables: readonly TablePlacement[] = TABLES): string {
  const global = ["user_directory", ...globalTables(tables).map(({ name }) => name)];
  return `BEGIN;
${dropPreviousRouterSql(tables)}
${shardedTables(tables)
  .map(({ name }) => `DROP TABLE IF EXISTS public.${name} CASCADE;`)
  .join("\n")}
${prepareRouterSql(map.shards, `v${map.version}`, tables)}
${swapRouterSql(tables)}
${global.map((name) => `DROP FOREIGN TABLE IF EXISTS public.${name};`).join("\n")}
IMPORT FOREIGN SCHEMA public LIMIT TO (${global.join(", ")}) FROM SERVER ${GLOBAL_SERVER} INTO public OPTIONS (import_default 'true');
COMMIT;`;
}
