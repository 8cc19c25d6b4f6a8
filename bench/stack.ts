/** A stack of a benchmark's own, made by the commands as a person would make it, and gone afterwards. */
import pg from "pg";
import { openStack, stackValues } from "../scripts/lib/stack.ts";
import type { StackValues } from "../stacks/outputs.ts";
import { cgraphOk, freePort, removeStack, setConfig, uniqueStack } from "../test/support/cli.ts";

export interface BenchStack {
  readonly name: string;
  readonly values: StackValues;
  /** Connection URLs, as `env` prints them. */
  readonly env: Readonly<Record<string, string>>;
  /** How long `up` took. */
  readonly upSeconds: number;
}

export interface BenchStackOptions {
  readonly stage: number;
  readonly config?: Readonly<Record<string, string>>;
}

/** Makes a stack, works with it, and removes it, also after an error or Ctrl-C. */
export async function withStack<T>(options: BenchStackOptions, work: (stack: BenchStack) => Promise<T>): Promise<T> {
  const name = uniqueStack();
  const interrupt = (): void => void removeStack(name).finally(() => process.exit(130));
  process.once("SIGINT", interrupt);
  process.once("SIGTERM", interrupt);
  try {
    // Nothing beside what is measured.
    await setConfig(name, { monitoring: "false", ...options.config });
    const port = String(await freePort());
    const began = performance.now();
    await cgraphOk("up", "--stack", name, "--stage", String(options.stage), "--port", port, "--no-install");
    const upSeconds = (performance.now() - began) / 1000;
    return await work({
      name,
      values: await stackValues(await openStack(name)),
      env: JSON.parse(await cgraphOk("env", "--stack", name, "--json")) as Record<string, string>,
      upSeconds,
    });
  } finally {
    process.off("SIGINT", interrupt);
    process.off("SIGTERM", interrupt);
    await removeStack(name);
  }
}

/** Works with a connection of the schema's owner to the primary. */
export async function asOwner<T>({ env }: BenchStack, work: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client({ connectionString: env["DATABASE_OWNER_URL"] });
  client.on("error", () => undefined);
  await client.connect();
  try {
    await client.query("SET statement_timeout = 0");
    return await work(client);
  } finally {
    await client.end().catch(() => undefined);
  }
}
