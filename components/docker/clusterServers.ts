import type * as pulumi from "@pulumi/pulumi";
import { Backups, type BackupsArgs } from "../Backups.ts";
import { BackupRepository, type BackupRepositoryArgs } from "../BackupRepository.ts";
import { PrimaryDb } from "../PrimaryDb.ts";
import { ReadReplicaSet } from "../ReadReplicaSet.ts";
import type { DatabaseCluster } from "../../stacks/topology.ts";
import { Cluster, type ClusterArgs } from "./cluster.ts";
import type { PostgresContainerArgs, PostgresServer } from "./postgresContainer.ts";

/** What several clusters of one stack have in common. */
export interface CommonClusterArgs
  extends
    Omit<PostgresContainerArgs, "node" | "place" | "repository">,
    Pick<BackupRepositoryArgs, "retentionDays" | "volumeOptions" | "s3">,
    Pick<BackupsArgs, "intervalHours" | "fullDays">,
    Pick<ClusterArgs, "etcdMembers" | "synchronous" | "routerNames" | "regional"> {}

/** One of several clusters. */
export interface OneClusterArgs
  extends DatabaseCluster, Pick<ClusterArgs, "scope" | "slots" | "databases" | "beside" | "citus"> {
  readonly far?: BackupsArgs["far"];
  /** Its repository of backups. */
  readonly repository: BackupRepository;
}

/** Its servers, the primary-to-be first, and what backs it up. */
export interface ClusterServers {
  readonly name: string;
  readonly cluster: Cluster;
  readonly servers: readonly PostgresServer[];
  readonly backups: Backups;
}

/** Makes each cluster's repository of backups; a cluster's servers in other regions need it too. */
export function clusterRepositories(
  clusters: readonly DatabaseCluster[],
  { site, credentials, postgresVersion, retentionDays, volumeOptions, s3 }: CommonClusterArgs,
  parent: pulumi.Resource,
): (cluster: string) => BackupRepository {
  const common = { site, credentials, postgresVersion, retentionDays, volumeOptions, s3 };
  const made = new Map(
    clusters.map(({ name }) => [
      name,
      new BackupRepository(`${name}-backup-repository`, { ...common, prefix: `${name}-` }, { parent }),
    ]),
  );
  return (name) => {
    const found = made.get(name);
    if (!found) throw new Error(`there is no cluster ${name}`);
    return found;
  };
}

/**
 * One of a stack's clusters: a primary with replicas under Patroni, a repository of backups of its own. Names begin with the
 * cluster's (`shard1-pg0`), so that clusters come and go without touching the others.
 */
export function clusterServers(
  { name, nodes, scope, slots, databases, beside, citus, far, repository }: OneClusterArgs,
  args: CommonClusterArgs,
  parent: pulumi.Resource,
): ClusterServers {
  const [first, ...others] = nodes;
  if (!first) throw new Error(`cluster ${name} has no server`);
  const { site, credentials, postgresVersion, dataGenerations, dataVolumeOptions } = args;
  const { intervalHours, fullDays } = args;
  const child = { parent };
  const prefix = `${name}-`;
  const cluster = new Cluster(
    `${prefix}cluster`,
    {
      ...{ site, credentials, postgresVersion, scope, slots, beside },
      ...(databases && { databases }),
      ...(citus && { citus }),
      etcdMembers: args.etcdMembers,
      firstNode: first.name,
      settings: first.settings,
      synchronous: args.synchronous,
      routerNames: args.routerNames,
      regional: args.regional,
    },
    child,
  );
  const common = { site, postgresVersion, credentials, repository, dataGenerations, dataVolumeOptions };
  const primary = new PrimaryDb(`${prefix}primary`, { ...common, node: first, place: { cluster } }, child);
  const replicas = new ReadReplicaSet(`${prefix}replicas`, { ...common, cluster, nodes: others }, child);
  const servers = [primary.server, ...replicas.servers];
  const backups = new Backups(
    `${prefix}backups`,
    {
      ...{ site, servers, clustered: true, repository, intervalHours, fullDays, prefix, far: far ?? [] },
      // In other regions others have the names that Citus' nodes have at home.
      byContainer: citus !== undefined && far !== undefined && far.length > 0,
    },
    child,
  );
  return { name, cluster, servers, backups };
}
