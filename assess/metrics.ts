/** What is looked at: the guide's table and its key metrics, each with the limits that it has and where they come from. */
import { ALERTS, GUIDE, type Origin, type Range, STAGES, type StageNumber } from "../stacks/guide.ts";

/** What the guide's table bounds stage by stage. */
export const GROWING = ["users", "databaseBytes", "messagesPerMonth"] as const;
export type Growing = (typeof GROWING)[number];

/** What shows whether the servers that there are still carry the load. Shares are 0 to 1. */
export const STRAINS = [
  "queriesPerSecond",
  "meanMs",
  "p95Ms",
  "p99Ms",
  "cpuShare",
  "memoryShare",
  "connectionShare",
  "poolShare",
  "ioWaitShare",
  "diskShare",
  "cacheHitRatio",
  "deadRows",
] as const;
export type Strain = (typeof STRAINS)[number];
export type Metric = Growing | Strain;

export type Unit = "count" | "bytes" | "ms" | "share" | "perSecond";

interface Bounds {
  readonly bad: "above" | "below";
  readonly warning: number;
  readonly critical: number;
  readonly origin: Origin;
}

export interface MetricFacts {
  readonly title: string;
  readonly unit: Unit;
  /** null: nobody sets a limit; it is shown. */
  readonly bounds: Bounds | null;
}

/** The guide's alarm of a metric, in our units. */
function guideAlarm(metric: string): Bounds {
  const found = ALERTS.value.find((one) => one.metric === metric);
  if (!found) throw new Error(`the guide has no alarm ${metric}`);
  const scale = found.unit === "percent" ? 0.01 : 1;
  return {
    bad: found.bad,
    warning: found.warning * scale,
    critical: found.critical * scale,
    origin: ALERTS.origin,
  };
}

const ours = (warning: number, critical: number, reason: string): Bounds => ({
  ...{ bad: "above", warning, critical },
  origin: { from: "ours", reason },
});

export const METRICS: Readonly<Record<Metric, MetricFacts>> = {
  users: { title: "users", unit: "count", bounds: null },
  databaseBytes: { title: "database size", unit: "bytes", bounds: null },
  messagesPerMonth: { title: "messages a month", unit: "count", bounds: null },
  queriesPerSecond: { title: "queries a second", unit: "perSecond", bounds: null },
  meanMs: { title: "mean query time", unit: "ms", bounds: null },
  p95Ms: { title: "p95 of query time", unit: "ms", bounds: null },
  p99Ms: { title: "p99 of query time", unit: "ms", bounds: guideAlarm("query_duration_p99") },
  cpuShare: {
    title: "CPU",
    unit: "share",
    bounds: ours(0.7, 0.9, "above 70 % queries begin to queue, and a failover brings a replica's reads as well"),
  },
  memoryShare: {
    title: "memory",
    unit: "share",
    bounds: ours(0.85, 0.95, "tuning leaves a tenth free for what it cannot foresee"),
  },
  connectionShare: { title: "connections", unit: "share", bounds: guideAlarm("connection_utilization") },
  poolShare: { title: "pool", unit: "share", bounds: guideAlarm("connection_utilization") },
  ioWaitShare: {
    title: "waiting for the disk",
    unit: "share",
    bounds: ours(0.1, 0.3, "with a tenth of the time at the disk the data no longer fits the memory"),
  },
  diskShare: { title: "disk", unit: "share", bounds: guideAlarm("disk_usage") },
  cacheHitRatio: { title: "pages found in memory", unit: "share", bounds: guideAlarm("cache_hit_ratio") },
  deadRows: { title: "dead rows", unit: "count", bounds: guideAlarm("dead_tuples") },
};

const GB = 1e9;

/** The guide's range of a metric at a stage, in our units. */
export function rangeOf(metric: Growing, stage: StageNumber): Range {
  const { users, databaseSizeGB, messagesPerMonth } = GUIDE[stage];
  if (metric === "users") return users.value;
  if (metric === "messagesPerMonth") return messagesPerMonth.value;
  const { min, max } = databaseSizeGB.value;
  return { min: min * GB, max: max === null ? null : max * GB };
}

/** The stage whose range holds a value. */
export const stageOf = (metric: Growing, value: number): StageNumber =>
  STAGES.find((stage) => value < (rangeOf(metric, stage).max ?? Number.POSITIVE_INFINITY)) ?? 5;
