import * as docker from "@pulumi/docker";
import * as pulumi from "@pulumi/pulumi";
import { alertsOf } from "../../monitoring/alerts/index.ts";
import { queriesFile } from "../../monitoring/postgresQueries.ts";
import { ALERTMANAGER, alertmanagerYaml, prometheusYaml } from "../../monitoring/prometheusConfig.ts";
import { rulesFile } from "../../monitoring/rules.ts";
import type { Ports } from "../../stacks/config.ts";
import type { MonitoringConfig } from "../../stacks/monitoringConfig.ts";
import type { BackupRepository } from "../BackupRepository.ts";
import type { Backups } from "../Backups.ts";
import type { Credentials } from "../Credentials.ts";
import { CONFIG_DIRECTORY, ConfigFiles } from "./ConfigFiles.ts";
import { HEALTH, containerDefaults, onLocalhost, onNetwork } from "./container.ts";
import type { Site } from "./DockerSite.ts";
import { EXPORTERS, OWN_PORT, VOLUMES, type Watched, exportersJson, jobsOf, type Measured } from "./exporters.ts";
import { grafanaContainer } from "./grafanaContainer.ts";
import { dockerName } from "./names.ts";
import type { PostgresServer } from "./postgresContainer.ts";

export const PROMETHEUS = "prometheus";

export interface MonitoringContainersArgs {
  readonly site: Site;
  readonly credentials: Credentials;
  readonly config: MonitoringConfig;
  readonly ports: Pick<Ports, "prometheus" | "alertmanager" | "grafana">;
  readonly watched: Watched;
  readonly backupIntervalHours: number;
  readonly servers: readonly PostgresServer[];
  /** Containers whose use is shown, by name. */
  readonly containers: Readonly<Record<string, pulumi.Input<Measured>>>;
  readonly repository: BackupRepository;
  readonly backups: Backups;
  /** Secret; for mail. */
  readonly smtpPassword: pulumi.Output<string> | undefined;
}

export type MonitoringPart = "prometheus" | "alertmanager" | "exporters" | "grafana";

export interface MonitoringContainers {
  /** By what runs in them. */
  readonly containerNames: Readonly<Partial<Record<MonitoringPart, pulumi.Output<string>>>>;
}

const healthAt = (port: number, path: string): string[] => [`CGRAPH_PORT=${port}`, `CGRAPH_PATH=${path}`];

