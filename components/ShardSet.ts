import * as pulumi from "@pulumi/pulumi";
import type { AwsNode } from "../stacks/aws/plan.ts";
import type { DatabaseCluster } from "../stacks/topology.ts";
import type { RdsPrimaryArgs, RdsServer } from "./aws/rdsInstance.ts";
import type { BackupRepository } from "./BackupRepository.ts";
import type { BackupsArgs } from "./Backups.ts";
import type { Cluster, ClusterArgs } from "./docker/cluster.ts";
import {
  type ClusterServers,
  type CommonClusterArgs,
  clusterRepositories,
  clusterServers,
} from "./docker/clusterServers.ts";
import { FIRST_CLUSTER, clusterScope } from "./docker/shardRoutes.ts";
import { PrimaryDb } from "./PrimaryDb.ts";
import { ReadReplicaSet } from "./ReadReplicaSet.ts";

export interface ContainerShardSetArgs extends CommonClusterArgs {
  /** The first cluster, shard 0: the others share its etcd. */
  readonly first: Cluster;
  readonly firstRepository: BackupRepository;
  /** All others: the global database's and the other shards'. */
  readonly clusters: readonly DatabaseCluster[];
  /** Logical slots of a cluster that outlive a failover. */
  readonly slotsOf: (cluster: string) => ClusterArgs["slots"];
  /** Databases of a cluster that clients reach beside the application's. */
  readonly databasesOf: (cluster: string) => readonly string[];
  /** Makes the other regions, given where each cluster's backups are; gives a cluster's servers there. */
  readonly regionsOf: (repositoryOf: (cluster: string) => BackupRepository) => (cluster: string) => BackupsArgs["far"];
}

export interface RdsShardSetArgs extends Omit<RdsPrimaryArgs, "node"> {
  /** All clusters beside the first: the global database's and the other shards', the primary first in each. */
  readonly clusters: readonly { readonly name: string; readonly nodes: readonly AwsNode[] }[];
}

export type ShardSetArgs = ContainerShardSetArgs | RdsShardSetArgs;

/** One of the clusters on RDS: its servers, the primary-to-be first. RDS backs them up. */
export interface RdsShardCluster {
  readonly name: string;
  readonly servers: readonly RdsServer[];
}

export type ShardCluster = Omit<ClusterServers, "cluster">;

/**
 * The clusters of a sharded stack beside its first: each a primary with replicas, under Patroni with a repository of
 * backups of its own, or on RDS. A name begins with its cluster's (`shard1-pg0`), so that shards come and go without touching the
 * others.
 */
export class ShardSet<Args extends ShardSetArgs> extends pulumi.ComponentResource {
  readonly clusters: readonly (Args extends RdsShardSetArgs ? RdsShardCluster : ShardCluster)[];

  constructor(name: string, args: Args, opts?: pulumi.ComponentResourceOptions) {
    super("cgraph:db:ShardSet", name, {}, opts);
    const given: ShardSetArgs = args;
    const clusters: readonly (ShardCluster | RdsShardCluster)[] =
      "target" in given ? given.clusters.map((cluster) => this.#onRds(cluster, given)) : this.#inContainers(given);
    this.clusters = clusters as typeof this.clusters;
    this.registerOutputs({ clusters: clusters.map((cluster) => cluster.name) });
  }

  #onRds({ name, nodes }: RdsShardSetArgs["clusters"][number], args: RdsShardSetArgs): RdsShardCluster {
    const [first, ...others] = nodes;
    if (!first) throw new Error(`cluster ${name} has no server`);
    const child = { parent: this };
    const { site, place, postgresVersion, applyImmediately } = args;
    const primary = new PrimaryDb(`${name}-primary`, { ...args, node: first }, child);
    const replicas = new ReadReplicaSet(
      `${name}-replicas`,
      { target: "aws", site, place, postgresVersion, applyImmediately, source: primary.server, nodes: others },
      child,
    );
    return { name, servers: [primary.server, ...replicas.servers] };
  }

  #inContainers(args: ContainerShardSetArgs): ShardCluster[] {
    const repositoryOf = clusterRepositories(args.clusters, args, this);
    const farOf = args.regionsOf((cluster) =>
      cluster === FIRST_CLUSTER ? args.firstRepository : repositoryOf(cluster),
    );
    const { first: beside, slotsOf, databasesOf } = args;
    return args.clusters.map(({ name, nodes }) => {
      const scope = clusterScope(args.site.stack, name, args.dataGenerations.at(-1));
      const one = { name, nodes, scope, beside, repository: repositoryOf(name) };
      return clusterServers(
        { ...one, slots: slotsOf(name), databases: databasesOf(name), far: farOf(name) },
        args,
        this,
      );
    });
  }
}
