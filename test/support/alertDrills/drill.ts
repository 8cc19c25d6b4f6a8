/** What brings alerts about on a stack that runs, and what ends them. */
import { setTimeout as sleep } from "node:timers/promises";
import pg from "pg";
import { dockerName } from "../../../components/docker/names.ts";
import type { Severity } from "../../../monitoring/alerts/alert.ts";
import { docker } from "../../../scripts/lib/docker.ts";

export interface Series {
  readonly metric: Readonly<Record<string, string>>;
  readonly value: readonly [number, string];
}

interface Ways {
  /** As `cgraph-db env` names them. */
  readonly urls: Readonly<Record<string, string>>;
  readonly prometheusUrl: string;
}

/** A stack of stage 3 in Docker, and ways into it once it runs. */
export class Drilled {
  readonly stack: string;
  #ways: Ways = { urls: {}, prometheusUrl: "" };

  constructor(stack: string) {
    this.stack = stack;
  }

  runs(ways: Ways): void {
    this.#ways = ways;
  }

  container(name: string): string {
    return dockerName(this.stack, name);
  }

  /** What psql answers to a superuser, without the last line's end. */
  async superuser(sql: string, server = "pg0", database = "cgraph_production"): Promise<string> {
    const psql = ["psql", "-XAtq", "-d", database, "-c", sql];
    return (await docker(["exec", "--user", "postgres", this.container(server), ...psql])).trimEnd();
  }

  /** Runs a shell's script as postgres. */
  shell(name: string, script: string): Promise<string> {
    return docker(["exec", "--user", "postgres", this.container(name), "sh", "-c", script]);
  }

  /** An instant query of PromQL. */
  async query(expression: string): Promise<readonly Series[]> {
    const response = await fetch(`${this.#ways.prometheusUrl}/api/v1/query?query=${encodeURIComponent(expression)}`);
    const answer = (await response.json()) as { status: string; error?: string; data: { result: Series[] } };
    if (answer.status !== "success") throw new Error(`${expression}: ${answer.error}`);
    return answer.data.result;
  }

  async connect(key = "DATABASE_DIRECT_URL"): Promise<pg.Client> {
    const client = new pg.Client({ connectionString: this.#ways.urls[key] });
    client.on("error", () => undefined);
    await client.connect();
    return client;
  }

  connectAll(count: number, key?: string): Promise<pg.Client[]> {
    return Promise.all(Array.from({ length: count }, () => this.connect(key)));
  }
}

export const closeAll = async (clients: pg.Client[]): Promise<void> => {
  await Promise.all(clients.splice(0).map((client) => client.end().catch(() => undefined)));
};

/** Clients that repeat a statement, each with a pause in between, until they are stopped. */
export class Repeated {
  readonly #clients: pg.Client[] = [];
  readonly #running: Promise<void>[] = [];
  #stopped = false;

  async start(
    on: Drilled,
    count: number,
    statement: (round: number) => string,
    { key, pauseMs = 0 }: { readonly key?: string; readonly pauseMs?: number } = {},
  ): Promise<void> {
    const clients = await on.connectAll(count, key);
    this.#clients.push(...clients);
    for (const client of clients) {
      const run = async (): Promise<void> => {
        for (let round = 0; !this.#stopped; round++) {
          await client.query(statement(round));
          if (pauseMs > 0) await sleep(pauseMs);
        }
      };
      const running = run();
      // Told by stop; until then nobody waits for it.
      running.catch(() => undefined);
      this.#running.push(running);
    }
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    try {
      await Promise.all(this.#running);
    } finally {
      await closeAll(this.#clients);
    }
  }
}

/** How the alerts of one cause come about, in a test's order: warning before critical. */
export interface Drill {
  /** Their ids; nearly always one. */
  readonly alerts: readonly string[];
  /** Of the thing concerned, such as `{ volume: "pg2-data" }`. */
  readonly labels?: Readonly<Record<string, string>>;
  /** Also a part of the run without long drills, at this severity alone. */
  readonly quick?: Severity;
  /** What must be so before: done first, then waited until none of the alerts fires. */
  readonly before?: () => Promise<unknown>;
  readonly causes: Readonly<Partial<Record<Severity, () => Promise<unknown>>>>;
  readonly end: () => Promise<unknown>;
  /** Milliseconds in which they come, default 90 000, and end, default 120 000. */
  readonly firesWithinMs?: number;
  readonly resolvesWithinMs?: number;
}

/** Where time alone is the cause. */
export const TIME = (): Promise<void> => Promise.resolve();
