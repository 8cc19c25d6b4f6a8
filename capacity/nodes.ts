/** From load to nodes: how many, how full each part of them is, and which part is full first. Pure. */
import { GUIDE } from "../stacks/guide.ts";
import { ASSUMED, type Load, type Reading, loadOf, shardsAsked } from "./load.ts";
import { MEASURED } from "./measured.ts";

const GiB = 1024 ** 3;
const MiB = 1024 ** 2;
const STAGE = GUIDE[5];
const SIZE = STAGE.serverSize.value;

/** One node: EC2 m7i.8xlarge (Intel: Citus' packages are for amd64) with one gp3 volume. AWS's user guides of both. */
export const NODE = {
  class: "m7i.8xlarge",
  cpus: SIZE.cpus,
  memoryBytes: SIZE.memoryMiB * MiB,
  diskBytes: SIZE.diskGiB * GiB,
  iops: 16_000,
  diskBytesPerSecond: 1000 * MiB,
  /** 12.5 Gbit/s. */
  networkBytesPerSecond: 12.5e9 / 8,
  maxConnections: STAGE.maxConnections.value,
} as const;

/** cgraph:shardCount's default, and the most that it takes; cgraph:workers takes no more than 128. */
const SHARDS = { usual: 64, most: 1024 } as const;
const MOST_WORKERS = 128;
/** A cluster that can lose a worker's machine and still be one. */
const FEWEST_WORKERS = 2;
const CACHE_NODE_BYTES = 26.4 * GiB;

export interface Limit {
  readonly part: string;
  readonly what: string;
  readonly unit: string;
  readonly limit: number;
  readonly used: number;
  /** `used` of `limit`; what is left to 1 is the headroom. */
  readonly share: number;
  /** More workers leave it as it is. */
  readonly fixed: boolean;
}

export interface Servers {
  readonly workers: number;
  readonly coordinators: 1;
  /** Of every worker and the coordinator, in another zone. */
  readonly standbysAtHome: number;
  /** In each of the other regions: one for every worker and the coordinator. */
  readonly standbysAbroad: readonly number[];
  readonly poolers: number;
  readonly cacheNodes: number;
  readonly total: number;
}

export interface CapacityPlan {
  readonly users: number;
  readonly reading: Reading;
  readonly shardCount: number;
  readonly shardsAsked: number;
  readonly load: Load;
  /** Whether the coordinator alone takes statements, or every node does (Citus: query from any node). */
  readonly routing: "coordinator" | "every node";
  /** Workers that each resource alone would take. */
  readonly workersBy: Readonly<Record<string, number>>;
  readonly servers: Servers;
  /** The fullest first. */
  readonly limits: readonly Limit[];
}

/** There is no number of workers that bears the load. */
export interface NoPlan {
  readonly users: number;
  readonly reading: Reading;
  readonly why: string;
}

const at = (limit: Omit<Limit, "share">): Limit => ({ ...limit, share: limit.used / limit.limit });

/** Workers that each resource takes, filled to ASSUMED.fill. */
export function workersBy(users: number, load: Load, routingThere: boolean): Record<string, number> {
  const by = (used: number, each: number): number => Math.ceil(used / (each * ASSUMED.fill));
  // Reference tables are on every node.
  const reference = users * MEASURED.userBytes.value;
  return {
    // The coordinator, where all take statements, takes its share as well.
    cpu: by(load.workerCpus + (routingThere ? load.routingCpus : 0), NODE.cpus),
    disk: Math.ceil(load.databaseBytes / Math.max(1, NODE.diskBytes * ASSUMED.fill - reference)),
    wal: by(load.walBytesPerSecond, MEASURED.replayBytesPerSecond.value),
    iops: by(load.iops, NODE.iops),
  };
}

/** Sessions of clients: each keeps a connection to every worker (citus.max_cached_conns_per_worker is 1). */
function sessions(load: Load, asked: number, workers: number): number {
  const waiting = load.workerCpus / Math.min(asked, workers);
  const busy = load.routingCpus + waiting + (load.statementsPerSecond * ASSUMED.networkMs) / 1000;
  return Math.ceil(busy / ASSUMED.busyShare);
}

