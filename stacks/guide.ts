/**
 * The CGraph Database Scaling Guide as data: every figure of its five stages, each with its place in the guide.
 * Where the guide names no figure, ours stands in its place and says so.
 */

/** Where a figure comes from: a section of the guide, or our own choice with its reason. */
export type Origin =
  { readonly from: "guide"; readonly section: string } | { readonly from: "ours"; readonly reason: string };

/** A figure together with its origin. */
export interface Figure<T> {
  readonly value: T;
  readonly origin: Origin;
}

export type StageNumber = 1 | 2 | 3 | 4 | 5;
export const STAGES: readonly StageNumber[] = [1, 2, 3, 4, 5];

/** An inclusive lower and an exclusive upper bound; `max` is null where the guide leaves it open. */
export interface Range {
  readonly min: number;
  readonly max: number | null;
}

/** One PostgreSQL server's hardware. */
export interface ServerSize {
  readonly cpus: number;
  readonly memoryMiB: number;
  readonly diskGiB: number;
}

/** PgBouncer in front of the servers. */
export interface PoolFigures {
  readonly mode: "transaction";
  readonly maxClientConnections: number;
  readonly defaultPoolSize: number;
  readonly port: number;
  /** How many PgBouncer processes. */
  readonly instances: number;
}

export interface StageFigures {
  readonly stage: StageNumber;
  readonly title: string;
  readonly users: Figure<Range>;
  readonly databaseSizeGB: Figure<Range>;
  readonly messagesPerMonth: Figure<Range>;
  /** The guide's words for the servers. */
  readonly servers: Figure<string>;
  /** Independent primaries: 1, or the number of shards or Citus workers. */
  readonly primaries: Figure<number>;
  /** Streaming replicas of each primary. */
  readonly replicasPerPrimary: Figure<number>;
  readonly serverSize: Figure<ServerSize>;
  readonly maxConnections: Figure<number>;
  readonly pool: Figure<PoolFigures> | null;
  /** Redis in front of the database. */
  readonly cache: Figure<boolean>;
  /** Regions with servers; the first takes the writes. */
  readonly regions: Figure<readonly string[]>;
}

const guide = <T>(section: string, value: T): Figure<T> => ({ value, origin: { from: "guide", section } });
const ours = <T>(reason: string, value: T): Figure<T> => ({ value, origin: { from: "ours", reason } });

const TABLE = "Understanding Your Growth Stage";
const STAGE1 = "Stage 1: Getting Started";
const STAGE2 = "Stage 2: Growing Pains";
const STAGE3 = "Stage 3: Serious Scale";
const STAGE4 = "Stage 4: Massive Scale";
const STAGE5 = "Stage 5: Internet Scale";
const PGBOUNCER = `${STAGE2} › Connection Pooling with PgBouncer`;

const range = (min: number, max: number | null): Range => ({ min, max });
const pool = (instances: number): PoolFigures => ({
  mode: "transaction",
  maxClientConnections: 1000,
  defaultPoolSize: 50,
  port: 6432,
  instances,
});
const oneRegion = (): Figure<readonly string[]> =>
  ours("the guide deploys in several regions only at stage 5", ["us-east-1"]);

export const GUIDE: Readonly<Record<StageNumber, StageFigures>> = {
  1: {
    stage: 1,
    title: "Getting Started",
    users: guide(TABLE, range(0, 10_000)),
    databaseSizeGB: guide(TABLE, range(0, 10)),
    messagesPerMonth: guide(TABLE, range(0, 1_000_000)),
    servers: guide(TABLE, "Single server"),
    primaries: guide(TABLE, 1),
    replicasPerPrimary: guide(TABLE, 0),
    serverSize: guide(`${STAGE1} › Server Specs`, { cpus: 2, memoryMiB: 4096, diskGiB: 50 }),
    maxConnections: guide(`${STAGE1} › Server Specs`, 100),
    pool: null,
    cache: guide(STAGE3, false),
    regions: oneRegion(),
  },
  2: {
    stage: 2,
    title: "Growing Pains",
    users: guide(TABLE, range(10_000, 100_000)),
    databaseSizeGB: guide(TABLE, range(10, 100)),
    messagesPerMonth: guide(TABLE, range(1_000_000, 10_000_000)),
    servers: guide(TABLE, "Primary + 1 replica"),
    primaries: guide(TABLE, 1),
    replicasPerPrimary: guide(TABLE, 1),
    serverSize: ours(
      `4 CPUs and 8 GB are the guide's (${STAGE2} › Adding a Read Replica, step 1); the disk is twice the stage's largest database`,
      { cpus: 4, memoryMiB: 8192, diskGiB: 200 },
    ),
    maxConnections: ours("room for PgBouncer's 50 and the app's direct 20 + 30 in a failover, doubled", 200),
    pool: guide(PGBOUNCER, pool(1)),
    cache: guide(STAGE3, false),
    regions: oneRegion(),
  },
  3: {
    stage: 3,
    title: "Serious Scale",
    users: guide(TABLE, range(100_000, 1_000_000)),
    databaseSizeGB: guide(TABLE, range(100, 1_000)),
    messagesPerMonth: guide(TABLE, range(10_000_000, 100_000_000)),
    servers: guide(TABLE, "Primary + 2+ replicas"),
    primaries: guide(TABLE, 1),
    replicasPerPrimary: guide(`${STAGE3} › Multiple Read Replicas`, 3),
    serverSize: ours("each stage doubles the cores; memory to hold the hot part of 1 TB; disk twice the data", {
      cpus: 8,
      memoryMiB: 32_768,
      diskGiB: 2_000,
    }),
    maxConnections: ours("two PgBouncers with a pool of 50 for each of two databases, and as much in a failover", 400),
    pool: ours("the guide's PgBouncer, twice, so that one may fail", pool(2)),
    cache: guide(`${STAGE3} › Implementing Redis Caching`, true),
    regions: oneRegion(),
  },
  4: {
    stage: 4,
    title: "Massive Scale",
    users: guide(TABLE, range(1_000_000, 10_000_000)),
    databaseSizeGB: guide(TABLE, range(1_000, 10_000)),
    messagesPerMonth: guide(TABLE, range(100_000_000, 1_000_000_000)),
    servers: guide(TABLE, "Sharded + replicas"),
    primaries: guide(`${STAGE4} › Implementing Sharding in Elixir`, 4),
    replicasPerPrimary: ours("the guide says sharded + replicas: one for each shard", 1),
    serverSize: ours("a quarter of 10 TB on each shard, with room to grow by half", {
      cpus: 16,
      memoryMiB: 65_536,
      diskGiB: 4_000,
    }),
    maxConnections: ours("as stage 3, for each shard", 400),
    pool: ours("the guide's PgBouncer, twice, so that one may fail", pool(2)),
    cache: guide(STAGE3, true),
    regions: oneRegion(),
  },
  5: {
    stage: 5,
    title: "Internet Scale",
    users: guide(TABLE, range(10_000_000, null)),
    databaseSizeGB: guide(TABLE, range(10_000, null)),
    messagesPerMonth: guide(TABLE, range(1_000_000_000, null)),
    servers: guide(TABLE, "Distributed sharding"),
    primaries: ours("the guide draws shards 0 to N under a Citus coordinator", 8),
    replicasPerPrimary: ours("each Citus node is highly available", 1),
    serverSize: ours("an eighth of 20 TB on each worker, with room to grow by half", {
      cpus: 32,
      memoryMiB: 131_072,
      diskGiB: 4_000,
    }),
    maxConnections: ours("each worker serves the coordinator's and its own clients", 500),
    pool: ours(`${STAGE5} › Architecture at Scale draws a PgBouncer cluster: three`, pool(3)),
    cache: guide(STAGE3, true),
    regions: guide(`${STAGE5} › Multi-Region Deployment`, ["us-east-1", "eu-west-1", "ap-southeast-1"]),
  },
};

