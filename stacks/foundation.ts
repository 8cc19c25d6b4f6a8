import * as pulumi from "@pulumi/pulumi";
import { BackupRepository, type BackupRepositoryArgs, type S3Keys } from "../components/BackupRepository.ts";
import { Credentials } from "../components/Credentials.ts";
import { DockerSite } from "../components/docker/DockerSite.ts";
import { UserError } from "../tuning/errors.ts";
import type { StackConfig } from "./config.ts";
import type { Topology } from "./topology.ts";

/** What every stage stands on: secrets, network and images, the repository of backups. */
export interface Foundation {
  readonly credentials: Credentials;
  readonly site: DockerSite;
  readonly repository: BackupRepository;
}

/** The bucket's keys from the configuration. Throws a UserError where there is only one of the two. */
function s3Keys(): S3Keys | undefined {
  const secrets = new pulumi.Config("cgraph");
  const [id, secret] = [secrets.getSecret("backupS3KeyId"), secrets.getSecret("backupS3KeySecret")];
  if (id && secret) return { id, secret };
  if (!id && !secret) return undefined;
  const missing = id ? "backupS3KeySecret" : "backupS3KeyId";
  throw new UserError(`cgraph:${missing} is not set`, `set it: ./cgraph-db config set ${missing} --secret`);
}

/** How long backups are kept, and where: of every repository of a stack. */
export const repositoryOptions = (
  config: StackConfig,
): Pick<BackupRepositoryArgs, "retentionDays" | "volumeOptions" | "s3"> => ({
  retentionDays: config.backups.retentionDays,
  volumeOptions: config.backupVolumeOptions,
  s3: config.backups.s3 && { ...config.backups.s3, keys: s3Keys() },
});

/** Makes it; names are the same in every stage. */
export function foundation(stack: string, config: StackConfig, topology: Topology): Foundation {
  const { postgresVersion, baseImage } = config;
  const credentials = new Credentials("credentials", {
    cache: topology.cache !== undefined,
    backupKey: new pulumi.Config("cgraph").getSecret("backupKey"),
    generations: config.passwordGenerations,
  });
  const site = new DockerSite("site", {
    stack,
    postgresVersion,
    baseImage,
    services: config.stage > 1,
    monitoring: config.monitoring.enabled,
  });
  const repository = new BackupRepository("backup-repository", {
    site,
    credentials,
    postgresVersion,
    restoreFirst: config.backups.restoreFirst,
    ...repositoryOptions(config),
  });
  return { credentials, site, repository };
}
