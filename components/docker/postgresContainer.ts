import * as docker from "@pulumi/docker";
import type * as pulumi from "@pulumi/pulumi";
import type { PostgresNode } from "../../stacks/topology.ts";
import type { PostgresMajor } from "../../tuning/hardware.ts";
import type { BackupRepository } from "../BackupRepository.ts";
import type { Credentials } from "../Credentials.ts";
import { containerDefaults } from "./container.ts";
import type { DockerSite } from "./DockerSite.ts";
import { dataVolumeName, dockerName } from "./names.ts";
import { CONFIG_DIRECTORY, PG_HBA, REPOSITORY_DIRECTORY, postgresConf } from "./postgresFiles.ts";

export interface PostgresContainerArgs {
  readonly site: DockerSite;
  readonly node: PostgresNode;
  readonly postgresVersion: PostgresMajor;
  readonly credentials: Credentials;
  readonly repository: BackupRepository;
  /** Data volumes that are kept, ascending; the last one is used. */
  readonly dataGenerations: readonly number[];
  /** Port on the host's 127.0.0.1. */
  readonly port: number;
}

export interface PostgresContainer {
  readonly container: docker.Container;
  readonly dataVolumeName: pulumi.Output<string>;
  readonly runVolumeName: pulumi.Output<string>;
}

/** A PostgreSQL server in a container: its data volumes (protected, retained), its socket volume, the container. */
export function postgresContainer(args: PostgresContainerArgs, parent: pulumi.Resource): PostgresContainer {
  const { site, node } = args;
  const hostname = dockerName(site.stack, node.name);
  const volumes = args.dataGenerations.map(
    (generation) =>
      new docker.Volume(
        `${node.name}-data${generation === 1 ? "" : `-${generation}`}`,
        { name: dataVolumeName(site.stack, node.name, generation), labels: site.labels },
        { parent, protect: true, retainOnDelete: true, ignoreChanges: ["labels"] },
      ),
  );
  const data = volumes.at(-1);
  if (!data) throw new Error("dataGenerations is empty");
  // The server's socket, shared with the backup schedule, which then needs no password.
  const run = new docker.Volume(
    `${node.name}-run`,
    { name: dockerName(site.stack, node.name, "run"), labels: site.labels },
    { parent },
  );
  const upload = (file: string, content: pulumi.Input<string>) => ({
    file: `${CONFIG_DIRECTORY}/${file}`,
    content,
    permissions: "0644",
  });
  const container = new docker.Container(
    node.name,
    {
      ...containerDefaults(site, node.hardware),
      name: hostname,
      hostname,
      image: site.postgresImageId,
      envs: [`CGRAPH_TLS_NAMES=localhost,127.0.0.1,${hostname},${node.name}`],
      uploads: [
        upload("postgresql.conf", postgresConf(hostname, node.settings)),
        upload("pg_hba.conf", PG_HBA),
        upload("roles.sql", args.credentials.rolesSql),
        upload("pgbackrest.conf", args.repository.config),
      ],
      volumes: [
        { volumeName: data.name, containerPath: "/var/lib/postgresql" },
        { volumeName: run.name, containerPath: "/run/postgresql" },
        { volumeName: args.repository.volumeName, containerPath: REPOSITORY_DIRECTORY },
        { volumeName: site.tlsVolumeName, containerPath: "/var/lib/cgraph-tls" },
      ],
      ports: [{ internal: 5432, external: args.port, ip: "127.0.0.1" }],
      networkMode: "bridge",
      networksAdvanced: [{ name: site.networkName, aliases: [node.name] }],
      // Parallel queries share memory through /dev/shm.
      shmSize: Math.max(64, Math.floor(node.hardware.memoryMiB / 4)),
      healthcheck: {
        tests: ["CMD", "cgraph-healthcheck"],
        // The check itself waits: until the server answers while it starts, and between looks once it has.
        interval: "500ms",
        timeout: "15s",
        retries: 6,
        startPeriod: "10m0s",
      },
      wait: true,
      waitTimeout: 600,
      // A fast shutdown, with time for its checkpoint: killing it would mean crash recovery.
      stopSignal: "SIGINT",
      stopTimeout: 120,
      destroyGraceSeconds: 120,
    },
    { parent, deleteBeforeReplace: true },
  );
  return { container, dataVolumeName: data.name, runVolumeName: run.name };
}
