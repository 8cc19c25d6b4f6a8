/** Files of a PostgreSQL server, as pure text. */
import { renderPostgresConf } from "../../tuning/render.ts";
import type { Settings } from "../../tuning/setting.ts";
import { namesOf } from "../logins.ts";
import { DATABASE, OWNER, type RoleName } from "../roles.ts";
import { CONFIG_DIRECTORY } from "./ConfigFiles.ts";

export const REPOSITORY_DIRECTORY = "/var/lib/pgbackrest";
export const STANZA = "cgraph";
const TLS_DIRECTORY = "/run/cgraph-tls";

/** Settings that belong to our image rather than to the hardware: places, TLS, archiving. */
export const IMAGE_SETTINGS: Readonly<Record<string, string>> = {
  unix_socket_directories: "/run/postgresql",
  ssl: "on",
  ssl_cert_file: `${TLS_DIRECTORY}/server.crt`,
  ssl_key_file: `${TLS_DIRECTORY}/server.key`,
  ssl_ca_file: `${TLS_DIRECTORY}/ca.crt`,
  archive_command: "pgbackrest archive-push %p",
  dynamic_shared_memory_type: "posix",
};

/** postgresql.conf of a server on its own: places and TLS of our image, then the tuned settings. */
export function postgresConf(clusterName: string, settings: Settings): string {
  const image = Object.entries(IMAGE_SETTINGS).map(([name, value]) => `${name} = '${value}'\n`);
  return `# Written by cgraph-db; changes here are lost. Use cgraph:settings.
cluster_name = '${clusterName}'
listen_addresses = '*'
port = 5432
hba_file = '${CONFIG_DIRECTORY}/pg_hba.conf'
${image.join("")}
${renderPostgresConf(settings)}`;
}

const names = (...roles: readonly RoleName[]): string => roles.flatMap(namesOf).join(",");

/**
 * Rules of pg_hba.conf: the superuser only through the container's socket; each other role only to its database, over
 * TLS, with scram; what servers, pools and Patroni need of each other only from the stack's own network.
 */
export const HBA_RULES: readonly string[] = [
  "local   all  postgres  peer",
  `local   replication  ${names("replicator")}  scram-sha-256`,
  `hostssl ${DATABASE}  ${names("cgraph", OWNER, "cgraph_readonly", "cgraph_monitor")}  all  scram-sha-256`,
  `hostssl postgres  ${names("cgraph_monitor")}  all  scram-sha-256`,
  `hostssl ${DATABASE}  ${names("cgraph_pooler", "cgraph_changes")}  samenet  scram-sha-256`,
  `hostssl postgres  ${names("cgraph_rewind")}  samenet  scram-sha-256`,
  `hostssl replication  ${names("replicator")}  samenet  scram-sha-256`,
];

export const PG_HBA = `# TYPE  DATABASE  USER  ADDRESS  METHOD\n${HBA_RULES.join("\n")}\n`;

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

[global:archive-get]
log-level-console=warn

[${STANZA}]
pg1-path=${args.dataDirectory}
pg1-socket-path=/run/postgresql
`;
}