function limitsOf(plan: Omit<CapacityPlan, "limits">): Limit[] {
  const { users, load, routing, shardCount, servers } = plan;
  const { workers, poolers, cacheNodes } = servers;
  const alone = routing === "coordinator";
  const open = sessions(load, plan.shardsAsked, workers);
  const reference = users * MEASURED.userBytes.value;
  const worker = (what: string, unit: string, limit: number, used: number): Limit =>
    at({ part: "worker", what, unit, limit, used: used / workers, fixed: false });
  const fixed = (part: string, what: string, unit: string, limit: number, used: number): Limit =>
    at({ part, what, unit, limit, used, fixed: true });
  const result = load.resultBytesPerSecond;
  return [
    worker("CPU", "CPUs", NODE.cpus, load.workerCpus + (alone ? 0 : load.routingCpus)),
    worker("disk", "TB", NODE.diskBytes / 1e12, (load.databaseBytes + reference * workers) / 1e12),
    worker("disk operations", "IOPS", NODE.iops, load.iops),
    worker("disk throughput", "MB/s", NODE.diskBytesPerSecond / 1e6, (load.iops * 8192 + load.walBytesPerSecond) / 1e6),
    worker(
      "WAL, replayed by one process",
      "MB/s",
      MEASURED.replayBytesPerSecond.value / 1e6,
      load.walBytesPerSecond / 1e6,
    ),
    // Where every node routes, rows leave a worker for a router, and leave that one for a pooler.
    worker("network", "Gbit/s", (NODE.networkBytesPerSecond * 8) / 1e9, (result * 8 * (alone ? 1 : 2)) / 1e9),
    fixed("worker", "connections, one of every session", "connections", NODE.maxConnections, open),
    fixed("cluster", "shards, of which a worker has one at the least", "workers", shardCount, workers),
    ...(alone
      ? [
          fixed("coordinator", "CPU", "CPUs", NODE.cpus, load.routingCpus),
          fixed("coordinator", "network", "Gbit/s", (NODE.networkBytesPerSecond * 8) / 1e9, (result * 8) / 1e9),
        ]
      : []),
    at({
      ...{ part: "PgBouncer", what: "CPU, one process each", unit: "CPUs", limit: 1, fixed: false },
      used: (load.statementsPerSecond * MEASURED.poolerCpuMs.value) / 1000 / poolers,
    }),
    at({
      ...{ part: "cache", what: "memory", unit: "GB", limit: CACHE_NODE_BYTES / 1e9, fixed: false },
      used: cacheBytes(users) / cacheNodes / 1e9,
    }),
  ].sort((a, b) => b.share - a.share);
}

const cacheBytes = (users: number): number =>
  users * ASSUMED.activeShare * ASSUMED.cacheEntriesPerActive * MEASURED.cacheEntryBytes.value;

function serversOf(users: number, load: Load, workers: number): Servers {
  const clusters = workers + 1;
  const abroad = STAGE.regions.value.slice(1).map(() => clusters);
  const pooling = (load.statementsPerSecond * MEASURED.poolerCpuMs.value) / 1000 / ASSUMED.fill;
  return {
    workers,
    coordinators: 1,
    standbysAtHome: clusters * STAGE.replicasPerPrimary.value,
    standbysAbroad: abroad,
    // One more than it takes, so that one may fail; the guide draws a cluster of them.
    poolers: Math.max(STAGE.pool?.value.instances ?? 1, Math.ceil(pooling) + 1),
    cacheNodes: Math.ceil(cacheBytes(users) / (CACHE_NODE_BYTES * ASSUMED.fill)),
    total: clusters * (1 + STAGE.replicasPerPrimary.value) + abroad.reduce((sum, count) => sum + count, 0),
  };
}

/** The smallest cluster that bears so many users at the peak; what none does, says why. */
export function planFor(users: number, reading: Reading): CapacityPlan | NoPlan {
  for (let shardCount: number = SHARDS.usual; shardCount <= SHARDS.most; shardCount *= 2) {
    const asked = shardsAsked(reading, shardCount);
    const load = loadOf(users, asked);
    const routing = load.routingCpus <= NODE.cpus * ASSUMED.fill ? "coordinator" : "every node";
    const by = workersBy(users, load, routing === "every node");
    const workers = Math.max(FEWEST_WORKERS, ...Object.values(by));
    if (workers > shardCount) continue;
    const servers = serversOf(users, load, workers);
    const plan = { users, reading, shardCount, shardsAsked: asked, load, routing, workersBy: by, servers } as const;
    return { ...plan, limits: limitsOf(plan) };
  }
  const { cpu } = workersBy(users, loadOf(users, shardsAsked(reading, SHARDS.usual)), true);
  const why =
    reading === "every"
      ? `with ${SHARDS.usual} shards it takes ${cpu} workers, so more shards; and each shard more is asked by every read`
      : `it takes more than ${SHARDS.most} workers`;
  return { users, reading, why };
}

export const isPlan = (plan: CapacityPlan | NoPlan): plan is CapacityPlan => "servers" in plan;

/** More workers than `cgraph:workers` takes: the plan is on paper only. */
export const exceedsStage = ({ servers }: CapacityPlan): boolean => servers.workers > MOST_WORKERS;

/** The part with the least headroom. */
export function firstToGive(plan: CapacityPlan): Limit {
  const [first] = plan.limits;
  if (!first) throw new Error("a plan without limits");
  return first;
}

/** What more workers do not mend, by the users at which it is full: each grows with them. */
export const walls = (plan: CapacityPlan): { limit: Limit; users: number }[] =>
  plan.limits.filter(({ fixed }) => fixed).map((limit) => ({ limit, users: plan.users / limit.share }));

/** The most users that a way of reading bears, with as many workers as it takes. In steps of a hundredth. */
export function mostUsers(reading: Reading, from = 1e6, to = 1e10): number | null {
  if (isPlan(planFor(to, reading))) return null;
  let [works, fails] = [from, to];
  while (fails / works > 1.01) {
    const middle = Math.sqrt(works * fails);
    if (isPlan(planFor(middle, reading))) works = middle;
    else fails = middle;
  }
  return works;
}
