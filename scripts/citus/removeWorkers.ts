/** Fewer workers for a Citus cluster in use: their shards move to the others first. */
import { workerCluster } from "../../components/docker/citusNames.ts";
import { citusScope, clusterScope } from "../../components/docker/shardRoutes.ts";
import { type CitusNode, checkRoom, forgetGroupSql } from "../../citus/nodes.ts";
import type { RebalanceProgress } from "../../citus/rebalance.ts";
import type { ClusterOutput, StackValues } from "../../stacks/outputs.ts";
import { EXIT, UserError } from "../../tuning/errors.ts";
import { bytes } from "../../tuning/words.ts";
import { confirm } from "../lib/ask.ts";
import { settle } from "../lib/cluster.ts";
import { docker, listLabelled } from "../lib/docker.ts";
import { note, step } from "../lib/progress.ts";
import { checkedConfig, writeStackConfig } from "../lib/stackConfig.ts";
import type { MoveContext } from "../migrate/context.ts";
import { discard } from "../migrate/discard.ts";
import { forgetClusters } from "../shards/forget.ts";
import { citusNodes, onCoordinator, requireCitus, requirePrimaryAtHome, standbyRegions } from "./coordinator.ts";
import { disksOf } from "./disks.ts";
import { moveShards } from "./moves.ts";
import { forgetPending, pendingOf, rememberWorkers } from "./pending.ts";

export interface Removed {
  readonly workers: number;
  readonly removed: readonly string[];
  readonly moved: RebalanceProgress | undefined;
  /** Volumes that stay in Docker, of no use to the stack any more. */
  readonly keptVolumes: readonly string[];
}

/** Volumes of data and of backups, which stay; the others are written anew for every container. */
const HOLDS_DATA = /-(data(-\d+)?|backups)$/;

const groupOf = (name: string): number => Number(name.slice("worker".length));

/** Nodes by their groups. */
const among = (nodes: readonly CitusNode[], going: readonly ClusterOutput[]): CitusNode[] =>
  nodes.filter(({ group }) => going.some(({ name }) => groupOf(name) === group));

async function checkRoomFor(values: StackValues, going: readonly ClusterOutput[], staying: readonly ClusterOutput[]) {
  const held = among(await citusNodes(values), going).reduce((sum, node) => sum + node.bytes, 0);
  const servers = staying[0]?.nodes.length ?? 1;
  checkRoom(held, servers, await disksOf(staying.flatMap(({ nodes }) => nodes)));
  return held;
}

/** Empties them: no new shard comes, and those there are move to the others. */
async function drain(values: StackValues, going: readonly ClusterOutput[]): Promise<RebalanceProgress | undefined> {
  const nodes = among(await citusNodes(values), going);
  for (const { host, port, takesShards } of nodes) {
    if (!takesShards) continue;
    await onCoordinator(values, `SELECT citus_set_node_property('${host}', ${port}, 'shouldhaveshards', false);`);
  }
  let moved: RebalanceProgress | undefined;
  if (nodes.some(({ shards }) => shards > 0)) moved = await moveShards(values, "shards", { drainOnly: true });
  const left = among(await citusNodes(values), going).filter(({ shards }) => shards > 0);
  if (left.length > 0) {
    throw new UserError(
      left.map(({ group, shards }) => `${workerCluster(group)} still has ${shards} shards`).join(", "),
      "call this again: it moves what is left",
      EXIT.failed,
    );
  }
  return moved;
}

/**
 * Takes nodes out of the cluster: out of Citus' tables while their servers still run, since writes to reference tables go to
 * every node there is; then the servers, killed and not stopped, so that Patroni does not announce a hand-over of a node that
 * is gone; then their keys in etcd, or the coordinator's Patroni would register them again.
 */
async function takeOut(context: MoveContext, values: StackValues, going: readonly ClusterOutput[]): Promise<void> {
  // What moves have left behind on them would be looked for on nodes that are gone.
  await onCoordinator(values, "CALL citus_cleanup_orphaned_resources();");
  const containers = new Map((await listLabelled("container", context.name)).map(({ name, id }) => [name, id]));
  const scope = citusScope(context.name, context.config(5).dataGenerations.at(-1));
  for (const { name, nodes, backupContainer } of going) {
    const group = groupOf(name);
    await onCoordinator(values, forgetGroupSql(group));
    const ids = [...nodes.map(({ container }) => container), backupContainer].flatMap(
      (one) => containers.get(one) ?? [],
    );
    if (ids.length > 0) await docker(["rm", "--force", ...ids]);
    await forgetClusters(values, [`${scope}/${group}`]);
    // Whoever looked between the two would have added it again.
    await onCoordinator(values, forgetGroupSql(group));
  }
}

/** Removes the highest workers, or goes on with that where it was broken off. */
export async function removeWorkers(context: MoveContext, count: number, yes: boolean): Promise<Removed> {
  const { name: stack } = context;
  const pending = pendingOf(stack, "remove");
  const values = await context.values();
  const citus = requireCitus(stack, values);
  requirePrimaryAtHome(values);
  const workers = pending?.workers ?? citus.workers.length - count;
  if (workers < 1) {
    throw new UserError(
      citus.workers.length === 1
        ? "this is the last worker, and the shards have to be somewhere"
        : `of ${citus.workers.length} workers one at least has to stay: the shards have to be somewhere`,
      citus.workers.length === 1 ? "keep it" : `remove ${citus.workers.length - 1} or fewer`,
      EXIT.refused,
    );
  }
  checkedConfig(stack, { workers: String(workers) });
  const staying = citus.workers.slice(0, workers);
  const going = citus.workers.slice(workers);
  const removed = going.map(({ name }) => name);
  if (pending) note(`  going on: there are to be ${workers} workers`);
  const held = await checkRoomFor(values, going, staying);
  if (!pending) {
    await confirm(
      `This moves ${bytes(held)} from ${removed.join(", ")} to the other ${workers} workers, and takes them out of stack ${stack}.`,
      "yes",
      yes,
    );
  }
  rememberWorkers(stack, { kind: "remove", workers });
  const moved = await drain(values, going);
  await step(removed.join(", "), async () => {
    await takeOut(context, values, going);
    return { value: undefined, done: "no longer in the cluster" };
  });
  const regions = standbyRegions(values);
  const names = new RegExp(`^((${regions.join("|")})-)?(${removed.join("|")})-`);
  const brought = await context.bringTo(5, {
    config: { workers: String(workers) },
    mayGo: (resource) => names.test(resource),
  });
  const generation = context.config(5).dataGenerations.at(-1);
  // Under these names they stand in the regions only.
  const scopes = removed.map((name) => clusterScope(stack, name, generation));
  await forgetClusters(values, scopes);
  writeStackConfig(stack, { workers: String(workers) });
  await settle(brought.values);
  const keptVolumes = brought.left.filter((volume) => HOLDS_DATA.test(volume));
  await discard(
    context,
    brought.left.filter((volume) => !keptVolumes.includes(volume)),
  );
  forgetPending(stack);
  return { workers, removed, moved, keptVolumes };
}