/** Prometheus, Alertmanager, exporters and, where its image can be had, Grafana. */
export function monitoringContainers(args: MonitoringContainersArgs, parent: pulumi.Resource): MonitoringContainers {
  const { site, config, ports, watched, credentials } = args;
  const image = site.monitoringImage;
  const { cgraph_monitor: monitor } = credentials.logins;
  const cachePassword = watched.cache ? credentials.cachePassword : undefined;
  const files = (name: string, content: Readonly<Record<string, pulumi.Input<string>>>): ConfigFiles =>
    new ConfigFiles(`${name}-config`, { site, image, group: "prometheus", files: content }, { parent });
  const tls = { volumeName: site.tlsVolumeName, containerPath: "/var/lib/cgraph-tls" };
  const common = (name: string, memoryMiB: number) => ({
    ...containerDefaults(site, { cpus: 1, memoryMiB }),
    ...onNetwork(site, name),
    name: dockerName(site.stack, name),
    hostname: dockerName(site.stack, name),
    image: image.id,
    command: [name],
    ...HEALTH,
    destroyGraceSeconds: 10,
  });

  const alerts = alertsOf(
    {
      replicas: watched.nodes.length - watched.primaries,
      primaries: watched.primaries,
      pool: watched.poolers.length > 0,
      cache: watched.cache,
      backupIntervalHours: args.backupIntervalHours,
    },
    config.thresholds,
  );
  const exporterConfig = files(EXPORTERS, {
    "exporters.json": pulumi
      .all([monitor.password, cachePassword, pulumi.all(args.containers)])
      .apply(([password, cache, containers]) =>
        exportersJson(watched, { monitor: { user: monitor.name, password }, cache }, containers),
      ),
    "queries.yml": queriesFile(watched.postgresVersion),
    "monitor-password": monitor.password,
  });
  const exporters = new docker.Container(
    EXPORTERS,
    {
      ...common(EXPORTERS, 384),
      envs: [...healthAt(OWN_PORT, "/metrics"), `CGRAPH_TLS_NAMES=${EXPORTERS}`, "CGRAPH_TLS_OWNER=prometheus"],
      volumes: [
        { volumeName: exporterConfig.volumeName, containerPath: CONFIG_DIRECTORY },
        tls,
        ...args.servers.map((server) => ({
          volumeName: server.dataVolumeName,
          containerPath: `${VOLUMES.nodes}/${server.name}`,
          readOnly: true,
        })),
        { volumeName: args.repository.volumeName, containerPath: VOLUMES.backups, readOnly: true },
        { volumeName: args.backups.figuresVolumeName, containerPath: VOLUMES.figures, readOnly: true },
        { hostPath: "/sys/fs/cgroup", containerPath: "/host/cgroup", readOnly: true },
      ],
    },
    { parent, deleteBeforeReplace: true, dependsOn: [exporterConfig] },
  );

  const alertmanagerConfig = files(ALERTMANAGER, {
    "alertmanager.yml": pulumi
      .output(args.smtpPassword)
      .apply((password) =>
        alertmanagerYaml(
          { webhookUrl: config.webhookUrl, email: config.email, smtp: config.smtp && { ...config.smtp, password } },
          config,
        ),
      ),
  });
  const state = new docker.Volume(
    `${ALERTMANAGER}-data`,
    { name: dockerName(site.stack, ALERTMANAGER, "state"), labels: site.labels },
    { parent },
  );
  const alertmanager = new docker.Container(
    ALERTMANAGER,
    {
      ...common(ALERTMANAGER, 128),
      envs: healthAt(9093, "/-/ready"),
      volumes: [
        { volumeName: alertmanagerConfig.volumeName, containerPath: CONFIG_DIRECTORY },
        { volumeName: state.name, containerPath: "/var/lib/alertmanager" },
      ],
      ports: [onLocalhost(9093, ports.alertmanager)],
    },
    { parent, deleteBeforeReplace: true, dependsOn: [alertmanagerConfig] },
  );

  const prometheusConfig = files(PROMETHEUS, {
    "prometheus.yml": prometheusYaml(jobsOf(watched), config),
    "rules.yml": rulesFile(alerts, config),
  });
  const series = new docker.Volume(
    `${PROMETHEUS}-data`,
    { name: dockerName(site.stack, PROMETHEUS, "series"), labels: site.labels },
    { parent },
  );
  const prometheus = new docker.Container(
    PROMETHEUS,
    {
      ...common(PROMETHEUS, 768),
      envs: [
        ...healthAt(9090, "/-/ready"),
        `CGRAPH_RETENTION=${config.retentionDays}d`,
        `CGRAPH_TLS_NAMES=${PROMETHEUS}`,
        "CGRAPH_TLS_OWNER=prometheus",
      ],
      volumes: [
        { volumeName: prometheusConfig.volumeName, containerPath: CONFIG_DIRECTORY },
        { volumeName: series.name, containerPath: "/var/lib/prometheus" },
        tls,
      ],
      ports: [onLocalhost(9090, ports.prometheus)],
      destroyGraceSeconds: 30,
    },
    { parent, deleteBeforeReplace: true, dependsOn: [prometheusConfig] },
  );
  const grafana =
    config.grafanaImage === undefined
      ? undefined
      : grafanaContainer({ site, image: config.grafanaImage, port: ports.grafana, pace: config, watched }, parent);
  return {
    containerNames: {
      [PROMETHEUS]: prometheus.name,
      [ALERTMANAGER]: alertmanager.name,
      [EXPORTERS]: exporters.name,
      ...(grafana && { grafana: grafana.name }),
    },
  };
}
