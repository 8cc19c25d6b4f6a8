import { CacheSync } from "../components/CacheSync.ts";
import { CACHE } from "../components/docker/redisContainer.ts";
import { RedisCache } from "../components/RedisCache.ts";
import type { StackConfig } from "./config.ts";
import { foundation } from "./foundation.ts";
import { type StackOutputs, describeService } from "./outputs.ts";
import { replicated } from "./stage2.ts";
import type { Topology } from "./topology.ts";

/** Stage 3: more replicas, a second pooler, and a cache; messages are partitioned by month. */
export function stage3(stack: string, config: StackConfig, topology: Topology): StackOutputs {
  const base = foundation(stack, config, topology);
  const { cachePassword: password, accepted } = base.credentials;
  if (!topology.cache || !password) throw new Error("stage 3 has no cache");
  const cache = new RedisCache("cache", {
    site: base.site,
    passwords: accepted.flatMap(({ cache: accepts }) => (accepts ? [accepts] : [])),
    cache: topology.cache,
    port: config.ports.cache,
  });
  const sync = new CacheSync(
    "cache-sync",
    { site: base.site, credentials: base.credentials, cachePassword: password },
    { dependsOn: [cache] },
  );
  const services = [
    describeService("redis", CACHE, cache.server.containerName),
    describeService("cache-sync", "cache-sync", sync.containerName),
  ];
  return replicated(stack, config, topology, base, { cache: { server: cache.server, services } });
}
