/** Clients of a database by its URL. */
import pg from "pg";

/** Works with a client of its own. Without a URL: as libpq's environment says. */
export async function withUrl<T>(url: string | undefined, work: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client({ connectionString: url });
  // A connection that breaks is told by the statement that it breaks.
  client.on("error", () => undefined);
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}

/** Runs one statement; gives its rows. */
export const ask = <T extends pg.QueryResultRow>(
  url: string | undefined,
  sql: string,
  values?: unknown[],
): Promise<T[]> => withUrl(url, async (client) => (await client.query<T>(sql, values)).rows);
