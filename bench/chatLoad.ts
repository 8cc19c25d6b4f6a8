/** Clients that chat: CGraph's own transactions, with every acknowledged write remembered outside of the database. */
import pg from "pg";
import { type Pause, Pauses } from "./pauses.ts";

export interface ChatReport {
  readonly inserted: number;
  readonly edited: number;
  readonly deleted: number;
  readonly reads: number;
  /** Transactions that ended with an error which a client would see; the message of each kind once. */
  readonly errors: number;
  readonly messages: readonly string[];
  /** The longest time in which no write of any client was acknowledged. */
  readonly longestPauseMs: number;
  /** Every such time of 100 ms and more. */
  readonly pauses: readonly Pause[];
  /** How long writing transactions took, milliseconds. */
  readonly latencyMs: { readonly p50: number; readonly p95: number; readonly p99: number; readonly max: number };
}

/** What the database has against what it has acknowledged. */
export interface ChatDifference {
  readonly lost: number;
  readonly doubled: number;
  readonly wrongContent: number;
  readonly resurrected: number;
}

export const NO_DIFFERENCE: ChatDifference = { lost: 0, doubled: 0, wrongContent: 0, resurrected: 0 };

interface Client {
  readonly number: number;
  /** Messages acknowledged, 1 to this. */
  inserted: number;
  /** Old messages of this client, by number: their new content, or null where it deleted them. */
  readonly old: Map<number, string | null>;
}

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
const percentile = (sorted: readonly number[], share: number): number =>
  sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0;

const CONVERSATIONS = 100;
/** How long a client waits on average before it tries again; of twenty, one does so every ten milliseconds. */
const RETRY_MS = 200;
const oldId = (n: number | string): string => `md5('old-message-' || ${n})::uuid`;

export interface ChatOptions {
  readonly clients: number;
  /** Old messages that seedSql has made: the clients change and delete some. */
  readonly oldMessages: number;
  /** Where a client reads; default: where it writes. */
  readonly readUrl?: string;
  /** Writes a second of all clients together; default: as many as they can, which takes what CPUs there are. */
  readonly perSecond?: number;
}

/**
 * Each client in turn writes a message and changes or deletes an old one, in one transaction, then reads a conversation's
 * newest messages. Clients never touch the same row. A client whose connection breaks makes it anew and repeats the same
 * transaction: a row that was stored without the client knowing is then found, not stored twice.
 */
export class ChatLoad {
  readonly #url: string;
  readonly #options: ChatOptions;
  readonly #clients: readonly Client[];
  readonly #pauses = new Pauses();
  readonly #latencies: number[] = [];
  readonly #messages = new Set<string>();
  /** Old messages whose last transaction ended in the unknown. */
  readonly #uncertain = new Set<number>();
  #errors = 0;
  #reads = 0;
  #writes = 0;
  #stopped = false;
  #running: Promise<unknown> = Promise.resolve();

  constructor(url: string, options: ChatOptions) {
    this.#url = url;
    this.#options = options;
    this.#clients = Array.from({ length: options.clients }, (_, number) => ({ number, inserted: 0, old: new Map() }));
  }

  /** SQL that makes users, conversations and old messages, spread over so many months; run it once, as the owner. */
  static seedSql(oldMessages: number, months = 10): string {
    return `
      INSERT INTO users (id, username, email)
        SELECT md5('load-user-' || u)::uuid, 'load' || u, 'load' || u || '@example.com' FROM generate_series(0, 999) u;
      INSERT INTO conversations (id, title)
        SELECT md5('load-conversation-' || c)::uuid, 'conversation ' || c FROM generate_series(0, ${CONVERSATIONS - 1}) c;
      INSERT INTO messages (id, conversation_id, sender_id, content, inserted_at)
        SELECT ${oldId("n")}, md5('load-conversation-' || n % ${CONVERSATIONS})::uuid, md5('load-user-' || n % 1000)::uuid,
          'old message ' || n || ' well i think that is a good idea, see you there at eight',
          date_trunc('second', now() AT TIME ZONE 'UTC') - n * (interval '${months} months' / ${oldMessages})
        FROM generate_series(1, ${oldMessages}) n;`;
  }

