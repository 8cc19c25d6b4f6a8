/** What is watched of replicas in several regions, as plain data: what people hear of, and what Route 53 goes by. */
import { SEVERITIES } from "../../monitoring/alerts/alert.ts";
import { type Watch, machineWatches, rds } from "./alarms.ts";
import type { AwsNode, AwsPlan, AwsRegion } from "./plan.ts";

/**
 * Seconds since the last change that a replica has replayed. While nobody writes RDS has it rise to five minutes before a
 * change of its own comes (Amazon RDS User Guide, "Monitoring read replication"), so less than that says nothing. A
 * replica that is gone has no figure, which is as bad.
 */
const behind = (identifier: string): Watch => ({
  name: "behind",
  description: "seconds behind its primary",
  bad: "above",
  warning: 360,
  critical: 600,
  of: rds(identifier, "ReplicaLag"),
  missing: "bad",
});

const named = (node: AwsNode, watches: readonly Watch[]): Watch[] =>
  watches.map((watch) => ({ ...watch, name: `${node.name}-${watch.name}` }));

/** Of the replicas in a region beside home. `identifier`: RDS's name of a server, by ours. */
export const regionWatches = ({ nodes }: AwsRegion, identifier: (server: string) => string): Watch[] =>
  nodes.flatMap((node) => {
    const id = identifier(node.name);
    return named(node, [...machineWatches(node, id), behind(id)]);
  });

/**
 * Of the replicas at home: whether reads may be led there. Its people hear of lag in bytes, which other alarms watch, so
 * this has one severity, critical.
 */
export const homeReadWatches = ({ nodes }: Pick<AwsPlan, "nodes">, identifier: (server: string) => string): Watch[] =>
  nodes.filter(({ role }) => role === "replica").flatMap((node) => named(node, [behind(identifier(node.name))]));

/** The alarm that says whether a replica may be read. */
export const readWatchName = (server: string): string => `${server}-behind`;

/** Alarms in a region beside home: two for each watch. */
export const regionAlarmCount = (region: AwsRegion): number =>
  SEVERITIES.length * regionWatches(region, (server) => server).length;
