/** Files that a PostgreSQL container of ours gets at /etc/cgraph, as pure text. */
import { renderPostgresConf } from "../../tuning/render.ts";
import type { Settings } from "../../tuning/setting.ts";
import { DATABASE } from "../roles.ts";

export const CONFIG_DIRECTORY = "/etc/cgraph";
export const REPOSITORY_DIRECTORY = "/var/lib/pgbackrest";
export const STANZA = "cgraph";

/** postgresql.conf: places and TLS of our image, then the tuned settings. */
export function postgresConf(clusterName: string, settings: Settings): string {
  return `# Written by cgraph-db; changes here are lost. Use cgraph:settings.
cluster_name = '${clusterName}'
listen_addresses = '*'
port = 5432
unix_socket_directories = '/run/postgresql'
hba_file = '${CONFIG_DIRECTORY}/pg_hba.conf'
ssl = on
ssl_cert_file = '${CONFIG_DIRECTORY}/tls/server.crt'
ssl_key_file = '${CONFIG_DIRECTORY}/tls/server.key'
ssl_ca_file = '${CONFIG_DIRECTORY}/tls/ca.crt'
archive_command = 'pgbackrest archive-push %p'
dynamic_shared_memory_type = posix

${renderPostgresConf(settings)}`;
}

/**
 * pg_hba.conf: the superuser only through the container's socket; each other role only to its database, over TLS, with
 * scram; replication only from the stack's own network.
 */
export const PG_HBA = `# TYPE  DATABASE  USER  ADDRESS  METHOD
local   all  postgres  peer
hostssl ${DATABASE}  cgraph,cgraph_owner,cgraph_readonly,cgraph_monitor  all  scram-sha-256
hostssl postgres  cgraph_monitor  all  scram-sha-256
hostssl replication  replicator  samenet  scram-sha-256
`;

/** pgbackrest.conf: an encrypted repository on its own volume, kept for so many days. */
export function pgbackrestConf(args: { key: string; dataDirectory: string; retentionDays: number }): string {
  return `[global]
repo1-path=${REPOSITORY_DIRECTORY}
repo1-cipher-type=aes-256-cbc
repo1-cipher-pass=${args.key}
repo1-retention-full-type=time
repo1-retention-full=${args.retentionDays}
repo1-bundle=y
repo1-block=y
compress-type=lz4
start-fast=y
log-level-file=off
log-level-console=info
process-max=2

[global:archive-push]
log-level-console=warn

[${STANZA}]
pg1-path=${args.dataDirectory}
pg1-socket-path=/run/postgresql
`;
}
