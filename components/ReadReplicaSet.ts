import * as pulumi from "@pulumi/pulumi";
import type { PostgresNode } from "../stacks/topology.ts";
import type { Cluster } from "./docker/cluster.ts";
import { type PostgresContainerArgs, type PostgresServer, postgresContainer } from "./docker/postgresContainer.ts";

export interface ReadReplicaSetArgs extends Omit<PostgresContainerArgs, "node" | "place"> {
  readonly cluster: Cluster;
  readonly nodes: readonly PostgresNode[];
}

/**
 * Streaming replicas of the primary: each copies it when it has no data, serves reads, and takes over when the primary
 * is lost. Which of the servers is primary at a time is the cluster's to say, not a resource's.
 */
export class ReadReplicaSet extends pulumi.ComponentResource {
  readonly servers: readonly PostgresServer[];

  constructor(name: string, args: ReadReplicaSetArgs, opts?: pulumi.ComponentResourceOptions) {
    super("cgraph:db:ReadReplicaSet", name, {}, opts);
    const { nodes, cluster, ...common } = args;
    this.servers = nodes.map((node) => postgresContainer({ ...common, node, place: { cluster } }, this));
    this.registerOutputs({ containerNames: this.servers.map((server) => server.containerName) });
  }
}
