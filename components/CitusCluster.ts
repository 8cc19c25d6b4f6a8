import * as pulumi from "@pulumi/pulumi";
import type { CitusPlan, DatabaseCluster } from "../stacks/topology.ts";
import { CITUS_IDENT_RULES, citusHbaRules } from "./docker/citusFiles.ts";
import { COORDINATOR, citusGroup } from "./docker/citusNames.ts";
import type { Cluster } from "./docker/cluster.ts";
import {
  type ClusterServers,
  type CommonClusterArgs,
  clusterRepositories,
  clusterServers,
} from "./docker/clusterServers.ts";
import { citusScope } from "./docker/shardRoutes.ts";
import { type CitusOnEc2, type Ec2CitusClusterArgs, citusOnEc2 } from "./aws/citusOnEc2.ts";
import type { BackupRepository } from "./BackupRepository.ts";
import type { BackupsArgs } from "./Backups.ts";
import { DATABASE } from "./roles.ts";

export interface ContainerCitusClusterArgs extends CommonClusterArgs {
  /** The coordinator's servers, the primary-to-be first. */
  readonly coordinator: DatabaseCluster["nodes"];
  readonly plan: CitusPlan;
  /** A cluster whose etcd the nodes share; default: the coordinator has one, and the workers share that. */
  readonly beside?: Cluster | undefined;
  /** Makes the regions beside home, given where each cluster's backups are; default: there are none. */
  readonly regionsOf?: (repositoryOf: (cluster: string) => BackupRepository) => (cluster: string) => BackupsArgs["far"];
  /** Containers on the stack's network from which clients come, and not nodes. */
  readonly clientContainers: readonly string[];
}

export type CitusClusterArgs = ContainerCitusClusterArgs | Ec2CitusClusterArgs;

/** In containers: the clusters, the coordinator first, and the coordinator once more. */
export interface CitusInContainers {
  readonly clusters: readonly ClusterServers[];
  readonly coordinator: ClusterServers;
}

/**
 * Citus: a coordinator, which clients talk to, and workers, which hold the shards of distributed tables. Each is a cluster of
 * its own, a primary with standbys; Patroni tells Citus which of a cluster's servers takes writes.
 */
export class CitusCluster<Args extends CitusClusterArgs = ContainerCitusClusterArgs> extends pulumi.ComponentResource {
  readonly made: Args extends Ec2CitusClusterArgs ? CitusOnEc2 : CitusInContainers;

  constructor(name: string, args: Args, opts?: pulumi.ComponentResourceOptions) {
    super("cgraph:db:CitusCluster", name, {}, opts);
    const given: CitusClusterArgs = args;
    const made = "target" in given ? citusOnEc2(given, this) : this.#inContainers(given);
    this.made = made as typeof this.made;
    this.registerOutputs({ workers: given.plan.workers });
  }

  #inContainers(args: ContainerCitusClusterArgs): CitusInContainers {
    const { stack } = args.site;
    const scope = citusScope(stack, args.dataGenerations.at(-1));
    const rules = { hba: citusHbaRules(stack, args.clientContainers), ident: CITUS_IDENT_RULES };
    const planned: DatabaseCluster[] = [{ name: COORDINATOR, nodes: args.coordinator }, ...args.plan.others];
    const repositoryOf = clusterRepositories(planned, args, this);
    const farOf = args.regionsOf?.(repositoryOf);
    const node = (cluster: DatabaseCluster, beside: Cluster | undefined): ClusterServers =>
      clusterServers(
        {
          ...{ ...cluster, scope, beside, slots: {}, repository: repositoryOf(cluster.name) },
          far: farOf?.(cluster.name),
          citus: { group: { group: citusGroup(cluster.name), database: DATABASE }, rules },
        },
        args,
        this,
      );
    const coordinator = node({ name: COORDINATOR, nodes: args.coordinator }, args.beside);
    const etcd = args.beside ?? coordinator.cluster;
    return { coordinator, clusters: [coordinator, ...args.plan.others.map((worker) => node(worker, etcd))] };
  }
}
