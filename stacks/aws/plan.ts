/** What a stage consists of on AWS, as plain data: no Pulumi in it. */
import { GLOBAL_CLUSTER, clustersBesideFirst } from "../../components/docker/shardRoutes.ts";
import { UserError } from "../../tuning/errors.ts";
import type { Hardware } from "../../tuning/hardware.ts";
import { checkPools, poolSizeThatFits } from "../../tuning/pools.ts";
import { tunePostgres } from "../../tuning/postgresql.ts";
import { type RdsParameter, renderRdsParameters } from "../../tuning/rds.ts";
import type { Settings } from "../../tuning/setting.ts";
import type { StackConfig } from "../config.ts";
import { GUIDE, type StageNumber } from "../guide.ts";
import { ROUTER_POOL_SIZE, globalSettings, shardSettings } from "../shardSettings.ts";
import { SLOW_MS } from "./alarms.ts";
import { type CacheNode, chooseCacheNode } from "./cacheNodes.ts";
import { type ServerClass, chooseClass, classNamed } from "./classes.ts";
import { type CitusAwsPlan, planCitus } from "./citusPlan.ts";
import { citusRegionNotes } from "./citusRegions.ts";
import { checkStorage } from "./config.ts";
import { planRegions, regionNotes } from "./regions.ts";
import { ZONES } from "./zones.ts";

/** One RDS instance. Its name says where it is, never its role: a promotion renames nothing. */
export interface AwsNode {
  readonly name: string;
  /** `global`, `shard1`, …: the cluster that it belongs to; null: the first, or only one. */
  readonly cluster: string | null;
  readonly role: "primary" | "replica";
  /** Index of its availability zone. */
  readonly zone: number;
  readonly class: ServerClass;
  readonly multiAz: boolean;
  readonly storageGiB: number;
  /** Up to which it grows by itself. */
  readonly maxStorageGiB: number;
  /** Above gp3's baseline; undefined: the baseline. */
  readonly storageIops: number | undefined;
  readonly storageThroughputMiBs: number | undefined;
  readonly settings: Settings;
  readonly parameters: readonly RdsParameter[];
}

export interface AwsCache {
  readonly engine: "valkey" | "redis";
  readonly node: CacheNode;
  /** Nodes: a primary and its replicas, in different zones. */
  readonly nodes: number;
}

/** PgBouncer on Fargate. */
export interface AwsPool {
  readonly kind: "pgbouncer";
  /** Undefined: the stack's own repository has it. */
  readonly image: string | undefined;
  /** Tasks at the least, over the zones, and at the most. */
  readonly tasks: number;
  readonly maxTasks: number;
  /** Of each task: 1024 units are a CPU. */
  readonly cpuUnits: number;
  readonly memoryMiB: number;
  readonly maxClientConnections: number;
  readonly poolSize: number;
  readonly reserveSize: number;
  /** Server connections of each task to the router database, at stage 4. */
  readonly routerPoolSize: number;
}

/** RDS Proxy: a pool in front of the primary, run by AWS. */
export interface AwsProxy {
  readonly kind: "rds-proxy";
  /** Of the primary's max_connections; the rest is for direct ones. */
  readonly maxConnectionsPercent: number;
  /** CPUs of the primary: what is paid for. */
  readonly cpus: number;
}

/** A region beside home: replicas, and a network for whoever reads them there. */
export interface AwsRegion {
  readonly name: string;
  /** Addresses of its VPC. */
  readonly cidr: string;
  /** Replicas of each cluster, in the order of the clusters. */
  readonly nodes: readonly AwsNode[];
}

export interface AwsPlan {
  readonly stage: StageNumber;
  readonly target: "aws";
  /** Home: where the primaries are, and all that is not in `regions`. */
  readonly region: string;
  /** On RDS: those of the first cluster, its primary first; then, at stage 4, those of each other cluster. None at stage 5. */
  readonly nodes: readonly AwsNode[];
  /** Those beside home, on RDS; stage 5's are in `citus`. */
  readonly regions: readonly AwsRegion[];
  /** Stage 4's. */
  readonly sharding: { readonly shards: number; readonly buckets: number } | undefined;
  /** Stage 5's: servers on EC2. */
  readonly citus: CitusAwsPlan | undefined;
  readonly pool: AwsPool | AwsProxy | undefined;
  readonly cache: AwsCache | undefined;
  readonly accessHost: boolean;
  /** Whether the VPC is the stack's own: then it has its own ways to AWS's services. */
  readonly ownVpc: boolean;
  /** Where a snapshot a day is copied to. */
  readonly backupCopyRegion: string | undefined;
  /** Between backups that we take ourselves, at stage 5. */
  readonly backupIntervalHours: number;
  readonly notes: readonly string[];
}

