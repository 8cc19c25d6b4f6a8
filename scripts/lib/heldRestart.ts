/** Restarts that changed settings need: replicas one by one, then the primary where it is, with the pools held. */
import type { NodeOutput, StackValues } from "../../stacks/outputs.ts";
import { EXIT, UserError } from "../../tuning/errors.ts";
import { type PatroniAnswer, currentPrimary, preparePatroni, settle, superuserSql } from "./cluster.ts";
import { type ClusterView, clusterViews, poolsOf, regionalViews, routerOf } from "./clusters.ts";
import { InContainer } from "./inContainer.ts";
import { PoolPause } from "./pooler.ts";
import { pendingRestart, restartNode } from "./restart.ts";

/** Restarts the primary in place; clients of the pools wait. Gives for how long, in milliseconds. */
async function restartHeld(
  values: StackValues,
  primary: NodeOutput,
  heldPools: readonly string[] | undefined,
): Promise<number> {
  await superuserSql(primary.container, "CHECKPOINT");
  const router = routerOf(values);
  const request = preparePatroni(primary.container, "/restart", {}, 120);
  const restarted = new InContainer(primary.container, "exec cgraph-await-restart", [], "postgres");
  const route = router && new InContainer(router.container, 'exec cgraph-hold-route "$1"', [primary.name]);
  const pools = new PoolPause(values, heldPools);
  try {
    await route?.says("held");
    await pools.begin();
  } catch (error) {
    request.drop();
    restarted.drop();
    route?.drop();
    throw error;
  }
  restarted.go();
  await restarted.says("held");
  const answer = request.send();
  const failed = ({ status, text }: PatroniAnswer): UserError =>
    new UserError(`${primary.name} did not restart: ${text || status}`, "see ./cgraph-db status", EXIT.failed);
  // Patroni answers a while after the fact; a refusal comes at once.
  const refusal = answer.then((given) => {
    if (given.status !== 200) throw failed(given);
    return new Promise<never>(() => undefined);
  });
  try {
    // A container of an earlier version has no such script: Patroni's own word is waited for.
    await Promise.race([restarted.says("back").then((said) => (said ? undefined : answer)), refusal]);
  } finally {
    await pools.end();
    route?.drop();
  }
  const given = await answer;
  if (given.status !== 200) throw failed(given);
  return pools.heldMs;
}

/** What a replica must not have less of than its primary: lowered there first, it says so only after a while. */
const BOUND = [
  "max_connections",
  "max_prepared_transactions",
  "max_locks_per_transaction",
  "max_wal_senders",
  "max_worker_processes",
];

const boundOf = async ({ container }: NodeOutput): Promise<ReadonlyMap<string, number>> => {
  const rows = await superuserSql(
    container,
    `SELECT name || ' ' || setting FROM pg_settings WHERE name IN (${BOUND.map((name) => `'${name}'`).join(", ")})`,
  );
  return new Map(rows.split("\n").map((row) => [row.split(" ")[0] ?? "", Number(row.split(" ")[1])]));
};

/** Settings for which a replica waits for a restart, and those of which it still has what its primary has given up. */
async function waitsFor(node: NodeOutput, primary: NodeOutput): Promise<string[]> {
  const [pending, own, primarys] = await Promise.all([pendingRestart(node), boundOf(node), boundOf(primary)]);
  const more = BOUND.filter((name) => (own.get(name) ?? 0) > (primarys.get(name) ?? Infinity));
  return [...new Set([...pending, ...more])];
}

/**
 * Restarts every server of a cluster that waits for it; gives their names, and how long the pools were held. `heldPools`: as
 * clients call them; default: all.
 */
export async function restartPending(
  values: StackValues,
  heldPools?: readonly string[],
): Promise<{ restarted: string[]; heldMs: number }> {
  await settle(values);
  const restarted: string[] = [];
  let heldMs = 0;
  // What is lowered is lowered on the primary first: replicas may then wait once more.
  for (let round = 0; round < 2; round++) {
    const primary = await currentPrimary(values);
    for (const node of values.nodes) {
      if (node.name === primary.name) continue;
      // Before the primary: what a replica has to have more of than it has now.
      const settings = round === 0 ? await pendingRestart(node) : await waitsFor(node, primary);
      if (settings.length === 0) continue;
      await restartNode(values, node, settings);
      restarted.push(node.name);
    }
    if ((await pendingRestart(primary)).length === 0) continue;
    heldMs = Math.max(heldMs, await restartHeld(values, primary, heldPools));
    restarted.push(primary.name);
    await settle(values);
  }
  return { restarted, heldMs };
}

/** Clusters that follow another region's, each with the one that has the same name where the primary is. */
function followers(values: StackValues): (readonly [ClusterView, ClusterView])[] {
  const leading = clusterViews(values);
  const first = ({ values: { nodes } }: ClusterView): string => nodes[0]?.name ?? "";
  const others = regionalViews(values).filter((view) => !leading.some((one) => first(one) === first(view)));
  // Each region has all clusters, in the same order.
  return others.flatMap((view, index) => {
    const leader = leading[index % leading.length];
    return leader ? [[view, leader] as const] : [];
  });
}

/** `restartPending` for every cluster of a stack, one after the other; what follows from another region before the rest. */
export async function restartAllPending(values: StackValues): Promise<string[]> {
  const restarted: string[] = [];
  const follow = followers(values);
  const restartFollowers = async (
    wait: (node: NodeOutput, leader: ClusterView) => Promise<string[]>,
  ): Promise<void> => {
    for (const [view, leader] of follow) {
      for (const node of view.values.nodes) {
        const settings = await wait(node, leader);
        if (settings.length === 0) continue;
        await restartNode(view.values, node, settings);
        restarted.push(node.name);
      }
    }
  };
  await restartFollowers(pendingRestart);
  for (const view of clusterViews(values)) {
    restarted.push(...(await restartPending(view.values, poolsOf(view))).restarted);
  }
  await restartFollowers(async (node, { values: its }) => waitsFor(node, await currentPrimary(its)));
  return restarted;
}
