/** Transactions that hold writes of a shard up: they ask for their lock only for a moment. */
import type { Client } from "pg";
import { isLockConflict } from "../../migration/partitions/locks.ts";

/** For how long clients may have to wait behind a lock that is asked for. */
const LOCK_MS = 300;

/**
 * Works in a transaction, and ends it so. Undefined, with nothing done, where somebody else's lock is in the way: try again
 * a little later.
 */
export async function lockedBriefly<T>(
  client: Client,
  end: "COMMIT" | "ROLLBACK",
  work: () => Promise<T>,
): Promise<{ readonly value: T } | undefined> {
  await client.query("BEGIN");
  try {
    await client.query(`SET LOCAL lock_timeout = ${LOCK_MS}`);
    const value = await work();
    await client.query(end);
    return { value };
  } catch (error) {
    // What went wrong first is what is told.
    await client.query("ROLLBACK").catch(() => undefined);
    if (isLockConflict(error)) return undefined;
    throw error;
  }
}
