/** Clients that log in again and again, while passwords change. */
import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import pg from "pg";
import { createClient } from "redis";

/** What a place of logins has seen. */
export interface LoginReport {
  logins: number;
  /** Each failure with its time. */
  readonly failures: Set<string>;
}

/** Logs in by a PostgreSQL URL, asks something and leaves. */
export async function logIn(url: string): Promise<void> {
  const client = new pg.Client({
    connectionString: url,
    application_name: "login load",
    connectionTimeoutMillis: 20_000,
  });
  client.on("error", () => undefined);
  try {
    await client.connect();
    await client.query("SELECT 1");
  } finally {
    await client.end().catch(() => undefined);
  }
}

/** The same with Redis. `authority`: the file of the stack's certificate authority. */
export async function logInToCache(url: string, authority: string): Promise<void> {
  const socket = { tls: true, ca: readFileSync(authority), reconnectStrategy: false, connectTimeout: 20_000 } as const;
  let why: unknown;
  const client = createClient({ url, socket }).on("error", (error: unknown) => (why = error));
  try {
    await client.connect();
    await client.ping();
  } catch (error) {
    // What it was told goes to listeners; what it throws is that it was closed.
    throw why ?? error;
  } finally {
    // One that was refused is closed already, and would say so in the place of the refusal.
    if (client.isOpen) client.destroy();
  }
}

/** New connections all the time, at each of several places. */
export class LoginLoad {
  readonly #reports = new Map<string, LoginReport>();
  readonly #work: Promise<void>[];
  #running = true;

  /** What logs in once, by the name of the place. */
  constructor(places: Readonly<Record<string, () => Promise<void>>>) {
    this.#work = Object.entries(places).map(async ([name, once]) => {
      const report: LoginReport = { logins: 0, failures: new Set() };
      this.#reports.set(name, report);
      while (this.#running) {
        try {
          await once();
          report.logins++;
        } catch (error) {
          const words = error instanceof Error ? error.message : String(error);
          report.failures.add(`${new Date().toISOString()} ${name}: ${words}`);
        }
        await sleep(20);
      }
    });
  }

  /** Waits until there have been so many logins at each place since now. */
  async progress(logins: number): Promise<void> {
    const before = new Map([...this.#reports].map(([name, report]) => [name, report.logins]));
    const lacks = (): boolean =>
      [...this.#reports].some(([name, report]) => report.logins - (before.get(name) ?? 0) < logins);
    for (const until = Date.now() + 60_000; lacks() && Date.now() < until;) await sleep(20);
  }

  /** Every failure since the beginning, and the places with fewer logins than `least`. */
  async stop(least = 10): Promise<{ failures: string[]; idle: string[] }> {
    this.#running = false;
    await Promise.all(this.#work);
    const reports = [...this.#reports];
    return {
      failures: reports.flatMap(([, { failures }]) => [...failures]),
      idle: reports.filter(([, { logins }]) => logins < least).map(([name, { logins }]) => `${name}: ${logins}`),
    };
  }
}
