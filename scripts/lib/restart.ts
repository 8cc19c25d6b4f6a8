/** Restarting servers one after the other, the primary last and only after it has handed over. */
import type { NodeOutput, StackValues } from "../../stacks/outputs.ts";
import { EXIT, UserError } from "../../tuning/errors.ts";
import { clusterMembers, currentPrimary, isInStep, patroni, settle, superuserSql } from "./cluster.ts";
import { step } from "./progress.ts";
import { switchover } from "./switchover.ts";

/** Settings of a server that wait for a restart; empty where it does not answer. */
export async function pendingRestart(node: NodeOutput): Promise<string[]> {
  const rows = await superuserSql(
    node.container,
    "SELECT name FROM pg_settings WHERE pending_restart ORDER BY name",
  ).catch(() => "");
  return rows.split("\n").filter(Boolean);
}

/** Restarts one server in place, and waits until it follows again. `settings`: those for which it is restarted, if any. */
export async function restartNode(
  values: StackValues,
  node: NodeOutput,
  settings: readonly string[] = [],
): Promise<void> {
  const why = settings.length === 0 ? "" : ` for ${settings.join(", ")}`;
  await step(`restart of ${node.name}${why}`, async () => {
    const { status, text } = await patroni(node.container, "POST", "/restart", {}, 300);
    if (status !== 200) {
      throw new UserError(`${node.name} did not restart: ${text || status}`, "see ./cgraph-db status", EXIT.failed);
    }
    for (let tries = 0; tries < 600; tries++) {
      const member = (await clusterMembers(values)).find(({ name }) => name === node.name);
      // A replica is back when it follows again.
      if (member && isInStep(member)) {
        return { value: undefined, done: "back" };
      }
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
    throw new UserError(`${node.name} is not back after two minutes`, `see ./cgraph-db logs ${node.name}`, EXIT.failed);
  });
}

/**
 * Restarts the servers that `wanted` names: replicas first, one at a time; then the primary hands over and is restarted
 * as a replica. Clients of the pools wait for the switchover, no more. `heldPools`: as clients call them; default: all.
 */
export async function rollingRestart(
  values: StackValues,
  wanted: (node: NodeOutput) => boolean | Promise<boolean>,
  heldPools?: readonly string[],
): Promise<string[]> {
  await settle(values);
  const primary = await currentPrimary(values);
  const restarted: string[] = [];
  for (const node of values.nodes) {
    if (node.name === primary.name || !(await wanted(node))) continue;
    await restartNode(values, node);
    restarted.push(node.name);
  }
  if (await wanted(primary)) {
    await switchover(values, undefined, heldPools);
    await settle(values);
    await restartNode(values, primary);
    restarted.push(primary.name);
  }
  return restarted;
}
