import { FIRST_CLUSTER, GLOBAL_CLUSTER, routesOf } from "../components/docker/shardRoutes.ts";
import { cacheOf } from "./cache.ts";
import type { StackConfig } from "./config.ts";
import { foundation } from "./foundation.ts";
import type { StackOutputs } from "./outputs.ts";
import { type NextStage, replicated } from "./stage2.ts";
import type { Topology } from "./topology.ts";

/**
 * Stage 4: shards, each a cluster like stage 3's, the first of them stage 3's own; a global database; pools for each;
 * a router database that shows all shards as one; a cache that follows every shard.
 */
export function stage4(stack: string, config: StackConfig, topology: Topology, next?: NextStage): StackOutputs {
  const base = foundation(stack, config, topology);
  const { sharding } = topology;
  if (!sharding) throw new Error("stage 4 has no shards");
  const shards = [FIRST_CLUSTER, ...sharding.others.map(({ name }) => name)].filter((name) => name !== GLOBAL_CLUSTER);
  const followers = shards.map((shard) =>
    // The first cluster's keeps the name that it had at stage 3.
    shard === FIRST_CLUSTER
      ? { name: "cache-sync" }
      : { name: `${shard}-cache-sync`, port: routesOf(sharding, shard).write },
  );
  return replicated(stack, config, topology, base, {
    next,
    cache: cacheOf(base, config, topology, followers),
  });
}
