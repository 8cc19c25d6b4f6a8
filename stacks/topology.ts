/** What a stage consists of on a target, as plain data: no Pulumi in it. */
import { COORDINATOR, NODE_CONNECTION, workerCluster } from "../components/docker/citusNames.ts";
import { FIRST_CLUSTER, GLOBAL_CLUSTER, shardCluster } from "../components/docker/shardRoutes.ts";
import { EXIT, UserError } from "../tuning/errors.ts";
import type { Hardware } from "../tuning/hardware.ts";
import { fittingMaxConnections } from "../tuning/memory.ts";
import { planPool } from "../tuning/pools.ts";
import { type Role, tunePostgres } from "../tuning/postgresql.ts";
import type { Settings } from "../tuning/setting.ts";
import type { StackConfig, Target } from "./config.ts";
import { GUIDE, type ServerSize, type StageNumber } from "./guide.ts";
import { type RegionPlan, planRegions } from "./regionPlan.ts";
import { ROUTER_POOL_SIZE, followingSettings, globalSettings, shardSettings } from "./shardSettings.ts";

/** The machine that local containers run on. */
export interface DockerHost {
  readonly cpus: number;
  readonly memoryMiB: number;
}

/** One PostgreSQL server. Its name says where it is, never its role: a promotion renames nothing. */
export interface PostgresNode {
  readonly name: string;
  /** What it is at first. */
  readonly role: Role;
  readonly hardware: Hardware;
  readonly settings: Settings;
}

/** PgBouncer in front of the servers. */
export interface PoolPlan {
  readonly instances: number;
  /** Of each instance. */
  readonly maxClientConnections: number;
  /** Server connections of each instance's writing and of its reading pool, and more of them in need. */
  readonly poolSize: number;
  readonly reserveSize: number;
}

/** Redis. */
export interface CachePlan {
  readonly memoryMiB: number;
  /** What of it may hold data. */
  readonly dataMiB: number;
}

/** One cluster of PostgreSQL servers beside the first. */
export interface DatabaseCluster {
  /** `shard1`, `shard2`, …, or `global`. It begins its servers' names: `shard1-pg0`. */
  readonly name: string;
  readonly nodes: readonly PostgresNode[];
}

/** Stage 4: the first cluster is shard 0. */
export interface ShardingPlan {
  readonly shards: number;
  readonly buckets: number;
  /** The global database's cluster, which also has the router database, then those of shards 1, 2, … */
  readonly others: readonly DatabaseCluster[];
  /** Server connections of each pooler to the router database, to write and as many to read; each opens one to every shard. */
  readonly routerPoolSize: number;
}

/** Stage 5: the first cluster is the coordinator. */
export interface CitusPlan {
  readonly workers: number;
  /** Pieces of each distributed table. */
  readonly shardCount: number;
  /** The workers, each a cluster: `worker1`, `worker2`, … */
  readonly others: readonly DatabaseCluster[];
}

export interface Topology {
  readonly stage: StageNumber;
  readonly target: Target;
  readonly nodes: readonly PostgresNode[];
  readonly pool: PoolPlan | undefined;
  readonly cache: CachePlan | undefined;
  readonly sharding: ShardingPlan | undefined;
  readonly citus: CitusPlan | undefined;
  /** Regions beside home. */
  readonly regions: readonly RegionPlan[];
  /** What a person should know, such as that servers were scaled down. */
  readonly notes: readonly string[];
}

/** The first cluster's name among the others; none where it is the only one. */
export const firstClusterName = ({ sharding, citus }: Pick<Topology, "sharding" | "citus">): string =>
  citus ? COORDINATOR : sharding ? FIRST_CLUSTER : "";

/** Home's clusters, in the router's order. */
export const clustersOf = (topology: Pick<Topology, "nodes" | "sharding" | "citus">): DatabaseCluster[] => [
  { name: firstClusterName(topology), nodes: topology.nodes },
  ...(topology.sharding?.others ?? topology.citus?.others ?? []),
];

/** Share of a Docker host's memory that all servers together may take. */
const HOST_MEMORY_SHARE = 0.75;
/** What all servers together may take of a Docker host's disk, which Docker neither limits nor tells. */
const HOST_DISK_GIB = 100;
/** The least that tuning knows how to share out, see checkHardware. */
const LEAST_MEMORY_MIB = 256;
/** Patroni does not start servers with fewer. */
const LEAST_CLUSTER_CONNECTIONS = 25;
/** Connections beside the pools: LISTEN, schema changes, monitoring, backups, the next move. */
const DIRECT_CONNECTIONS = 20;
const RESERVE_SIZE = 5;

