/** Locks on tables in use: asked for briefly, so that writers behind the request do not wait long. */
import type { Client } from "pg";
import { UserError } from "../../tuning/errors.ts";

/**
 * For a session that builds indexes and checks constraints beside writers: these wait, without anybody waiting for them, for
 * transactions that began before, an automatic ANALYZE of a large table among them. Whatever writers would wait for is asked
 * for patiently().
 */
export const NO_TIMEOUTS = "SET statement_timeout = 0; SET lock_timeout = 0";

/** Longer each time, but never so long that writers would wait for a second (when PostgreSQL looks for deadlocks). */
const TIMEOUT_MS = { first: 200, last: 700 } as const;
const TRIES = 200;

export const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/**
 * Whether a statement failed because of somebody else's lock: lock_not_available, deadlock_detected. pg_partman raises
 * its own error in their place (raise_exception) and keeps the text.
 */
export const isLockConflict = (error: unknown): boolean => {
  const { code, message } = error as { code?: string; message?: string };
  if (code === "P0001") return /due to lock timeout|deadlock detected/.test(message ?? "");
  return code === "55P03" || code === "40P01";
};

/** Tries until no lock is in the way. Throws a UserError where one stays. */
export async function untilUnlocked<T>(attempt: (tries: number) => Promise<T>): Promise<T> {
  for (let tries = 1; ; tries++) {
    try {
      return await attempt(tries);
    } catch (error) {
      if (!isLockConflict(error)) throw error;
      if (tries === TRIES) {
        throw new UserError(
          "the table is locked by transactions that do not end",
          "end them (./cgraph-db psql, pg_stat_activity), then call this again: it goes on where it was",
        );
      }
      await sleep(250 + Math.random() * 250);
    }
  }
}

/** Runs statements in one transaction that waits for its locks only briefly; gives the milliseconds that it took. */
export const patiently = (client: Client, sql: string): Promise<number> =>
  untilUnlocked(async (tries) => {
    const start = Date.now();
    const timeoutMs = Math.min(TIMEOUT_MS.first + 20 * (tries - 1), TIMEOUT_MS.last);
    try {
      await client.query(`BEGIN; SET LOCAL lock_timeout = ${timeoutMs}; ${sql}; COMMIT`);
    } catch (error) {
      await client.query("ROLLBACK");
      throw error;
    }
    return Date.now() - start;
  });
