import * as pulumi from "@pulumi/pulumi";
import type { DatabaseCluster } from "../stacks/topology.ts";
import { Backups, type BackupsArgs } from "./Backups.ts";
import { BackupRepository, type BackupRepositoryArgs } from "./BackupRepository.ts";
import { Cluster, type ClusterArgs } from "./docker/cluster.ts";
import type { PostgresContainerArgs, PostgresServer } from "./docker/postgresContainer.ts";
import { PrimaryDb } from "./PrimaryDb.ts";
import { ReadReplicaSet } from "./ReadReplicaSet.ts";

export interface ShardSetArgs
  extends
    Omit<PostgresContainerArgs, "node" | "place" | "repository">,
    Pick<BackupRepositoryArgs, "retentionDays" | "volumeOptions" | "s3">,
    Pick<BackupsArgs, "intervalHours" | "fullDays">,
    Pick<ClusterArgs, "etcdMembers" | "synchronous" | "routerNames"> {
  /** The first cluster, shard 0: the others share its etcd. */
  readonly first: Cluster;
  /** All others: the global database's and the other shards'. */
  readonly clusters: readonly DatabaseCluster[];
  /** Logical slots of a cluster that outlive a failover. */
  readonly slotsOf: (cluster: string) => ClusterArgs["slots"];
  /** Databases of a cluster that clients reach beside the application's. */
  readonly databasesOf: (cluster: string) => readonly string[];
}

/** One of the clusters: its servers, the primary-to-be first, and what backs it up. */
export interface ShardCluster {
  readonly name: string;
  readonly servers: readonly PostgresServer[];
  readonly backups: Backups;
}

/**
 * The clusters of a sharded stack beside its first: each a primary with replicas under Patroni, with a repository of
 * backups of its own. A name begins with its cluster's (`shard1-pg0`), so that shards come and go without touching the
 * others.
 */
export class ShardSet extends pulumi.ComponentResource {
  readonly clusters: readonly ShardCluster[];

  constructor(name: string, args: ShardSetArgs, opts?: pulumi.ComponentResourceOptions) {
    super("cgraph:db:ShardSet", name, {}, opts);
    this.clusters = args.clusters.map((cluster) => this.#cluster(cluster, args));
    this.registerOutputs({ clusters: this.clusters.map((cluster) => cluster.name) });
  }

  #cluster({ name, nodes }: DatabaseCluster, args: ShardSetArgs): ShardCluster {
    const [first, ...others] = nodes;
    if (!first) throw new Error(`cluster ${name} has no server`);
    const { site, credentials, postgresVersion, dataGenerations, dataVolumeOptions } = args;
    const { retentionDays, volumeOptions, s3, intervalHours, fullDays } = args;
    const child = { parent: this };
    const prefix = `${name}-`;
    const repository = new BackupRepository(
      `${prefix}backup-repository`,
      { site, credentials, postgresVersion, retentionDays, volumeOptions, s3, prefix },
      child,
    );
    const cluster = new Cluster(
      `${prefix}cluster`,
      {
        site,
        credentials,
        postgresVersion,
        scope: `${site.stack}-${name}-${dataGenerations.at(-1)}`,
        etcdMembers: args.etcdMembers,
        firstNode: first.name,
        settings: first.settings,
        synchronous: args.synchronous,
        slots: args.slotsOf(name),
        routerNames: args.routerNames,
        databases: args.databasesOf(name),
        beside: args.first,
      },
      child,
    );
    const common = { site, postgresVersion, credentials, repository, dataGenerations, dataVolumeOptions };
    const primary = new PrimaryDb(`${prefix}primary`, { ...common, node: first, place: { cluster } }, child);
    const replicas = new ReadReplicaSet(`${prefix}replicas`, { ...common, cluster, nodes: others }, child);
    const servers = [primary.server, ...replicas.servers];
    const backups = new Backups(
      `${prefix}backups`,
      { site, servers, clustered: true, repository, intervalHours, fullDays, prefix },
      child,
    );
    return { name, servers, backups };
  }
}
