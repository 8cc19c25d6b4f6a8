/** What a source and a target are like, asked in one query each. */
import type { Tools } from "./tools.ts";

export interface TableFacts {
  /** Quoted, with its schema. */
  readonly name: string;
  readonly bytes: number;
  /** Whether a changed row can be told from the others: a primary key or another replica identity. */
  readonly identity: boolean;
  readonly unlogged: boolean;
}

export interface SourceFacts {
  /** As server_version_num. */
  readonly version: number;
  readonly walLevel: string;
  readonly inRecovery: boolean;
  readonly mayReplicate: boolean;
  /** Whether the user may make the database read only, and tables part of a publication. */
  readonly ownsDatabase: boolean;
  readonly ownsTables: boolean;
  readonly readsTables: boolean;
  readonly freeSlots: number;
  readonly freeSenders: number;
  /** Mebibytes of WAL that a slot may keep; -1: without bound. */
  readonly slotKeepMiB: number;
  readonly sizeBytes: number;
  readonly encoding: string;
  /** b: builtin, c: libc, i: ICU. */
  readonly provider: string;
  readonly locale: string;
  readonly collationVersion: string | null;
  readonly extensions: readonly string[];
  /** Collations that columns name beside the default. */
  readonly collations: readonly string[];
  readonly tables: readonly TableFacts[];
  readonly largeObjects: number;
  /** Transactions that have been open for more than five minutes. */
  readonly longTransactions: readonly string[];
  readonly preparedTransactions: number;
  /** Indexes and constraints whose order or letters follow the database's collation. */
  readonly collated: readonly string[];
  /** Roles that row policies name. */
  readonly policyRoles: readonly string[];
  readonly subscriptions: number;
  /** Roles for whom a read-only database would not be one. */
  readonly writableRoles: readonly string[];
  /** The database's own settings, which are not taken along. */
  readonly settings: readonly string[];
  readonly leftovers: readonly string[];
}

export interface TargetFacts {
  readonly version: number;
  readonly relations: readonly string[];
  readonly extensions: readonly string[];
  readonly collations: readonly string[];
  readonly roles: readonly string[];
  readonly freeBytes: number;
}

/** Schemas that are PostgreSQL's or, in a stack, ours. */
export const OTHER_SCHEMAS = `n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'cgraph_pool')`;
/** Nothing that an extension has brought. `catalog` and `oid` are a row's own. */
export const notOfExtension = (catalog: string, oid: string): string =>
  `NOT EXISTS (SELECT FROM pg_depend x WHERE x.classid = '${catalog}'::regclass AND x.objid = ${oid} AND x.deptype = 'e')`;
/** All tables that hold rows: partitions, not their parents. */
export const TABLES = `pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
  WHERE c.relkind = 'r' AND c.relpersistence <> 't' AND ${OTHER_SCHEMAS} AND ${notOfExtension("pg_class", "c.oid")}`;
export const QUALIFIED = "quote_ident(n.nspname) || '.' || quote_ident(c.relname)";

const list = (query: string): string => `(SELECT coalesce(json_agg(x), '[]') FROM (${query}) AS q (x))`;

