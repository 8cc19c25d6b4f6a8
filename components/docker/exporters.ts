/** Which exporters ask what of a stack, where they answer, and what Prometheus asks of them. Pure. */
import { DATABASE } from "../roles.ts";
import type { Job, Target } from "../../monitoring/prometheusConfig.ts";
import type { PostgresMajor } from "../../tuning/hardware.ts";
import { CACHE } from "./redisContainer.ts";
import { ROUTER, ROUTES } from "./haproxyFiles.ts";
import { CONFIG_DIRECTORY } from "./ConfigFiles.ts";

export const EXPORTERS = "exporters";
const AUTHORITY = "/run/cgraph-tls/ca.crt";
/** Where each kind of exporter answers; of those with several, the first. */
const PORTS = { own: 9400, node: 9100, postgres: 9187, pgbouncer: 9127, redis: 9121 } as const;
export const OWN_PORT = PORTS.own;
/** Where the exporters' container has the data volumes, the backups, and figures that others write. */
export const VOLUMES = { nodes: "/nodes", backups: "/backups", figures: "/figures" } as const;

export interface Watched {
  readonly postgresVersion: PostgresMajor;
  readonly nodes: readonly string[];
  /** How many of them take writes: one of each cluster. */
  readonly primaries: number;
  readonly poolers: readonly string[];
  readonly etcdMembers: readonly string[];
  readonly cache: boolean;
}

export interface ExporterSecrets {
  readonly monitor: { readonly user: string; readonly password: string };
  readonly cache: string | undefined;
}

interface Exporter {
  readonly command: readonly string[];
  readonly environment?: Readonly<Record<string, string>>;
}

const listen = (port: number): string => `--web.listen-address=:${port}`;
const verified = `sslmode=verify-full&sslrootcert=${AUTHORITY}`;

function exporters(watched: Watched, secrets: ExporterSecrets): Exporter[] {
  const postgres = watched.nodes.map((node, index) => ({
    command: [
      "prometheus-postgres-exporter",
      listen(PORTS.postgres + index),
      `--extend.query-path=${CONFIG_DIRECTORY}/queries.yml`,
      "--log.level=error",
    ],
    environment: {
      DATA_SOURCE_URI: `${node}:5432/${DATABASE}?${verified}&connect_timeout=2&application_name=postgres_exporter`,
      DATA_SOURCE_USER: secrets.monitor.user,
      DATA_SOURCE_PASS: secrets.monitor.password,
    },
  }));
  const pgbouncer = watched.poolers.map((pooler, index) => ({
    command: [
      "prometheus-pgbouncer-exporter",
      listen(PORTS.pgbouncer + index),
      `--pgBouncer.connectionString=postgres://${secrets.monitor.user}@${pooler}:6432/pgbouncer?${verified}`,
      "--log.level=error",
    ],
    environment: { PGPASSWORD: secrets.monitor.password },
  }));
  const redis =
    secrets.cache === undefined
      ? []
      : [
          {
            command: ["prometheus-redis-exporter"],
            environment: {
              REDIS_ADDR: `rediss://${CACHE}:6379`,
              REDIS_PASSWORD: secrets.cache,
              REDIS_EXPORTER_TLS_CA_CERT_FILE: AUTHORITY,
            },
          },
        ];
  const node = {
    command: [
      "prometheus-node-exporter",
      listen(PORTS.node),
      // Whatever folder there is: names of devices are not asked for.
      "--path.udev.data=/run",
      "--collector.disable-defaults",
      ...["cpu", "meminfo", "diskstats", "filesystem", "loadavg", "textfile"].map((name) => `--collector.${name}`),
      `--collector.textfile.directory=${VOLUMES.figures}`,
      `--collector.filesystem.mount-points-exclude=^/(?:etc|dev|proc|sys|run|host|figures|var)?(?:$|/)`,
      "--log.level=error",
    ],
  };
  return [...postgres, ...pgbouncer, ...redis, node];
}

/** A container whose use is shown. */
export interface Measured {
  readonly id: string;
  /** CPUs that it may use. */
  readonly cpus: number;
}

/** exporters.json, which the container's first process reads; holds passwords. `containers`: by name. */
export const exportersJson = (
  watched: Watched,
  secrets: ExporterSecrets,
  containers: Readonly<Record<string, Measured>>,
): string =>
  JSON.stringify({
    database: DATABASE,
    servers: watched.nodes,
    user: secrets.monitor.user,
    containers,
    exporters: exporters(watched, secrets),
  });

const own = (port: number, labels: Target["labels"]): Target => ({ address: `${EXPORTERS}:${port}`, labels });
const at = (address: string, labels: Target["labels"]): Target => ({ address, labels });

/** What Prometheus asks, and whom. */
export function jobsOf(watched: Watched): Job[] {
  const { nodes, poolers, etcdMembers, cache } = watched;
  const clustered = etcdMembers.length > 0;
  const volumes = Object.fromEntries([
    ...nodes.map((node) => [`${VOLUMES.nodes}/${node}`, `${node}-data`]),
    [VOLUMES.backups, "backups"],
  ]) as Record<string, string>;
  const jobs: Job[] = [
    { name: "postgresql", targets: nodes.map((node, index) => own(PORTS.postgres + index, { server: node })) },
    { name: "pgbouncer", targets: poolers.map((pooler, index) => own(PORTS.pgbouncer + index, { pooler })) },
    { name: "node", targets: [own(PORTS.node, { host: "docker" })], volumes },
    { name: "cgraph", targets: [own(PORTS.own, {})] },
    {
      name: "patroni",
      https: true,
      targets: clustered ? nodes.map((node) => at(`${node}:8008`, { server: node })) : [],
    },
    { name: "etcd", targets: etcdMembers.map((member) => at(`${member}:2381`, { member })) },
    { name: "haproxy", targets: clustered ? [at(`${ROUTER}:${ROUTES.health}`, { router: ROUTER })] : [] },
    { name: "redis", targets: cache ? [own(PORTS.redis, { cache: CACHE })] : [] },
  ];
  return jobs.filter(({ targets }) => targets.length > 0);
}
