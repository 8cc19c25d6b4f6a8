/** Names and routes of a sharded stack's clusters, as components and commands need them. Pure. */
import { DATABASE, GLOBAL_DATABASE, READ_DATABASE, ROUTER_DATABASE, shardDatabase } from "../roles.ts";
import { COORDINATOR_ROUTES, ROUTER, ROUTES, clusterRoutes } from "./haproxyFiles.ts";
import type { MorePool, Upstream } from "./pgbouncerFiles.ts";
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

/** The same of what follows it in a region beside home. */
export const regionScope = (stack: string, cluster: string, generation: number | undefined, region: string): string =>
  `${clusterScope(stack, cluster === "" ? FIRST_CLUSTER : cluster, generation)}-${region}`;

/** The name in etcd that all nodes of a Citus cluster share; beside it Patroni keeps each node's group. */
export const citusScope = (stack: string, generation: number | undefined): string => `${stack}-citus-${generation}`;

/** What names of the global database's slots for shards begin with. */
export const GLOBAL_SLOTS = "cgraph_global_shard";
/** The slot by which a shard follows the global database. */
export const globalSlot = (shard: number): string => `${GLOBAL_SLOTS}${shard}`;

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

/** Where a cluster is reached. */
export interface ClusterUpstreams {
  readonly write: Upstream;
  readonly read: Upstream;
}

/** Those of a stack in Docker, where one router leads to all clusters. */
function routedUpstreams(plan: ShardingPlan): ReadonlyMap<string, ClusterUpstreams> {
  const at = (port: number): Upstream => ({ hosts: [ROUTER], port });
  return new Map(
    [FIRST_CLUSTER, ...plan.others.map(({ name }) => name)].map((cluster) => {
      const { write, read } = routesOf(plan, cluster);
      return [cluster, { write: at(write), read: at(read) }];
    }),
  );
}

/**
 * The pools of a sharded stack's clusters: for each one that writes and one that reads. `asks`: whether passwords are asked
 * of the servers; then of the cluster itself, so that one that is down takes no other with it.
 */
export const shardPools = (clusters: ReadonlyMap<string, ClusterUpstreams>, asks: boolean): MorePool[] =>
  [...clusters].flatMap(([cluster, { write, read }]): MorePool[] => {
    const name = poolDatabase(cluster);
    const own = (pool: string, upstream: Upstream): MorePool => ({
      ...{ name: pool, upstream, database: DATABASE },
      ...(asks && { authDatabase: pool }),
    });
    return [own(name, write), own(`${name}_ro`, read)];
  });

/**
 * Where the application's own names of the database lead once there are shards: to the router database, which shows them
 * all as one. `size`: server connections at most.
 */
export function routerPools(clusters: ReadonlyMap<string, ClusterUpstreams>, size: number, asks: boolean): MorePool[] {
  const global = clusters.get(GLOBAL_CLUSTER);
  if (!global) throw new Error("shards without a global database");
  const own = (name: string, upstream: Upstream, authDatabase: string): MorePool => ({
    ...{ name, upstream, database: ROUTER_DATABASE, size },
    ...(asks && { authDatabase }),
  });
  return [own(DATABASE, global.write, GLOBAL_DATABASE), own(READ_DATABASE, global.read, `${GLOBAL_DATABASE}_ro`)];
}

/** What a sharded stack's poolers have beside the usual. */
export interface ShardedPools {
  readonly more: readonly MorePool[];
  /** Where the application's names lead, where that is to the router database. */
  readonly front?: readonly MorePool[];
  /** The pool through which logins to none of these are looked up, such as monitoring's; default the application's. */
  readonly authDatabase?: string;
}

/** The pools of a stack in Docker beside its two, and where these lead. Nobody's password is looked up in the router database. */
export function shardedPools(plan: ShardingPlan, leadsToRouter: boolean): ShardedPools {
  const clusters = routedUpstreams(plan);
  const more = shardPools(clusters, true);
  if (!leadsToRouter) return { more };
  return { more, front: routerPools(clusters, plan.routerPoolSize, true), authDatabase: GLOBAL_DATABASE };
}

/**
 * Where the application's two names lead, to write and to read, in a stack with a Citus cluster: by ports that are the coordinator's while it stands beside
 * the servers before, and afterwards, so that the way is the same when these go.
 */
export function coordinatorPools(): [MorePool, MorePool] {
  const pool = (name: string, port: number): MorePool => ({
    ...{ name, upstream: { hosts: [ROUTER], port }, database: DATABASE },
  });
  return [pool(DATABASE, COORDINATOR_ROUTES.write), pool(READ_DATABASE, COORDINATOR_ROUTES.read)];
}
