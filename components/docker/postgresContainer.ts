import * as docker from "@pulumi/docker";
import type * as pulumi from "@pulumi/pulumi";
import type { PostgresNode } from "../../stacks/topology.ts";
import type { PostgresMajor } from "../../tuning/hardware.ts";
import type { BackupRepository } from "../BackupRepository.ts";
import type { Credentials } from "../Credentials.ts";
import type { Cluster } from "./cluster.ts";
import { CONFIG_DIRECTORY, ConfigFiles } from "./ConfigFiles.ts";
import { HEALTH, containerDefaults, onLocalhost, onNetwork } from "./container.ts";
import type { Site } from "./DockerSite.ts";
import { dataVolumeName, dockerName, driverOptions } from "./names.ts";
import { REPOSITORY_DIRECTORY } from "./pgbackrestFiles.ts";
import { PG_HBA, postgresConf } from "./postgresFiles.ts";

/**
 * Parallel queries share memory through /dev/shm. What they take counts against the container's memory, which bounds
 * it; a bound of its own would have to change with the memory, and that would replace the container.
 */
const SHM_MIB = 64 * 1024;

const A_WEEK_SECONDS = 7 * 24 * 3600;

export interface PostgresContainerArgs {
  readonly site: Site;
  readonly node: PostgresNode;
  readonly postgresVersion: PostgresMajor;
  readonly credentials: Credentials;
  readonly repository: BackupRepository;
  /** Data volumes that are kept, ascending; the last one is used. */
  readonly dataGenerations: readonly number[];
  /** Options of the local driver for data volumes; none: where Docker keeps its volumes. */
  readonly dataVolumeOptions: Readonly<Record<string, string>> | undefined;
  /** The server is one of a cluster under Patroni; or it stands alone and clients reach it by this port of 127.0.0.1. */
  readonly place: { readonly cluster: Cluster } | { readonly port: number };
}

/** Where one server's things are; what the backups need of it. */
export interface PostgresServer {
  readonly name: string;
  readonly containerName: pulumi.Output<string>;
  readonly containerId: pulumi.Output<string>;
  readonly cpus: number;
  readonly dataVolumeName: pulumi.Output<string>;
  /** Volume with the server's Unix socket. */
  readonly runVolumeName: pulumi.Output<string>;
}

/** A PostgreSQL server in a container: its data volumes (protected, retained), its socket and settings, the container. */
export function postgresContainer(args: PostgresContainerArgs, parent: pulumi.Resource): PostgresServer {
  const { site, node, place, credentials } = args;
  const hostname = dockerName(site.stack, node.name);
  const volumes = args.dataGenerations.map((generation) => {
    const name = dataVolumeName(site.stack, node.name, generation);
    const driverOpts = driverOptions(args.dataVolumeOptions, name);
    return new docker.Volume(
      `${node.name}-data${generation === 1 ? "" : `-${generation}`}`,
      { name, labels: site.labels, ...(driverOpts && { driver: "local", driverOpts }) },
      { parent, protect: true, retainOnDelete: true, ignoreChanges: ["labels"] },
    );
  });
  const data = volumes.at(-1);
  if (!data) throw new Error("dataGenerations is empty");
  // The server's socket, shared with the backup schedule, which then needs no password.
  const run = new docker.Volume(
    `${node.name}-run`,
    { name: dockerName(site.stack, node.name, "run"), labels: site.labels },
    { parent },
  );
  const cluster = "cluster" in place ? place.cluster : undefined;
  const files = new ConfigFiles(
    `${node.name}-config`,
    {
      site,
      image: site.postgresImage,
      group: "postgres",
      files: {
        // Of a cluster's servers Patroni writes the settings; a restore reads them here.
        "postgresql.conf": postgresConf(hostname, node.settings),
        "pg_hba.conf": PG_HBA,
        "roles.sql": credentials.rolesSql,
        ...args.repository.files,
        "pgbackrest.conf": args.repository.serverConfig(cluster !== undefined),
        ...(cluster ? { "patroni.yml": cluster.patroniYaml(node.name) } : {}),
      },
    },
    { parent },
  );
  // Clients name the host they connected to, which may be the router: its names are on every server's certificate. The first is
  // whose it is: Citus' nodes know each other by it.
  const { standsFor } = cluster ?? {};
  const others = [...(cluster?.routerNames ?? []), ...(standsFor?.names ?? [])];
  const names = [node.name, "localhost", "127.0.0.1", hostname, ...others];
  const container = new docker.Container(
    node.name,
    {
      ...containerDefaults(site, node.hardware),
      ...onNetwork(site, node.name, ...(standsFor?.bearsNames ? standsFor.names : [])),
      name: hostname,
      hostname,
      image: site.postgresImage.id,
      command: [cluster ? "patroni" : "postgres"],
      envs: [`CGRAPH_TLS_NAMES=${names.join(",")}`],
      volumes: [
        { volumeName: data.name, containerPath: "/var/lib/postgresql" },
        { volumeName: run.name, containerPath: "/run/postgresql" },
        { volumeName: files.volumeName, containerPath: CONFIG_DIRECTORY },
        { volumeName: args.repository.volumeName, containerPath: REPOSITORY_DIRECTORY },
        { volumeName: site.tlsVolumeName, containerPath: "/var/lib/cgraph-tls" },
      ],
      ...("port" in place ? { ports: [onLocalhost(5432, place.port)] } : {}),
      shmSize: SHM_MIB,
      ...HEALTH,
      // A server of a cluster is waited for by the command, with the others: its clients' way must not wait for its health.
      wait: !cluster,
      // A database that comes from the repository takes its time.
      ...(args.repository.restores && { waitTimeout: A_WEEK_SECONDS }),
      // A fast shutdown, with time for its checkpoint: killing it would mean crash recovery.
      stopSignal: "SIGINT",
      stopTimeout: 120,
      destroyGraceSeconds: 120,
    },
    { parent, deleteBeforeReplace: true, dependsOn: [files, ...(cluster ? [cluster] : [])] },
  );
  return {
    name: node.name,
    containerName: container.name,
    containerId: container.id,
    cpus: node.hardware.cpus,
    dataVolumeName: data.name,
    runVolumeName: run.name,
  };
}
