import * as pulumi from "@pulumi/pulumi";
import type { AwsNode } from "../stacks/aws/plan.ts";
import type { PostgresNode } from "../stacks/topology.ts";
import { type RdsReplicaArgs, type RdsServer, rdsReplica } from "./aws/rdsInstance.ts";
import type { Cluster } from "./docker/cluster.ts";
import { type PostgresContainerArgs, type PostgresServer, postgresContainer } from "./docker/postgresContainer.ts";

export interface ContainerReplicasArgs extends Omit<PostgresContainerArgs, "node" | "place"> {
  readonly cluster: Cluster;
  readonly nodes: readonly PostgresNode[];
}

export interface RdsReplicasArgs extends Omit<RdsReplicaArgs, "node"> {
  readonly target: "aws";
  readonly nodes: readonly AwsNode[];
}

export type ReadReplicaSetArgs = ContainerReplicasArgs | RdsReplicasArgs;

/**
 * Streaming replicas of the primary: each copies it when it has no data, serves reads, and can take over when the primary
 * is lost. Which of the servers is primary at a time is the cluster's to say, not a resource's.
 */
export class ReadReplicaSet<Args extends ReadReplicaSetArgs> extends pulumi.ComponentResource {
  readonly servers: readonly (Args extends RdsReplicasArgs ? RdsServer : PostgresServer)[];

  constructor(name: string, args: Args, opts?: pulumi.ComponentResourceOptions) {
    super("cgraph:db:ReadReplicaSet", name, {}, opts);
    const servers = this.#make(args);
    this.servers = servers as unknown as typeof this.servers;
    this.registerOutputs({
      names: servers.map((server) => ("address" in server ? server.identifier : server.containerName)),
    });
  }

  #make(args: ReadReplicaSetArgs): (RdsServer | PostgresServer)[] {
    if ("target" in args) {
      const { nodes, ...common } = args;
      return nodes.map((node) => rdsReplica({ ...common, node }, this));
    }
    const { nodes, cluster, ...common } = args;
    return nodes.map((node) => postgresContainer({ ...common, node, place: { cluster } }, this));
  }
}
