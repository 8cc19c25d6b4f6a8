/** What tests of stacks in several regions have in common: a stack's regions as `region list` tells them, clients that write. */
import { setTimeout as sleep } from "node:timers/promises";
import pg from "pg";
import { cgraph } from "./cli.ts";

interface Listed {
  readonly primary: { readonly region: string; readonly epoch: number } | null;
  readonly regions: readonly {
    readonly name: string;
    readonly lackingBytes: number | null;
    readonly state: { readonly writable: boolean; readonly clusters: readonly { readonly streams: boolean }[] } | null;
  }[];
  readonly promotions: readonly { readonly epoch: number; readonly lostBytes: number | null }[];
}

/** `region` of a stack. */
export class StackRegions {
  readonly #stack: string;

  constructor(stack: string) {
    this.#stack = stack;
  }

  run(...args: string[]): ReturnType<typeof cgraph> {
    return cgraph(["region", ...args, "--stack", this.#stack]);
  }

  async list(): Promise<Listed> {
    return JSON.parse((await this.run("list", "--json")).stdout) as Listed;
  }

  /** Whether every region beside the primary's follows it. */
  async following(): Promise<boolean> {
    const { primary, regions } = await this.list();
    return regions.every(({ name, state }) =>
      name === primary?.region ? state?.writable : state?.clusters.every(({ streams }) => streams),
    );
  }
}

export const median = (values: readonly number[]): number => [...values].sort((a, b) => a - b)[values.length >> 1] ?? 0;

/** Milliseconds that each of these takes to answer: they are asked in turns, so that what else the machine does is shared. */
export async function timedInTurns(urls: readonly string[], sql: string, times: number): Promise<number[][]> {
  const clients = urls.map((connectionString) => new pg.Client({ connectionString }));
  await Promise.all(clients.map((client) => client.connect()));
  try {
    const took: number[][] = urls.map(() => []);
    for (let n = 0; n < times; n++) {
      for (const [index, client] of clients.entries()) {
        const began = performance.now();
        await client.query(sql);
        took[index]?.push(performance.now() - began);
      }
    }
    return took;
  } finally {
    await Promise.all(clients.map((client) => client.end()));
  }
}

/** A client that writes as long as it may, with the numbers and times of what was acknowledged. */
export class Writer {
  readonly acknowledged: { readonly n: number; readonly at: number }[] = [];
  errors = 0;
  readonly name: string;
  readonly #write: (client: pg.Client, name: string, n: number) => Promise<unknown>;
  #stopped = false;
  readonly #running: Promise<void>;

  constructor(name: string, url: string, write: (client: pg.Client, name: string, n: number) => Promise<unknown>) {
    this.name = name;
    this.#write = write;
    this.#running = this.#run(url);
  }

  async #run(url: string): Promise<void> {
    let client: pg.Client | undefined;
    for (let n = 1; !this.#stopped; n++) {
      try {
        if (!client) {
          client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 3000, query_timeout: 3000 });
          client.on("error", () => undefined);
          await client.connect();
        }
        await this.#write(client, this.name, n);
        this.acknowledged.push({ n, at: Date.now() });
        await sleep(20);
      } catch {
        this.errors++;
        void client?.end().catch(() => undefined);
        client = undefined;
        await sleep(200);
      }
    }
    await client?.end().catch(() => undefined);
  }

  async stop(): Promise<this> {
    this.#stopped = true;
    await this.#running;
    return this;
  }
}
