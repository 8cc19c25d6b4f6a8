import * as docker from "@pulumi/docker";
import * as pulumi from "@pulumi/pulumi";
import type { BackupRepository } from "./BackupRepository.ts";
import { containerDefaults, onNetworks } from "./docker/container.ts";
import type { Site } from "./docker/DockerSite.ts";
import { dockerName } from "./docker/names.ts";
import { CONFIG_DIRECTORY } from "./docker/ConfigFiles.ts";
import type { PostgresServer } from "./docker/postgresContainer.ts";
import { BACKUP_CLIENT, REPOSITORY_DIRECTORY } from "./docker/pgbackrestFiles.ts";

export interface BackupsArgs {
  readonly site: Site;
  /** Every server of the stack: the one that takes writes at the time is backed up. */
  readonly servers: readonly PostgresServer[];
  /** Whether they are a cluster, which gives the backups its files itself, most of them a replica. */
  readonly clustered: boolean;
  readonly repository: BackupRepository;
  /** Hours between backups; guide: 24. */
  readonly intervalHours: number;
  /** Days between full backups, the others being differential. */
  readonly fullDays: number;
  /** Servers of the same cluster in other regions, with their networks; default none. */
  readonly far?: readonly { readonly site: Site; readonly servers: readonly PostgresServer[] }[];
  /** Whether servers are reached by their containers' names, which are nobody else's in any network; default false. */
  readonly byContainer?: boolean;
  /** Begins the names where a stack has several schedules, as in `shard1-`; default none. */
  readonly prefix?: string;
}

/** Backups on a schedule: a container beside the server that takes one whenever the newest is too old. */
export class Backups extends pulumi.ComponentResource {
  readonly containerName: pulumi.Output<string>;
  /** Volume with figures of the backups, as node_exporter's textfile collector takes them. */
  readonly figuresVolumeName: pulumi.Output<string>;

  constructor(name: string, args: BackupsArgs, opts?: pulumi.ComponentResourceOptions) {
    super("cgraph:backup:Backups", name, {}, opts);
    const { site, repository, far = [] } = args;
    const servers = [...args.servers, ...far.flatMap((region) => region.servers)];
    const child = `${args.prefix ?? ""}backup`;
    const hostname = dockerName(site.stack, child);
    const figures = new docker.Volume(
      `${child}-figures`,
      { name: dockerName(site.stack, `${child}-figures`), labels: site.labels },
      { parent: this },
    );
    const reached = (server: string): string => (args.byContainer ? dockerName(site.stack, server) : server);
    const clusterNodes = args.clustered ? servers.map((server) => reached(server.name)) : [];
    const container = new docker.Container(
      child,
      {
        ...containerDefaults(site, { cpus: 1, memoryMiB: 512 }),
        name: hostname,
        hostname,
        image: site.postgresImage.id,
        command: ["backups"],
        envs: [
          `CGRAPH_BACKUP_INTERVAL_HOURS=${args.intervalHours}`,
          `CGRAPH_BACKUP_FULL_DAYS=${args.fullDays}`,
          ...(args.clustered ? [`CGRAPH_TLS_NAMES=${BACKUP_CLIENT}`] : []),
        ],
        uploads: Object.entries({
          ...repository.files,
          "pgbackrest.conf": repository.backupConfig(clusterNodes),
        }).map(([file, content]) => ({ file: `${CONFIG_DIRECTORY}/${file}`, content, permissions: "0644" })),
        volumes: [
          ...servers.flatMap((server) => [
            { volumeName: server.dataVolumeName, containerPath: `/nodes/${server.name}` },
            { volumeName: server.runVolumeName, containerPath: `/nodes/${server.name}-run` },
          ]),
          { volumeName: repository.volumeName, containerPath: REPOSITORY_DIRECTORY },
          { volumeName: figures.name, containerPath: "/var/lib/cgraph-figures" },
          ...(args.clustered ? [{ volumeName: site.tlsVolumeName, containerPath: "/var/lib/cgraph-tls" }] : []),
        ],
        ...(args.clustered || repository.remote
          ? onNetworks([site, ...far.map((region) => region.site)], child)
          : { networkMode: "none" }),
        destroyGraceSeconds: 30,
      },
      // Needs the server's volumes only: the schedule itself waits until the server answers.
      { parent: this, deleteBeforeReplace: true },
    );
    this.containerName = container.name;
    this.figuresVolumeName = figures.name;
    this.registerOutputs({ containerName: this.containerName });
  }
}
