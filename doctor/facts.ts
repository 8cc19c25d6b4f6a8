/** What the doctor knows of a server before it judges anything. */
import type { Verification } from "./checks/backups.ts";
import type { Thresholds } from "./thresholds.ts";

/** What a server says of itself, in one query. Times: milliseconds since 1970. */
export interface ServerFacts {
  /** As server_version_num. */
  readonly version: number;
  readonly inRecovery: boolean;
  readonly database: string;
  readonly role: string;
  /** Whether the role sees other roles' statements and sessions (pg_monitor). */
  readonly seesAll: boolean;
  /** Whether it may look which segments of WAL wait to be archived. */
  readonly listsArchive: boolean;
  readonly now: number;
  readonly startedAt: number;
  /** When the database's statistics were last reset; null: never, or not known. */
  readonly resetAt: number | null;
  readonly blockBytes: number;
  /** Replicas that stream from it; what merely archives WAL or takes a backup is none. */
  readonly standbys: number;
  /** pg_stat_statements.max, where it is loaded. */
  readonly statementsMax: number | null;
  readonly extensions: readonly Extension[];
}

/** Which node of a Citus cluster a server is, by Citus' own group: 0 is the coordinator. */
export const CITUS_GROUP_SQL = "SELECT groupid FROM pg_catalog.pg_dist_local_group";

export interface Extension {
  readonly name: string;
  readonly schema: string;
  /** As written: `1.10`. */
  readonly version: string;
}

/** What a stack of ours knows of a server that the server itself does not. */
export interface StackFacts {
  readonly name: string;
  readonly target: "docker" | "aws";
  /** A command of ours as a person types it, with the stack's name. */
  readonly command: (words: string) => string;
  /** The stack's other servers, which must follow the primary. */
  readonly followers: readonly string[];
  /** What the configuration gives the server, as in postgresql.conf. */
  readonly settings: Readonly<Record<string, string>>;
  /** Settings that something else sets, or computes. */
  readonly otherwiseSet: readonly string[];
  /** PgBouncers, each with a pool that writes and one that reads; null: none; undefined: not known. */
  readonly pool: StackPool | null | undefined;
  /** How the last trials of backups went; undefined where there is none to try. */
  readonly verification: Verification | undefined;
}

export interface StackPool {
  readonly instances: number;
  readonly poolSize: number;
  readonly reserveSize: number;
}

/** A server's hardware, where somebody told it. */
export interface HardwareFacts {
  readonly cpus: number;
  readonly memoryMiB: number;
}

export interface Facts extends ServerFacts {
  /** The stack's name of the server; null where there is only one. */
  readonly server: string | null;
  /** Its group in a Citus cluster, 0 for the coordinator; null: it is no node of one. */
  readonly citusGroup: number | null;
  readonly thresholds: Thresholds;
  /** Undefined for a database that is not ours. */
  readonly stack: StackFacts | undefined;
  readonly hardware: HardwareFacts | undefined;
  /** Schemas beside PostgreSQL's that hold nothing of the application's. */
  readonly otherSchemas: readonly string[];
  /** Since when the server has counted, milliseconds since 1970. */
  readonly countingSince: number;
  /** The replicas that were asked too: what they count is added. */
  readonly replicasAsked: readonly string[];
  /** Why replicas could not be asked; empty: all were. */
  readonly replicasSilent: readonly string[];
}

export const FACTS_SQL = `SELECT json_build_object(
  'version', current_setting('server_version_num')::int,
  'inRecovery', pg_is_in_recovery(),
  'database', current_database(),
  'role', current_user,
  'seesAll', pg_has_role('pg_read_all_stats', 'USAGE'),
  'listsArchive', has_function_privilege('pg_ls_archive_statusdir()', 'EXECUTE'),
  'now', extract(epoch FROM now()) * 1000,
  'startedAt', extract(epoch FROM pg_postmaster_start_time()) * 1000,
  'resetAt', (SELECT extract(epoch FROM stats_reset) * 1000 FROM pg_stat_database WHERE datname = current_database()),
  'blockBytes', current_setting('block_size')::int,
  'standbys', (SELECT count(*) FROM pg_stat_replication r WHERE r.state IS DISTINCT FROM 'backup'
    AND coalesce(r.application_name, '') !~ '^(pg_basebackup|pg_receivewal|barman)'
    AND NOT EXISTS (SELECT FROM pg_replication_slots s WHERE s.active_pid = r.pid AND s.slot_type = 'logical')),
  'statementsMax', current_setting('pg_stat_statements.max', true)::int,
  'extensions', (SELECT json_agg(json_build_object('name', extname, 'schema', nspname, 'version', extversion))
    FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace))`;

/** The stack's own schemas beside the application's. */
const STACK_SCHEMAS = ["cgraph_pool", "cgraph_partitions", "archive"];
/** Extensions that keep tables of their own making in their schema. */
const KEEPERS: Readonly<Record<string, string>> = { pg_partman: "partman", pg_cron: "cron" };

export const extensionOf = (facts: Pick<ServerFacts, "extensions">, name: string): Extension | undefined =>
  facts.extensions.find((one) => one.name === name);

/** Whether it plans the queries of a Citus cluster, and knows where its shards are. */
export const isCitusCoordinator = ({ citusGroup, inRecovery }: Pick<Facts, "citusGroup" | "inRecovery">): boolean =>
  citusGroup === 0 && !inRecovery;

/** Schemas that hold nothing of the application's: pg_partman's, say, unless it was put beside its tables. */
export function otherSchemas(facts: Pick<ServerFacts, "extensions">, isStack: boolean): string[] {
  const keeping = facts.extensions.flatMap(({ name, schema }) => {
    const own = KEEPERS[name];
    return own === undefined ? [] : [own, ...(schema === "public" || schema.startsWith("pg_") ? [] : [schema])];
  });
  return [...new Set([...keeping, ...(isStack ? STACK_SCHEMAS : [])])];
}
