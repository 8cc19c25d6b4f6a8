/** A pool's connection for a piece of work: given back clean, or not at all. */
import type pg from "pg";

/** Whether a connection whose work failed is clean again. Where no transaction is open this is a warning that nobody hears. */
const rolledBack = (client: pg.PoolClient): Promise<boolean> =>
  client.query("ROLLBACK").then(
    () => true,
    () => false,
  );

/** Works with a connection of a pool. One whose work fails is rolled back before somebody else gets it, or closed. */
export const using = async <T>(pool: pg.Pool, work: (client: pg.PoolClient) => Promise<T>): Promise<T> =>
  usingClient(await pool.connect(), work);

/** The same with a connection that has been got already. */
export async function usingClient<T>(client: pg.PoolClient, work: (client: pg.PoolClient) => Promise<T>): Promise<T> {
  let result: T;
  try {
    result = await work(client);
  } catch (error) {
    client.release(!(await rolledBack(client)));
    throw error;
  }
  client.release();
  return result;
}

/** The same, closing the connection as soon as `signal` is aborted. */
export async function usingUntil<T>(
  pool: pg.Pool,
  signal: AbortSignal,
  work: (client: pg.PoolClient) => Promise<T>,
): Promise<T> {
  const client = await pool.connect();
  const state = { released: false };
  const release = (broken: boolean): void => {
    if (!state.released) client.release(broken);
    state.released = true;
  };
  const abort = (): void => release(true);
  signal.addEventListener("abort", abort, { once: true });
  try {
    signal.throwIfAborted();
    const result = await work(client);
    release(false);
    return result;
  } catch (error) {
    if (!state.released) release(!(await rolledBack(client)));
    throw error;
  } finally {
    signal.removeEventListener("abort", abort);
  }
}

/** What pg gives for a message: one result, or one for each statement where there are several. */
type Results = pg.QueryResult | pg.QueryResult[];

/**
 * Begins with one message of several statements, works, commits. `work` gets the last statement's result. Throws where the
 * transaction was rolled back instead, because `work` kept an error to itself.
 */
export async function inTransaction<T>(
  client: pg.PoolClient,
  begin: string,
  work: (begun: pg.QueryResult | undefined) => Promise<T>,
): Promise<T> {
  const begun = (await client.query(begin)) as Results;
  const result = await work(Array.isArray(begun) ? begun.at(-1) : begun);
  const { command } = await client.query("COMMIT");
  if (command !== "COMMIT") throw new Error("the transaction was rolled back: a statement in it had failed");
  return result;
}
