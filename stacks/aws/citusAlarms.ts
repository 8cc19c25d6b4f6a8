/** What is watched of stage 5 on AWS, as plain data. */
import { guideThresholds } from "../guide.ts";
import type { Figure, Watch } from "./alarms.ts";
import { type CitusAwsPlan, citusServers } from "./citusPlan.ts";
import { OWN_NAMESPACE } from "./ownNamespace.ts";

const HOUR = 3600;

/** A figure whose names AWS gives: of a server's instance, or of a way of the balancer's. */
export type WatchedPlace = { readonly instance: string } | { readonly way: "write" | "read" };

const of = (namespace: string, metric: string, statistic: Figure["statistic"]): Figure => ({
  ...{ namespace, metric, dimensions: {}, statistic },
});

/** Of each server: its machine; of each cluster: whether one takes writes, and how its standbys follow; the ways to them. */
export function citusWatches(stack: string, plan: CitusAwsPlan, intervalHours: number): Watch[] {
  const servers = citusServers(plan).flatMap(({ name }): Watch[] => [
    {
      name: `${name}-cpu`,
      description: "percent of CPU",
      ...{ bad: "above", warning: 80, critical: 95, missing: "bad" },
      of: of("AWS/EC2", "CPUUtilization", "Average"),
      place: { instance: name },
    },
    {
      name: `${name}-status`,
      description: "failed checks of the machine; AWS starts it on another by itself",
      ...{ bad: "above", warning: 0, critical: 0, missing: "bad" },
      of: of("AWS/EC2", "StatusCheckFailed", "Maximum"),
      place: { instance: name },
    },
    {
      name: `${name}-disk`,
      description: "percent of the data volume in use",
      ...{ bad: "above", ...guideThresholds("disk_usage"), missing: "bad" },
      of: {
        ...of(OWN_NAMESPACE, "disk_used_percent", "Maximum"),
        dimensions: { Stack: stack, Server: name },
      },
    },
  ]);
  const clusters = plan.clusters.flatMap(({ name, nodes }): Watch[] => {
    const figure = (metric: string, statistic: Figure["statistic"]): Figure => ({
      ...of(OWN_NAMESPACE, metric, statistic),
      dimensions: { Stack: stack, Cluster: name },
    });
    return [
      {
        name: `${name}-primary`,
        description: "servers that take writes",
        ...{ bad: "below", warning: 1, critical: 1, missing: "bad" },
        of: figure("primaries", "Maximum"),
      },
      {
        name: `${name}-standbys`,
        description: `standbys that follow, of ${nodes.length - 1}`,
        ...{ bad: "below", warning: nodes.length - 1, critical: 1, missing: "bad" },
        of: figure("standbys", "Maximum"),
      },
      {
        name: `${name}-lag`,
        description: "bytes of WAL that the slowest standby has not replayed",
        ...{ bad: "above", ...guideThresholds("replication_lag"), missing: "bad" },
        of: figure("replication_lag_bytes", "Maximum"),
      },
      {
        name: `${name}-backup`,
        description: "seconds since the newest backup",
        ...{ bad: "above", warning: 1.5 * intervalHours * HOUR, critical: 3 * intervalHours * HOUR, missing: "bad" },
        of: figure("backup_age_seconds", "Maximum"),
      },
    ];
  });
  const ways = (["write", "read"] as const).map((way): Watch => ({
    name: `database-${way}`,
    description: `servers of the coordinator that the balancer leads ${way === "write" ? "writes" : "reads"} to`,
    ...{ bad: "below", warning: 1, critical: 1, missing: "bad" },
    of: of("AWS/NetworkELB", "HealthyHostCount", "Maximum"),
    place: { way },
  }));
  return [...servers, ...clusters, ...ways];
}
