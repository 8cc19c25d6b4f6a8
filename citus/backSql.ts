/**
 * SQL by which what clients write in a Citus cluster goes back into the databases that its rows came from, until these are
 * left. Each node publishes changes of its shards as changes of the distributed table (Citus' change data capture), reference
 * tables only the coordinator's; each database before subscribes to every node and leaves out rows that are not its own. Pure text.
 */
import { DATABASE } from "../components/roles.ts";
import { literal } from "../components/sqlText.ts";
import { applyErrorsSql } from "./applyErrors.ts";
import { SCHEMA as SHARD } from "../sharding/shardSql.ts";
import type { ShardedTable } from "../sharding/tables.ts";

/** A source's publication on every node, and its slot there. */
export const backOf = (source: string): string => `cgraph_back_${source}`;
/** At a source: its subscription to a node. */
export const backFrom = (node: string): string => `cgraph_back_${node}`;

/** At a source: what is ours there while changes come back. */
const SCHEMA = "cgraph_back";

/**
 * On a node, in the database `postgres`, where Citus passes nothing on. From the next session on WAL is decoded by tables, and
 * rows that Citus itself moves between nodes are left out.
 */
export const captureSql = (on: boolean): string =>
  `ALTER DATABASE ${DATABASE} ${on ? "SET citus.enable_change_data_capture = on" : "RESET citus.enable_change_data_capture"}`;

/** On the coordinator, which makes it on every node. */
export const backPublicationSql = (source: string, tables: readonly string[]): string =>
  `DROP PUBLICATION IF EXISTS ${backOf(source)};
CREATE PUBLICATION ${backOf(source)} FOR TABLE ${tables.map((table) => `public.${table}`).join(", ")}
  WITH (publish = 'insert, update, delete', publish_via_partition_root = true);`;

/** On the coordinator, which may be closed. */
export const dropBackPublicationSql = (source: string): string =>
  `SET default_transaction_read_only = off; DROP PUBLICATION IF EXISTS ${backOf(source)}`;

/** On a node. */
export const backSlotSql = (source: string): string =>
  `SELECT pg_create_logical_replication_slot('${backOf(source)}', 'pgoutput')
   WHERE NOT EXISTS (SELECT FROM pg_replication_slots WHERE slot_name = '${backOf(source)}')`;

/**
 * On a node, while nobody writes: what is there up to now does not go back, it came from there. Prints whether a transaction
 * over several nodes is still to be committed here, which would go back later.
 */
export const beginHereSql = (sources: readonly string[]): string =>
  `SELECT count(*) > 0 FROM pg_prepared_xacts WHERE database = '${DATABASE}';
DO $do$ BEGIN
  PERFORM pg_logical_emit_message(false, '${SCHEMA}', '', true);
  PERFORM pg_replication_slot_advance(slot_name, pg_current_wal_lsn()) FROM pg_replication_slots
    WHERE slot_name IN (${sources.map((source) => literal(backOf(source))).join(", ")}) AND confirmed_flush_lsn < pg_current_wal_lsn();
END $do$`;

/** On a node: the end of what has been written, which is on its disk; and whether a transaction is still to be committed. */
export const endHereSql = `SELECT count(*) > 0 FROM pg_prepared_xacts WHERE database = '${DATABASE}';
SELECT pg_logical_emit_message(false, '${SCHEMA}', '', true) IS NULL;
SELECT pg_current_wal_lsn()`;

/** On a node: whether these sources have all up to a position. */
export const backArrivedSql = (sources: readonly string[], lsn: string): string =>
  `SELECT count(*) = ${sources.length} FROM pg_replication_slots
   WHERE slot_name IN (${sources.map((source) => literal(backOf(source))).join(", ")}) AND confirmed_flush_lsn >= '${lsn}'`;

/** On a node: bytes of WAL that the source furthest behind has not got. */
export const backLagSql = `SELECT coalesce(max(pg_wal_lsn_diff(pg_current_wal_lsn(), confirmed_flush_lsn)), 0)::bigint
  FROM pg_replication_slots WHERE slot_name ~ '^${SCHEMA}_'`;

/** On a node: names of slots that are there and have all their WAL, joined by commas. */
export const wholeSlotsSql = `SELECT string_agg(slot_name, ',') FROM pg_replication_slots
  WHERE slot_name ~ '^${SCHEMA}_' AND wal_status <> 'lost' AND invalidation_reason IS NULL`;

/** On a node. */
export const dropBackSlotsSql = `SELECT pg_terminate_backend(active_pid, 5000) FROM pg_replication_slots WHERE active AND slot_name ~ '^${SCHEMA}_';
SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name ~ '^${SCHEMA}_'`;

/** The life of a server: one that another has replaced may lack what a stream had brought, and has none of its slots. */
export const LIFE_SQL = `SELECT format('%s/%s', (SELECT system_identifier FROM pg_control_system()),
  left(pg_walfile_name(pg_current_wal_lsn()), 8))`;

/** On the coordinator: the newest shard. */
export const LAST_SHARD_SQL = "SELECT coalesce(max(shardid), 0) FROM pg_dist_shard";
/**
 * On the coordinator: where the shards up to that one are. Streams of two nodes come in no order: a row that has moved between
 * them may be changed by the one before the other has brought it.
 */
