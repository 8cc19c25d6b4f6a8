/** Connections of the doctor: read only, patient for seconds at most, and known by their name. */
import type pg from "pg";
import { EXIT, UserError } from "../../tuning/errors.ts";
import { type Source, publicUrl } from "../import/source.ts";
import { connectToUrl } from "../lib/databaseClient.ts";

export const APPLICATION = "cgraph-db doctor";

const STATEMENT_TIMEOUT_MS = 3000;
/** Nobody is to queue behind a lock that we wait for. */
const LOCK_TIMEOUT_MS = 200;

/** Of a Citus cluster: a node that is down is told by the others' answers. Elsewhere the setting says nothing to anybody. */
const NODE_TIMEOUT_MS = 1000;

const LIMITS = {
  statement_timeout: String(STATEMENT_TIMEOUT_MS),
  lock_timeout: String(LOCK_TIMEOUT_MS),
  "citus.node_connection_timeout": String(NODE_TIMEOUT_MS),
};
/** For our own queries: times as texts that we can read, names of PostgreSQL's own only, no compiler, no helpers. */
const SETTINGS: Readonly<Record<string, string>> = {
  ...LIMITS,
  search_path: "pg_catalog",
  timezone: "UTC",
  datestyle: "ISO",
  jit: "off",
  max_parallel_workers_per_gather: "0",
};

/** The same where a process of psql asks, as libpq's PGOPTIONS. */
export const PSQL_OPTIONS = Object.entries({ ...SETTINGS, default_transaction_read_only: "on" })
  .map(([name, value]) => `-c ${name}=${value}`)
  .join(" ");

/** SET LOCAL: a pooler may give the connection to somebody else afterwards. */
const setLocal = (settings: Readonly<Record<string, string>>): string =>
  Object.entries(settings)
    .map(([name, value]) => `SET LOCAL ${name} = ${value === "" ? "''" : value}`)
    .join("; ");

/** Somebody who answers queries of one value. */
export interface Asker {
  /** Runs one SELECT of one row with one JSON value, in a read-only transaction of its own. Rejects where it fails. */
  ask(select: string): Promise<unknown>;
}

/** A connection of our own. */
export class Session implements Asker {
  readonly #client: pg.Client;

  constructor(client: pg.Client) {
    this.#client = client;
    // A broken connection is told by the query that was under way.
    client.on("error", () => undefined);
  }

  async ask(select: string): Promise<unknown> {
    return this.#within(async () => {
      const text = `BEGIN READ ONLY; ${setLocal(SETTINGS)}; ${select}; COMMIT`;
      const results = (await this.#client.query(text)) as unknown as pg.QueryResult<Record<string, unknown>>[];
      const row = results.find(({ command }) => command === "SELECT")?.rows[0];
      return row && Object.values(row)[0];
    });
  }

  /**
   * Runs queries with the server's own settings in one read-only transaction, which is rolled back. Each is sent as it is,
   * for parameters without values stand in them: whoever calls sees to it that it is one statement.
   */
  async transaction<T>(searchPath: string, work: (query: Query) => Promise<T>): Promise<T> {
    return this.#within(async () => {
      // Strings are read as doctor/statements reads them.
      const settings = { ...LIMITS, standard_conforming_strings: "on", search_path: searchPath };
      await this.#client.query(`BEGIN READ ONLY; ${setLocal(settings)}`);
      const value = await work(async (text) => (await this.#client.query<Record<string, unknown>>(text)).rows);
      await this.#client.query("ROLLBACK");
      return value;
    });
  }

  async #within<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      // A connection that is gone is told by what failed.
      await this.#client.query("ROLLBACK").catch(() => undefined);
      throw error;
    }
  }

  close(): Promise<void> {
    return this.#client.end().catch(() => undefined);
  }
}

export type Query = (text: string) => Promise<Record<string, unknown>[]>;

/** Why a connection failed, as a person can act on it. */
export function connectError(place: string, user: string, error: unknown): UserError {
  const { code = "", message } = error as { code?: string; message: string };
  const failed = (problem: string, remedy: string): UserError => new UserError(problem, remedy, EXIT.failed);
  if (code === "28P01" || /password/i.test(message)) {
    return failed(
      `${place} refuses ${user}: wrong or missing password`,
      "give it in PGPASSWORD, by passfile in the URL, or in ~/.pgpass",
    );
  }
  if (code.startsWith("28") || code === "42501") {
    return failed(
      `${place} refuses ${user}: ${message}`,
      "let this role in (pg_hba.conf, GRANT CONNECT), or give another",
    );
  }
  if (code === "3D000") return failed(`${place}: ${message}`, "give the URL of a database that is there");
  if (code === "53300") return failed(`${place}: ${message}`, "a role in pg_use_reserved_connections still gets in");
  if (/certificate|altnames|self.signed/i.test(message)) {
    return failed(
      `${place}: its certificate is not trusted: ${message}`,
      "give sslrootcert in the URL, or another sslmode",
    );
  }
  return failed(
    `${place} cannot be reached: ${message || code}`,
    "check host, port and whether the server runs and listens there",
  );
}

/** Connects to a URL's database. Throws a UserError that says what is in the way. */
export async function connectTo(source: Source): Promise<Session> {
  try {
    return new Session(await connectToUrl(source, APPLICATION));
  } catch (error) {
    throw connectError(publicUrl({ ...source, parameters: {}, files: {} }), source.user, error);
  }
}
