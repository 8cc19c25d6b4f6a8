import * as pulumi from "@pulumi/pulumi";
import { BackupRepository } from "../components/BackupRepository.ts";
import { Backups } from "../components/Backups.ts";
import { Credentials } from "../components/Credentials.ts";
import { DockerSite } from "../components/docker/DockerSite.ts";
import { PrimaryDb } from "../components/PrimaryDb.ts";
import type { StackConfig } from "./config.ts";
import { type StackOutputs, describeNode } from "./outputs.ts";
import type { Topology } from "./topology.ts";

/** Stage 1: one tuned PostgreSQL server with its backups. */
export function stage1(stack: string, config: StackConfig, topology: Topology): StackOutputs {
  const [node] = topology.nodes;
  if (!node) throw new Error("stage 1 has no node");
  const { postgresVersion } = config;
  const credentials = new Credentials("credentials");
  const site = new DockerSite("site", { stack, postgresVersion, baseImage: config.baseImage });
  const repository = new BackupRepository("backup-repository", {
    site,
    credentials,
    postgresVersion,
    retentionDays: config.backupRetentionDays,
  });
  const primary = new PrimaryDb("primary", {
    site,
    node,
    postgresVersion,
    credentials,
    repository,
    dataGenerations: config.dataGenerations,
    port: config.port,
  });
  const backups = new Backups("backups", { site, primary, repository, intervalHours: config.backupIntervalHours });
  return {
    stage: config.stage,
    target: config.target,
    postgresVersion,
    nodes: [
      pulumi
        .all([primary.host, primary.port, primary.containerName, primary.dataVolumeName])
        .apply(([host, port, container, dataVolume]) =>
          describeNode(node, { host, port, container, dataVolume, image: site.postgresImageName }),
        ),
    ],
    backupContainer: backups.containerName,
    notes: topology.notes,
    passwords: pulumi.secret(pulumi.output(credentials.passwords)),
    backupKey: pulumi.secret(credentials.backupKey),
  };
}
