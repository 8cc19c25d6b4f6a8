/** The first server of a cluster takes over from the one that ran on its own, in the least time. */
import { setPriority } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";
import { dockerName } from "../../components/docker/names.ts";
import { ROUTER } from "../../components/docker/haproxyFiles.ts";
import type { StackValues } from "../../stacks/outputs.ts";
import { containerStates } from "../lib/docker.ts";
import { InContainer } from "../lib/inContainer.ts";
import { run } from "../lib/run.ts";

/**
 * Starts the prepared router as soon as the old container has let its port go, rather than when Pulumi comes to it, and
 * has it trust the new server until Patroni speaks for it. Gives up quietly: then Pulumi starts it, a second or two later.
 */
async function startRouter(router: string, node: string): Promise<void> {
  for (let tries = 0; tries < 100; tries++) {
    if ((await run("docker", ["start", router])).code === 0) {
      await run("docker", ["exec", router, "cgraph-trust-primary", node]);
      return;
    }
    await sleep(50);
  }
}

/** Pulumi asks little of the machine for the swap itself, and much for keeping its state: it takes what the servers leave. */
async function giveWay(): Promise<void> {
  for (let tries = 0; tries < 100; tries++) {
    const { stdout } = await run("pgrep", ["-x", "-P", String(process.pid), "pulumi"]);
    const pid = Number(stdout.trim().split("\n")[0]);
    if (pid > 0) {
      try {
        // Its plugins do as it does.
        setPriority(pid, 10);
      } catch {
        // It has ended.
      }
      return;
    }
    await sleep(50);
  }
}

/** Checkpoints every second until the server ends, a minute at the most: the shutdown's own then has little left to write. */
function keepCheckpointing(container: string): void {
  const psql = "timeout 60 psql -XAtq -h /run/postgresql -U postgres";
  new InContainer(container, `echo 'CHECKPOINT \\watch 1' | ${psql}`, [], "postgres").drop();
}

/** Runs `swap` (Pulumi's replacement of the server's container), helping the router to its port meanwhile. */
export async function withRouterReady<T>(stack: string, before: StackValues, swap: () => Promise<T>): Promise<T> {
  const [server] = before.nodes;
  const router = dockerName(stack, ROUTER);
  const states = await containerStates([router, server?.container ?? ""]);
  const stateOf = (name: string): string | undefined => states.find((one) => one.name === name)?.status;
  // A second try finds the swap done, or half done: Pulumi does the rest by itself.
  if (!server || stateOf(router) !== "created" || stateOf(server.container) !== "running") return swap();
  keepCheckpointing(server.container);
  // It would archive its last WAL file before it ends; the server that takes over does so later. An archiver that was told
  // to end and finds its server still running after a minute is replaced by a new one.
  await run("docker", [
    "exec",
    server.container,
    "pkill",
    "-TERM",
    "-f",
    "^postgres: ([^ ]+: )?archiver( archiving | last was | failed on |$)",
  ]);
  const freed = run("docker", ["wait", server.container]);
  const started = freed.then(() => startRouter(router, server.name));
  void giveWay();
  try {
    return await swap();
  } finally {
    // A swap that failed before it stopped the server leaves a wait behind, which ends with this process.
    await Promise.race([started, sleep(5000)]);
  }
}
