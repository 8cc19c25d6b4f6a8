/** A sharded stack's clusters, each looked at as if it were a stack of its own. */
import { FIRST_CLUSTER } from "../../components/docker/shardRoutes.ts";
import type { NodeOutput, StackValues } from "../../stacks/outputs.ts";

export interface ClusterView {
  /** `shard0`, `global`, `shard1`, …; empty where the stack is one cluster. */
  readonly name: string;
  /** The stack's values with this cluster's servers, endpoints and backups in the place of the first one's. */
  readonly values: StackValues;
}

/** A stack's shards; outputs of earlier versions have no such key. */
export const shardingOf = (values: StackValues): StackValues["sharding"] | undefined => values.sharding;

/** Every cluster of a stack: one, below stage 4. */
export function clusterViews(values: StackValues): ClusterView[] {
  const sharding = shardingOf(values);
  if (!sharding) return [{ name: "", values }];
  return [
    { name: FIRST_CLUSTER, values },
    ...sharding.others.map(({ name, nodes, write, read, backupContainer }) => ({
      name,
      values: { ...values, nodes, backupContainer, endpoints: { ...values.endpoints, write, read } },
    })),
  ];
}

/** The servers of all clusters. */
export const allNodes = (values: StackValues): NodeOutput[] =>
  clusterViews(values).flatMap((view) => view.values.nodes);
