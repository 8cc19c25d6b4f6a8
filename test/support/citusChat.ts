/** Clients of a Citus cluster's pool, with every acknowledged write remembered outside of the database. */
import { randomUUID } from "node:crypto";
import pg from "pg";
import { Pauses } from "../../bench/pauses.ts";
import { uuidv7 } from "../../sharding/uuid.ts";

export interface CitusChatReport {
  readonly writes: number;
  /** Errors that clients have seen, each text once, with how often any came. */
  readonly errors: number;
  readonly messages: readonly string[];
  /** The longest time in which no write of any client was acknowledged. */
  readonly longestPauseMs: number;
  /** The longest transaction of any client, waiting included. */
  readonly longestMs: number;
}

export interface CitusDifference {
  readonly lost: number;
  readonly wrong: number;
  readonly resurrected: number;
  /** Messages that are there once more than they should, of all users of these clients. */
  readonly tooMany: number;
}

export const SAME: CitusDifference = { lost: 0, wrong: 0, resurrected: 0, tooMany: 0 };

interface Message {
  readonly id: string;
  readonly sender: string;
  readonly at: string;
}

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/**
 * Each client writes a message of one of its users with a reaction of that user's own, in one transaction, changes an earlier
 * one, deletes and renames users now and then: messages always by their sender's id, so that one node does it.
 */
export class CitusChat {
  readonly #url: () => string;
  readonly #clients: number;
  readonly #pauseMs: number;
  readonly #users: readonly string[];
  readonly #conversation = randomUUID();
  readonly #known = new Map<string, { sender: string; content: string }>();
  readonly #deleted = new Set<string>();
  readonly #names = new Map<string, string>();
  #pauses = new Pauses();
  #longestMs = 0;
  #writes = 0;
  #errors = 0;
  readonly #messages = new Set<string>();
  #stopped = false;
  #running: Promise<unknown> = Promise.resolve();

  /** `url`: asked for each connection, since passwords change. `perSecond`: writes of all clients together. */
  constructor(url: () => string, options: { clients: number; users: number; perSecond: number }) {
    this.#url = url;
    this.#clients = options.clients;
    this.#pauseMs = (options.clients * 1000) / options.perSecond;
    this.#users = Array.from({ length: options.users }, () => uuidv7());
  }

  get users(): readonly string[] {
    return this.#users;
  }

  get writes(): number {
    return this.#writes;
  }

  async #with<T>(work: (client: pg.Client) => Promise<T>): Promise<T> {
    const client = new pg.Client({ connectionString: this.#url(), connectionTimeoutMillis: 30_000 });
    client.on("error", () => undefined);
    await client.connect();
    try {
      return await work(client);
    } finally {
      await client.end().catch(() => undefined);
    }
  }

  /** Makes the users. */
  seed(): Promise<unknown> {
    return this.#with((client) =>
      client.query(
        "INSERT INTO users (id, username, email) SELECT id, 'u' || id, id || '@example.com' FROM unnest($1::uuid[]) id",
        [this.#users],
      ),
    );
  }

  start(): this {
    this.#stopped = false;
    this.#errors = 0;
    this.#messages.clear();
    this.mark();
    this.#pauses.acknowledge();
    this.#running = Promise.all(Array.from({ length: this.#clients }, (_, number) => this.#run(number)));
    return this;
  }

  /** What comes now is measured. */
  mark(): void {
    this.#pauses.acknowledge();
    this.#pauses.mark();
    this.#longestMs = 0;
  }

  /** Waits for so many more writes. */
  async progress(writes: number, withinMs = 60_000): Promise<boolean> {
    const until = Date.now() + withinMs;
    const from = this.#writes;
    while (this.#writes < from + writes && Date.now() < until) await sleep(50);
    return this.#writes >= from + writes;
  }

  async #run(number: number): Promise<void> {
    const mine: Message[] = [];
    const own = this.#users.filter((_, index) => index % this.#clients === number);
    // What broke is done again, to the same end: nobody has said whether it was done.
    let next: ((client: pg.Client) => Promise<void>) | undefined;
    let n = 0;
    while (!this.#stopped || next) {
      try {
        await this.#with(async (client) => {
          while (!this.#stopped || next) {
            next ??= this.#next(own, mine, n++);
            const began = performance.now();
            await next(client);
            next = undefined;
            this.#writes++;
            this.#pauses.acknowledge();
            this.#longestMs = Math.max(this.#longestMs, performance.now() - began);
            await sleep(Math.random() * 2 * this.#pauseMs);
          }
        });
      } catch (error) {
        this.#errors++;
        this.#messages.add(error instanceof Error ? error.message : String(error));
        await sleep(200);
      }
    }
  }