// Columns of pg_database differ by version, as settings do: a row as JSON has what there is.
const sourceSql = (name: string): string => `SELECT json_build_object(
  'version', current_setting('server_version_num')::int,
  'walLevel', current_setting('wal_level'),
  'inRecovery', pg_is_in_recovery(),
  'mayReplicate', (SELECT rolsuper OR rolreplication FROM pg_roles WHERE rolname = current_user)
    OR EXISTS (SELECT FROM pg_roles WHERE rolname IN ('rds_replication', 'rds_superuser') AND pg_has_role(oid, 'MEMBER')),
  'ownsDatabase', pg_has_role(d.datdba, 'USAGE'),
  'ownsTables', (SELECT coalesce(bool_and(pg_has_role(c.relowner, 'USAGE')), true) FROM ${TABLES}),
  'readsTables', (SELECT coalesce(bool_and(has_table_privilege(c.oid, 'SELECT')), true) FROM ${TABLES}),
  'freeSlots', current_setting('max_replication_slots')::int - (SELECT count(*) FROM pg_replication_slots WHERE slot_name <> '${name}'),
  'freeSenders', current_setting('max_wal_senders')::int
    - (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'walsender' AND application_name <> '${name}'),
  'slotKeepMiB', coalesce((SELECT setting::int FROM pg_settings WHERE name = 'max_slot_wal_keep_size'), -1),
  'sizeBytes', pg_database_size(d.oid),
  'encoding', pg_encoding_to_char(d.encoding),
  'provider', coalesce(to_jsonb(d) ->> 'datlocprovider', 'c'),
  'locale', coalesce(to_jsonb(d) ->> 'datlocale', to_jsonb(d) ->> 'daticulocale', d.datcollate),
  'collationVersion', to_jsonb(d) ->> 'datcollversion',
  'extensions', ${list("SELECT extname FROM pg_extension ORDER BY 1")},
  'collations', ${list(`SELECT DISTINCT l.collname FROM pg_attribute a JOIN pg_collation l ON l.oid = a.attcollation
     JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE a.attnum > 0 AND NOT a.attisdropped AND l.collnamespace = 'pg_catalog'::regnamespace AND ${OTHER_SCHEMAS}`)},
  'tables', ${list(
    `SELECT json_build_object('name', ${QUALIFIED}, 'bytes', pg_table_size(c.oid), 'unlogged', c.relpersistence = 'u',
     'identity', c.relreplident IN ('f', 'i') OR c.relreplident = 'd'
       AND EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisprimary)) FROM ${TABLES} ORDER BY 1`.replace(
      "ORDER BY 1",
      "ORDER BY n.nspname, c.relname",
    ),
  )},
  'largeObjects', (SELECT count(*) FROM pg_largeobject_metadata),
  'longTransactions', ${list(`SELECT format('process %s of %s, since %s', pid, usename, date_trunc('second', xact_start)) FROM pg_stat_activity
     WHERE datname = current_database() AND backend_type = 'client backend' AND xact_start < now() - interval '5 minutes'`)},
  'preparedTransactions', (SELECT count(*) FROM pg_prepared_xacts WHERE database = current_database()),
  'collated', ${list(`SELECT format('index %s', i.indexrelid::regclass) FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid
       JOIN pg_namespace n ON n.oid = c.relnamespace WHERE 100 = ANY (i.indcollation) AND ${OTHER_SCHEMAS}
     UNION ALL SELECT format('partitions of %s', p.partrelid::regclass) FROM pg_partitioned_table p
       WHERE p.partstrat = 'r' AND 100 = ANY (p.partcollation)
     UNION ALL SELECT format('constraint %s of %s', k.conname, k.conrelid::regclass) FROM pg_constraint k
       JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace
       WHERE k.contype = 'c' AND pg_get_constraintdef(k.oid) ~* 'lower\\(|upper\\(|initcap\\(|~\\*|[<>]' AND ${OTHER_SCHEMAS}
         AND EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = k.conrelid AND a.attnum = ANY (k.conkey) AND a.attcollation = 100)
     ORDER BY 1`)},
  'policyRoles', ${list("SELECT DISTINCT pg_get_userbyid(r) FROM pg_policy p, unnest(p.polroles) r WHERE r <> 0")},
  'subscriptions', (SELECT count(*) FROM pg_stat_subscription WHERE subname IS NOT NULL),
  'writableRoles', ${list(`SELECT r.rolname FROM pg_db_role_setting s JOIN pg_roles r ON r.oid = s.setrole
     WHERE s.setdatabase IN (0, d.oid) AND EXISTS (SELECT FROM unnest(s.setconfig) c
       WHERE c ~ '^default_transaction_read_only=' AND c !~ '=(on|true|yes|1)$')`)},
  'settings', ${list(`SELECT c FROM pg_db_role_setting s, unnest(s.setconfig) c WHERE s.setdatabase = d.oid AND s.setrole = 0
     AND c !~ '^default_transaction_read_only='`)},
  'leftovers', ${list(`SELECT 'slot ' || slot_name FROM pg_replication_slots WHERE slot_name = '${name}'
     UNION ALL SELECT 'publication ' || pubname FROM pg_publication WHERE pubname = '${name}'`)})
FROM pg_database d WHERE d.datname = current_database()`;

const TARGET_SQL = `SELECT json_build_object(
  'version', current_setting('server_version_num')::int,
  'relations', ${list(`SELECT ${QUALIFIED} FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f') AND ${OTHER_SCHEMAS} AND n.nspname NOT IN ('cron', 'partman')
       AND ${notOfExtension("pg_class", "c.oid")} ORDER BY 1`)},
  'extensions', ${list("SELECT name FROM pg_available_extensions")},
  'collations', ${list("SELECT DISTINCT collname FROM pg_collation WHERE collencoding IN (-1, pg_char_to_encoding('UTF8'))")},
  'roles', ${list("SELECT rolname FROM pg_roles")})`;

export const inspectSource = async (tools: Tools): Promise<SourceFacts> =>
  JSON.parse(await tools.onSource(sourceSql(tools.name))) as SourceFacts;

export async function inspectTarget(tools: Tools, freeBytes: number): Promise<TargetFacts> {
  const facts = JSON.parse(await tools.onTarget(TARGET_SQL)) as Omit<TargetFacts, "freeBytes">;
  return { ...facts, freeBytes };
}
