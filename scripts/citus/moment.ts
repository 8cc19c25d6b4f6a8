/** One moment of a Citus cluster under one name on every node, and what nodes need of each other after they were put back to it. */
import { literal } from "../../components/sqlText.ts";
import { nodeName } from "../../citus/nodes.ts";
import type { StackValues } from "../../stacks/outputs.ts";
import { EXIT, UserError } from "../../tuning/errors.ts";
import { currentPrimary, superuserSql } from "../lib/cluster.ts";
import { type ClusterView, clusterViews } from "../lib/clusters.ts";
import type { RestorePoint } from "../lib/pgbackrest.ts";
import { timelineOfWal } from "../lib/restoreTarget.ts";
import { citusNodes, onCoordinator } from "./coordinator.ts";

/** Where a node's WAL is: a point that is made after that is behind it, on the same timeline. */
async function positionOf({ values }: ClusterView): Promise<{ lsn: string; timeline: number }> {
  const { container } = await currentPrimary(values);
  const said = await superuserSql(container, "SELECT lsn, pg_walfile_name(lsn) FROM pg_current_wal_lsn() AS lsn");
  const [lsn = "", segment = ""] = said.split("|");
  return { lsn, timeline: timelineOfWal(segment) };
}

/**
 * Has Citus give this moment a name on every node, with no transaction of several nodes in the midst of its commit; a point
 * for each cluster, in their order. Their positions are those just before it.
 */
export async function makeCitusPoint(values: StackValues, name: string): Promise<RestorePoint[]> {
  const positions = await Promise.all(clusterViews(values).map(positionOf));
  await onCoordinator(values, `SELECT citus_create_restore_point(${literal(name)});`);
  const at = new Date().toISOString();
  return positions.map((position) => ({ name, at, ...position }));
}

/** Pairs of nodes of which one does not reach the other, as `FROM to TO`. */
const UNREACHED = `SELECT format('%s to %s', from_nodename, to_nodename) FROM citus_check_cluster_node_health()
  WHERE result IS NOT TRUE;`;

/** How long nodes may take to find each other. */
const PATIENCE_MS = 120_000;

/**
 * Waits until the nodes that were put back reach each other, and ends transactions that were being committed at that moment:
 * as the coordinator had it then. Throws a UserError where the moment knows nodes that the stack does not have.
 */
export async function joinRestoredCitus(values: StackValues): Promise<void> {
  const clusters = clusterViews(values).map(({ name }) => name);
  const unknown = (await citusNodes(values)).map(nodeName).filter((name) => !clusters.includes(name));
  if (unknown.length > 0) {
    throw new UserError(
      `at this moment the cluster had ${unknown.join(", ")}, which the stack has no more: rows of theirs are missing`,
      "restore to a moment after they were removed; the data from before is in the old volumes",
      EXIT.failed,
    );
  }
  for (const until = Date.now() + PATIENCE_MS; ; await new Promise((resolve) => setTimeout(resolve, 500))) {
    let unreached: string;
    try {
      unreached = await onCoordinator(values, UNREACHED);
    } catch (error) {
      unreached = error instanceof Error ? error.message : String(error);
    }
    if (unreached === "") break;
    if (Date.now() < until) continue;
    throw new UserError(
      `the nodes were put back, but do not reach each other: ${unreached.replaceAll("\n", ", ")}`,
      "see ./cgraph-db status and ./cgraph-db logs coordinator-pg0",
      EXIT.failed,
    );
  }
  await onCoordinator(values, "SELECT recover_prepared_transactions();");
}
