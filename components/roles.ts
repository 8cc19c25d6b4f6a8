/** The database's roles: who may do what, for how long. Names of cgraph, cgraph_production and replicator: the guide. */
import type { ServerRole } from "./logins.ts";
import { literal } from "./sqlText.ts";

export const DATABASE = "cgraph_production";
/** PgBouncer's name for the same database, read on replicas. */
export const READ_DATABASE = "cgraph_production_ro";
/** Stage 4: the database in which all shards look like one, beside the global database. */
export const ROUTER_DATABASE = "cgraph_router";
/** PgBouncer's names for the global database and for a shard's. */
export const GLOBAL_DATABASE = "cgraph_global";
export const shardDatabase = (shard: number): string => `cgraph_shard${shard}`;
/** The role that owns the database and its tables. */
export const OWNER = "cgraph_owner";

interface Role {
  readonly name: string;
  /** SQL attributes beside LOGIN; every role here lacks SUPERUSER, CREATEDB and CREATEROLE. */
  readonly attributes: string;
  /** Session defaults, as in ALTER ROLE … SET. */
  readonly defaults: Readonly<Record<string, string>>;
  /** Whether it may connect to the application's database. */
  readonly connects: boolean;
}

export const ROLES = [
  {
    name: OWNER,
    attributes: "NOREPLICATION",
    // A schema change waits for no lock long enough to queue the application behind it.
    defaults: { statement_timeout: "1h", lock_timeout: "5s" },
    connects: true,
  },
  {
    name: "cgraph",
    attributes: "NOREPLICATION",
    defaults: { statement_timeout: "30s", lock_timeout: "10s" },
    connects: true,
  },
  {
    name: "cgraph_readonly",
    attributes: "NOREPLICATION",
    defaults: { statement_timeout: "60s", default_transaction_read_only: "on" },
    connects: true,
  },
  {
    name: "cgraph_monitor",
    attributes: "NOREPLICATION CONNECTION LIMIT 10",
    defaults: { statement_timeout: "15s", default_transaction_read_only: "on" },
    connects: true,
  },
  {
    name: "replicator",
    attributes: "REPLICATION",
    // Base backups and WAL streams last as long as they last.
    defaults: { statement_timeout: "0" },
    connects: false,
  },
  {
    // PgBouncer's own: it may ask for other roles' verifiers, and do nothing else.
    name: "cgraph_pooler",
    attributes: "NOREPLICATION",
    defaults: { statement_timeout: "5s", default_transaction_read_only: "on" },
    connects: true,
  },
  {
    // pg_rewind's: reads files of a former primary's successor.
    name: "cgraph_rewind",
    attributes: "NOREPLICATION",
    defaults: { statement_timeout: "0" },
    connects: false,
  },
  {
    // The cache's, and the shards' subscription to the global database: follows the stream of changes.
    name: "cgraph_changes",
    attributes: "REPLICATION CONNECTION LIMIT 64",
    defaults: { statement_timeout: "0", default_transaction_read_only: "on" },
    connects: true,
  },
] as const satisfies readonly Role[];

/** Roles that each is a member of. */
export const MEMBERSHIPS: Readonly<Record<string, readonly string[]>> = {
  cgraph_monitor: ["pg_monitor"],
  // Who moves buckets has to see whether another session still sees what was before. RDS lets its administrator
  // grant pg_monitor, and not the narrower pg_read_all_stats.
  [OWNER]: ["pg_monitor"],
};

/** Extensions of the application's database; those of `scheduled` where pg_cron is loaded. */
export const EXTENSIONS = { always: ["pg_stat_statements", "hypopg"], scheduled: ["pg_cron", "pg_partman"] } as const;

export type RoleName = (typeof ROLES)[number]["name"];
export const ROLE_NAMES: readonly RoleName[] = ROLES.map((role) => role.name);

/** What a role's password is to be; null: none, nobody logs in with one. */
export const passwordSql = (verifier: string | null | undefined): string =>
  `PASSWORD ${typeof verifier === "string" ? literal(verifier) : "NULL"}`;

function roleSql({ name, attributes, defaults, memberOf }: ServerRole, verifier: string | null | undefined): string {
  return [
    `SELECT 'CREATE ROLE ${name}' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = ${literal(name)}) \\gexec`,
    `ALTER ROLE ${name} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE ${attributes} ${passwordSql(verifier)};`,
    ...memberOf.map((group) => `GRANT ${group} TO ${name};`),
    ...Object.entries(defaults).map(([key, value]) => `ALTER ROLE ${name} SET ${key} = ${literal(value)};`),
  ].join("\n");
}

