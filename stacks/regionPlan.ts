/** The servers of a stack's further regions in Docker. Pure. */
import { COORDINATOR } from "../components/docker/citusNames.ts";
import type { Ports } from "./config.ts";
import type { RegionsConfig } from "./regionsConfig.ts";
import type { DatabaseCluster, PostgresNode } from "./topology.ts";

/** A region beside home. */
export interface RegionPlan {
  readonly name: string;
  /** As home's, in the same order; the first has an empty name, or shard 0's, or the coordinator's. */
  readonly clusters: readonly DatabaseCluster[];
  /** On 127.0.0.1. */
  readonly ports: { readonly write: number; readonly read: number; readonly pool: number; readonly shards: number };
}

/** Ports between two regions. */
const STEP = 10;

/** The ports of the region beside home with this place in the list, the first having `first`. */
export const regionPorts = (first: number, index: number): RegionPlan["ports"] => {
  const write = first + STEP * index;
  return { write, read: write + 1, pool: write + 2, shards: 0 };
};

/** What each region beside home has, given home's clusters; every server may be primary one day and is as home's are. */
export const planRegions = (
  { others, replicas }: RegionsConfig,
  clusters: readonly DatabaseCluster[],
  ports: Ports,
): RegionPlan[] =>
  others.map((name, index) => ({
    name,
    clusters: clusters.map((cluster, place) => ({
      name: cluster.name,
      nodes: Array.from({ length: replicas }, (_, number): PostgresNode => {
        const [model] = cluster.nodes;
        if (!model) throw new Error(`cluster ${cluster.name} has no server`);
        const prefix = place === 0 && cluster.name !== COORDINATOR ? "" : `${cluster.name}-`;
        return { ...model, name: `${name}-${prefix}pg${number}`, role: "replica" };
      }),
    })),
    ports: regionPorts(ports.regions, index),
  }));
