import type { StackValues } from "../../stacks/outputs.ts";
import { EXIT, type ExitCode, UserError } from "../../tuning/errors.ts";
import { checkCitus } from "../citus/guard.ts";
import { isCluster } from "../lib/cluster.ts";
import { allNodes, clusterViews, poolsOf } from "../lib/clusters.ts";
import { deploy } from "../lib/deploy.ts";
import { docker } from "../lib/docker.ts";
import { refuseDuringMove } from "../migrate/journal.ts";
import { lockStack } from "../lib/lock.ts";
import { print, printJson } from "../lib/print.ts";
import { step } from "../lib/progress.ts";
import { reconcile } from "../lib/reconcile.ts";
import { restartAllPending } from "../lib/heldRestart.ts";
import { pendingRestart, rollingRestart } from "../lib/restart.ts";
import { discardVolumes, releaseRegions } from "../regions/leaving.ts";
import { anyStackValues, openStack } from "../lib/stack.ts";
import { checkTopology, checkedConfig } from "../lib/stackConfig.ts";
import { stateValues } from "../lib/state.ts";
import { checkTarget } from "../lib/target.ts";
import { checkSharding } from "../shards/guard.ts";

export interface ApplyFlags {
  readonly stack: string;
  readonly yes?: boolean;
  readonly json?: boolean;
}

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

/** Every server where the primary is; what follows it from other regions goes on. */
async function restartClusters(values: StackValues): Promise<string[]> {
  const restarted: string[] = [];
  for (const view of clusterViews(values)) {
    restarted.push(...(await rollingRestart(view.values, () => true, poolsOf(view))));
  }
  return restarted;
}

function report(flags: RestartFlags, restarted: readonly string[]): void {
  if (flags.json) printJson({ stack: flags.stack, restarted });
  else print(`Restarted: ${restarted.join(", ")}.`);
}

/** `restart`: every server, one after the other. */
export async function restart(flags: RestartFlags): Promise<void> {
  const lock = lockStack(flags.stack, "restart");
  try {
    const values = await anyStackValues(await openStack(flags.stack));
    if (values.target === "aws") {
      const restarted = await (await import("../aws/restart.ts")).rebootServers(values, () => true);
      report(flags, restarted);
      return;
    }
    if (flags.rolling !== true && isCluster(values)) {
      throw new UserError(
        "restarting all servers of a cluster at once would cut every client off",
        "one after the other: ./cgraph-db restart --rolling",
        EXIT.refused,
      );
    }
    const restarted = isCluster(values) ? await restartClusters(values) : await restartSingle(values);
    report(flags, restarted);
  } finally {
    lock.release();
  }
}

/** Settings that wait for a restart, by server. */
async function allPending(values: StackValues): Promise<Record<string, string[]>> {
  const pending: [string, string[]][] = await Promise.all(
    allNodes(values).map(async (node) => [node.name, await pendingRestart(node)]),
  );
  return Object.fromEntries(pending);
}

/** `config apply`: brings the servers to the stack's configuration; restarts only what a changed setting makes it. */
export async function applyConfig(flags: ApplyFlags): Promise<ExitCode> {
  const lock = lockStack(flags.stack, "config apply");
  try {
    refuseDuringMove(flags.stack);
    const config = checkedConfig(flags.stack);
    if (config.target === "aws") return await (await import("../aws/up.ts")).applyAws(flags, config);
    await checkTopology(config);
    const stack = await openStack(flags.stack);
    await checkTarget(stack, config);
    const { refresh } = await reconcile(stack);
    const before = (await stateValues(stack)) as StackValues | undefined;
    await checkCitus(stack, before, config);
    await checkSharding(stack, before, config);
    const left = await releaseRegions(stack, config);
    const { changes, values } = await deploy(stack, { refresh });
    await discardVolumes(stack, left);
    const waiting = await awaitReload(values);
    const names = [...new Set(Object.values(waiting).flat())];
    let restarted: string[] = [];
    if (names.length > 0) {
      restarted = isCluster(values) ? await restartAllPending(values) : await restartSingle(values);
    }
    if (flags.json) printJson({ stack: flags.stack, changes, restartedFor: names, restarted });
    else if (names.length > 0) print(`Restarted for ${names.join(", ")}: ${restarted.join(", ")}.`);
    else print(changes === 0 ? "Nothing to apply." : "Applied without a restart.");
    return EXIT.done;
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
