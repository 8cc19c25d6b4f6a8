/** What goes wrong between a client and shards. */

/** SQLSTATEs of schema/sharding/030_shard.sql. */
export const SQLSTATE = {
  /** The row's bucket is on another shard. */
  otherShard: "SH001",
  shardKeyChanged: "SH002",
  globalTable: "SH003",
} as const;

/** The bucket that a shard has refused, where an error is such a refusal. */
export function refusedBucket(error: unknown): number | undefined {
  const { code, detail } = error as { code?: unknown; detail?: unknown };
  if (code !== SQLSTATE.otherShard) return undefined;
  return Number(/^bucket (\d+)/.exec(typeof detail === "string" ? detail : "")?.[1] ?? -1);
}

/** A shard did not answer before the deadline. */
export class DeadlineError extends Error {
  constructor(shard: number, deadlineMs: number) {
    super(`shard ${shard} did not answer within ${deadlineMs} ms`);
    this.name = "DeadlineError";
  }
}

/** Some shards gave no answer, and the caller asked for all. What the others said is in `values`, by shard. */
export class ShardsFailedError<T = unknown> extends Error {
  readonly failures: ReadonlyMap<number, Error>;
  readonly values: ReadonlyMap<number, T>;

  constructor(failures: ReadonlyMap<number, Error>, values: ReadonlyMap<number, T>) {
    const said = [...failures].map(([shard, { message }]) => `shard ${shard}: ${message}`);
    super(`${failures.size} of ${failures.size + values.size} shards failed: ${said.join("; ")}`);
    this.name = "ShardsFailedError";
    this.failures = failures;
    this.values = values;
  }
}

/** A name that another user has. */
export class TakenError extends Error {
  readonly field: "user_id" | "username" | "email" | "wallet_address";

  constructor(field: TakenError["field"]) {
    super(`this ${field} is taken`);
    this.name = "TakenError";
    this.field = field;
  }
}