const CACHE_NODES = 2;
const LONGEST_RETENTION_DAYS = 35;
/** One may fail, or be replaced, without a client noticing more than a reconnect. */
const LEAST_TASKS = 2;
const RESERVE_SIZE = 5;
/** Connections beside the pools: LISTEN, schema changes, monitoring, the next move. */
const DIRECT_CONNECTIONS = 20;
/** Names and global tables are small; from 400 GiB on gp3 has its larger baseline. It grows by itself. */
const GLOBAL_STORAGE_GIB = 400;

/** Every server of a plan: home's, then those of further regions. */
export const allNodes = ({ nodes, regions }: Pick<AwsPlan, "nodes" | "regions">): readonly AwsNode[] => [
  ...nodes,
  ...regions.flatMap((region) => region.nodes),
];

/** The stage's pools: all tasks that there may be, together, fit on the primary. */
function planPool(
  config: StackConfig,
  { cpus }: ServerClass,
  maxConnections: number,
  notes: string[],
): AwsPool | AwsProxy | undefined {
  const figures = GUIDE[config.stage].pool?.value;
  if (!figures) return undefined;
  const sharded = config.stage === 4;
  if (config.aws.pooler === "rds-proxy" && config.stage >= 4) {
    throw new UserError(
      sharded ? "RDS Proxy serves one primary; shards have several" : "RDS Proxy serves RDS; stage 5 runs on EC2",
      "use PgBouncer: ./cgraph-db config set pooler pgbouncer",
    );
  }
  if (config.aws.pooler === "rds-proxy") {
    notes.push("RDS Proxy serves the primary only: reads go to the replicas directly");
    const free = Math.floor((100 * (maxConnections - DIRECT_CONNECTIONS)) / maxConnections);
    return { kind: "rds-proxy", maxConnectionsPercent: free, cpus };
  }
  const tasks = Math.max(LEAST_TASKS, config.poolers ?? figures.instances);
  const maxTasks = tasks * 2;
  const routerPoolSize = sharded ? ROUTER_POOL_SIZE : 0;
  // Each connection to the router database, to write or to read, opens one to every shard that it asks.
  const direct = DIRECT_CONNECTIONS + 2 * maxTasks * routerPoolSize;
  const fitting = poolSizeThatFits({
    pools: maxTasks,
    reserveSize: RESERVE_SIZE,
    directConnections: direct,
    maxConnections,
  });
  const poolSize = config.poolSize ?? Math.min(figures.defaultPoolSize, fitting);
  checkPools(
    [
      { name: `${maxTasks} tasks' writes`, connections: maxTasks * (poolSize + RESERVE_SIZE) },
      { name: sharded ? "direct, and the router database's" : "direct", connections: direct },
    ],
    maxConnections,
  );
  if (config.poolSize === undefined && poolSize < figures.defaultPoolSize) {
    notes.push(
      `up to ${maxTasks} poolers share ${maxConnections} connections: each has a pool of ${poolSize} instead of ${figures.defaultPoolSize}`,
    );
  }
  return {
    kind: "pgbouncer",
    image: config.aws.poolerImage,
    tasks,
    maxTasks,
    cpuUnits: 512,
    memoryMiB: 1024,
    maxClientConnections: figures.maxClientConnections,
    poolSize,
    reserveSize: RESERVE_SIZE,
    routerPoolSize,
  };
}

/**
 * The servers of a stack's stage on AWS. Throws a UserError where no class is large enough, or storage or settings do not
 * go together.
 */
export function planAws(config: StackConfig): AwsPlan {
  for (const key of ["backupS3Bucket", "restoreFirst"] as const) {
    if ((key === "restoreFirst" ? config.backups.restoreFirst : config.backups.s3) === undefined) continue;
    throw new UserError(
      `cgraph:${key} is for servers in Docker: ${config.stage === 5 ? "on AWS stage 5 has a bucket of its own" : "RDS keeps its backups itself"}`,
      `unset it: ./cgraph-db config unset ${key}`,
    );
  }
  return config.stage === 5 ? planOnEc2(config) : planOnRds(config);
}

const cacheOf = (config: StackConfig): AwsCache | undefined =>
  GUIDE[config.stage].cache.value
    ? {
        engine: config.aws.cacheEngine,
        node: chooseCacheNode(config.cacheMemoryMiB ?? Math.floor(GUIDE[config.stage].serverSize.value.memoryMiB / 8)),
        nodes: CACHE_NODES,
      }
    : undefined;

