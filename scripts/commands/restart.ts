import type { StackValues } from "../../stacks/outputs.ts";
import { EXIT, UserError } from "../../tuning/errors.ts";
import { isCluster } from "../lib/cluster.ts";
import { deploy } from "../lib/deploy.ts";
import { docker } from "../lib/docker.ts";
import { lockStack } from "../lib/lock.ts";
import { print, printJson } from "../lib/print.ts";
import { step } from "../lib/progress.ts";
import { reconcile } from "../lib/reconcile.ts";
import { pendingRestart, rollingRestart } from "../lib/restart.ts";
import { openStack, stackValues } from "../lib/stack.ts";
import { checkTopology, checkedConfig } from "../lib/stackConfig.ts";

export interface RestartFlags {
  readonly stack: string;
  readonly rolling?: boolean;
  readonly json?: boolean;
}

/** A single server cannot hand over: its clients are cut off for as long as it takes. */
async function restartSingle(values: StackValues): Promise<string[]> {
  const [node] = values.nodes;
  if (!node) return [];
  await step(`restart of ${node.name}`, async () => {
    await docker(["restart", "--time", "120", node.container]);
    for (let tries = 0; tries < 600; tries++) {
      const health = await docker(["inspect", "--format", "{{.State.Health.Status}}", node.container]);
      if (health.trim() === "healthy") return { value: undefined, done: "back" };
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
    throw new UserError(`${node.name} is not back after two minutes`, "see ./cgraph-db logs", EXIT.failed);
  });
  return [node.name];
}

/** `restart`: every server, one after the other. */
export async function restart(flags: RestartFlags): Promise<void> {
  const lock = lockStack(flags.stack, "restart");
  try {
    const values = await stackValues(await openStack(flags.stack));
    if (flags.rolling !== true && isCluster(values)) {
      throw new UserError(
        "restarting all servers of a cluster at once would cut every client off",
        "one after the other: ./cgraph-db restart --rolling",
        EXIT.refused,
      );
    }
    const restarted = isCluster(values) ? await rollingRestart(values, () => true) : await restartSingle(values);
    if (flags.json) printJson({ stack: flags.stack, restarted });
    else print(`Restarted: ${restarted.join(", ")}.`);
  } finally {
    lock.release();
  }
}

/** Settings that wait for a restart, by server. */
async function allPending(values: StackValues): Promise<Record<string, string[]>> {
  const pending: [string, string[]][] = await Promise.all(
    values.nodes.map(async (node) => [node.name, await pendingRestart(node)]),
  );
  return Object.fromEntries(pending);
}

/** `config apply`: brings the servers to the stack's configuration; restarts only what a changed setting makes it. */
export async function applyConfig(flags: RestartFlags): Promise<void> {
  const lock = lockStack(flags.stack, "config apply");
  try {
    await checkTopology(checkedConfig(flags.stack));
    const stack = await openStack(flags.stack);
    const { refresh } = await reconcile(stack);
    const { changes, values } = await deploy(stack, { refresh });
    const before = await awaitReload(values);
    const names = [...new Set(Object.values(before).flat())];
    let restarted: string[] = [];
    if (names.length > 0) {
      restarted = isCluster(values)
        ? await rollingRestart(values, async (node) => (await pendingRestart(node)).length > 0)
        : await restartSingle(values);
    }
    if (flags.json) printJson({ stack: flags.stack, changes, restartedFor: names, restarted });
    else if (names.length > 0) print(`Restarted for ${names.join(", ")}: ${restarted.join(", ")}.`);
    else print(changes === 0 ? "Nothing to apply." : "Applied without a restart.");
  } finally {
    lock.release();
  }
}

/** What waits for a restart, once every server has read its new settings. */
async function awaitReload(values: StackValues): Promise<Record<string, string[]>> {
  let pending = await allPending(values);
  // Servers reload within a loop of Patroni's, two seconds, of the change.
  for (let tries = 0; tries < 8; tries++) {
    if (!isCluster(values) && Object.values(pending).flat().length > 0) break;
    await new Promise((resolve) => setTimeout(resolve, 500));
    pending = await allPending(values);
  }
  return pending;
}
