import { BackupRepository } from "../components/BackupRepository.ts";
import { Credentials } from "../components/Credentials.ts";
import { DockerSite } from "../components/docker/DockerSite.ts";
import type { StackConfig } from "./config.ts";
import type { Topology } from "./topology.ts";

/** What every stage stands on: secrets, network and images, the repository of backups. */
export interface Foundation {
  readonly credentials: Credentials;
  readonly site: DockerSite;
  readonly repository: BackupRepository;
}

/** Makes it; names are the same in every stage. */
export function foundation(stack: string, config: StackConfig, topology: Topology): Foundation {
  const { postgresVersion, baseImage } = config;
  const credentials = new Credentials("credentials", {
    cache: topology.cache !== undefined,
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
    retentionDays: config.backupRetentionDays,
  });
  return { credentials, site, repository };
}
