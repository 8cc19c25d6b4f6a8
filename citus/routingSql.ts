/**
 * SQL by which a Citus cluster answers applications that route by themselves, between the switch and the end of a move from
 * shards: they go on asking a shard for a user, and all pools lead here. On the coordinator alone, and taken away again. Pure text.
 */
import { SCHEMA } from "../sharding/shardSql.ts";
import type { ShardMap } from "../sharding/shardMap.ts";
import { type TablePlacement, TABLES, shardedTables } from "../sharding/tables.ts";

const NUMBER = "cgraph.shard";
/** What a pool tells the cluster of each of its connections: as which shard it is asked. */
export const asShardSql = (shard: number): string => `SET ${NUMBER} TO ${shard}`;

const FORGET = `DROP VIEW IF EXISTS public.user_directory;
DROP SCHEMA IF EXISTS ${SCHEMA} CASCADE;`;

/**
 * The parts that the library asks for (sharding/), under their names. The map is the last one, so that nobody who comes back to the
 * shards has another. A question to all shards is answered by what was shard 0, with every row, and by the others with none.
 */
export function routingSql({ version, shards }: ShardMap, tables: readonly TablePlacement[] = TABLES): string {
  const bits = (bit: 0 | 1): string => `'${String(bit).repeat(shards.length)}'::bit varying`;
  const first = `current_setting('${NUMBER}', true) = '0'`;
  return `SET client_min_messages = warning;
SET citus.enable_ddl_propagation = off;
BEGIN;
${FORGET}
CREATE SCHEMA ${SCHEMA};
GRANT USAGE ON SCHEMA ${SCHEMA} TO PUBLIC;
-- A table, which Citus asks on the coordinator: workers do not know as which shard somebody asks.
CREATE TABLE ${SCHEMA}.one AS SELECT true AS one;
CREATE VIEW ${SCHEMA}.first AS SELECT one FROM ${SCHEMA}.one WHERE ${first};
CREATE VIEW ${SCHEMA}.this_shard AS SELECT current_setting('${NUMBER}', true)::int AS shard, ${version}::bigint AS map_version,
  CASE WHEN ${first} THEN ${bits(1)} ELSE ${bits(0)} END AS owned;
CREATE VIEW ${SCHEMA}.current_map AS SELECT ${version}::bigint AS version, '{${shards.join(",")}}'::int[] AS shards;
CREATE FUNCTION ${SCHEMA}.require_bucket(bucket int) RETURNS void LANGUAGE plpgsql AS $body$ BEGIN END $body$;
${shardedTables(tables)
  .map(
    ({ name }) => `CREATE VIEW ${SCHEMA}.${name} WITH (security_invoker = true) AS SELECT * FROM public.${name}
  WHERE (SELECT one FROM ${SCHEMA}.first);`,
  )
  .join("\n")}
GRANT SELECT ON ALL TABLES IN SCHEMA ${SCHEMA} TO PUBLIC;
-- Names are unique by the users' own indexes: a claim is refused where the name is taken, and else nothing needs to be kept.
CREATE VIEW public.user_directory WITH (security_invoker = true) AS SELECT id AS user_id, username, email, wallet_address,
  true AS confirmed, timestamptz '-infinity' AS claimed_at FROM public.users;
CREATE FUNCTION ${SCHEMA}.claim() RETURNS trigger LANGUAGE plpgsql AS $body$
DECLARE
  taken text := CASE
    WHEN EXISTS (SELECT FROM public.users WHERE username = NEW.username) THEN 'username'
    WHEN EXISTS (SELECT FROM public.users WHERE email = NEW.email) THEN 'email'
    WHEN EXISTS (SELECT FROM public.users WHERE wallet_address = NEW.wallet_address) THEN 'wallet_address' END;
BEGIN
  IF taken IS NOT NULL THEN
    RAISE EXCEPTION '% is taken', taken USING ERRCODE = 'unique_violation', CONSTRAINT = 'idx_user_directory_' || taken;
  END IF;
  RETURN NEW;
END $body$;
CREATE TRIGGER claim INSTEAD OF INSERT ON public.user_directory FOR EACH ROW EXECUTE FUNCTION ${SCHEMA}.claim();
CREATE RULE confirm AS ON UPDATE TO public.user_directory DO INSTEAD NOTHING;
CREATE RULE free AS ON DELETE TO public.user_directory DO INSTEAD NOTHING;
GRANT SELECT, INSERT, UPDATE, DELETE ON public.user_directory TO PUBLIC;
COMMIT`;
}

/** Takes it away. */
export const forgetRoutingSql = `SET client_min_messages = warning;
SET citus.enable_ddl_propagation = off;
${FORGET}`;
