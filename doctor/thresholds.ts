/** From where on something is worth a finding. The guide's own figures where it has them; the others with their reasons. */
import { guideThreshold } from "../stacks/guide.ts";

/** One figure, with its unit and where it comes from. */
export interface Limit {
  readonly value: number;
  /** As docs/doctor.md shows it. */
  readonly unit: string;
  readonly reason: string;
}

function guide(metric: string, severity: "warning" | "critical"): Limit {
  const threshold = guideThreshold(metric);
  return { value: threshold[severity], unit: threshold.unit, reason: "guide: Monitoring › Alerting Thresholds" };
}

const ours = (value: number, unit: string, reason: string): Limit => ({ value, unit, reason });

const MiB = 1024 ** 2;
const GiB = 1024 ** 3;
const PITFALL = "guide: Common Pitfalls › Long-Running Transactions";
const AS_ALARM = "as the alarm on AWS (stacks/aws/alarms.ts)";

export const LIMITS = {
  // Statements
  slowQueryMs: guide("query_duration_p99", "warning"),
  slowQueryCriticalMs: guide("query_duration_p99", "critical"),
  slowQueryCalls: ours(5, "calls", "fewer say nothing of the next one"),
  slowQueryTailCalls: ours(100, "calls", "a 99th percentile of fewer is a single call"),
  lookupMs: ours(1, "ms", "a lookup of one row by an index takes a tenth of it; what takes longer is told as slow"),
  lookupRows: ours(1.5, "rows a call", "one row, now and then a few"),
  lookupCalls: ours(10_000, "calls", "fewer cost less than ten seconds in all, however they come about"),
  lookupRatio: ours(
    5,
    "calls for each other statement",
    "a request looks up its user once, perhaps a group and a few more",
  ),
  lookupOthers: ours(100, "calls", "beside fewer other statements there is nothing to compare with"),
  lookupTimeShare: ours(10, "percent", "under a tenth of all time there is little to win: information only"),
  // Tables and indexes
  bigTableRows: ours(10_000, "rows", "reading fewer from start to end takes about a millisecond: no index is needed"),
  scans: ours(100, "scans", "index builds, dumps and a handful of reports read whole tables too"),
  scansPerHour: ours(1, "scans an hour", "what comes once a day is a report or a dump"),
  scannedRows: ours(10_000_000, "rows", "some seconds of work in all; less is information only"),
  indexCostFactor: ours(5, "times", "the planner's costs are estimates: a smaller gain may be none"),
  statisticsDays: ours(
    7,
    "days",
    "a week has every weekday's reports in it: an index that none of them used is unused",
  ),
  indexBytes: ours(MiB, "bytes", "smaller ones cost next to nothing"),
  unusedIndexBytes: ours(10 * MiB, "bytes", "smaller unused indexes are information only"),
  bloatBytes: ours(64 * MiB, "bytes", "less to be had back is not worth a rewrite"),
  bloatCriticalBytes: ours(10 * GiB, "bytes", "disk, cache and backups carry it too"),
  tableBloatPercent: ours(
    40,
    "percent",
    "autovacuum at our settings keeps 5 to 20 free; the estimate is good to about 10",
  ),
  indexBloatPercent: ours(
    50,
    "percent",
    "a btree filled in random order, such as by UUIDs, is a quarter empty by nature",
  ),
  deadTuples: guide("dead_tuples", "warning"),
  deadTuplesCritical: guide("dead_tuples", "critical"),
  deadTuplesOfTable: ours(10_000, "rows", "vacuuming fewer would be noticed by nobody"),
  deadTuplesOverdue: ours(2, "times", "autovacuum begins at once its threshold: at twice that it does not keep up"),
  keylessRows: ours(1000, "rows", "a smaller table without a key is information only"),
  // The server
  cacheHitPercent: guide("cache_hit_ratio", "warning"),
  cacheHitCriticalPercent: guide("cache_hit_ratio", "critical"),
  cacheBlocks: ours(1_000_000, "blocks", "8 GiB asked for: of less, what was read first weighs too much"),
  connectionsPercent: guide("connection_utilization", "warning"),
  connectionsCriticalPercent: guide("connection_utilization", "critical"),
  lagBytes: guide("replication_lag", "warning"),
  lagCriticalBytes: guide("replication_lag", "critical"),
  transactionSeconds: ours(300, "s", `${PITFALL}: 5 minutes`),
  transactionCriticalSeconds: ours(3600, "s", "twelve times the guide's: vacuum has removed nothing for an hour"),
  lockWaitSeconds: ours(5, "s", "PostgreSQL looks for deadlocks after one; a user has noticed after five"),
  lockWaitCriticalSeconds: ours(60, "s", "behind one waiting for a minute everybody waits"),
  sequencePercent: ours(70, "percent", "time to rewrite the table in a quiet hour"),
  sequenceCriticalPercent: ours(90, "percent", "at 100 every insert fails"),
  slotBytes: ours(GiB, "bytes", AS_ALARM),
  slotCriticalBytes: ours(10 * GiB, "bytes", AS_ALARM),
  idleSlotBytes: ours(64 * MiB, "bytes", "four segments: what a consumer that restarts leaves in minutes"),
  idleSlotSeconds: ours(3600, "s", "a consumer that restarts is back sooner"),
  transactionIds: ours(500e6, "transaction ids", AS_ALARM),
  transactionIdsCritical: ours(1000e6, "transaction ids", AS_ALARM),
  archiveSeconds: ours(180, "s", "a server archives each minute and tries again each minute: three were missed"),
  archiveCriticalSeconds: ours(900, "s", "so much would be lost with the disk, against one minute meant to be"),
  settingFactor: ours(2, "times", "for a server of unknown kind: within a factor of two it is a matter of taste"),
  // A Citus cluster
  everyShardCalls: ours(100, "calls", "fewer are reports, which may ask every shard"),
  everyShardTimeShare: ours(10, "percent", "under a tenth of all time there is little to win: information only"),
  nodeSkew: ours(1.5, "times the mean", "moving shards costs more than an unevenness that few notice"),
  nodeSkewBytes: ours(GiB, "bytes", "less above the mean is moved for nothing"),
  shardSkew: ours(3, "times the mean", "by chance alone shards of many users differ by less than a half"),
  shardSkewBytes: ours(GiB, "bytes", "less above the mean troubles no node"),
  tenantCpuPercent: ours(25, "percent of a processor", "less is no reason to move anybody"),
  tenantSharePercent: ours(20, "percent of its node", "with less it is one of many busy ones"),
  localTableRows: ours(10_000, "rows", "as bigTableRows: a smaller table on the coordinator alone is information only"),
  referenceBytes: ours(
    GiB,
    "bytes",
    "a copy on every node costs disk and cache there; smaller ones are what they are for",
  ),
  referenceWarningBytes: ours(10 * GiB, "bytes", "so much on every node is taken from what is distributed"),
  // Partitions and backups
  futurePartitions: ours(2, "partitions", "one may be full of errors' dates; two leave a whole period to mend it"),
  verificationDays: ours(35, "days", "a restore tested once a month, and some days late"),
} as const satisfies Record<string, Limit>;

export type LimitName = keyof typeof LIMITS;

/** The figures alone, as checks use them. */
export type Thresholds = Readonly<Record<LimitName, number>>;

/** `changes`: other figures in some places, for tests. */
export const thresholds = (changes: Partial<Thresholds> = {}): Thresholds => ({
  ...(Object.fromEntries(Object.entries(LIMITS).map(([name, { value }]) => [name, value])) as Thresholds),
  ...changes,
});
