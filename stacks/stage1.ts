import * as pulumi from "@pulumi/pulumi";
import { Backups } from "../components/Backups.ts";
import type { PostgresServer } from "../components/docker/postgresContainer.ts";
import { PrimaryDb } from "../components/PrimaryDb.ts";
import type { StackConfig } from "./config.ts";
import { type Foundation, foundation } from "./foundation.ts";
import { type MonitoringOutputs, monitor } from "./monitor.ts";
import { type StackOutputs, describeNode } from "./outputs.ts";
import type { PostgresNode, Topology } from "./topology.ts";

/** Stage 1: one tuned PostgreSQL server with its backups. */
export function stage1(stack: string, config: StackConfig, topology: Topology): StackOutputs {
  const [node] = topology.nodes;
  if (!node) throw new Error("stage 1 has no node");
  const base = foundation(stack, config, topology);
  const { credentials, site, repository } = base;
  const { server } = new PrimaryDb("primary", {
    site,
    node,
    postgresVersion: config.postgresVersion,
    credentials,
    repository,
    dataGenerations: config.dataGenerations,
    dataVolumeOptions: config.dataVolumeOptions,
    place: { port: config.ports.write },
  });
  const backups = new Backups("backups", {
    site,
    servers: [server],
    clustered: false,
    repository,
    intervalHours: config.backups.intervalHours,
    fullDays: config.backups.fullDays,
  });
  const watching = monitor(config, base, { servers: [server], backups }, [backups]);
  return aloneOutputs({ config, node, server, base, backups, watching, notes: topology.notes });
}

export interface Alone {
  readonly config: StackConfig;
  readonly node: PostgresNode;
  readonly server: PostgresServer;
  readonly base: Foundation;
  readonly backups: Backups;
  readonly watching: MonitoringOutputs;
  readonly notes: readonly string[];
}

/** What a server on its own tells the commands. */
export function aloneOutputs({ config, node, server, base, backups, watching, notes }: Alone): StackOutputs {
  const { credentials, site } = base;
  const endpoint = { host: "localhost", port: config.ports.write };
  return {
    stage: 1,
    target: "docker",
    postgresVersion: config.postgresVersion,
    nodes: [describeNode(node, server, { ...endpoint, image: site.postgresImage.name })],
    services: watching.services,
    endpoints: { write: endpoint, read: null, pool: null, cache: null, ...watching.endpoints },
    pool: null,
    cache: null,
    sharding: null,
    citus: null,
    arriving: null,
    regions: null,
    backupContainer: backups.containerName,
    notes,
    passwordGenerations: credentials.generations,
    passwords: credentials.passwords,
    otherPasswords: credentials.otherPasswords,
    backupKey: pulumi.secret(credentials.backupKey),
    cachePassword: null,
  };
}
