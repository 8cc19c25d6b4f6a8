/** Servers that stand in for RDS instances: PostgreSQL 17 in containers, with an administrator who is no superuser. */
import { randomBytes } from "node:crypto";
import type { withWay } from "../../scripts/aws/reach.ts";
import { ADMINISTRATOR } from "../../components/aws/names.ts";
import { DATABASE } from "../../components/roles.ts";
import { docker } from "../../scripts/lib/docker.ts";
import type { Endpoint } from "../../stacks/outputs.ts";
import { freePort, uniqueStack } from "./cli.ts";
import { eventually } from "./eventually.ts";
import { postgresImage } from "./shardServer.ts";

export interface RdsServers {
  readonly administratorPassword: string;
  /** The certificate of all of them, which is its own authority, in PEM. */
  readonly authorities: string;
  /** Where the servers reach each other; nothing else resolves these names. */
  readonly endpoint: (server: string) => Endpoint;
  /** The way to them from here. */
  readonly reach: typeof withWay;
  /** What RDS's own superuser sees; gives what psql prints. */
  readonly superuser: (server: string, sql: string, database?: string) => Promise<string>;
  /** All that a server has logged. */
  readonly log: (server: string) => Promise<string>;
  readonly stop: () => Promise<void>;
}

const EXTENSIONS = "postgres_fdw pg_partman hypopg pg_stat_statements";

/**
 * What the administrator is on RDS (its user guide, "Understanding the rds_superuser role"): may make extensions, grant
 * rds_replication, have a session be `replica`, subscribe. What rds_replication gives there, only the attribute gives here.
 */
const likeRds = (password: string): string => `
CREATE ROLE rds_iam; CREATE ROLE rds_replication; CREATE ROLE rds_password; CREATE ROLE rds_superuser;
GRANT pg_checkpoint, pg_monitor, pg_signal_backend, pg_use_reserved_connections, rds_iam, rds_password, rds_replication
  TO rds_superuser WITH ADMIN OPTION;
GRANT pg_create_subscription TO rds_superuser;
GRANT SET ON PARAMETER session_replication_role TO rds_superuser;
CREATE ROLE ${ADMINISTRATOR} LOGIN CREATEROLE CREATEDB REPLICATION PASSWORD '${password}' IN ROLE rds_superuser;
CREATE DATABASE ${DATABASE} OWNER ${ADMINISTRATOR};
\\connect ${DATABASE}
-- It writes its jobs as its owner: not ours to make, as on RDS.
CREATE EXTENSION pg_cron;
GRANT USAGE ON SCHEMA cron TO rds_superuser WITH GRANT OPTION;
`;

/** As RDS does it: who may make an extension may use what it brings. */
const PREPARE_EXTENSIONS = `cd /usr/share/postgresql/17/extension
for name in ${EXTENSIONS}; do echo "trusted = true" >>$name.control; done
echo "GRANT USAGE ON FOREIGN DATA WRAPPER postgres_fdw TO rds_superuser;" >>postgres_fdw--1.0.sql`;

/** Statements are logged as soon as they change a structure: none may show a password. */
const SERVE = `set -e; cd /tmp; PATH=$PATH:$(echo /usr/lib/postgresql/*/bin)
initdb -U rdsadmin --auth-local=trust --auth-host=scram-sha-256 --no-sync d >/dev/null
echo "$PEM" >d/server.pem; chmod 600 d/server.pem; openssl x509 -in d/server.pem -out d/ca-cert.pem
echo 'hostssl all all all scram-sha-256' >>d/pg_hba.conf
exec postgres -D d -c listen_addresses='*' -c unix_socket_directories=/tmp -c fsync=off -c wal_level=logical \
  -c ssl=on -c ssl_cert_file=server.pem -c ssl_key_file=server.pem -c ssl_ca_file=/tmp/d/ca-cert.pem \
  -c shared_preload_libraries=pg_stat_statements,pg_cron -c cron.database_name=${DATABASE} \
  -c log_statement=ddl -c max_replication_slots=20 -c max_wal_senders=20 >/tmp/log 2>&1`;

/** Starts one for each name, in a network of their own. */
export async function startRdsServers(names: readonly string[]): Promise<RdsServers> {
  const stack = uniqueStack();
  const label = ["--label", `cgraph.stack=${stack}`];
  const network = `cgraph-${stack}`;
  const container = (server: string): string => `cgraph-${stack}-${server}`;
  const host = (server: string): string => `${server}.${stack}.internal`;
  const image = await postgresImage();
  const administratorPassword = randomBytes(16).toString("hex");
  const alternatives = names.map((name) => `DNS:${host(name)}`).join(",");
  const pem = await docker([
    ...["run", "--rm", ...label, "--entrypoint", "bash", image, "-c"],
    `openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=${stack} -addext subjectAltName=${alternatives} \
       -keyout /dev/stdout -out /dev/stdout 2>/dev/null`,
  ]);
  const ports = new Map<string, number>();
  const superuser: RdsServers["superuser"] = async (server, sql, database = DATABASE) => {
    const psql = ["psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-h", "/tmp", "-U", "rdsadmin", "-d", database, "-f", "-"];
    return (await docker(["exec", "--interactive", container(server), ...psql], { input: sql })).trim();
  };
  const stop = async (): Promise<void> => {
    await docker(["rm", "--force", "--volumes", ...names.map(container)]);
    await docker(["network", "rm", "--force", network]);
  };
  try {
    await docker(["network", "create", ...label, network]);
    for (const name of names) {
      const port = await freePort();
      ports.set(host(name), port);
      await docker([
        ...["run", "--detach", "--name", container(name), ...label, "--user", "postgres"],
        ...["--network", network, "--network-alias", host(name), "--publish", `127.0.0.1:${port}:5432`],
        ...["--shm-size", "256m", "--env", `PEM=${pem}`, "--entrypoint", "bash", image, "-c", SERVE],
      ]);
      await docker(["exec", "--user", "root", container(name), "bash", "-ec", PREPARE_EXTENSIONS]);
    }
    for (const name of names) {
      await eventually(`${name} answers`, async () => (await superuser(name, "SELECT 1", "postgres")) === "1");
      await superuser(name, likeRds(administratorPassword), "postgres");
    }
  } catch (error) {
    await stop();
    throw error;
  }
  return {
    administratorPassword,
    authorities: pem.slice(pem.indexOf("-----BEGIN CERTIFICATE-----")),
    endpoint: (server) => ({ host: host(server), port: 5432 }),
    reach: (_, endpoint, work) =>
      work({ host: endpoint.host, address: "127.0.0.1", port: ports.get(endpoint.host) ?? 0 }),
    superuser,
    log: (server) => docker(["exec", container(server), "cat", "/tmp/log"]),
    stop,
  };
}
