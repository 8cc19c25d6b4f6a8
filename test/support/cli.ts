import { randomBytes, randomInt } from "node:crypto";
import { rmSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { listLabelled } from "../../scripts/lib/docker.ts";
import { ROOT, stackFolder } from "../../scripts/lib/paths.ts";
import { type RunOptions, type RunResult, run } from "../../scripts/lib/run.ts";
import { writeStackConfig } from "../../scripts/lib/stackConfig.ts";
import { localStateFile, stackConfigFile } from "../../scripts/lib/stackFiles.ts";

/** Runs ./cgraph-db as a person would. */
export const cgraph = (args: readonly string[], options: RunOptions = {}): Promise<RunResult> =>
  run(join(ROOT, "cgraph-db"), args, options);

/** Runs ./cgraph-db and fails the test with its messages where it does not end well. */
export async function cgraphOk(...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await cgraph(args);
  if (code !== 0) throw new Error(`cgraph-db ${args.join(" ")} ended with ${code}:\n${stderr}\n${stdout}`);
  return stdout;
}

/** Names that uniqueStack gives. */
export const TEST_STACK = /^test-[0-9a-f]{8}$/;
export const uniqueStack = (): string => `test-${randomBytes(4).toString("hex")}`;

const isFree = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const server = createServer()
      .once("error", () => resolve(false))
      .listen(port, "127.0.0.1", () => server.close(() => resolve(true)));
  });

/** A port with which all of a stack's ports are free (they move along with the first). */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = randomInt(20_000, 30_000);
    if (
      (
        await Promise.all(
          [0, 1, 10, 11, 12, 13, 14, 15, 16, 17, 947, 1000, 2000, 2001, 2002, 2010, 2011, 2012, 3658, 3661, 3672].map(
            (offset) => isFree(port + offset),
          ),
        )
      ).every(Boolean)
    )
      return port;
  }
}

/** Sets keys of a stack's configuration, as `pulumi config set` does. */
export const setConfig = async (stack: string, changes: Readonly<Record<string, string>>): Promise<void> =>
  writeStackConfig(stack, changes);

/** Whatever a test left of a stack, even when it failed midway: containers, networks, volumes, state, files. */
export async function removeStack(stack: string): Promise<void> {
  for (const { id } of await listLabelled("container", stack)) await run("docker", ["rm", "--force", id]);
  for (const { id } of await listLabelled("network", stack)) await run("docker", ["network", "rm", id]);
  for (const { id } of await listLabelled("volume", stack)) await run("docker", ["volume", "rm", id]);
  const state = localStateFile(stack);
  for (const file of [
    state,
    `${state}.bak`,
    `${state}.attrs`,
    `${state}.bak.attrs`,
    stackConfigFile(stack),
    stackFolder(stack),
  ]) {
    rmSync(file, { recursive: true, force: true });
  }
}

/** A small server, and nobody who watches it: tests are about behaviour, not about the guide's 4 GB. */
export const SMALL = { maxConnections: "20", monitoring: "false" } as const;
