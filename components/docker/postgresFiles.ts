/** Files of a PostgreSQL server, as pure text. */
import { renderPostgresConf } from "../../tuning/render.ts";
import type { Settings } from "../../tuning/setting.ts";
import { namesOf } from "../logins.ts";
import { DATABASE, OWNER, type RoleName } from "../roles.ts";
import { CONFIG_DIRECTORY } from "./ConfigFiles.ts";

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
const CLIENTS = names("cgraph", OWNER, "cgraph_readonly", "cgraph_monitor");

/** What clients do: each role only to its database, over TLS, with scram. */
export const CLIENT_RULES: readonly string[] = [
  `hostssl ${DATABASE}  ${CLIENTS}  all  scram-sha-256`,
  `hostssl postgres  ${names("cgraph_monitor")}  all  scram-sha-256`,
];

/**
 * The superuser only through the server's own socket; what servers, pools and Patroni need of each other only from where
 * they are (pg_hba.conf's address).
 */
export const serverRules = (from: string): readonly string[] => [
  "local   all  postgres  peer",
  `local   replication  ${names("replicator")}  scram-sha-256`,
  `hostssl ${DATABASE}  ${names("cgraph_pooler", "cgraph_changes")}  ${from}  scram-sha-256`,
  `hostssl postgres  ${names("cgraph_rewind")}  ${from}  scram-sha-256`,
  `hostssl replication  ${names("replicator")}  ${from}  scram-sha-256`,
];

/** In Docker: from the stack's own network. */
export const SERVER_RULES: readonly string[] = serverRules("samenet");

/** Rules of pg_hba.conf. */
export const HBA_RULES: readonly string[] = [...SERVER_RULES.slice(0, 2), ...CLIENT_RULES, ...SERVER_RULES.slice(2)];

/** The rule for one more database of clients. */
export const clientRule = (database: string): string => `hostssl ${database}  ${CLIENTS}  all  scram-sha-256`;

export const PG_HBA = `# TYPE  DATABASE  USER  ADDRESS  METHOD\n${HBA_RULES.join("\n")}\n`;
