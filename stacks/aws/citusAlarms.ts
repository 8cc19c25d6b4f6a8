/** What is watched of stage 5 on AWS, as plain data. */
import { guideThresholds } from "../guide.ts";
import type { Figure, Watch } from "./alarms.ts";
import { SEVERITIES } from "../../monitoring/alerts/alert.ts";
import { type CitusAwsPlan, type CitusPlace, type CitusRegion, citusServers } from "./citusPlan.ts";
import { OWN_NAMESPACE } from "./ownNamespace.ts";

const HOUR = 3600;

/** A figure whose names AWS gives: of a server's instance, or of a way of the balancer's. */
export type WatchedPlace = { readonly instance: string } | { readonly way: "write" | "read" };

/** The watch of a way: `database-read`. */
export const wayWatchName = (way: "write" | "read"): string => `database-${way}`;

const of = (namespace: string, metric: string, statistic: Figure["statistic"]): Figure => ({
  ...{ namespace, metric, dimensions: {}, statistic },
});

const machines = (stack: string, place: CitusPlace): Watch[] =>
  citusServers(place).flatMap(({ name }): Watch[] => [
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

/** `prefix`: what the names in its region begin with. */
const wayWatch = (prefix: string, way: "write" | "read"): Watch => ({
  name: `${prefix}${wayWatchName(way)}`,
  description: `servers of the coordinator that the balancer leads ${way === "write" ? "writes" : "reads"} to`,
  ...{ bad: "below", warning: 1, critical: 1, missing: "bad" },
  of: of("AWS/NetworkELB", "HealthyHostCount", "Maximum"),
  place: { way },
});

/** Of each server: its machine; of each cluster: whether one takes writes, and how its standbys follow; the ways to them. */
export function citusWatches(stack: string, plan: CitusAwsPlan, intervalHours: number): Watch[] {
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
  const ways = (["write", "read"] as const).map((way) => wayWatch("", way));
  return [...machines(stack, plan), ...clusters, ...ways];
}

/** The watch of a cluster that follows home from another region. */
export const behindWatchName = (cluster: string): string => `${cluster}-behind`;

/**
 * Of a region beside home: its machines; how far each cluster is behind home, of which nothing there but its own servers
 * can tell; and the way to its coordinator. A server that is gone has no figure, which is as bad.
 */
export const citusRegionWatches = (stack: string, region: CitusRegion): Watch[] => [
  ...machines(stack, region),
  ...region.clusters.map(({ name }): Watch => ({
    name: behindWatchName(name),
    description: "seconds behind its primary in another region",
    // Idle, the primary's word comes every half minute.
    ...{ bad: "above", warning: 60, critical: 300, missing: "bad" },
    of: { ...of(OWN_NAMESPACE, "behind_seconds", "Maximum"), dimensions: { Stack: stack, Cluster: name } },
  })),
  wayWatch(`${region.name}-`, "read"),
];

/** Alarms in a region beside home: two for each watch. */
export const citusRegionAlarmCount = (region: CitusRegion): number =>
  SEVERITIES.length * citusRegionWatches("", region).length;

/** Figures of our own in a region beside home: of each server its disk, of each node how far it is behind. */
export const citusRegionFigures = (region: CitusRegion): number =>
  citusRegionWatches("", region).filter(({ of: figure }) => "namespace" in figure && figure.namespace === OWN_NAMESPACE)
    .length;
