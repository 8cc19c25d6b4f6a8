/** Leads each user's work to the shard that has the user, and questions about everybody to all shards. */
import { setTimeout as sleep } from "node:timers/promises";
import pg from "pg";
import { UserError } from "../tuning/errors.ts";
import { DeadlineError, ShardsFailedError, refusedBucket } from "./errors.ts";
import { MapCache, type MapCacheOptions } from "./MapCache.ts";
import { bucketOf } from "./placement.ts";
import { type ShardMap, shardsOf } from "./shardMap.ts";
import { inTransaction, using, usingUntil } from "./work.ts";

export interface ShardRouterOptions extends MapCacheOptions {
  /** The database that has the shard map: SHARD_MAP_URL. */
  readonly map: pg.PoolConfig;
  /** Each shard by its number: SHARD_0_URL, … Each gets a pool of its own (pg's default: 10 connections). */
  readonly shards: readonly pg.PoolConfig[];
  /** Milliseconds that work waits for a bucket which is between two shards; default 5000. */
  readonly moveWaitMs?: number;
}

export interface AllOptions {
  /** Milliseconds for all of it, waiting for connections included. */
  readonly deadlineMs: number;
  /** `refuse` (default): every shard must answer. `allow`: those that do are enough, if it is at least one. */
  readonly partial?: "refuse" | "allow";
}

export interface AllAnswers<T> {
  /** What each shard said, by shard. */
  readonly values: ReadonlyMap<number, T>;
  /** Why others did not; empty unless `partial` is `allow`. */
  readonly failures: ReadonlyMap<number, Error>;
}

interface Answer<T> {
  readonly value: T;
  /** The shard's buckets while it answered: bit by bit from bucket 0. */
  readonly owned: string;
}

const MOVE_POLL_MS = 50;

/** Whether every bucket was answered for once: not while one is between two shards, or has just come to the other. */
function complete(answers: readonly Answer<unknown>[]): boolean {
  const buckets = answers[0]?.owned.length ?? 0;
  const owners = (bucket: number): number => answers.filter(({ owned }) => owned.charAt(bucket) === "1").length;
  return Array.from({ length: buckets }, (_, bucket) => owners(bucket)).every((count) => count === 1);
}

/**
 * Routes by user id. `withShard` and `transaction` run their function again, once, when the shard says that it does not
 * have the user's bucket: let the function be whole, without effects elsewhere.
 */
export class ShardRouter {
  readonly #global: pg.Pool;
  readonly #pools: readonly pg.Pool[];
  readonly #map: MapCache;
  readonly #moveWaitMs: number;

  constructor(options: ShardRouterOptions) {
    const onError = options.onError ?? (() => undefined);
    const pool = (config: pg.PoolConfig): pg.Pool =>
      new pg.Pool({ connectionTimeoutMillis: 5000, ...config })
        .on("error", onError)
        // A connection that breaks while nothing is asked over it would end the process.
        .on("connect", (client) => client.on("error", onError));
    this.#global = pool(options.map);
    this.#pools = options.shards.map(pool);
    this.#map = new MapCache(this.#global, this.#pools, options);
    this.#moveWaitMs = options.moveWaitMs ?? 5000;
  }

  /** From SHARD_MAP_URL, SHARD_0_URL, SHARD_1_URL, …, as `cgraph-db env` prints them. Throws a UserError where one is missing. */
  static fromEnvironment(
    env: Readonly<Record<string, string | undefined>> = process.env,
    options: Omit<ShardRouterOptions, "map" | "shards"> = {},
  ): ShardRouter {
    const map = env["SHARD_MAP_URL"];
    const shards: pg.PoolConfig[] = [];
    for (let url = env["SHARD_0_URL"]; url !== undefined; url = env[`SHARD_${shards.length}_URL`]) {
      shards.push({ connectionString: url });
    }
    if (map === undefined || shards.length === 0) {
      throw new UserError(
        `${map === undefined ? "SHARD_MAP_URL" : "SHARD_0_URL"} is not set`,
        "./cgraph-db env > .env",
      );
    }
    return new ShardRouter({ map: { connectionString: map }, shards, ...options });
  }

  /** The map in use, read where there is none or where it is too old. */
  async map(): Promise<ShardMap> {
    return this.#map.current() ?? this.#map.reload();
  }

  /** The number of the shard that has this user. Throws a TypeError for what is not a UUID. */
  async shardFor(userId: string): Promise<number> {
    const { shards } = await this.map();
    return shards[bucketOf(userId, shards.length)] ?? 0;
  }

  /** Users by their shard: what belongs to several users needs no more shards than theirs. */
  async shardsFor(userIds: Iterable<string>): Promise<Map<number, string[]>> {
    const { shards } = await this.map();
    const found = new Map<number, string[]>();
    for (const id of userIds) {
      const shard = shards[bucketOf(id, shards.length)] ?? 0;
      found.set(shard, [...(found.get(shard) ?? []), id]);
    }
    return found;
  }

  /**
   * Works with a connection to the user's shard, and gives it back. A row that the shard does not own is refused by the
   * shard; a question about one finds what was there up to `leaseMs` ago. Use `transaction` where that is not enough.
   */
  withShard<T>(userId: string, work: (client: pg.PoolClient, shard: number) => Promise<T>): Promise<T> {
    return this.#routed(userId, (pool, shard) => using(pool, (client) => work(client, shard)));
  }

