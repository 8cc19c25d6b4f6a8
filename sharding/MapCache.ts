/** The shard map as a client keeps it: read again every few seconds, never used when it is too old. */
import type pg from "pg";
import { UserError } from "../tuning/errors.ts";
import { readMap } from "./publish.ts";
import { type ShardMap, checkAssignment, shardsOf } from "./shardMap.ts";

export interface MapCacheOptions {
  /** Milliseconds after which the map is read again, beside the work that goes on with it; default 5000. */
  readonly refreshMs?: number;
  /**
   * Milliseconds after which a map is no longer used; default 60 000. Who moves a bucket leaves its rows on the old shard
   * for longer than this: until then a client with an old map is refused rather than finding nothing.
   */
  readonly leaseMs?: number;
  /** Called with errors of a reading that nobody waits for. Default: nothing. */
  readonly onError?: (error: unknown) => void;
}

/** A map's lease where nobody sets another. */
const DEFAULT_LEASE_MS = 60_000;
/** For how long rows stay where they were: clients may use a map for as long as its lease; a little more for their clocks. */
export const MOVED_ROWS_STAY_MS = DEFAULT_LEASE_MS + 5000;

async function mapOf(pool: pg.Pool): Promise<ShardMap> {
  const map = await readMap(pool);
  if (!map) throw new UserError("there is no shard map yet", "publish the first one: ./cgraph-db schema apply");
  return map;
}

/** Reads the map from the global database; where that does not answer, from the shards, which have copies. */
export class MapCache {
  readonly #global: pg.Pool;
  readonly #shards: readonly pg.Pool[];
  readonly #refreshMs: number;
  readonly #leaseMs: number;
  readonly #onError: (error: unknown) => void;
  #map: ShardMap | undefined;
  #readAt = -Infinity;
  #reading: Promise<ShardMap> | undefined;

  constructor(global: pg.Pool, shards: readonly pg.Pool[], options: MapCacheOptions = {}) {
    this.#global = global;
    this.#shards = shards;
    this.#refreshMs = options.refreshMs ?? 5000;
    this.#leaseMs = options.leaseMs ?? DEFAULT_LEASE_MS;
    this.#onError = options.onError ?? (() => undefined);
  }

  /** The map; undefined where it has to be read first. */
  current(): ShardMap | undefined {
    const age = performance.now() - this.#readAt;
    if (age > this.#leaseMs) return undefined;
    if (age > this.#refreshMs && !this.#reading) this.reload().catch(this.#onError);
    return this.#map;
  }

  /** Reads the map; callers at the same time share one reading. Throws where neither the global database nor a shard answers. */
  reload(): Promise<ShardMap> {
    this.#reading ??= this.#read().finally(() => (this.#reading = undefined));
    return this.#reading;
  }

  async #read(): Promise<ShardMap> {
    const startedAt = performance.now();
    const found = await mapOf(this.#global).catch((error: unknown) => this.#fromShards(error));
    checkAssignment(found.shards);
    const unknown = shardsOf(found.shards).find((shard) => this.#shards[shard] === undefined);
    if (unknown !== undefined) {
      throw new UserError(
        `the shard map (version ${found.version}) names shard ${unknown}; URLs are there for ${this.#shards.length}`,
        `set SHARD_${unknown}_URL`,
      );
    }
    // A shard's copy may lag behind what is known already.
    if (!this.#map || found.version >= this.#map.version) this.#map = found;
    this.#readAt = startedAt;
    return this.#map;
  }

  async #fromShards(reason: unknown): Promise<ShardMap> {
    const answers = await Promise.allSettled(this.#shards.map(mapOf));
    const maps = answers.flatMap((answer) => (answer.status === "fulfilled" ? [answer.value] : []));
    const [newest] = maps.sort((a, b) => b.version - a.version);
    if (!newest) throw reason;
    return newest;
  }
}
