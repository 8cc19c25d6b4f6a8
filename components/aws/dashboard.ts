/** The CloudWatch dashboard's JSON: the guide's list, from AWS's own figures, the scheduled check's and the poolers'. */
import { OWN_NAMESPACE, PERIOD_SECONDS } from "../../stacks/aws/alarms.ts";

const PANELS = [
  { title: "CPU, percent", metric: "CPUUtilization" },
  { title: "Connections", metric: "DatabaseConnections" },
  { title: "Free memory, bytes", metric: "FreeableMemory" },
  { title: "Free storage, bytes", metric: "FreeStorageSpace" },
  { title: "Replica lag, seconds", metric: "ReplicaLag" },
  { title: "Read latency, seconds", metric: "ReadLatency" },
  { title: "Write latency, seconds", metric: "WriteLatency" },
  { title: "Disk queue", metric: "DiskQueueDepth" },
  { title: "WAL that slots keep, bytes", metric: "OldestReplicationSlotLag" },
  { title: "Cache hit ratio, percent", own: "cache_hit_ratio" },
  { title: "Replication lag, bytes", own: "replication_lag_bytes" },
  { title: "Dead tuples", own: "dead_tuples" },
  { title: "Statements a minute", own: "statements" },
] as const;

const [WIDTH, HEIGHT, COLUMNS] = [8, 6, 3];

export interface DashboardServer {
  readonly name: string;
  readonly identifier: string;
}

/** A panel a figure, a line a server. */
export function dashboardBody(region: string, stack: string, servers: readonly DashboardServer[]): string {
  const widgets = PANELS.map((panel, index) => ({
    type: "metric",
    x: (index % COLUMNS) * WIDTH,
    y: Math.floor(index / COLUMNS) * HEIGHT,
    width: WIDTH,
    height: HEIGHT,
    properties: {
      title: panel.title,
      region,
      stat: "Average",
      period: PERIOD_SECONDS,
      metrics: servers.map(({ name, identifier }) =>
        "own" in panel
          ? [OWN_NAMESPACE, panel.own, "Stack", stack, "Server", name]
          : ["AWS/RDS", panel.metric, "DBInstanceIdentifier", identifier],
      ),
    },
  }));
  return JSON.stringify({ widgets });
}
