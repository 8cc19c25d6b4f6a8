/** The cache of stages 3 and up. */
import { CACHE } from "../components/docker/redisContainer.ts";
import type { RedisServer } from "../components/docker/redisContainer.ts";
import { CacheSync } from "../components/CacheSync.ts";
import { RedisCache } from "../components/RedisCache.ts";
import type * as pulumi from "@pulumi/pulumi";
import type { StackConfig } from "./config.ts";
import type { Foundation } from "./foundation.ts";
import { type ServiceOutput, describeService } from "./outputs.ts";
import type { Topology } from "./topology.ts";

/** A follower of one cluster's changes. */
export interface FollowerPlan {
  readonly name: string;
  /** The router's port that leads to the cluster's primary; default the first cluster's. */
  readonly port?: number;
}

/** Redis, and for each cluster what keeps it in step with that cluster. */
export function cacheOf(
  base: Foundation,
  config: StackConfig,
  topology: Topology,
  followers: readonly FollowerPlan[],
): { readonly server: RedisServer; readonly services: readonly pulumi.Output<ServiceOutput>[] } {
  const { site, credentials } = base;
  const { cachePassword, accepted } = credentials;
  if (!topology.cache || !cachePassword) throw new Error(`stage ${config.stage} has no cache`);
  const cache = new RedisCache("cache", {
    site,
    passwords: accepted.flatMap(({ cache: accepts }) => (accepts ? [accepts] : [])),
    cache: topology.cache,
    port: config.ports.cache,
  });
  const syncs = followers.map(({ name, ...port }) => {
    const sync = new CacheSync(name, { site, credentials, cachePassword, ...port }, { dependsOn: [cache] });
    return describeService("cache-sync", name, sync.containerName);
  });
  return { server: cache.server, services: [describeService("redis", CACHE, cache.server.containerName), ...syncs] };
}
