/** A sharded stack's clusters, each looked at as if it were a stack of its own. */
import { FIRST_CLUSTER, poolDatabase } from "../../components/docker/shardRoutes.ts";
import { DATABASE, READ_DATABASE } from "../../components/roles.ts";
import type { NodeOutput, StackValues } from "../../stacks/outputs.ts";
import { UserError } from "../../tuning/errors.ts";

export interface ClusterView {
  /** `shard0`, `global`, `shard1`, …; empty where the stack is one cluster. */
  readonly name: string;
  /** The stack's values with this cluster's servers, endpoints and backups, and no other cluster. */
  readonly values: StackValues;
}

/** A stack's shards; outputs of earlier versions have no such key. */
export const shardingOf = (values: StackValues): StackValues["sharding"] | undefined => values.sharding;

/** Every cluster of a stack: one, below stage 4. */
export function clusterViews(values: StackValues): ClusterView[] {
  const sharding = shardingOf(values);
  if (!sharding) return [{ name: "", values }];
  return [
    { name: FIRST_CLUSTER, values: { ...values, sharding: null } },
    ...sharding.others.map(({ name, nodes, write, read, backupContainer }) => ({
      name,
      values: { ...values, sharding: null, nodes, backupContainer, endpoints: { ...values.endpoints, write, read } },
    })),
  ];
}

/** The servers of all clusters. */
export const allNodes = (values: StackValues): NodeOutput[] =>
  clusterViews(values).flatMap((view) => view.values.nodes);

/**
 * One cluster of a stack: the named one, or the one that has this server, or the first. Throws a UserError for one that is
 * not there.
 */
export function clusterView(
  values: StackValues,
  { cluster, server }: { readonly cluster?: string | undefined; readonly server?: string | undefined },
): ClusterView {
  const views = clusterViews(values);
  const [first] = views;
  if (!first) throw new Error("a stack has a cluster");
  if (cluster !== undefined) {
    const found = views.find(({ name }) => name === cluster);
    if (found) return found;
    throw new UserError(
      `there is no cluster ${cluster}`,
      first.name === ""
        ? "leave --cluster out: the stack has one"
        : `use one of ${views.map(({ name }) => name).join(", ")}`,
    );
  }
  return views.find((view) => view.values.nodes.some(({ name }) => name === server)) ?? first;
}

/** The pools that lead to a cluster, as clients call them; undefined: all there are. */
export function poolsOf({ name }: ClusterView): string[] | undefined {
  if (name === "") return undefined;
  const pool = poolDatabase(name);
  // These lead to the router database, which asks every cluster; while a move to shards is prepared, to the first one.
  return [DATABASE, READ_DATABASE, pool, `${pool}_ro`];
}
