import type { StackValues } from "../../stacks/outputs.ts";
import { run } from "./run.ts";

export interface CacheState {
  readonly usedBytes: number;
  readonly maxBytes: number;
  readonly keys: number;
  readonly evicted: number;
  /** Hits of all look-ups; null before the first. */
  readonly hitRatio: number | null;
}

/** What the cache says of itself; null where there is none or it does not answer. */
export async function cacheState(values: StackValues): Promise<CacheState | null> {
  const service = values.services.find(({ kind }) => kind === "redis");
  if (!service || values.cachePassword === null) return null;
  const { code, stdout } = await run(
    "docker",
    ["exec", "--env", "REDISCLI_AUTH", service.container, "redis-cli", "-s", "/tmp/redis.sock", "INFO"],
    // In this process's environment, so that it stands in no command line.
    { env: { ...process.env, REDISCLI_AUTH: values.cachePassword }, timeoutMs: 5000 },
  );
  if (code !== 0) return null;
  const number = (key: string): number => Number(new RegExp(`^${key}:(\\d+)`, "m").exec(stdout)?.[1] ?? 0);
  const [hits, misses] = [number("keyspace_hits"), number("keyspace_misses")];
  return {
    usedBytes: number("used_memory"),
    maxBytes: number("maxmemory"),
    keys: Number(/^db0:keys=(\d+)/m.exec(stdout)?.[1] ?? 0),
    evicted: number("evicted_keys"),
    hitRatio: hits + misses === 0 ? null : hits / (hits + misses),
  };
}
