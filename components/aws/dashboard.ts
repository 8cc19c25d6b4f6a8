/** The CloudWatch dashboard's JSON: the guide's list, as far as CloudWatch knows it. */

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
] as const;

const [WIDTH, HEIGHT, COLUMNS] = [8, 6, 3];

/** A panel a metric, a line a server. */
export function dashboardBody(region: string, identifiers: readonly string[]): string {
  const widgets = PANELS.map(({ title, metric }, index) => ({
    type: "metric",
    x: (index % COLUMNS) * WIDTH,
    y: Math.floor(index / COLUMNS) * HEIGHT,
    width: WIDTH,
    height: HEIGHT,
    properties: {
      title,
      region,
      stat: "Average",
      period: 60,
      metrics: identifiers.map((identifier) => ["AWS/RDS", metric, "DBInstanceIdentifier", identifier]),
    },
  }));
  return JSON.stringify({ widgets });
}