export const placementsSql = (lastShard: string): string =>
  `SELECT md5(string_agg(format('%s:%s', shardid, groupid), ',' ORDER BY shardid, groupid)) FROM pg_dist_placement
   WHERE shardid <= ${lastShard}`;

/**
 * At a source. Not streamed while a transaction is open: Citus names tables of whole
 * transactions only.
 */
export const backSubscriptionSql = (source: string, node: string, conninfo: string): string =>
  `CREATE SUBSCRIPTION ${backFrom(node)} CONNECTION ${literal(conninfo)} PUBLICATION ${backOf(source)}
  WITH (create_slot = false, slot_name = '${backOf(source)}', copy_data = false, origin = none, streaming = off, two_phase = false)`;

/** At a source: names of subscriptions to nodes, one a line. */
export const BACK_SUBSCRIPTIONS_SQL = `SELECT subname FROM pg_subscription WHERE subname ~ '^${SCHEMA}_'`;

/**
 * At a source, whose clients may only read: what the superuser's subscriptions bring is written, by triggers too. From their next
 * start on.
 */
export const mayWriteSql = (may: boolean): string =>
  `ALTER ROLE postgres IN DATABASE ${DATABASE} ${may ? "SET default_transaction_read_only = off" : "RESET default_transaction_read_only"}`;

/** At a source: how many more subscriptions it could have, by its settings, beside those that are not ours. */
export const ROOM_SQL = `SELECT least(current_setting('max_logical_replication_workers')::int, current_setting('max_replication_slots')::int)
  - (SELECT count(*) FROM pg_subscription WHERE subenabled AND subname !~ '^${SCHEMA}_')`;

/** At a source: how often a change that came back could not be applied. */
export const BACK_ERRORS_SQL = applyErrorsSql(`${SCHEMA}_`);

/** At a source: how many of those subscriptions are being applied. */
export const BACK_APPLIERS_SQL = `SELECT count(*) FROM pg_stat_subscription WHERE subname ~ '^${SCHEMA}_' AND pid IS NOT NULL`;

/** A trigger that fires for what a stream brings and for nothing else. */
const replicaTrigger = (table: string, name: string, when: string): string =>
  `CREATE OR REPLACE TRIGGER ${name} ${when};
ALTER TABLE public.${table} ENABLE REPLICA TRIGGER ${name};`;

/**
 * On a shard: rows of other shards' buckets are left out, and users that change are remembered, for the directory of names.
 * What changes or deletes a row that is not here changes nothing by itself.
 */
export const keepOwnSql = (tables: readonly ShardedTable[]): string => `CREATE SCHEMA IF NOT EXISTS ${SCHEMA};
CREATE TABLE IF NOT EXISTS ${SCHEMA}.changed_users (id uuid PRIMARY KEY);
CREATE OR REPLACE FUNCTION ${SCHEMA}.leave_out() RETURNS trigger LANGUAGE plpgsql AS $body$ BEGIN RETURN NULL; END $body$;
-- Changes arrive with the rights of the table's owner, who may not enter this schema.
CREATE OR REPLACE FUNCTION ${SCHEMA}.remember_user() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
  SET search_path = pg_catalog, pg_temp AS $body$
BEGIN
  INSERT INTO ${SCHEMA}.changed_users VALUES (CASE TG_OP WHEN 'DELETE' THEN OLD.id ELSE NEW.id END) ON CONFLICT DO NOTHING;
  RETURN NULL;
END $body$;
${tables
  .map(({ name, shardKey }) =>
    replicaTrigger(
      name,
      "cgraph_back_own",
      `BEFORE INSERT ON public.${name} FOR EACH ROW WHEN (NOT ${SHARD}.owns(NEW.${shardKey})) EXECUTE FUNCTION ${SCHEMA}.leave_out()`,
    ),
  )
  .join("\n")}
${replicaTrigger(
  "users",
  "cgraph_back_users",
  `AFTER INSERT OR UPDATE OR DELETE ON public.users FOR EACH ROW EXECUTE FUNCTION ${SCHEMA}.remember_user()`,
)}`;

/** On a shard: users that have changed, as they are now, as JSON; without a name where they are gone. */
export const CHANGED_USERS_SQL = `SELECT coalesce(json_agg(json_build_object('id', c.id, 'username', username, 'email', email,
  'wallet_address', wallet_address)), '[]') FROM ${SCHEMA}.changed_users c LEFT JOIN public.users u ON u.id = c.id`;

/** In the global database: the directory knows these users as they are now. `users`: JSON of all shards. */
export const enterChangedSql = (users: string): string => `SET default_transaction_read_only = off;
BEGIN;
CREATE TEMP TABLE changed ON COMMIT DROP AS SELECT * FROM json_to_recordset(${literal(users)})
  AS c (id uuid, username text, email text, wallet_address text);
DELETE FROM public.user_directory WHERE user_id IN (SELECT id FROM changed);
INSERT INTO public.user_directory (user_id, username, email, wallet_address, confirmed)
  SELECT id, username, email, wallet_address, true FROM changed WHERE username IS NOT NULL;
COMMIT`;

/** At a source: removes what is ours. Its locks are waited for briefly: clients wait behind them. */
export const forgetBackSql = `SET lock_timeout = '500ms';
DROP SCHEMA IF EXISTS ${SCHEMA} CASCADE`;