/**
 * Scales servers down to what a Docker host has: CPUs to its cores (limits may overlap), memory in proportion so that
 * all together take at most three quarters of it, in steps of 64 MiB, disks so that together they take 100 GiB.
 * Servers that fit stay as they are. Throws a UserError where there are more of them than the host can hold.
 */
export function fitToHost(sizes: readonly ServerSize[], host: DockerHost): ServerSize[] {
  const wanted = sizes.reduce((sum, size) => sum + size.memoryMiB, 0);
  const factor = Math.min(1, (host.memoryMiB * HOST_MEMORY_SHARE) / wanted);
  return sizes.map((size) => {
    const memoryMiB = factor === 1 ? size.memoryMiB : Math.floor((size.memoryMiB * factor) / 64) * 64;
    if (sizes.length > 1 && memoryMiB < LEAST_MEMORY_MIB) {
      const most = Math.floor((host.memoryMiB * HOST_MEMORY_SHARE) / LEAST_MEMORY_MIB);
      throw new UserError(
        `${sizes.length} servers are more than this Docker host can hold: of its ${host.memoryMiB} MiB each would get ${memoryMiB}, and a server needs at least ${LEAST_MEMORY_MIB}`,
        `set cgraph:replicas (or cgraph:shards, cgraph:workers) so that there are ${most} servers or fewer, or use a larger Docker host`,
        EXIT.refused,
      );
    }
    const diskGiB = Math.min(size.diskGiB, Math.max(8, Math.floor(HOST_DISK_GIB / sizes.length)));
    return { cpus: Math.min(size.cpus, host.cpus), memoryMiB, diskGiB };
  });
}

function sameSize(a: ServerSize, b: ServerSize): boolean {
  return a.cpus === b.cpus && a.memoryMiB === b.memoryMiB;
}

/** What each of the servers gets, and a note where that is less than the stage's. */
function serverSize(config: StackConfig, count: number, host: DockerHost): { size: ServerSize; notes: string[] } {
  const wanted = GUIDE[config.stage].serverSize.value;
  const size = fitToHost(Array<ServerSize>(count).fill(wanted), host)[0] ?? wanted;
  if (sameSize(size, wanted)) return { size, notes: [] };
  const difference =
    `stage ${config.stage} wants ${count} × ${wanted.cpus} CPUs and ${wanted.memoryMiB} MiB; ` +
    `this Docker host has ${host.cpus} CPUs and ${host.memoryMiB} MiB`;
  if (config.localSize === "exact") {
    throw new UserError(
      `cgraph:localSize is exact, but ${difference}, of which the servers may take three quarters`,
      "set cgraph:localSize to fit, or use a larger Docker host",
      EXIT.refused,
    );
  }
  return {
    size,
    notes: [`${difference}: each server gets ${size.cpus} CPUs and ${size.memoryMiB} MiB, and settings to match`],
  };
}

function checkReplicas(config: StackConfig, replicas: number): void {
  if (config.stage === 1 && replicas > 0) {
    throw new UserError(
      `cgraph:replicas is ${replicas}, but stage 1 is a single server`,
      "remove it, or go to stage 2: ./cgraph-db up --stage 2",
    );
  }
}

/** The stage's pools, smaller where the servers' connections do not carry them, which is noted. */
function poolPlan(config: StackConfig, maxConnections: number, notes: string[]): PoolPlan | undefined {
  const figures = GUIDE[config.stage].pool?.value;
  if (!figures) return undefined;
  const instances = config.poolers ?? figures.instances;
  const plan = planPool({
    // Those of other regions, one in each, write here too.
    instances: instances + config.regions.others.length,
    wantedSize: config.poolSize ?? figures.defaultPoolSize,
    mayShrink: config.poolSize === undefined,
    reserveSize: RESERVE_SIZE,
    directConnections: DIRECT_CONNECTIONS + (config.stage === 4 ? 2 * instances * ROUTER_POOL_SIZE : 0),
    maxConnections,
  });
  if (config.poolSize === undefined && plan.poolSize < figures.defaultPoolSize) {
    notes.push(
      `the servers' ${maxConnections} connections carry pools of ${plan.poolSize} instead of ${figures.defaultPoolSize}`,
    );
  }
  return { ...plan, instances, maxClientConnections: figures.maxClientConnections };
}

