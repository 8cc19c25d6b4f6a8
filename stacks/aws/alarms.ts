/** What is watched on AWS, as plain data: every row of the guide's table, and what good operators watch beside it. */
import { SEVERITIES, type Severity } from "../../monitoring/alerts/alert.ts";
import { type Threshold, guideThresholds } from "../guide.ts";
import { type WatchedPlace, citusWatches } from "./citusAlarms.ts";
import { OWN_NAMESPACE } from "./ownNamespace.ts";
import type { AwsNode, AwsPlan } from "./plan.ts";

const GiB = 1024 ** 3;
const MINUTE = 60;
export { OWN_NAMESPACE };

/** A figure that CloudWatch has. */
export interface Figure {
  readonly namespace: string;
  readonly metric: string;
  readonly dimensions: Readonly<Record<string, string>>;
  readonly statistic: "Average" | "Maximum" | "Sum";
}

/** One thing that is watched, with its two thresholds. */
export interface Watch extends Pick<Threshold, "warning" | "critical"> {
  /** `pg0-disk`: part of the alarms' names. */
  readonly name: string;
  readonly description: string;
  readonly bad: "above" | "below";
  /** A figure, or for each severity an expression over several. */
  readonly of: Figure | Readonly<Record<Severity, Expression>>;
  /** Whose names AWS gives: they are its figure's dimensions; default: those that the figure has. */
  readonly place?: WatchedPlace;
  /** What no data means: a figure that always comes is missing when its source is in trouble. */
  readonly missing: "bad" | "well";
}

export interface Expression {
  /** CloudWatch metric math over the figures' names. */
  readonly formula: string;
  readonly figures: Readonly<Record<string, Figure>>;
}

/** Milliseconds from which on a statement is counted as slow, by severity: the guide's for the 99th percentile. */
export const SLOW_BY_SEVERITY: Readonly<Record<Severity, number>> = guideThresholds("query_duration_p99");
/** Milliseconds from which on statements are in the log at all. */
export const SLOW_MS = SLOW_BY_SEVERITY.warning;
/** The name under which a metric filter counts slow statements of a server. */
export const slowMetric = (server: string, severity: Severity): string => `${server}-slow-${severity}`;

/** RDS's own figure of an instance. */
export const rds = (identifier: string, metric: string): Figure => ({
  namespace: "AWS/RDS",
  metric,
  dimensions: { DBInstanceIdentifier: identifier },
  statistic: "Average",
});

/** A figure of the scheduled check (monitoring/check). */
const checked = (
  stack: string,
  server: string,
  metric: string,
  statistic: Figure["statistic"] = "Average",
): Figure => ({
  namespace: OWN_NAMESPACE,
  metric,
  dimensions: { Stack: stack, Server: server },
  statistic,
});

/** What RDS itself tells of any server, wherever it is. */
export function machineWatches(node: AwsNode, identifier: string): Watch[] {
  const connections = Number(node.settings["max_connections"]?.value);
  const [use, disk] = [guideThresholds("connection_utilization"), guideThresholds("disk_usage")];
  const free = (percentUsed: number): number => Math.round(((100 - percentUsed) / 100) * node.storageGiB * GiB);
  return [
    {
      name: "connections",
      description: `client connections, of ${connections}`,
      bad: "above",
      warning: Math.floor((connections * use.warning) / 100),
      critical: Math.floor((connections * use.critical) / 100),
      of: rds(identifier, "DatabaseConnections"),
      missing: "bad",
    },
    {
      name: "disk",
      description: "bytes of free storage",
      bad: "below",
      warning: free(disk.warning),
      critical: free(disk.critical),
      of: rds(identifier, "FreeStorageSpace"),
      missing: "bad",
    },
    {
      name: "cpu",
      description: "percent of CPU",
      bad: "above",
      warning: 80,
      critical: 95,
      of: rds(identifier, "CPUUtilization"),
      missing: "bad",
    },
  ];
}

