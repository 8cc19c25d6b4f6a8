/** ElastiCache's node types that stages are given, with their list prices (see classes.ts for the date). */
import { UserError } from "../../tuning/errors.ts";

export interface CacheNode {
  readonly name: string;
  /** What Valkey or Redis may use of the node. */
  readonly memoryMiB: number;
  /** Redis OSS, on demand. Valkey costs four fifths of it. */
  readonly usdPerHour: number;
}

export const CACHE_NODES: readonly CacheNode[] = [
  { name: "cache.t4g.small", memoryMiB: 1403, usdPerHour: 0.032 },
  { name: "cache.t4g.medium", memoryMiB: 3164, usdPerHour: 0.065 },
  { name: "cache.m7g.large", memoryMiB: 6521, usdPerHour: 0.158 },
  { name: "cache.m7g.xlarge", memoryMiB: 13_220, usdPerHour: 0.315 },
  { name: "cache.m7g.2xlarge", memoryMiB: 27_034, usdPerHour: 0.629 },
];

/** Valkey's price beside Redis OSS's. */
export const VALKEY_FACTOR = 0.8;

/** The cheapest node type with this much memory. Throws a UserError where none has it. */
export function chooseCacheNode(memoryMiB: number): CacheNode {
  const found = CACHE_NODES.find((node) => node.memoryMiB >= memoryMiB);
  if (found) return found;
  throw new UserError(
    `cgraph:cacheMemoryMiB is ${memoryMiB}; the largest node known here has ${CACHE_NODES.at(-1)?.memoryMiB} MiB`,
    "set it lower",
  );
}
