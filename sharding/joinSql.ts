/**
 * SQL by which one whole database and a global database beside it are kept alike until the one gives its global tables to
 * the other: a directory of names, kept by triggers, and a publication of it and of the global tables. Pure text.
 */
import { literal } from "../components/sqlText.ts";
import { SCHEMA } from "./shardSql.ts";
import { TABLES, type TablePlacement, globalTables } from "./tables.ts";

/** The publication, its slot and the global database's subscription. */
export const JOIN = "cgraph_join";
const NAMES = "username, email, wallet_address";

/** The directory beside the users themselves, and triggers that keep it. */
export const keepDirectorySql = `CREATE TABLE IF NOT EXISTS public.user_directory (
  user_id uuid PRIMARY KEY, username text NOT NULL, email text NOT NULL, wallet_address text,
  confirmed boolean NOT NULL DEFAULT true, claimed_at timestamptz NOT NULL DEFAULT now());
REVOKE ALL ON public.user_directory FROM PUBLIC;
CREATE OR REPLACE FUNCTION ${SCHEMA}.keep_directory() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
BEGIN
  IF TG_OP = 'DELETE' THEN
    DELETE FROM public.user_directory WHERE user_id = OLD.id;
  ELSE
    INSERT INTO public.user_directory (user_id, ${NAMES}) VALUES (NEW.id, NEW.username, NEW.email, NEW.wallet_address)
      ON CONFLICT (user_id) DO UPDATE SET username = excluded.username, email = excluded.email, wallet_address = excluded.wallet_address;
  END IF;
  RETURN NULL;
END $$`;

/** To be run with a short wait for its lock: writers of users wait behind it. */
export const followUsersSql = `CREATE OR REPLACE TRIGGER sharding_directory AFTER INSERT OR DELETE OR UPDATE OF ${NAMES} ON public.users
  FOR EACH ROW EXECUTE FUNCTION ${SCHEMA}.keep_directory()`;
export const unfollowUsersSql = "DROP TRIGGER IF EXISTS sharding_directory ON public.users";

/**
 * Enters users by their ids, a batch after those up to $1: one row, `last`, the batch's last id, or null. Users that are just
 * being deleted are waited for, so that none is entered after its trigger has looked.
 */
export const enterUsersSql = (batch: number): string => `WITH batch AS MATERIALIZED (
    SELECT id, ${NAMES} FROM public.users WHERE id > $1 ORDER BY id LIMIT ${batch} FOR KEY SHARE),
  entered AS (INSERT INTO public.user_directory (user_id, ${NAMES}) SELECT * FROM batch ON CONFLICT (user_id) DO NOTHING)
  SELECT max(id::text) AS last FROM batch`;

/** Whether the triggers keep the directory: one row, `followed`. */
export const isFollowedSql = `SELECT EXISTS (SELECT FROM pg_trigger WHERE tgname = 'sharding_directory'
  AND tgrelid = 'public.users'::regclass) AND to_regclass('public.user_directory') IS NOT NULL AS followed`;

/** How many users the directory has not, has under other names, or has without their being there: one row, `wrong`. */
export const directoryDiffersSql = `SELECT count(*)::int AS wrong FROM public.users u
  FULL JOIN public.user_directory d ON d.user_id = u.id
  WHERE (u.username, u.email, u.wallet_address) IS DISTINCT FROM (d.username, d.email, d.wallet_address)`;

/** Enters users whom the directory lacks; to be run in the router database, which sees both. */
export const enterMissingSql = `INSERT INTO public.user_directory (user_id, ${NAMES}, confirmed)
  SELECT id, ${NAMES}, true FROM public.users u
  WHERE NOT EXISTS (SELECT FROM public.user_directory d WHERE d.user_id = u.id) ON CONFLICT DO NOTHING`;

/** The publication, in place of an earlier one, and what the subscriber may read for its first copy. */
export function joinPublicationSql(role: string, tables: readonly TablePlacement[] = TABLES): string {
  const all = ["user_directory", ...globalTables(tables).map(({ name }) => name)].map((name) => `public.${name}`);
  return `DROP PUBLICATION IF EXISTS ${JOIN};
CREATE PUBLICATION ${JOIN} FOR TABLE ${SCHEMA}.marks WHERE (stream = '${JOIN}'), ${all.join(", ")};
GRANT USAGE ON SCHEMA public, ${SCHEMA} TO ${role};
GRANT SELECT ON ${SCHEMA}.marks, ${all.join(", ")} TO ${role};`;
}

export const joinSlotSql = `SELECT pg_create_logical_replication_slot('${JOIN}', 'pgoutput')
  WHERE NOT EXISTS (SELECT FROM pg_replication_slots WHERE slot_name = '${JOIN}')`;

export const joinSubscriptionSql = (conninfo: string): string =>
  `CREATE SUBSCRIPTION ${JOIN} CONNECTION ${literal(conninfo)} PUBLICATION ${JOIN}
   WITH (create_slot = false, slot_name = '${JOIN}', copy_data = true)`;

const CLEARING = "cgraph_join_clearing";
/**
 * Empties what the global database has got; in one session of the superuser. Row by row, since shards that follow it
 * cannot truncate what is referred to; and as if it came from elsewhere, so that it is not passed on to the shard that has
 * the rows (`origin = none`).
 */
export const emptyGlobalSql = (tables: readonly TablePlacement[] = TABLES): string[] => [
  `SELECT pg_replication_origin_create('${CLEARING}') WHERE pg_replication_origin_oid('${CLEARING}') IS NULL`,
  `SELECT pg_replication_origin_session_setup('${CLEARING}')`,
  ...["user_directory", ...globalTables(tables).map(({ name }) => name)].map((name) => `DELETE FROM public.${name}`),
  "SELECT pg_replication_origin_session_reset()",
  `SELECT pg_replication_origin_drop('${CLEARING}')`,
];

/** Rows of each global table, which both must have alike: one row each, `table`, `rows`, `sum`. */
export const joinSumsSql = (tables: readonly TablePlacement[] = TABLES): string =>
  globalTables(tables)
    .map(
      ({ name }) =>
        `SELECT '${name}' AS "table", count(*)::text AS rows, sum(hashtextextended(t::text, 0)::numeric)::text AS sum FROM public.${name} t`,
    )
    .join("\nUNION ALL ");
