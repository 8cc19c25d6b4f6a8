/** PgBouncer's configuration as pure text. */
import { namesOf } from "../logins.ts";
import { DATABASE, READ_DATABASE } from "../roles.ts";

/** Where a pool's servers are: one host, or several that take turns. */
export interface Upstream {
  readonly hosts: readonly string[];
  readonly port: number;
}

/** A pool beside the two for the application's database. */
export interface MorePool {
  /** As clients call it. */
  readonly name: string;
  readonly upstream: Upstream;
  /** As the server calls it. */
  readonly database: string;
  /** The pool through which clients' passwords are looked up, where they are. */
  readonly authDatabase?: string;
  /** Server connections at most; default: as the others. */
  readonly size?: number;
  /** SQL without quotes that each server connection begins with. */
  readonly connectQuery?: string;
}

export interface PgbouncerArgs {
  readonly write: Upstream;
  readonly read: Upstream;
  /** Pools under the application's two names that lead elsewhere than to its database at `write` and `read`. */
  readonly front?: readonly MorePool[];
  readonly more?: readonly MorePool[];
  /**
   * Where clients' passwords are: looked up in PostgreSQL by this user through this pool (servers with a certificate of the stack's own), or
   * in the user list (`file`; RDS, which shows its hashes to nobody).
   */
  readonly auth: { readonly lookUpAs: string; readonly at: string } | "file";
  /** The authorities of the servers' certificates; default: the stack's own, or with a user list those of RDS. */
  readonly authorities?: string | undefined;
  readonly maxClientConnections: number;
  /** Server connections for one user and database. */
  readonly poolSize: number;
  /** More of them, when clients have waited for a second. */
  readonly reserveSize: number;
}

const TLS = "/run/cgraph-tls";
/** In the image for AWS. */
const RDS_AUTHORITIES = "/usr/local/share/cgraph/rds-ca.pem";
const lookUp = ({ lookUpAs, at }: { lookUpAs: string; at: string }): string => `auth_user = ${lookUpAs}
auth_dbname = ${at}
auth_query = SELECT username, password FROM cgraph_pool.user_lookup($1)
`;

const morePool = ({ name, upstream, database, authDatabase, size, connectQuery }: MorePool): string =>
  `${name} = host=${upstream.hosts.join(",")} port=${upstream.port} dbname=${database}` +
  (authDatabase === undefined ? "" : ` auth_dbname=${authDatabase}`) +
  (size === undefined ? "" : ` pool_size=${size} max_db_connections=${size}`) +
  `${connectQuery === undefined ? "" : ` connect_query='${connectQuery}'`}\n`;

/**
 * pgbouncer.ini: transaction pooling, a database that writes and one that reads. `max_db_connections` caps what all
 * users together open through this pooler on either.
 */
export function pgbouncerIni({
  write,
  read,
  front,
  more = [],
  auth,
  authorities,
  maxClientConnections,
  poolSize,
  reserveSize,
}: PgbouncerArgs): string {
  const application =
    front?.map(morePool).join("") ??
    `${DATABASE} = host=${write.hosts.join(",")} port=${write.port} dbname=${DATABASE}
${READ_DATABASE} = host=${read.hosts.join(",")} port=${read.port} dbname=${DATABASE}
`;
  return `[databases]
${application}${more.map(morePool).join("")}
[pgbouncer]
listen_addr = *
listen_port = 6432
unix_socket_dir = /run/pgbouncer
pidfile = /run/pgbouncer/pgbouncer.pid
stats_users = ${namesOf("cgraph_monitor").join(", ")}
pool_mode = transaction
max_client_conn = ${maxClientConnections}
default_pool_size = ${poolSize}
reserve_pool_size = ${reserveSize}
reserve_pool_timeout = 1
max_db_connections = ${poolSize + reserveSize}
max_prepared_statements = 200
auth_type = scram-sha-256
${auth === "file" ? "" : lookUp(auth)}auth_file = /etc/cgraph/userlist.txt
client_tls_sslmode = require
client_tls_cert_file = ${TLS}/server.crt
client_tls_key_file = ${TLS}/server.key
client_tls_ca_file = ${TLS}/ca.crt
server_tls_sslmode = verify-full
server_tls_ca_file = ${authorities ?? (auth === "file" ? RDS_AUTHORITIES : `${TLS}/ca.crt`)}
server_login_retry = 1
server_connect_timeout = 3
server_idle_timeout = 300
server_lifetime = 120
query_wait_timeout = 60
tcp_keepidle = 30
tcp_keepintvl = 10
tcp_keepcnt = 3
ignore_startup_parameters = extra_float_digits
log_connections = 0
log_disconnections = 0
`;
}

/**
 * userlist.txt by name. Of passwords: the account that asks for the others' verifiers, under each name that is accepted.
 * Of verifiers: PgBouncer lets clients in with them, and logs in to servers that have the same.
 */
export const userlist = (secrets: readonly (readonly [string, string])[]): string =>
  secrets.map(([name, secret]) => `"${name}" "${secret}"\n`).join("");
