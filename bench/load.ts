/** Clients that write all the time and remember what the database has acknowledged. */
import pg from "pg";
import { lsnValue } from "../scripts/lib/restoreTarget.ts";
import { Pauses } from "./pauses.ts";

export interface WriteReport {
  /** Rows that the database has acknowledged. */
  readonly acknowledged: number;
  readonly errors: number;
  /** Messages of the errors, each once. */
  readonly messages: readonly string[];
  /** The longest time in which no write at all was acknowledged, and when it began (milliseconds since the start). */
  readonly longestPauseMs: number;
  readonly longestPauseAtMs: number;
  /** Position in the WAL of the last row that was acknowledged before that pause. */
  readonly lsnBeforePause: bigint;
}

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/**
 * Inserts rows (client, n), n ascending, into a table of its own, over and over, each client on a connection that it
 * makes anew when it breaks. A row counts when its INSERT has returned.
 */
export class WriteLoad {
  readonly #url: string;
  readonly #clients: number;
  readonly #table: string;
  readonly #pauses = new Pauses();
  readonly #last: number[];
  readonly #messages = new Set<string>();
  #errors = 0;
  #acknowledged = 0;
  #lastLsn = 0n;
  #lsnBeforePause = 0n;
  #stopped = false;
  #running: Promise<unknown> = Promise.resolve();

  constructor(url: string, options: { clients: number; table: string }) {
    this.#url = url;
    this.#clients = options.clients;
    this.#table = options.table;
    this.#last = Array<number>(options.clients).fill(0);
  }

  /** SQL that makes the table; run it as the owner. */
  static tableSql(table: string): string {
    return `CREATE TABLE IF NOT EXISTS ${table} (client int, n int, at timestamptz DEFAULT clock_timestamp(), PRIMARY KEY (client, n))`;
  }

  start(): this {
    this.#pauses.acknowledge();
    this.#pauses.mark();
    this.#running = Promise.all(Array.from({ length: this.#clients }, (_, client) => this.#client(client)));
    return this;
  }

  get acknowledged(): number {
    return this.#acknowledged;
  }

  async #client(client: number): Promise<void> {
    let connection: pg.Client | undefined;
    for (let n = 1; !this.#stopped;) {
      try {
        if (!connection) {
          connection = new pg.Client({
            connectionString: this.#url,
            connectionTimeoutMillis: 10_000,
            query_timeout: 40_000,
          });
          // A connection that breaks while idle would end the process.
          connection.on("error", () => undefined);
          await connection.connect();
        }
        const { rows } = await connection.query<{ lsn: string }>(
          `INSERT INTO ${this.#table} (client, n) VALUES ($1, $2) RETURNING pg_current_wal_insert_lsn()::text AS lsn`,
          [client, n],
        );
        this.#acknowledge(client, n, lsnValue(rows[0]?.lsn ?? "0/0"));
        n++;
      } catch (error) {
        const message = error instanceof Error ? error.message : String(error);
        await connection?.end().catch(() => undefined);
        connection = undefined;
        if (/duplicate key/.test(message)) {
          // The row was stored, only its acknowledgement was lost on the way.
          n++;
        } else {
          this.#errors++;
          this.#messages.add(message);
          await sleep(50);
        }
      }
    }
    await connection?.end().catch(() => undefined);
  }

  #acknowledge(client: number, n: number, lsn: bigint): void {
    if (this.#pauses.acknowledge()) this.#lsnBeforePause = this.#lastLsn;
    this.#lastLsn = lsn;
    this.#last[client] = n;
    this.#acknowledged++;
  }

  /** Waits until so many more rows are acknowledged; gives false after `withinMs`. */
  async progress(rows: number, withinMs: number): Promise<boolean> {
    const wanted = this.#acknowledged + rows;
    const until = Date.now() + withinMs;
    while (this.#acknowledged < wanted && Date.now() < until) await sleep(20);
    return this.#acknowledged >= wanted;
  }

  /** Forgets pauses and errors so far: what comes now is measured. */
  mark(): void {
    this.#pauses.mark();
    this.#errors = 0;
    this.#messages.clear();
  }

  async stop(): Promise<WriteReport> {
    this.#stopped = true;
    await this.#running;
    return {
      acknowledged: this.#acknowledged,
      errors: this.#errors,
      messages: [...this.#messages],
      longestPauseMs: this.#pauses.longestMs,
      longestPauseAtMs: this.#pauses.longestAtMs,
      lsnBeforePause: this.#lsnBeforePause,
    };
  }

  /** Acknowledged rows that the database no longer has; read with the owner's connection. */
  async lost(connection: pg.Client): Promise<number> {
    const { rows } = await connection.query<{ client: number; rows: string }>(
      `SELECT client, count(*) AS rows FROM ${this.#table} t JOIN unnest($1::int[]) WITH ORDINALITY AS a (last, ord)
       ON t.client = a.ord - 1 AND t.n <= a.last GROUP BY client`,
      [this.#last],
    );
    const stored = new Map(rows.map((row) => [row.client, Number(row.rows)]));
    return this.#last.reduce((sum, last, client) => sum + last - (stored.get(client) ?? 0), 0);
  }
}
