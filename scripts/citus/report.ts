/** What a Citus cluster's nodes hold, for `status` and `workers`. */
import { type CitusNode, nodeName, shareOf, skewOf } from "../../citus/nodes.ts";
import { type Rebalance, type RebalanceProgress, isUnderWay, movesAt } from "../../citus/rebalance.ts";
import type { StackValues } from "../../stacks/outputs.ts";
import { bytes, table } from "../lib/print.ts";
import { currentPrimary } from "../lib/cluster.ts";
import { citusOf, clusterViews } from "../lib/clusters.ts";
import { isPrimaryAtHome } from "../regions/reach.ts";
import { citusNodes } from "./coordinator.ts";
import { newestRebalance, progressText, rebalanceProgress } from "./moves.ts";

export interface WorkerStatus {
  readonly name: string;
  /** The server that takes writes. */
  readonly primary: string;
  readonly shards: number;
  readonly bytes: number;
  /** What part of all distributed data that is, 0 to 1. */
  readonly share: number;
  readonly takesShards: boolean;
  /** Moves of shards that are under way or to come. */
  readonly moves: { readonly to: number; readonly from: number };
}

/** `status --json`'s `citus`. */
export interface CitusStatus {
  /** Pieces that each distributed table was made of. */
  readonly shardCount: number;
  /** Nodes that take shards or have some: the workers, and the coordinator where it does. */
  readonly workers: readonly WorkerStatus[];
  /** The largest over the mean; null while there is nothing. */
  readonly skew: number | null;
  readonly rebalance: RebalanceProgress | null;
}

const workerStatus =
  (nodes: readonly CitusNode[], rebalance: Rebalance | null, leaders: ReadonlyMap<string, string>) =>
  (node: CitusNode): WorkerStatus => ({
    ...{
      name: nodeName(node),
      primary: leaders.get(nodeName(node)) ?? node.host,
      shards: node.shards,
      bytes: node.bytes,
    },
    ...{ share: shareOf(node, nodes), takesShards: node.takesShards, moves: movesAt(rebalance, node.nodeId) },
  });

/** Who leads each node while the primary is in another region, where Citus goes on calling them by home's names. */
async function leadersAbroad(values: StackValues): Promise<ReadonlyMap<string, string>> {
  if (isPrimaryAtHome(values)) return new Map();
  return new Map(
    await Promise.all(
      clusterViews(values).map(async (view) => [view.name, (await currentPrimary(view.values)).name] as const),
    ),
  );
}

/** Null where the stack has no Citus cluster. Throws where the coordinator or a worker does not answer. */
export async function citusStatus(values: StackValues): Promise<CitusStatus | null> {
  const citus = citusOf(values);
  if (!citus) return null;
  const [nodes, rebalance, leaders] = await Promise.all([
    citusNodes(values),
    newestRebalance(values),
    leadersAbroad(values),
  ]);
  return {
    shardCount: citus.shardCount,
    workers: nodes
      .filter(({ group, takesShards, shards }) => group > 0 || takesShards || shards > 0)
      .map(workerStatus(nodes, rebalance, leaders)),
    skew: skewOf(nodes),
    rebalance: isUnderWay(rebalance) ? await rebalanceProgress(values) : null,
  };
}

/** Lines for people. */
export function citusTable({ workers, skew, rebalance }: CitusStatus): string {
  const moves = ({ to, from }: WorkerStatus["moves"]): string =>
    [...(to > 0 ? [`${to} to it`] : []), ...(from > 0 ? [`${from} from it`] : [])].join(", ");
  return [
    table([
      ["worker", "primary", "shards", "size", "share", "moves"],
      ...workers.map((worker) => [
        worker.name,
        worker.primary,
        String(worker.shards),
        bytes(worker.bytes),
        `${(worker.share * 100).toFixed(1)} %`,
        `${moves(worker.moves)}${worker.takesShards ? "" : " (takes no more shards)"}`.trim(),
      ]),
    ]),
    ...(skew === null ? [] : [`skew: the largest worker has ${skew.toFixed(2)} times the mean`]),
    ...(rebalance ? [`rebalance: ${rebalance.state}, ${progressText(rebalance)}`] : []),
  ].join("\n");
}
