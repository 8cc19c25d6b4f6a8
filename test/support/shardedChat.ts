/** Clients that write through a ShardRouter, with every acknowledged write remembered outside of the databases. */
import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import type { ClientBase } from "pg";
import { Pauses } from "../../bench/pauses.ts";
import type { ShardRouter } from "../../sharding/ShardRouter.ts";
import { uuidv7 } from "../../sharding/uuid.ts";

export interface ShardedChatReport {
  readonly writes: number;
  /** The message of each error that a client has seen. */
  readonly errors: readonly string[];
  /** The longest time in which no write of any client was acknowledged. */
  readonly longestPauseMs: number;
  /** The longest transaction of any client, waiting included. */
  readonly longestMs: number;
}

export interface ShardedDifference {
  readonly lost: number;
  readonly doubled: number;
  readonly wrong: number;
}

interface Message {
  readonly sender: string;
  readonly id: string;
}

/** Each client writes a message of a random user, changes one of its earlier ones, and deletes now and then. */
export class ShardedChat {
  readonly #router: ShardRouter;
  readonly #clients: number;
  readonly #everyMs: number;
  readonly #users: readonly string[];
  readonly #conversation = randomUUID();
  /** What each message's content is by the last acknowledged write. */
  readonly #known = new Map<string, { sender: string; content: string }>();
  /** Those whose last write ended in the unknown: nobody can say what they ought to be. */
  readonly #uncertain = new Set<string>();
  #pauses = new Pauses();
  #longestMs = 0;
  #writes = 0;
  #errors = new Set<string>();
  #stopped = false;
  #running: Promise<unknown> = Promise.resolve();

  /** `everyMs`: how long each client waits after each turn; default: not at all. */
  constructor(
    router: ShardRouter,
    { clients, users, everyMs = 0 }: { clients: number; users: number; everyMs?: number },
  ) {
    this.#router = router;
    this.#clients = clients;
    this.#everyMs = everyMs;
    this.#users = Array.from({ length: users }, () => uuidv7());
  }

  /** Makes the users, and so many messages of theirs. */
  async seed(messages: number): Promise<void> {
    const byShard = await this.#router.shardsFor(this.#users);
    for (const ids of byShard.values()) {
      const [one = ""] = ids;
      await this.#router.withShard(one, async (client) => {
        await client.query(
          "INSERT INTO users (id, username, email) SELECT id, 'u' || id, id || '@example.com' FROM unnest($1::uuid[]) id",
          [ids],
        );
        await client.query(
          `INSERT INTO messages (id, conversation_id, sender_id, content)
           SELECT gen_random_uuid(), $2, ($1::uuid[])[1 + n % cardinality($1)], 'old ' || n FROM generate_series(1, $3) n`,
          [ids, this.#conversation, Math.round(messages / byShard.size)],
        );
      });
    }
  }

  start(): void {
    this.#stopped = false;
    this.#pauses = new Pauses();
    this.#longestMs = 0;
    this.#running = Promise.all(Array.from({ length: this.#clients }, () => this.#run()));
  }

  /** What comes now is measured. */
  markPauses(): void {
    this.#pauses.mark();
    this.#longestMs = 0;
  }

  async #run(): Promise<void> {
    const mine: Message[] = [];
    for (let n = 0; !this.#stopped; n++) {
      const sender = this.#users[Math.floor(Math.random() * this.#users.length)] ?? "";
      const message = { sender, id: uuidv7() };
      let touched = message;
      const began = performance.now();
      try {
        await this.#write(message, `new ${n}`);
        mine.push(message);
        touched = mine[Math.floor(Math.random() * mine.length)] ?? message;
        if (n % 10 === 9) await this.#delete(touched, mine);
        else await this.#change(touched, `changed ${n}`);
      } catch (error) {
        this.#uncertain.add(touched.id);
        mine.splice(0, mine.length, ...mine.filter(({ id }) => id !== touched.id));
        this.#errors.add(error instanceof Error ? error.message : String(error));
      }
      this.#longestMs = Math.max(this.#longestMs, performance.now() - began);
      if (this.#everyMs > 0) await sleep(this.#everyMs);
    }
  }

  #done(): void {
    this.#pauses.acknowledge();
    this.#writes++;
  }

  async #write({ sender, id }: Message, content: string): Promise<void> {
    await this.#router.withShard(sender, (client) =>
      client.query("INSERT INTO messages (id, conversation_id, sender_id, content) VALUES ($1, $2, $3, $4)", [
        ...[id, this.#conversation, sender, content],
      ]),
    );
    this.#known.set(id, { sender, content });
    this.#done();
  }

  async #change({ sender, id }: Message, content: string): Promise<void> {
    await this.#router.transaction(sender, (client) =>
      client.query("UPDATE messages SET content = $3 WHERE id = $1 AND sender_id = $2", [id, sender, content]),
    );
    this.#known.set(id, { sender, content });
    this.#done();
  }

  async #delete(message: Message, mine: Message[]): Promise<void> {
    const { sender, id } = message;
    await this.#router.transaction(sender, (client) =>
      client.query("DELETE FROM messages WHERE id = $1 AND sender_id = $2", [id, sender]),
    );
    this.#known.delete(id);
    mine.splice(mine.indexOf(message), 1);
    this.#done();
  }

  async stop(): Promise<ShardedChatReport> {
    this.#stopped = true;
    await this.#running;
    const { longestMs: longestPauseMs } = this.#pauses;
    return { writes: this.#writes, errors: [...this.#errors], longestPauseMs, longestMs: this.#longestMs };
  }

  /** What all shards have against what was acknowledged. */
  async difference(): Promise<ShardedDifference> {
    const { values } = await this.#router.onAll(
      async (client: ClientBase) =>
        (
          await client.query<{ id: string; sender_id: string; content: string }>(
            "SELECT id, sender_id, content FROM sharding.messages WHERE conversation_id = $1 AND content !~ '^old '",
            [this.#conversation],
          )
        ).rows,
      { deadlineMs: 60_000 },
    );
    const rows = [...values.values()].flat();
    const found = new Map(rows.map((row) => [row.id, row]));
    const sure = (id: string): boolean => !this.#uncertain.has(id);
    const lost = [...this.#known.keys()].filter((id) => sure(id) && !found.has(id)).length;
    const wrong = [...found].filter(([id, row]) => sure(id) && this.#known.get(id)?.content !== row.content).length;
    return { lost, doubled: rows.length - found.size, wrong };
  }
}