  start(): this {
    this.#pauses.acknowledge();
    this.#pauses.mark();
    this.#running = Promise.all(this.#clients.map((client) => this.#run(client)));
    return this;
  }

  /** Pauses of 100 ms and more since mark(). */
  get pauses(): readonly Pause[] {
    return this.#pauses.notable;
  }

  get writes(): number {
    return this.#writes;
  }

  async #run(client: Client): Promise<void> {
    const connections: Record<string, pg.Client | undefined> = {};
    const connection = async (url: string): Promise<pg.Client> => {
      const open = connections[url];
      if (open) return open;
      const made = new pg.Client({ connectionString: url, connectionTimeoutMillis: 20_000, query_timeout: 60_000 });
      // A connection that breaks while idle would end the process.
      made.on("error", () => (connections[url] = undefined));
      await made.connect();
      return (connections[url] = made);
    };
    const readUrl = this.#options.readUrl ?? this.#url;
    const { clients, perSecond } = this.#options;
    const everyMs = perSecond === undefined ? 0 : (clients * 1000) / perSecond;
    // Spread over the interval. What a pause kept from being written is not made up for.
    let due = performance.now() + (everyMs * client.number) / clients;
    // The same for every try, so that a second one finds what the first one stored.
    let at = new Date();
    while (!this.#stopped) {
      const early = due - performance.now();
      if (early > 0) await sleep(early);
      due = Math.max(due, performance.now() - everyMs) + everyMs;
      const n = client.inserted + 1;
      const old = this.#pick(client);
      try {
        const began = performance.now();
        const touched = await this.#write(await connection(this.#url), client, n, old, at);
        this.#latencies.push(performance.now() - began);
        this.#pauses.acknowledge();
        this.#writes++;
        client.inserted = n;
        if (old && touched) client.old.set(old.n, old.content);
        at = new Date();
        await (
          await connection(readUrl)
        ).query(
          "SELECT id, content FROM messages WHERE conversation_id = md5('load-conversation-' || $1::int)::uuid ORDER BY inserted_at DESC LIMIT 50",
          [n % CONVERSATIONS],
        );
        this.#reads++;
      } catch (error) {
        if (old && client.inserted < n) this.#uncertain.add(old.n);
        this.#errors++;
        this.#messages.add(error instanceof Error ? error.message : String(error));
        for (const url of Object.keys(connections)) {
          void connections[url]?.end().catch(() => undefined);
          connections[url] = undefined;
        }
        // As pools of connections do. All at once, over and over, would take a CPU from the server that they wait for.
        await sleep(RETRY_MS * (0.5 + Math.random()));
      }
    }
    for (const open of Object.values(connections)) await open?.end().catch(() => undefined);
  }

  /** An old message of this client, and what becomes of it: every fourth is deleted. */
  #pick(client: Client): { n: number; content: string | null } | undefined {
    const { clients, oldMessages } = this.#options;
    const n = Math.floor((Math.random() * oldMessages) / clients) * clients + client.number + 1;
    if (n > oldMessages || client.old.get(n) === null || this.#uncertain.has(n)) return undefined;
    return { n, content: Math.random() < 0.25 ? null : `edited by ${client.number} with ${client.inserted + 1}` };
  }

  /** Gives whether the old message was there: a month that was put away takes its messages along. */
  async #write(
    connection: pg.Client,
    client: Client,
    n: number,
    old: { n: number; content: string | null } | undefined,
    at: Date,
  ): Promise<boolean> {
    await connection.query("BEGIN");
    await connection.query(
      `INSERT INTO messages (id, conversation_id, sender_id, content, inserted_at)
       VALUES (md5('load-message-' || $1::int || '-' || $2::int)::uuid, md5('load-conversation-' || $3::int)::uuid,
         md5('load-user-' || $1::int)::uuid, 'message ' || $2::int, $4) ON CONFLICT DO NOTHING`,
      [client.number, n, n % CONVERSATIONS, at.toISOString().slice(0, -1)],
    );
    const touched =
      old &&
      (old.content === null
        ? await connection.query(`DELETE FROM messages WHERE id = ${oldId("$1::int")}`, [old.n])
        : await connection.query(`UPDATE messages SET content = $2 WHERE id = ${oldId("$1::int")}`, [
            old.n,
            old.content,
          ]));
    await connection.query("COMMIT");
    return touched?.rowCount === 1;
  }

  /** Waits until so many more writes are acknowledged; gives false after `withinMs`. */
  async progress(writes: number, withinMs: number): Promise<boolean> {
    const wanted = this.#writes + writes;
    const until = Date.now() + withinMs;
    while (this.#writes < wanted && Date.now() < until) await sleep(20);
    return this.#writes >= wanted;
  }

  /** Forgets pauses, latencies and errors so far: what comes now is measured. */
  mark(): void {
    this.#pauses.mark();
    this.#latencies.length = 0;
    this.#errors = 0;
    this.#messages.clear();
  }

  async stop(): Promise<ChatReport> {
    this.#stopped = true;
    await this.#running;
    const sorted = this.#latencies.sort((a, b) => a - b);
    const olds = this.#clients.flatMap(({ old }) => [...old.values()]);
    return {
      inserted: this.#clients.reduce((sum, { inserted }) => sum + inserted, 0),
      edited: olds.filter((content) => content !== null).length,
      deleted: olds.filter((content) => content === null).length,
      reads: this.#reads,
      errors: this.#errors,
      messages: [...this.#messages],
      longestPauseMs: this.#pauses.longestMs,
      pauses: this.#pauses.notable,
      latencyMs: {
        p50: percentile(sorted, 0.5),
        p95: percentile(sorted, 0.95),
        p99: percentile(sorted, 0.99),
        max: sorted.at(-1) ?? 0,
      },
    };
  }

  /** Compares `table` with what was acknowledged; call it after stop(), with the owner's connection. */
  async difference(connection: pg.Client, table = "messages"): Promise<ChatDifference> {
    const one = async (sql: string, values: unknown[]): Promise<number> =>
      Number((await connection.query<{ n: string }>(sql, values)).rows[0]?.n);
    const counts = this.#clients.map(({ inserted }) => inserted);
    const mine = `unnest($1::int[]) WITH ORDINALITY AS c (last, number) CROSS JOIN generate_series(1, c.last) n
      LEFT JOIN ${table} m ON m.id = md5('load-message-' || c.number - 1 || '-' || n)::uuid`;
    const olds = this.#clients
      .flatMap(({ old }) => [...old])
      .filter(([n]) => !this.#uncertain.has(n))
      .map(([n, content]) => ({ n, content }));
    const edits = olds.filter(({ content }) => content !== null);
    const deletions = olds.filter(({ content }) => content === null);
    return {
      lost: await one(`SELECT count(*) FILTER (WHERE m.id IS NULL) AS n FROM ${mine}`, [counts]),
      doubled: await one(
        `SELECT count(*) AS n FROM (SELECT id FROM ${table} WHERE id IN (SELECT md5('load-message-' || c.number - 1 || '-' || n)::uuid
           FROM unnest($1::int[]) WITH ORDINALITY AS c (last, number), generate_series(1, c.last) n) GROUP BY id HAVING count(*) > 1) d`,
        [counts],
      ),
      wrongContent: await one(
        `SELECT count(*) AS n FROM unnest($1::int[], $2::text[]) AS e (n, content)
         LEFT JOIN ${table} m ON m.id = ${oldId("e.n")} WHERE m.content IS DISTINCT FROM e.content`,
        [edits.map(({ n }) => n), edits.map(({ content }) => content)],
      ),
      resurrected: await one(
        `SELECT count(*) AS n FROM unnest($1::int[]) AS d (n) JOIN ${table} m ON m.id = ${oldId("d.n")}`,
        [deletions.map(({ n }) => n)],
      ),
    };
  }
}
