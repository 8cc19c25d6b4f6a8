/** Names and routes of a sharded stack's clusters, as components and commands need them. Pure. */
import { DATABASE, GLOBAL_DATABASE, READ_DATABASE, ROUTER_DATABASE, shardDatabase } from "../roles.ts";
import { ROUTER, ROUTES, clusterRoutes } from "./haproxyFiles.ts";
import type { MorePool } from "./pgbouncerFiles.ts";
import type { ShardingPlan } from "../../stacks/topology.ts";

export const GLOBAL_CLUSTER = "global";
export const shardCluster = (shard: number): string => `shard${shard}`;
/** The first cluster, under the name that it has among the others. */
export const FIRST_CLUSTER = shardCluster(0);
/** The clusters beside the first of a stack with so many shards. */
export const clustersBesideFirst = (shards: number): string[] => [
  GLOBAL_CLUSTER,
  ...Array.from({ length: shards - 1 }, (_, index) => shardCluster(index + 1)),
];
/** The number of a cluster that is a shard's. */
export const shardNumber = (cluster: string): number => Number(cluster.slice("shard".length));

/** A cluster's name in etcd. `generation`: of its data, which a restore makes anew. */
export const clusterScope = (stack: string, cluster: string, generation: number | undefined): string =>
  cluster === FIRST_CLUSTER ? `${stack}-${generation}` : `${stack}-${cluster}-${generation}`;

/** The slot by which a shard follows the global database. */
export const globalSlot = (shard: number): string => `cgraph_global_shard${shard}`;

/** The name of PgBouncer's pool for a cluster: `cgraph_global`, `cgraph_shard0`, … */
export const poolDatabase = (cluster: string): string =>
  cluster === GLOBAL_CLUSTER ? GLOBAL_DATABASE : shardDatabase(shardNumber(cluster));

/** The router's ports inside of the stack's network that lead to a cluster. */
export function routesOf(
  plan: { readonly others: readonly { readonly name: string }[] },
  cluster: string,
): { write: number; read: number } {
  if (cluster === FIRST_CLUSTER) return ROUTES;
  const index = plan.others.findIndex(({ name }) => name === cluster);
  if (index < 0) throw new Error(`there is no cluster ${cluster}`);
  return clusterRoutes(index);
}

const at = (port: number): MorePool["upstream"] => ({ hosts: [ROUTER], port });

/** The pools of a sharded stack's clusters: for each one that writes and one that reads. */
export function shardPools(plan: ShardingPlan): MorePool[] {
  return [FIRST_CLUSTER, ...plan.others.map(({ name }) => name)].flatMap((cluster): MorePool[] => {
    const { write, read } = routesOf(plan, cluster);
    const name = poolDatabase(cluster);
    // Passwords are asked of the cluster itself: one that is down takes no other with it.
    return [
      { name, upstream: at(write), database: DATABASE, authDatabase: name },
      { name: `${name}_ro`, upstream: at(read), database: DATABASE, authDatabase: `${name}_ro` },
    ];
  });
}

/**
 * Where the application's own names of the database lead once there are shards: to the router database, which shows them
 * all as one.
 */
export function routerPools(plan: ShardingPlan): MorePool[] {
  const { write, read } = routesOf(plan, GLOBAL_CLUSTER);
  const common = { database: ROUTER_DATABASE, size: plan.routerPoolSize };
  return [
    { ...common, name: DATABASE, upstream: at(write), authDatabase: GLOBAL_DATABASE },
    { ...common, name: READ_DATABASE, upstream: at(read), authDatabase: `${GLOBAL_DATABASE}_ro` },
  ];
}
