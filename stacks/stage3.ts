import { cacheOf } from "./cache.ts";
import type { StackConfig } from "./config.ts";
import { foundation } from "./foundation.ts";
import type { StackOutputs } from "./outputs.ts";
import { type NextStage, replicated } from "./stage2.ts";
import type { Topology } from "./topology.ts";

/** Stage 3: more replicas, a second pooler, and a cache; messages are partitioned by month. */
export function stage3(stack: string, config: StackConfig, topology: Topology, next?: NextStage): StackOutputs {
  const base = foundation(stack, config, topology);
  const cache = cacheOf(base, config, topology, [{ name: "cache-sync" }]);
  return replicated(stack, config, topology, base, { cache, next });
}