/**
 * A psql script that makes roles, database and grants as they should be; it can be run any number of times.
 * Verifiers are PostgreSQL's SCRAM-SHA-256 texts, never passwords; a role without one lets nobody in.
 */
export function rolesSql(roles: readonly ServerRole[], verifiers: Readonly<Record<string, string | null>>): string {
  const connecting = ROLES.filter((role) => role.connects).map((role) => role.name);
  return `-- A missing synchronous replica must not keep a server from starting.
SET synchronous_commit = local;
SET client_min_messages = warning;
${roles.map((role) => roleSql(role, verifiers[role.name])).join("\n")}
SELECT 'CREATE DATABASE ${DATABASE} OWNER ${OWNER}'
  WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = '${DATABASE}') \\gexec
-- Where Citus is, Patroni has made it, and owns it.
ALTER DATABASE ${DATABASE} OWNER TO ${OWNER};
REVOKE ALL ON DATABASE ${DATABASE} FROM PUBLIC;
REVOKE ALL ON DATABASE postgres FROM PUBLIC;
GRANT CONNECT, TEMPORARY ON DATABASE ${DATABASE} TO ${connecting.join(", ")};
GRANT CONNECT ON DATABASE postgres TO cgraph_monitor, cgraph_rewind;
GRANT EXECUTE ON FUNCTION pg_catalog.pg_ls_dir(text, boolean, boolean), pg_catalog.pg_stat_file(text, boolean),
  pg_catalog.pg_read_binary_file(text), pg_catalog.pg_read_binary_file(text, bigint, bigint, boolean) TO cgraph_rewind;
\\connect ${DATABASE}
SET synchronous_commit = local;
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pg_stat_statements;
-- Index advice is proven by it (doctor); it writes nothing.
CREATE EXTENSION IF NOT EXISTS hypopg;
REVOKE ALL ON SCHEMA public FROM PUBLIC;
GRANT USAGE, CREATE ON SCHEMA public TO ${OWNER};
GRANT USAGE ON SCHEMA public TO cgraph, cgraph_readonly, cgraph_monitor;
ALTER DEFAULT PRIVILEGES FOR ROLE ${OWNER} IN SCHEMA public GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO cgraph;
ALTER DEFAULT PRIVILEGES FOR ROLE ${OWNER} IN SCHEMA public GRANT USAGE, SELECT ON SEQUENCES TO cgraph;
ALTER DEFAULT PRIVILEGES FOR ROLE ${OWNER} IN SCHEMA public GRANT SELECT ON TABLES TO cgraph_readonly;
ALTER DEFAULT PRIVILEGES FOR ROLE ${OWNER} IN SCHEMA public GRANT SELECT ON SEQUENCES TO cgraph_readonly;
GRANT SELECT ON ALL SEQUENCES IN SCHEMA public TO cgraph_readonly;
CREATE SCHEMA IF NOT EXISTS cgraph_pool;
CREATE OR REPLACE FUNCTION cgraph_pool.user_lookup(name text) RETURNS TABLE (username text, password text)
  LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog AS $$
  SELECT rolname::text, rolpassword FROM pg_authid
  WHERE rolname = name AND rolcanlogin AND rolpassword IS NOT NULL AND NOT rolsuper AND NOT rolreplication
    AND rolname !~ '^cgraph_(pooler|rewind)(_b)?$'
$$;
REVOKE ALL ON FUNCTION cgraph_pool.user_lookup(text) FROM PUBLIC;
GRANT USAGE ON SCHEMA cgraph_pool TO cgraph_pooler;
GRANT EXECUTE ON FUNCTION cgraph_pool.user_lookup(text) TO cgraph_pooler;
SELECT current_setting('shared_preload_libraries') ~ 'pg_cron' AS scheduled \\gset
\\if :scheduled
CREATE EXTENSION IF NOT EXISTS pg_cron;
GRANT USAGE ON SCHEMA cron TO ${OWNER};
CREATE SCHEMA IF NOT EXISTS partman;
CREATE EXTENSION IF NOT EXISTS pg_partman SCHEMA partman;
GRANT ALL ON SCHEMA partman TO ${OWNER};
GRANT ALL ON ALL TABLES IN SCHEMA partman TO ${OWNER};
GRANT EXECUTE ON ALL ROUTINES IN SCHEMA partman TO ${OWNER};
-- Copying rows that have been checked before (partitions convert).
GRANT SET ON PARAMETER session_replication_role TO ${OWNER};
\\endif
`;
}
