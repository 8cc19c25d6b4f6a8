/** PgBouncer's configuration as pure text. */
import { DATABASE, READ_DATABASE } from "../roles.ts";
import { ROUTES } from "./haproxyFiles.ts";

export interface PgbouncerArgs {
  /** Host on the network that routes writes and reads. */
  readonly router: string;
  readonly maxClientConnections: number;
  /** Server connections for one user and database. */
  readonly poolSize: number;
  /** More of them, when clients have waited for a second. */
  readonly reserveSize: number;
}

const TLS = "/run/cgraph-tls";

/**
 * pgbouncer.ini: transaction pooling, a database that writes and one that reads. `max_db_connections` caps what all
 * users together open through this pooler on either. Passwords are looked up in PostgreSQL (auth_query), so none here
 * goes stale.
 */
export function pgbouncerIni({ router, maxClientConnections, poolSize, reserveSize }: PgbouncerArgs): string {
  return `[databases]
${DATABASE} = host=${router} port=${ROUTES.write} dbname=${DATABASE}
${READ_DATABASE} = host=${router} port=${ROUTES.read} dbname=${DATABASE}

[pgbouncer]
listen_addr = *
listen_port = 6432
unix_socket_dir = /run/pgbouncer
pidfile = /run/pgbouncer/pgbouncer.pid
stats_users = cgraph_monitor
pool_mode = transaction
max_client_conn = ${maxClientConnections}
default_pool_size = ${poolSize}
reserve_pool_size = ${reserveSize}
reserve_pool_timeout = 1
max_db_connections = ${poolSize + reserveSize}
max_prepared_statements = 200
auth_type = scram-sha-256
auth_user = cgraph_pooler
auth_dbname = ${DATABASE}
auth_query = SELECT username, password FROM cgraph_pool.user_lookup($1)
auth_file = /etc/cgraph/userlist.txt
client_tls_sslmode = require
client_tls_cert_file = ${TLS}/server.crt
client_tls_key_file = ${TLS}/server.key
client_tls_ca_file = ${TLS}/ca.crt
server_tls_sslmode = verify-full
server_tls_ca_file = ${TLS}/ca.crt
server_login_retry = 1
server_connect_timeout = 5
server_idle_timeout = 300
query_wait_timeout = 60
tcp_keepidle = 30
tcp_keepintvl = 10
tcp_keepcnt = 3
ignore_startup_parameters = extra_float_digits
log_connections = 0
log_disconnections = 0
`;
}

/** userlist.txt: the one account that asks for the others' verifiers. Holds its password. */
export const userlist = (password: string): string => `"cgraph_pooler" "${password}"\n`;
