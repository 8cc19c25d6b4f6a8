import * as pulumi from "@pulumi/pulumi";
import { Backups } from "../components/Backups.ts";
import { PrimaryDb } from "../components/PrimaryDb.ts";
import type { StackConfig } from "./config.ts";
import { foundation } from "./foundation.ts";
import { type StackOutputs, describeNode } from "./outputs.ts";
import type { Topology } from "./topology.ts";

/** Stage 1: one tuned PostgreSQL server with its backups. */
export function stage1(stack: string, config: StackConfig, topology: Topology): StackOutputs {
  const [node] = topology.nodes;
  if (!node) throw new Error("stage 1 has no node");
  const { credentials, site, repository } = foundation(stack, config, topology);
  const endpoint = { host: "localhost", port: config.ports.write };
  const { server } = new PrimaryDb("primary", {
    site,
    node,
    postgresVersion: config.postgresVersion,
    credentials,
    repository,
    dataGenerations: config.dataGenerations,
    place: { port: config.ports.write },
  });
  const backups = new Backups("backups", {
    site,
    servers: [server],
    repository,
    intervalHours: config.backupIntervalHours,
  });
  return {
    stage: config.stage,
    target: "docker",
    postgresVersion: config.postgresVersion,
    nodes: [describeNode(node, server, { ...endpoint, image: site.postgresImage.name })],
    services: [],
    endpoints: { write: endpoint, read: null, pool: null, cache: null },
    pool: null,
    cache: null,
    backupContainer: backups.containerName,
    notes: topology.notes,
    passwords: pulumi.secret(pulumi.output(credentials.passwords)),
    backupKey: pulumi.secret(credentials.backupKey),
    cachePassword: null,
  };
}