function planOnEc2(config: StackConfig): AwsPlan {
  const { aws } = config;
  const citus = planCitus(config);
  const notes = citusRegionNotes(citus, aws.region);
  const [first] = citus.clusters[0]?.nodes ?? [];
  if (!first) throw new Error("a Citus cluster without a coordinator");
  return {
    ...{ stage: config.stage, target: "aws", region: aws.region, nodes: [], regions: [], sharding: undefined, citus },
    pool: planPool(config, first.class, Number(citus.settings["max_connections"]?.value), notes),
    cache: cacheOf(config),
    accessHost: aws.accessHost,
    ownVpc: true,
    backupCopyRegion: undefined,
    backupIntervalHours: config.backups.intervalHours,
    notes,
  };
}

function planOnRds(config: StackConfig): AwsPlan {
  const figures = GUIDE[config.stage];
  const { aws } = config;
  const wanted = figures.serverSize.value;
  const replicas = config.replicas ?? figures.replicasPerPrimary.value;
  // One that is busy all day would pay for credits: burstable classes serve the first stage.
  const serverClass = aws.instanceClass
    ? classNamed(aws.instanceClass)
    : chooseClass({ ...wanted, burstable: config.stage === 1 });
  const storageGiB = aws.storageGiB ?? wanted.diskGiB;
  if (config.backups.retentionDays > LONGEST_RETENTION_DAYS) {
    throw new UserError(
      `RDS keeps backups for ${LONGEST_RETENTION_DAYS} days at the most, not ${config.backups.retentionDays}`,
      `lower cgraph:backupRetentionDays`,
    );
  }
  checkStorage(storageGiB, aws.storageIops, aws.storageThroughputMiBs);
  const hardware: Hardware = { ...serverClass, diskGiB: storageGiB, storage: { kind: "ssd" } };
  const tuned = (overrides: Readonly<Record<string, string>>): Settings =>
    tunePostgres({
      hardware,
      // Any server may be a replica tomorrow.
      role: config.stage > 1 ? "replica" : "primary",
      postgresMajor: config.postgresVersion,
      maxConnections: config.maxConnections ?? figures.maxConnections.value,
      ...(config.stage > 1 ? { cronDatabase: "cgraph_production" } : {}),
      // What the guide calls slow for the 99th percentile is counted from the log (alarms.ts), so it must be there.
      overrides: { log_min_duration_statement: `${SLOW_MS}ms`, ...overrides, ...config.settings },
    });
  const { shards, buckets } = config.sharding;
  const sharded = config.stage === 4;
  const settings = tuned(sharded ? shardSettings(shards, serverClass.cpus) : {});
  const servers = (cluster: string | null, its: Settings, itsGiB = storageGiB): AwsNode[] =>
    Array.from({ length: 1 + replicas }, (_, index): AwsNode => ({
      name: cluster === null ? `pg${index}` : `${cluster}-pg${index}`,
      cluster,
      role: index === 0 ? "primary" : "replica",
      zone: index % ZONES,
      class: serverClass,
      multiAz: index === 0 && aws.multiAz,
      storageGiB: itsGiB,
      maxStorageGiB: Math.min(65_536, storageGiB * 4),
      storageIops: aws.storageIops,
      storageThroughputMiBs: aws.storageThroughputMiBs,
      settings: its,
      parameters: renderRdsParameters(its, Object.keys(config.settings)),
    }));
  const nodes = sharded
    ? [
        ...servers(null, settings),
        ...clustersBesideFirst(shards).flatMap((name) =>
          name === GLOBAL_CLUSTER
            ? servers(name, tuned(globalSettings(shards, replicas)), Math.min(storageGiB, GLOBAL_STORAGE_GIB))
            : servers(name, settings),
        ),
      ]
    : servers(null, settings);
  const notes: string[] = [];
  const pool = planPool(config, serverClass, Number(settings["max_connections"]?.value), notes);
  const bigger = serverClass.cpus > wanted.cpus || serverClass.memoryMiB > wanted.memoryMiB;
  if (bigger) {
    notes.push(
      `stage ${config.stage} asks for ${wanted.cpus} CPUs and ${wanted.memoryMiB} MiB; the cheapest class that has them is ${serverClass.name} with ${serverClass.cpus} and ${serverClass.memoryMiB} MiB, and settings to match`,
    );
  }
  const regions = planRegions(config, nodes);
  notes.push(...regionNotes(config, regions, nodes));
  return {
    stage: config.stage,
    target: "aws",
    region: aws.region,
    nodes,
    regions,
    sharding: sharded ? { shards, buckets } : undefined,
    citus: undefined,
    pool,
    cache: cacheOf(config),
    accessHost: aws.accessHost,
    ownVpc: aws.vpcId === undefined,
    backupCopyRegion: aws.backupCopyRegion,
    backupIntervalHours: config.backups.intervalHours,
    notes,
  };
}