/**
 * The servers of a stack's stage on this host, with their settings.
 * Throws a UserError where `localSize` is `exact` and the host is smaller than the stage, where there are more servers
 * than it can hold, or where settings or pools do not fit.
 */
export function planTopology(config: StackConfig, host: DockerHost): Topology {
  const figures = GUIDE[config.stage];
  const replicas = config.replicas ?? figures.replicasPerPrimary.value;
  checkReplicas(config, replicas);
  const names = Array.from({ length: 1 + replicas }, (_, index) => `pg${index}`);
  const { shards, buckets } = config.sharding;
  const { workers, shardCount } = config.citus;
  // Each shard, and the global database; each worker, and the coordinator.
  const clusters = config.stage === 4 ? shards + 1 : config.stage === 5 ? workers + 1 : 1;
  const { regions } = config;
  const serverCount = clusters * (names.length + regions.others.length * regions.replicas);
  const { size, notes } = serverSize(config, serverCount, host);
  const hardware: Hardware = { ...size, storage: { kind: "ssd" } };
  const clustered = config.stage > 1;
  const maxConnections =
    config.maxConnections ?? Math.min(figures.maxConnections.value, fittingMaxConnections(size.memoryMiB));
  if (clustered && maxConnections < LEAST_CLUSTER_CONNECTIONS) {
    throw new UserError(
      `cgraph:maxConnections is ${maxConnections}; servers of a cluster need at least ${LEAST_CLUSTER_CONNECTIONS}`,
      "set it higher, or remove it",
    );
  }
  const tuned = (overrides: Readonly<Record<string, string>>): Settings =>
    tunePostgres({
      hardware,
      // Any server of a cluster may be a replica tomorrow.
      role: clustered ? "replica" : "primary",
      postgresMajor: config.postgresVersion,
      maxConnections,
      ...(clustered ? { walKeepGiB: 1, cronDatabase: "cgraph_production" } : {}),
      ...(config.stage === 5 ? { citus: { workers, replicas, nodeConnection: NODE_CONNECTION } } : {}),
      overrides,
    });
  const streaming =
    config.stage === 4
      ? shardSettings(shards, size.cpus)
      : // Beside a Citus cluster that it moves to.
        config.stage === 3 && config.fromStage === 3
        ? followingSettings(1 + workers, size.cpus)
        : {};
  const settings = tuned({ ...streaming, ...config.settings });
  const pool = poolPlan(config, Number(settings["max_connections"]?.value), notes);
  const cacheMemory = config.cacheMemoryMiB ?? Math.max(64, Math.floor(size.memoryMiB / 8));
  const servers = (prefix: string, its: Settings): PostgresNode[] =>
    names.map((name, index) => ({
      name: `${prefix}${name}`,
      role: index === 0 ? "primary" : "replica",
      hardware,
      settings: its,
    }));
  const others = (): DatabaseCluster[] => [
    {
      name: GLOBAL_CLUSTER,
      nodes: servers(`${GLOBAL_CLUSTER}-`, tuned({ ...globalSettings(shards, replicas), ...config.settings })),
    },
    ...Array.from({ length: shards - 1 }, (_, index) => shardCluster(index + 1)).map((name) => ({
      name,
      nodes: servers(`${name}-`, settings),
    })),
  ];
  const nodes = servers(config.stage === 5 ? `${COORDINATOR}-` : "", settings);
  const sharding =
    config.stage === 4 ? { shards, buckets, others: others(), routerPoolSize: ROUTER_POOL_SIZE } : undefined;
  const citus =
    config.stage === 5
      ? {
          ...{ workers, shardCount },
          others: Array.from({ length: workers }, (_, index) => workerCluster(index + 1)).map((name) => ({
            name,
            nodes: servers(`${name}-`, settings),
          })),
        }
      : undefined;
  return {
    stage: config.stage,
    target: config.target,
    nodes,
    sharding,
    citus,
    regions: planRegions(regions, clustersOf({ nodes, sharding, citus }), config.ports),
    pool,
    cache: figures.cache.value ? { memoryMiB: cacheMemory, dataMiB: Math.floor(cacheMemory * 0.75) } : undefined,
    notes,
  };
}
