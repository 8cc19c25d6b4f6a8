/** What is looked at: the guide's table and its key metrics, each with the limits that it has and where they come from. */
import { everyAlert } from "../monitoring/alerts/index.ts";
import { GUIDE, type Range, STAGES, type StageNumber } from "../stacks/guide.ts";

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
  /** Why these: the guide, or a reason. */
  readonly source: string;
}

export interface MetricFacts {
  readonly title: string;
  readonly unit: Unit;
  /** null: nobody sets a limit; it is shown. */
  readonly bounds: Bounds | null;
}

/** From where on an alert rings (monitoring/alerts), in our units: what is judged here is what people are told of there. */
function alarm(id: string): Bounds {
  const found = everyAlert().find((one) => one.id === id);
  if (!found) throw new Error(`there is no alert ${id}`);
  const scale = found.unit === "%" ? 0.01 : 1;
  const { warning, critical } = found.thresholds;
  return {
    bad: found.bad,
    warning: (warning ?? NaN) * scale,
    critical: (critical ?? NaN) * scale,
    source: found.source,
  };
}

export const METRICS: Readonly<Record<Metric, MetricFacts>> = {
  users: { title: "users", unit: "count", bounds: null },
  databaseBytes: { title: "database size", unit: "bytes", bounds: null },
  messagesPerMonth: { title: "messages a month", unit: "count", bounds: null },
  queriesPerSecond: { title: "queries a second", unit: "perSecond", bounds: null },
  meanMs: { title: "mean query time", unit: "ms", bounds: null },
  p95Ms: { title: "p95 of query time", unit: "ms", bounds: null },
  p99Ms: { title: "p99 of query time", unit: "ms", bounds: alarm("query_duration_p99") },
  cpuShare: {
    title: "CPU",
    unit: "share",
    bounds: alarm("cpu"),
  },
  memoryShare: {
    title: "memory",
    unit: "share",
    bounds: alarm("memory"),
  },
  connectionShare: { title: "connections", unit: "share", bounds: alarm("connection_utilization") },
  poolShare: { title: "pool", unit: "share", bounds: alarm("pool_use") },
  ioWaitShare: {
    title: "waiting for the disk",
    unit: "share",
    bounds: alarm("io_wait"),
  },
  diskShare: { title: "disk", unit: "share", bounds: alarm("disk_usage") },
  cacheHitRatio: { title: "pages found in memory", unit: "share", bounds: alarm("cache_hit_ratio") },
  deadRows: { title: "dead rows", unit: "count", bounds: alarm("dead_tuples") },
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