  /** The same in a transaction, which begins by making sure that the shard has the user, and keeps it there until it ends. */
  transaction<T>(userId: string, work: (client: pg.PoolClient, shard: number) => Promise<T>): Promise<T> {
    return this.#routed(userId, (pool, shard, bucket) =>
      using(pool, (client) =>
        inTransaction(client, `BEGIN; SELECT sharding.require_bucket(${bucket})`, () => work(client, shard)),
      ),
    );
  }

  async #routed<T>(userId: string, attempt: (pool: pg.Pool, shard: number, bucket: number) => Promise<T>): Promise<T> {
    const map = this.#map.current() ?? (await this.#map.reload());
    const bucket = bucketOf(userId, map.shards.length);
    const shard = map.shards[bucket] ?? 0;
    try {
      return await attempt(this.#pool(shard), shard, bucket);
    } catch (error) {
      // A refusal of another bucket is a mistake of the work, which writes rows of somebody else.
      if (refusedBucket(error) !== bucket) throw error;
      const now = await this.#awaitMove(bucket, shard);
      return attempt(this.#pool(now), now, bucket);
    }
  }

  /** Waits until the map names another shard for a bucket; gives the shard that it names at the end. */
  async #awaitMove(bucket: number, before: number): Promise<number> {
    const until = performance.now() + this.#moveWaitMs;
    for (;;) {
      const { shards } = await this.#map.reload();
      const shard = shards[bucket] ?? before;
      if (shard !== before || performance.now() > until) return shard;
      await sleep(MOVE_POLL_MS);
    }
  }

  #pool(shard: number): pg.Pool {
    const pool = this.#pools[shard];
    if (!pool) throw new UserError(`there is no shard ${shard}`, `set SHARD_${shard}_URL`);
    return pool;
  }

  /**
   * Asks all shards at once, each in a read-only transaction. Ask the views of the schema `sharding`
   * (`sharding.messages`): they have the rows that a shard owns, without those that are just being moved. Every bucket is
   * answered for exactly once; while one changes its shard, all are asked again. Where a shard fails or the deadline
   * passes, throws a ShardsFailedError with the answers of the others, or gives them (`partial: "allow"`).
   */
  async onAll<T>(
    work: (client: pg.PoolClient, shard: number, signal: AbortSignal) => Promise<T>,
    { deadlineMs, partial = "refuse" }: AllOptions,
  ): Promise<AllAnswers<T>> {
    const until = performance.now() + deadlineMs;
    for (;;) {
      const { shards } = await this.map();
      const leftMs = Math.max(1, Math.ceil(until - performance.now()));
      const asked = shardsOf(shards);
      const settled = await Promise.allSettled(asked.map((shard) => this.#ask(shard, work, leftMs, deadlineMs)));
      const answers = new Map<number, Answer<T>>();
      const failures = new Map<number, Error>();
      settled.forEach((result, index) => {
        const shard = asked[index] ?? 0;
        if (result.status === "fulfilled") answers.set(shard, result.value);
        else failures.set(shard, result.reason instanceof Error ? result.reason : new Error(String(result.reason)));
      });
      const values = new Map([...answers].map(([shard, { value }]) => [shard, value]));
      if (failures.size > 0 && (partial === "refuse" || values.size === 0))
        throw new ShardsFailedError(failures, values);
      if (failures.size > 0 || complete([...answers.values()])) return { values, failures };
      if (performance.now() + MOVE_POLL_MS > until) {
        const moving = new Error("a bucket is changing its shard, and was answered for twice or not at all");
        throw new ShardsFailedError(new Map([[-1, moving]]), values);
      }
      await sleep(MOVE_POLL_MS);
      await this.#map.reload();
    }
  }

  async #ask<T>(
    shard: number,
    work: (client: pg.PoolClient, shard: number, signal: AbortSignal) => Promise<T>,
    leftMs: number,
    deadlineMs: number,
  ): Promise<Answer<T>> {
    const signal = AbortSignal.timeout(leftMs);
    const late = new Promise<never>((_, reject) => {
      signal.addEventListener("abort", () => reject(new DeadlineError(shard, deadlineMs)), { once: true });
    });
    // The server stops by itself as well: the connection is let go, but what it runs would run on.
    const begin = `BEGIN READ ONLY; SET LOCAL statement_timeout = ${leftMs}; SELECT owned::text FROM sharding.this_shard`;
    const answer = usingUntil(this.#pool(shard), signal, (client) =>
      inTransaction(client, begin, async (begun) => {
        const owned = (begun?.rows[0] as { owned: string } | undefined)?.owned;
        if (owned === undefined) throw new Error("this database is not set up as a shard");
        return { owned, value: await work(client, shard, signal) };
      }),
    );
    // Whoever loses the race is not listened to any more.
    answer.catch(() => undefined);
    late.catch(() => undefined);
    return Promise.race([answer, late]);
  }

  /** Lets all connections go; work under way ends first. */
  async close(): Promise<void> {
    await Promise.all([this.#global, ...this.#pools].map((pool) => pool.end()));
  }
}