  /** The next thing a client does; called again, it comes to the same. */
  #next(own: readonly string[], mine: Message[], n: number): (client: pg.Client) => Promise<void> {
    const old = mine[Math.floor(Math.random() * mine.length)];
    const sender = own[Math.floor(Math.random() * own.length)] ?? "";
    if (n % 20 === 19) return (client) => this.#rename(client, sender, `name ${n} of ${sender}`);
    if (old && n % 10 === 9) return (client) => this.#delete(client, old, mine);
    if (old && n % 3 === 2) return (client) => this.#change(client, old, `changed ${n} ${randomUUID()}`);
    const message = { id: uuidv7(), sender, at: new Date().toISOString().slice(0, 19) };
    return (client) => this.#insert(client, message, mine, `new ${n}`);
  }

  /** Users are a reference table: every node gets it. */
  async #rename(client: pg.Client, user: string, name: string): Promise<void> {
    await client.query("UPDATE users SET username = $2 WHERE id = $1", [user, name]);
    this.#names.set(user, name);
  }

  async #insert(client: pg.Client, message: Message, mine: Message[], content: string): Promise<void> {
    const { id, sender, at } = message;
    await client.query("BEGIN");
    await client.query(
      `INSERT INTO messages (id, conversation_id, sender_id, content, inserted_at) VALUES ($1, $2, $3, $4, $5)
       ON CONFLICT DO NOTHING`,
      [id, this.#conversation, sender, content, at],
    );
    await client.query(
      `INSERT INTO reactions (message_id, message_inserted_at, user_id, emoji) VALUES ($1, $2, $3, 'ok')
       ON CONFLICT DO NOTHING`,
      [id, at, sender],
    );
    await client.query("COMMIT");
    this.#known.set(id, { sender, content });
    mine.push(message);
  }

  async #change(client: pg.Client, { id, sender, at }: Message, content: string): Promise<void> {
    await client.query("UPDATE messages SET content = $4 WHERE id = $1 AND sender_id = $2 AND inserted_at = $3", [
      ...[id, sender, at, content],
    ]);
    this.#known.set(id, { sender, content });
  }

  async #delete(client: pg.Client, message: Message, mine: Message[]): Promise<void> {
    const { id, sender, at } = message;
    await client.query("DELETE FROM messages WHERE id = $1 AND sender_id = $2 AND inserted_at = $3", [id, sender, at]);
    this.#known.delete(id);
    this.#deleted.add(id);
    mine.splice(mine.indexOf(message), 1);
  }

  async stop(): Promise<CitusChatReport> {
    this.#stopped = true;
    await this.#running;
    const { longestMs: longestPauseMs } = this.#pauses;
    return {
      ...{ writes: this.#writes, errors: this.#errors, messages: [...this.#messages] },
      ...{ longestPauseMs, longestMs: Math.round(this.#longestMs) },
    };
  }

  /** What the database has against what it has acknowledged. */
  difference(): Promise<CitusDifference> {
    return this.#with(async (client) => {
      const { rows } = await client.query<{ id: string; sender_id: string; content: string }>(
        "SELECT id, sender_id, content FROM messages WHERE conversation_id = $1",
        [this.#conversation],
      );
      const found = new Map(rows.map((row) => [row.id, row]));
      const known = [...this.#known];
      const users = await client.query<{ id: string; username: string }>(
        "SELECT id, username FROM users WHERE id = ANY ($1)",
        [[...this.#names.keys()]],
      );
      return {
        lost: known.filter(([id]) => !found.has(id)).length + this.#names.size - users.rows.length,
        wrong:
          known.filter(([id, { sender, content }]) => {
            const row = found.get(id);
            return row && (row.content !== content || row.sender_id !== sender);
          }).length + users.rows.filter(({ id, username }) => this.#names.get(id) !== username).length,
        resurrected: [...this.#deleted].filter((id) => found.has(id)).length,
        tooMany: rows.length - this.#known.size,
      };
    });
  }
}
