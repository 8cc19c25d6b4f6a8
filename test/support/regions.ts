/** Stacks in several regions, as drills look at them: where the primary is, who follows, what their clients have written. */
import { setTimeout as sleep } from "node:timers/promises";
import pg from "pg";
import { cgraph, cgraphOk, freePort, setConfig } from "./cli.ts";
import { ask } from "./client.ts";
import { eventually } from "./eventually.ts";

export const [HOME, NEAR, FAR] = ["us-east-1", "eu-west-1", "ap-southeast-1"] as const;

/** What `region list --json` says. */
export interface Listed {
  readonly primary: { readonly region: string; readonly epoch: number } | null;
  readonly regions: readonly {
    readonly name: string;
    readonly lackingBytes: number | null;
    readonly state: { readonly writable: boolean; readonly clusters: readonly { readonly streams: boolean }[] } | null;
  }[];
  readonly promotions: readonly { readonly epoch: number; readonly lostBytes: number | null }[];
}

/** A stack in several regions, with a table that its writers write. */
export class RegionalStack {
  readonly name: string;
  #env: Readonly<Record<string, string>> = {};

  constructor(name: string) {
    this.name = name;
  }

  /** Brings it up, and waits until every region follows. */
  async up(stage: number, regions: readonly string[], config: Readonly<Record<string, string>> = {}): Promise<void> {
    const all = { regions: JSON.stringify(regions), monitoring: "false", maxConnections: "100", ...config };
    await setConfig(this.name, all);
    const port = String(await freePort());
    await cgraphOk("up", "--stack", this.name, "--stage", String(stage), "--port", port, "--no-install");
    await eventually("every region to follow", () => this.isFollowing(), 120_000);
    await this.readEnv();
    await ask(
      this.env["DATABASE_OWNER_URL"],
      "CREATE TABLE written (region text, n int, at timestamptz DEFAULT clock_timestamp(), PRIMARY KEY (region, n))",
    );
  }

  get env(): Readonly<Record<string, string>> {
    return this.#env;
  }

  async readEnv(): Promise<void> {
    this.#env = JSON.parse(await cgraphOk("env", "--stack", this.name, "--json")) as Record<string, string>;
  }

  run(...args: string[]) {
    return cgraph([...args, "--stack", this.name]);
  }

  ok(...args: string[]): Promise<string> {
    return cgraphOk(...args, "--stack", this.name);
  }

  async list(): Promise<Listed> {
    return JSON.parse((await this.run("region", "list", "--json")).stdout) as Listed;
  }

  /** Whether every region beside the primary's follows it, and that takes writes. */
  async isFollowing(): Promise<boolean> {
    const { primary, regions } = await this.list();
    return regions.every(({ name, state }) =>
      name === primary?.region ? state?.writable : state?.clusters.every(({ streams }) => streams),
    );
  }

  urlOf(region: string, key = "DATABASE_URL"): string {
    return this.#env[`${key}_${region.toUpperCase().replaceAll("-", "_")}`] ?? "";
  }

  /** A client of a region that writes. `time` tells its writes from others'. */
  writer(region: string, time: string): Writer {
    return new Writer(this.urlOf(region), `${region}, ${time}`);
  }

  /** What a writer was told is written, and is not, asked by one of a region's ways: to the primary, or to its replicas. */
  async missing(writer: Writer, region: string, key?: string): Promise<Writer["acknowledged"]> {
    const rows = await ask<{ n: number }>(this.urlOf(region, key), "SELECT n FROM written WHERE region = $1", [
      writer.name,
    ]);
    const there = new Set(rows.map(({ n }) => n));
    return writer.acknowledged.filter(({ n }) => !there.has(n));
  }
}

/** What a writer does each time. */
export type Write = (client: pg.Client, name: string, n: number) => Promise<unknown>;

const writeRow: Write = (client, name, n) => client.query("INSERT INTO written (region, n) VALUES ($1, $2)", [name, n]);

/** A client that writes as long as it may, with the numbers and times of what was acknowledged. */
export class Writer {
  readonly acknowledged: { readonly n: number; readonly at: number }[] = [];
  errors = 0;
  readonly name: string;
  readonly #write: Write;
  #stopped = false;
  readonly #running: Promise<void>;

  constructor(url: string, name: string, write: Write = writeRow) {
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

  /** Waits for so many more acknowledged writes. */
  async more(count: number, withinMs?: number): Promise<void> {
    const before = this.acknowledged.length;
    await eventually("more writes", () => Promise.resolve(this.acknowledged.length >= before + count), withinMs);
  }

  async stop(): Promise<this> {
    this.#stopped = true;
    await this.#running;
    return this;
  }
}

/** The longest time between two acknowledged writes, in milliseconds. */
export const longestGapMs = ({ acknowledged }: Writer): number =>
  acknowledged.reduce((most, { at }, index) => Math.max(most, at - (acknowledged[index - 1]?.at ?? at)), 0);

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
