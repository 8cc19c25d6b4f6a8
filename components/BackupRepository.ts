import * as docker from "@pulumi/docker";
import * as pulumi from "@pulumi/pulumi";
import type { PostgresMajor } from "../tuning/hardware.ts";
import type { Credentials } from "./Credentials.ts";
import type { Site } from "./docker/DockerSite.ts";
import { dockerName, driverOptions } from "./docker/names.ts";
import type { S3Repository } from "../stacks/backupConfig.ts";
import {
  CA_FILE,
  RESTORE_FIRST_FILE,
  type RepositoryConf,
  backupContainerConf,
  serverBackupConf,
} from "./docker/pgbackrestFiles.ts";

export interface BackupRepositoryArgs {
  readonly site: Site;
  readonly credentials: Credentials;
  readonly postgresVersion: PostgresMajor;
  /** Days that full backups, and the WAL to replay from them, are kept; guide: 7. */
  readonly retentionDays: number;
  /** Options of Docker's local volume driver; none: where Docker keeps its volumes. */
  readonly volumeOptions: Readonly<Record<string, string>> | undefined;
  /** A bucket instead of the volume, with its keys; none: who asks for a role's at the machine it is on (AWS). */
  readonly s3: (S3Repository & { readonly keys: S3Keys | undefined }) | undefined;
  /** Arguments of `pgbackrest restore` for a server that has no data yet; none: it makes a database of its own. */
  readonly restoreFirst?: readonly string[] | undefined;
  /** Begins the volume's name where a stack has several repositories, as in `shard1-`; default none. */
  readonly prefix?: string;
}

export interface S3Keys {
  readonly id: pulumi.Input<string>;
  readonly secret: pulumi.Input<string>;
}

/**
 * Where backups and archived WAL go: an encrypted pgBackRest repository, in a bucket or on a volume of its own. The volume
 * is there in any case: what is known of the backups lies on it, restore points and verifications.
 */
export class BackupRepository extends pulumi.ComponentResource {
  readonly volumeName: pulumi.Output<string>;
  /** Whether it is reached over the network. */
  readonly remote: boolean;
  /** Whether a server that has no data yet begins with what is here. */
  readonly restores: boolean;
  /** What belongs beside each pgbackrest.conf. */
  readonly files: Readonly<Record<string, string>>;
  readonly #conf: pulumi.Output<RepositoryConf & { dataDirectory: string }>;

  constructor(name: string, args: BackupRepositoryArgs, opts?: pulumi.ComponentResourceOptions) {
    super("cgraph:backup:BackupRepository", name, {}, opts);
    const child = `${args.prefix ?? ""}backups`;
    const volumeName = dockerName(args.site.stack, child);
    const driverOpts = driverOptions(args.volumeOptions, volumeName);
    const volume = new docker.Volume(
      child,
      { name: volumeName, labels: args.site.labels, ...(driverOpts && { driver: "local", driverOpts }) },
      { parent: this, protect: true, retainOnDelete: true, ignoreChanges: ["labels"] },
    );
    this.volumeName = volume.name;
    const { s3 } = args;
    const suffix = args.prefix === undefined ? "" : `-${args.prefix.replace(/-$/, "")}`;
    this.remote = s3 !== undefined;
    this.restores = args.restoreFirst !== undefined;
    this.files = {
      ...(s3?.ca !== undefined && { [CA_FILE]: s3.ca }),
      ...(args.restoreFirst && { [RESTORE_FIRST_FILE]: args.restoreFirst.map((line) => `${line}\n`).join("") }),
    };
    this.#conf = pulumi.all([args.credentials.backupKey, s3?.keys]).apply(([key, keys]) => ({
      key,
      // Each repository a folder of its own, also in one bucket.
      s3: s3 && { ...s3, path: `${s3.path ?? `/${args.site.stack}`}${suffix}`, keys },
      dataDirectory: `/var/lib/postgresql/${args.postgresVersion}/data`,
      retentionDays: args.retentionDays,
    }));
    this.registerOutputs({ volumeName: this.volumeName });
  }

  /** pgbackrest.conf of a server, alone or of a cluster; secret, as it holds the repository's key. */
  serverConfig(clustered: boolean): pulumi.Output<string> {
    return this.#conf.apply((conf) => serverBackupConf({ ...conf, clustered }));
  }

  /** pgbackrest.conf of the container that takes backups of these servers of a cluster, or of one on its own; secret. */
  backupConfig(clusterNodes: readonly string[]): pulumi.Output<string> {
    return this.#conf.apply((conf) => backupContainerConf({ ...conf, clusterNodes }));
  }
}
