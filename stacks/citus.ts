/** The Citus cluster of a stage 5, and of a stack that is about to become one. */
import type * as pulumi from "@pulumi/pulumi";
import { CitusCluster } from "../components/CitusCluster.ts";
import { CitusSite } from "../components/docker/CitusSite.ts";
import type { Cluster } from "../components/docker/cluster.ts";
import { COORDINATOR } from "../components/docker/citusNames.ts";
import { COORDINATOR_ROUTES, ROUTER, type RoutedCluster } from "../components/docker/haproxyFiles.ts";
import { dockerName } from "../components/docker/names.ts";
import type { StackConfig } from "./config.ts";
import { type Foundation, repositoryOptions } from "./foundation.ts";
import type { ClusterOutput } from "./outputs.ts";
import { ALONE, type HomeRegional, type RegionsNeeds, regionalClusters, regionsOf } from "./regions.ts";
import { describeClusters } from "./shardOutputs.ts";
import type { Topology } from "./topology.ts";

export interface CitusClusterOptions {
  /** A cluster whose etcd the nodes share; default: they have one of their own. */
  readonly beside?: Cluster;
  /** What leads to them in every region; default: they are in one region. */
  readonly regions?: Pick<RegionsNeeds, "maxConnections" | "maxReadLagBytes">;
}

/** Its nodes, and what is beside them in other regions. */
export function citusCluster(
  stack: string,
  config: StackConfig,
  topology: Topology,
  base: Foundation,
  { beside, regions }: CitusClusterOptions = {},
): { readonly cluster: CitusCluster; readonly site: CitusSite; readonly regional: HomeRegional } {
  const { nodes, citus: plan } = topology;
  const { site: home, credentials } = base;
  if (!plan) throw new Error("only stage 5 has a Citus cluster");
  const { postgresVersion, dataGenerations, dataVolumeOptions } = config;
  const site = new CitusSite("citus-site", home, String(postgresVersion));
  const routerNames = [ROUTER, dockerName(stack, ROUTER)];
  let regional = ALONE;
  const cluster = new CitusCluster("citus", {
    ...{ site, credentials, postgresVersion, dataGenerations, dataVolumeOptions, plan, beside },
    coordinator: nodes,
    clientContainers: [dockerName(stack, ROUTER), dockerName(stack, "exporters")],
    ...{ routerNames, regional: regions && regionalClusters(topology) },
    ...(regions && {
      regionsOf: (repositoryOf) => {
        const needs = {
          ...regions,
          routerNames,
          databasesOf: () => [],
          slotsOf: () => ({}),
          citus: true,
          repositoryOf,
        };
        regional = regionsOf(stack, config, topology, { credentials, site }, needs);
        return regional.farOf;
      },
    }),
    etcdMembers: config.etcdMembers,
    synchronous: config.synchronous,
    ...repositoryOptions(config),
    intervalHours: config.backups.intervalHours,
    fullDays: config.backups.fullDays,
  });
  return { cluster, site, regional };
}

/** A Citus cluster that is made beside a stack's own, for their rows to move to. */
export interface Arriving {
  readonly cluster: CitusCluster;
  /** For the router: its coordinator is the way in. */
  readonly routed: RoutedCluster;
  /** `place`: the coordinator's among the clusters beside the first, by which this machine's ports lead to it. */
  output(place: number): pulumi.Output<readonly ClusterOutput[]>;
}

/** `config`, `topology`: of stage 5. */
export function arriving(
  stack: string,
  config: StackConfig,
  topology: Topology,
  base: Foundation,
  beside: Cluster,
): Arriving {
  const { cluster, site } = citusCluster(stack, config, topology, base, { beside });
  const planned = [{ name: COORDINATOR, nodes: topology.nodes }, ...(topology.citus?.others ?? [])];
  return {
    cluster,
    routed: { name: COORDINATOR, nodes: topology.nodes.map(({ name }) => name), ports: COORDINATOR_ROUTES },
    output: (place) =>
      describeClusters({
        ...{ stack, planned, clusters: cluster.made.clusters, image: site.postgresImage.name },
        ports: { ...config.ports, shards: config.ports.shards + 2 * place },
      }),
  };
}
