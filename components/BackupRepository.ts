import * as docker from "@pulumi/docker";
import * as pulumi from "@pulumi/pulumi";
import type { PostgresMajor } from "../tuning/hardware.ts";
import type { Credentials } from "./Credentials.ts";
import type { DockerSite } from "./docker/DockerSite.ts";
import { dockerName } from "./docker/names.ts";
import { pgbackrestConf } from "./docker/postgresFiles.ts";

export interface BackupRepositoryArgs {
  readonly site: DockerSite;
  readonly credentials: Credentials;
  readonly postgresVersion: PostgresMajor;
  /** Days that full backups, and the WAL to replay from them, are kept; guide: 7. */
  readonly retentionDays: number;
}

/** Where backups and archived WAL go: an encrypted pgBackRest repository on a volume of its own. */
export class BackupRepository extends pulumi.ComponentResource {
  readonly volumeName: pulumi.Output<string>;
  /** pgbackrest.conf; secret, as it holds the repository's key. */
  readonly config: pulumi.Output<string>;

  constructor(name: string, args: BackupRepositoryArgs, opts?: pulumi.ComponentResourceOptions) {
    super("cgraph:backup:BackupRepository", name, {}, opts);
    const volume = new docker.Volume(
      "backups",
      { name: dockerName(args.site.stack, "backups"), labels: args.site.labels },
      { parent: this, protect: true, retainOnDelete: true, ignoreChanges: ["labels"] },
    );
    this.volumeName = volume.name;
    this.config = args.credentials.backupKey.apply((key) =>
      pgbackrestConf({
        key,
        dataDirectory: `/var/lib/postgresql/${args.postgresVersion}/data`,
        retentionDays: args.retentionDays,
      }),
    );
    this.registerOutputs({ volumeName: this.volumeName });
  }
}
