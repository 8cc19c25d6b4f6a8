/** What a stack consists of, as plain data for a picture: the same words for Docker and AWS. */
import { type AwsPlan, allNodes } from "../stacks/aws/plan.ts";
import type { StackConfig } from "../stacks/config.ts";
import type { Topology } from "../stacks/topology.ts";

export interface PictureServer {
  readonly name: string;
  readonly role: "primary" | "replica";
  /** AWS: the class. */
  readonly kind: string | null;
  readonly cpus: number;
  readonly memoryMiB: number;
  readonly diskGiB: number;
  /** Whether a standby in another zone takes over when it fails. */
  readonly standby: boolean;
}

export interface Picture {
  readonly stage: number;
  readonly servers: readonly PictureServer[];
  /** Of each server. */
  readonly maxConnections: number;
  readonly poolers: {
    readonly kind: "PgBouncer" | "RDS Proxy";
    readonly count: number;
    /** Clients of each, and its server connections; null where AWS says. */
    readonly clients: number | null;
    readonly poolSize: number | null;
  } | null;
  /** What clients reach first. */
  readonly router: "HAProxy" | "load balancer" | null;
  readonly cache: {
    readonly kind: "Redis" | "Valkey";
    readonly nodes: number;
    readonly memoryMiB: number;
  } | null;
  readonly backup: {
    readonly where: string;
    /** Null: to any second, by the log alone. */
    readonly intervalHours: number | null;
    readonly retentionDays: number;
  };
}

export function dockerPicture(topology: Topology, config: StackConfig): Picture {
  const { nodes, pool, cache, sharding } = topology;
  const servers = [...nodes, ...(sharding?.others.flatMap((cluster) => cluster.nodes) ?? [])];
  return {
    stage: topology.stage,
    servers: servers.map(({ name, role, hardware: { cpus, memoryMiB, diskGiB } }) => ({
      ...{ name, role, kind: null, cpus, memoryMiB, diskGiB, standby: false },
    })),
    maxConnections: Number(nodes[0]?.settings["max_connections"]?.value),
    poolers: pool
      ? { kind: "PgBouncer", count: pool.instances, clients: pool.maxClientConnections, poolSize: pool.poolSize }
      : null,
    router: topology.stage > 1 ? "HAProxy" : null,
    cache: cache ? { kind: "Redis", nodes: 1, memoryMiB: cache.memoryMiB } : null,
    backup: {
      where: config.backups.s3 ? `bucket ${config.backups.s3.bucket}` : "a volume of its own",
      intervalHours: config.backups.intervalHours,
      retentionDays: config.backups.retentionDays,
    },
  };
}

export function awsPicture(plan: AwsPlan, config: StackConfig): Picture {
  const { nodes, pool, cache, citus } = plan;
  // Beside home all follow.
  const places = citus ? [citus, ...citus.regions] : [];
  const onEc2 = places.flatMap(({ clusters }, place) =>
    clusters.flatMap((cluster) =>
      cluster.nodes.map(({ name, class: { name: kind, cpus, memoryMiB }, volume }, index): PictureServer => ({
        ...{ name, role: place === 0 && index === 0 ? "primary" : "replica", kind, cpus, memoryMiB },
        ...{ diskGiB: volume.sizeGiB, standby: false },
      })),
    ),
  );
  const onRds = allNodes(plan).map(({ name, role, class: { name: kind, cpus, memoryMiB }, storageGiB, multiAz }) => ({
    ...{ name, role, kind, cpus, memoryMiB, diskGiB: storageGiB, standby: multiAz },
  }));
  return {
    stage: plan.stage,
    servers: [...onRds, ...onEc2],
    maxConnections: Number((citus ?? nodes[0])?.settings["max_connections"]?.value),
    poolers:
      pool === undefined
        ? null
        : pool.kind === "pgbouncer"
          ? { kind: "PgBouncer", count: pool.tasks, clients: pool.maxClientConnections, poolSize: pool.poolSize }
          : { kind: "RDS Proxy", count: 1, clients: null, poolSize: null },
    router: pool?.kind === "pgbouncer" ? "load balancer" : null,
    cache: cache
      ? {
          kind: cache.engine === "valkey" ? "Valkey" : "Redis",
          nodes: cache.nodes,
          memoryMiB: cache.node.memoryMiB,
        }
      : null,
    backup: {
      where: citus ? "a bucket" : "RDS",
      intervalHours: citus ? config.backups.intervalHours : null,
      retentionDays: config.backups.retentionDays,
    },
  };
}

/** One line of a comparison. */
export interface Difference {
  readonly part: string;
  readonly before: string;
  readonly after: string;
}

const count = (number: number, one: string, more = `${one}s`): string => `${number} ${number === 1 ? one : more}`;
const memory = (mib: number): string => (mib < 1024 ? `${mib} MiB` : `${Number((mib / 1024).toFixed(1))} GiB`);

/** A server's size in words. */
export const sizeText = ({ cpus, memoryMiB, diskGiB }: PictureServer): string =>
  `${count(cpus, "CPU")}, ${memory(memoryMiB)}, ${diskGiB} GiB disk`;

export const cacheText = ({ kind, nodes, memoryMiB }: NonNullable<Picture["cache"]>): string =>
  `${nodes > 1 ? `${nodes} × ` : ""}${kind}, ${memory(memoryMiB)}`;

export const backupText = ({ intervalHours, retentionDays }: Picture["backup"]): string =>
  `${intervalHours === null ? "continuous" : `every ${count(intervalHours, "hour")}`}, kept ${count(retentionDays, "day")}`;

function linesOf(picture: Picture | null): Record<string, string> {
  if (!picture) return {};
  const { servers, poolers, router, cache, backup, maxConnections } = picture;
  const [first] = servers;
  const replicas = servers.length - 1;
  return {
    servers: `primary${first?.standby === true ? " with a standby" : ""}${replicas > 0 ? ` and ${count(replicas, "replica")}` : ""}`,
    "each server": first ? [...(first.kind === null ? [] : [first.kind]), sizeText(first)].join(": ") : "",
    connections: String(maxConnections),
    router: router ?? "",
    pool: poolers
      ? `${poolers.count} × ${poolers.kind}${poolers.clients === null ? "" : `, ${poolers.clients} clients each`}`
      : "",
    cache: cache ? cacheText(cache) : "",
    backups: `${backup.where}, ${backupText(backup)}`,
  };
}

/** Every part before and after; parts that neither has are left out. */
export function differencesOf(before: Picture | null, after: Picture): Difference[] {
  const [old, next] = [linesOf(before), linesOf(after)];
  return Object.keys(next)
    .map((part) => ({ part, before: old[part] ?? "", after: next[part] ?? "" }))
    .filter((line) => line.before !== "" || line.after !== "");
}