function nodeWatches(stack: string, node: AwsNode, identifier: string): Watch[] {
  const { name } = node;
  const p99 = SLOW_BY_SEVERITY;
  const slow = (severity: Severity): Expression => ({
    formula: "IF(statements > 0, 100 * FILL(slow, 0) / statements, 0)",
    figures: {
      slow: {
        namespace: OWN_NAMESPACE,
        metric: slowMetric(`${stack}-${name}`, severity),
        dimensions: {},
        statistic: "Sum",
      },
      statements: checked(stack, name, "statements", "Sum"),
    },
  });
  const watches: Watch[] = [
    ...machineWatches(node, identifier),
    {
      name: "cache-hit",
      description: "percent of blocks found in shared buffers",
      bad: "below",
      ...guideThresholds("cache_hit_ratio"),
      of: checked(stack, name, "cache_hit_ratio"),
      missing: "bad",
    },
    {
      name: "p99",
      description: `percent of statements slower than ${p99.warning} ms (warning) or ${p99.critical} ms (critical); more than one says that the 99th percentile is`,
      bad: "above",
      warning: 1,
      critical: 1,
      of: { warning: slow("warning"), critical: slow("critical") },
      missing: "well",
    },
    // A slot that nobody reads keeps WAL until the disk is full; a transaction id that wraps around stops the server.
    {
      name: "slot",
      description: "bytes of WAL that replication slots keep",
      bad: "above",
      warning: GiB,
      critical: 10 * GiB,
      of: rds(identifier, "OldestReplicationSlotLag"),
      // A server without slots has none to tell of.
      missing: "well",
    },
    {
      name: "xid",
      description: "transaction ids used since the last freeze, of two thousand million",
      bad: "above",
      warning: 500e6,
      critical: 1000e6,
      of: rds(identifier, "MaximumUsedTransactionIDs"),
      missing: "well",
    },
  ];
  if (node.role === "replica") {
    watches.push({
      name: "lag",
      description: "bytes of WAL that it has not replayed",
      bad: "above",
      ...guideThresholds("replication_lag"),
      of: checked(stack, name, "replication_lag_bytes"),
      missing: "bad",
    });
  } else {
    watches.push({
      name: "dead-tuples",
      description: "dead tuples in all tables",
      bad: "above",
      ...guideThresholds("dead_tuples"),
      of: checked(stack, name, "dead_tuples"),
      missing: "bad",
    });
  }
  return watches.map((watch) => ({ ...watch, name: `${name}-${watch.name}` }));
}

/** Everything that is watched of a plan. `identifier`: RDS's name of a server, by ours. */
export function watchesOf(stack: string, plan: AwsPlan, identifier: (server: string) => string): Watch[] {
  const nodes = [
    ...plan.nodes.flatMap((node) => nodeWatches(stack, node, identifier(node.name))),
    ...(plan.citus ? citusWatches(stack, plan.citus, plan.backupIntervalHours) : []),
  ];
  if (plan.pool?.kind !== "pgbouncer") return nodes;
  const pool = (metric: string): Figure => ({
    namespace: OWN_NAMESPACE,
    metric,
    dimensions: { Stack: stack },
    statistic: "Maximum",
  });
  return [
    ...nodes,
    {
      name: "pool-use",
      description: "percent of a pool's server connections in use, the fullest of all",
      bad: "above",
      ...guideThresholds("connection_utilization"),
      of: pool("pool_use"),
      missing: "bad",
    },
    {
      name: "pool-wait",
      description: "seconds that a client has waited for a server connection",
      bad: "above",
      warning: 1,
      critical: 10,
      of: pool("pool_wait_seconds"),
      missing: "bad",
    },
  ];
}

/** How often a watched figure comes, in seconds, and how many in a row must be bad. */
export const PERIOD_SECONDS = MINUTE;
export const PERIODS = 5;

const figuresOf = (watch: Watch): Figure[] =>
  "metric" in watch.of
    ? [watch.of, watch.of]
    : [...Object.values(watch.of.warning.figures), ...Object.values(watch.of.critical.figures)];

/** What CloudWatch charges for: every figure that an alarm looks at, and every figure that is not AWS's own. */
export function chargedFigures(plan: AwsPlan): { watched: number; own: number } {
  const figures = watchesOf("", plan, (server) => server).flatMap(figuresOf);
  const own = figures.filter(({ namespace }) => namespace === OWN_NAMESPACE);
  return {
    watched: figures.length,
    own: new Set(own.map(({ metric, dimensions }) => JSON.stringify([metric, dimensions]))).size,
  };
}

/** Alarms of a plan: two for each watch. */
export const alarmCount = (plan: AwsPlan): number => SEVERITIES.length * watchesOf("", plan, (server) => server).length;