/** The application's own pools (Ecto), which open connections beside PgBouncer's. */
export const APP_POOLS = {
  primary: guide(`${STAGE2} › Step 5`, 20),
  replica: guide(`${STAGE2} › Step 5`, 30),
} as const;

/** How long Ecto lets requests queue for a connection before it sheds load. */
export const APP_QUEUE = guide("Performance Optimization Techniques › Connection Pool Tuning", {
  targetMs: 50,
  intervalMs: 1000,
});

export const BACKUPS = {
  intervalHours: guide(`${STAGE1} › What to Do Now`, 24),
  retentionDays: guide(`${STAGE1} › What to Do Now`, 7),
} as const;

export const SLOW_QUERY_MS = guide(`${STAGE1} › What to Do Now`, 1000);

export interface CacheRule {
  readonly data: string;
  /** Seconds; null where the guide keeps the value in step with the database instead. */
  readonly ttlSeconds: number | null;
  readonly invalidatedBy: string;
}

export const CACHE_RULES: Figure<readonly CacheRule[]> = guide(`${STAGE3} › What to Cache`, [
  { data: "user_profiles", ttlSeconds: 300, invalidatedBy: "profile update" },
  { data: "group_details", ttlSeconds: 600, invalidatedBy: "group settings change" },
  { data: "forum_rankings", ttlSeconds: 60, invalidatedBy: "new votes" },
  { data: "unread_counts", ttlSeconds: null, invalidatedBy: "new messages" },
  { data: "permission_checks", ttlSeconds: 300, invalidatedBy: "role changes" },
]);

export interface Threshold {
  readonly metric: string;
  readonly unit: "percent" | "bytes" | "ms" | "tuples";
  /** Whether too much or too little is bad. */
  readonly bad: "above" | "below";
  readonly warning: number;
  readonly critical: number;
}

const MiB = 1024 * 1024;
export const ALERTS: Figure<readonly Threshold[]> = guide("Monitoring Database Health › Alerting Thresholds", [
  { metric: "connection_utilization", unit: "percent", bad: "above", warning: 70, critical: 90 },
  { metric: "cache_hit_ratio", unit: "percent", bad: "below", warning: 99, critical: 95 },
  { metric: "replication_lag", unit: "bytes", bad: "above", warning: MiB, critical: 100 * MiB },
  { metric: "disk_usage", unit: "percent", bad: "above", warning: 70, critical: 85 },
  { metric: "query_duration_p99", unit: "ms", bad: "above", warning: 500, critical: 2000 },
  { metric: "dead_tuples", unit: "tuples", bad: "above", warning: 10_000_000, critical: 50_000_000 },
]);

/** A row of the guide's table of alerts. Throws where it has none of that name. */
export function guideThreshold(metric: string): Threshold {
  const found = ALERTS.value.find((one) => one.metric === metric);
  if (!found) throw new Error(`the guide has no threshold for ${metric}`);
  return found;
}

/** The two values of such a row. */
export function guideThresholds(metric: string): Pick<Threshold, "warning" | "critical"> {
  const { warning, critical } = guideThreshold(metric);
  return { warning, critical };
}

/** For tables with many writes, set on the leaves where a table is partitioned. */
export const AUTOVACUUM_FACTORS = guide("Performance Optimization Techniques › Vacuum and Maintenance", {
  vacuumScaleFactor: 0.05,
  analyzeScaleFactor: 0.02,
});
