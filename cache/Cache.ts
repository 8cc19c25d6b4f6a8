/** Cache-aside for the application: get or load, stampede protection, invalidation, unread counts. */
import { randomUUID } from "node:crypto";
import { type CacheKind, INDEX_KEYS, type KEYS, TTL_SECONDS, keyOf, unreadKey, unreadVersionKey } from "./rules.ts";

/** What is needed of a Redis client; node-redis' has it. */
export interface RedisClient {
  get(key: string): Promise<string | null>;
  hGet(key: string, field: string): Promise<string | null | undefined>;
  del(keys: string | string[]): Promise<number>;
  eval(script: string, options: { keys: string[]; arguments: string[] }): Promise<unknown>;
}

export interface CacheOptions {
  /** Milliseconds that one loader may take before others load too; default 5000. */
  readonly leaseMs?: number;
  /** Milliseconds between looks at the entry that another loader is about to store; default 25. */
  readonly pollMs?: number;
  /** Called with errors of Redis: the value then comes from the database. Default: nothing. */
  readonly onError?: (error: unknown) => void;
}

/**
 * Takes the lease of an entry, and enters it where all entries of its kind are dropped together. Not where the entry has
 * come since the caller looked.
 */
const LEASE = `
if redis.call('EXISTS', KEYS[2]) == 1 then return 0 end
if not redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then return 0 end
if KEYS[3] then redis.call('SADD', KEYS[3], KEYS[2]) end
return 1`;

/** Stores a value only while the loader's lease stands: an invalidation in the meantime has removed it. */
const STORE = `
if redis.call('GET', KEYS[2]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
redis.call('DEL', KEYS[2])
return 1`;

/** Gives a lease back, if it is still the giver's own. */
const RELEASE = `
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0`;

/** Stores an unread count only where no message has come or gone since the version was read. */
const STORE_UNREAD = `
if (redis.call('GET', KEYS[2]) or '0') ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], ARGV[2], ARGV[3])
redis.call('EXPIRE', KEYS[1], 86400)
return 1`;

const leaseKey = (key: string): string => `lease:${key}`;
const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/**
 * A cache in front of the database. Every method works without Redis too: its errors go to `onError`, and the value is
 * loaded.
 */
export class Cache {
  readonly #redis: RedisClient;
  readonly #leaseMs: number;
  readonly #pollMs: number;
  readonly #onError: (error: unknown) => void;
  /** Loads under way in this process: a second caller waits for the first one's. */
  readonly #loading = new Map<string, Promise<unknown>>();

  constructor(redis: RedisClient, options: CacheOptions = {}) {
    this.#redis = redis;
    this.#leaseMs = options.leaseMs ?? 5000;
    this.#pollMs = options.pollMs ?? 25;
    this.#onError = options.onError ?? (() => undefined);
  }

  /**
   * The cached value, or the loaded one, which is then cached for the guide's TTL. `null` is given back but not cached.
   * Of all callers that miss at the same time, in this process and in others, one loads.
   */
  getOrLoad<T, K extends CacheKind>(
    kind: K,
    ids: Parameters<(typeof KEYS)[K]>,
    load: () => Promise<T | null>,
  ): Promise<T | null> {
    const key = keyOf(kind, ids);
    const running = this.#loading.get(key) as Promise<T | null> | undefined;
    if (running) return running;
    const found = this.#getOrLoad(kind, key, load).finally(() => this.#loading.delete(key));
    this.#loading.set(key, found);
    return found;
  }

  async #getOrLoad<T>(kind: CacheKind, key: string, load: () => Promise<T | null>): Promise<T | null> {
    const token = randomUUID();
    const until = Date.now() + this.#leaseMs;
    for (;;) {
      let state: { cached: string | null; leased: boolean };
      try {
        const cached = await this.#redis.get(key);
        state = { cached, leased: cached === null && (await this.#lease(kind, key, token)) };
      } catch (error) {
        this.#onError(error);
        return load();
      }
      if (state.cached !== null) return JSON.parse(state.cached) as T;
      if (state.leased) return this.#loadAndStore(key, token, TTL_SECONDS[kind], load);
      // Another process loads: its value comes, or its lease runs out and this one tries again.
      if (Date.now() > until) return load();
      await sleep(this.#pollMs);
    }
  }

  async #lease(kind: CacheKind, key: string, token: string): Promise<boolean> {
    const index = INDEX_KEYS[kind];
    const keys = [leaseKey(key), key, ...(index === undefined ? [] : [index])];
    return (await this.#redis.eval(LEASE, { keys, arguments: [token, String(this.#leaseMs)] })) === 1;
  }

  async #loadAndStore<T>(
    key: string,
    token: string,
    ttlSeconds: number,
    load: () => Promise<T | null>,
  ): Promise<T | null> {
    const keys = [key, leaseKey(key)];
    let value: T | null = null;
    try {
      value = await load();
    } catch (error) {
      await this.#quietly(() => this.#redis.eval(RELEASE, { keys: [leaseKey(key)], arguments: [token] }));
      throw error;
    }
    // Up to a tenth less than the TTL: entries that were made together do not all end together.
    const ttlMs = Math.round(ttlSeconds * 1000 * (1 - Math.random() / 10));
    await this.#quietly(() =>
      value === null
        ? this.#redis.eval(RELEASE, { keys: [leaseKey(key)], arguments: [token] })
        : this.#redis.eval(STORE, { keys, arguments: [token, JSON.stringify(value), String(ttlMs)] }),
    );
    return value;
  }

  /**
   * Drops an entry, and what a loader is about to store. The stack does this by itself when a row changes; call it
   * after a write whose effect the same user must see at once.
   */
  async invalidate<K extends CacheKind>(kind: K, ...ids: Parameters<(typeof KEYS)[K]>): Promise<void> {
    const key = keyOf(kind, ids);
    await this.#quietly(() => this.#redis.del([key, leaseKey(key)]));
  }

  /** A member's unread messages in a conversation; `load` counts them in the primary (a replica may lag behind). */
  async unreadCount(conversationId: string, userId: string, load: () => Promise<number>): Promise<number> {
    const [key, versionKey] = [unreadKey(conversationId), unreadVersionKey(conversationId)];
    let version: string;
    try {
      const cached = await this.#redis.hGet(key, userId);
      if (cached !== null && cached !== undefined) return Number(cached);
      version = (await this.#redis.get(versionKey)) ?? "0";
    } catch (error) {
      this.#onError(error);
      return load();
    }
    const count = await load();
    await this.#quietly(() =>
      this.#redis.eval(STORE_UNREAD, { keys: [key, versionKey], arguments: [version, userId, String(count)] }),
    );
    return count;
  }

  async #quietly(action: () => Promise<unknown>): Promise<void> {
    try {
      await action();
    } catch (error) {
      this.#onError(error);
    }
  }
}
