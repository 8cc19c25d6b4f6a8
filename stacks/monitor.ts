import * as pulumi from "@pulumi/pulumi";
import type { Backups } from "../components/Backups.ts";
import type { Measured } from "../components/docker/exporters.ts";
import type { PgbouncerContainers } from "../components/docker/pgbouncerContainers.ts";
import type { PostgresServer } from "../components/docker/postgresContainer.ts";
import type { RedisServer } from "../components/docker/redisContainer.ts";
import { etcdNames } from "../components/docker/cluster.ts";
import { poolerNames } from "../components/docker/pgbouncerContainers.ts";
import { Monitoring } from "../components/Monitoring.ts";
import type { Router } from "../components/Router.ts";
import type { StackConfig } from "./config.ts";
import type { Foundation } from "./foundation.ts";
import { type Endpoint, type ServiceKind, type ServiceOutput, describeService } from "./outputs.ts";

export interface MonitoredParts {
  readonly servers: readonly PostgresServer[];
  /** How many of them take writes; default 1. */
  readonly primaries?: number;
  readonly backups: Backups;
  /** What a stage with replicas has. */
  readonly cluster?: { readonly router: Router; readonly pool: PgbouncerContainers };
  readonly cache?: RedisServer;
}

export interface MonitoringOutputs {
  readonly services: pulumi.Output<ServiceOutput>[];
  readonly endpoints: Readonly<Record<"prometheus" | "alertmanager" | "grafana", Endpoint | null>>;
}

export const NOT_MONITORED: MonitoringOutputs["endpoints"] = { prometheus: null, alertmanager: null, grafana: null };

const measured = (id: pulumi.Input<string>, cpus: number): pulumi.Output<Measured> =>
  pulumi.output(id).apply((known) => ({ id: known, cpus }));

/** Has a stack watched, where its configuration says so. It begins when the servers are there: they come first. */
export function monitor(
  config: StackConfig,
  base: Foundation,
  { servers, primaries = 1, backups, cluster, cache }: MonitoredParts,
  dependsOn: pulumi.Resource[],
): MonitoringOutputs {
  if (!config.monitoring.enabled) return { services: [], endpoints: NOT_MONITORED };
  const { site, credentials, repository } = base;
  const poolers = poolerNames(cluster?.pool.containerIds.length ?? 0);
  const { place } = new Monitoring(
    "monitoring",
    {
      site,
      credentials,
      repository,
      backups,
      servers,
      config: config.monitoring,
      ports: config.ports,
      backupIntervalHours: config.backups.intervalHours,
      watched: {
        postgresVersion: config.postgresVersion,
        nodes: servers.map(({ name }) => name),
        primaries,
        poolers,
        etcdMembers: cluster ? etcdNames(config.etcdMembers) : [],
        cache: cache !== undefined,
      },
      containers: {
        ...Object.fromEntries(servers.map(({ name, containerId, cpus }) => [name, measured(containerId, cpus)])),
        ...Object.fromEntries(
          poolers.map((name, index) => [name, measured(cluster?.pool.containerIds[index] ?? "", 1)]),
        ),
        ...(cluster && { haproxy: measured(cluster.router.containerId, 1) }),
        ...(cache && { redis: measured(cache.containerId, 1) }),
      },
      smtpPassword: new pulumi.Config("cgraph").getSecret("alertSmtpPassword"),
    },
    { dependsOn },
  );
  const local = (port: number): Endpoint => ({ host: "localhost", port });
  const { prometheus, alertmanager, grafana } = config.ports;
  return {
    services: Object.entries(place.containerNames).map(([name, container]) =>
      describeService(name as ServiceKind, name, container),
    ),
    endpoints: {
      prometheus: local(prometheus),
      alertmanager: local(alertmanager),
      grafana: config.monitoring.grafanaImage === undefined ? null : local(grafana),
    },
  };
}
