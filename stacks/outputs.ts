/** What a stack tells the commands that operate it. */
import * as pulumi from "@pulumi/pulumi";
import type { PostgresServer } from "../components/docker/postgresContainer.ts";
import type { RoleName } from "../components/roles.ts";
import { confText } from "../tuning/setting.ts";
import type { StageNumber } from "./guide.ts";
import type { CachePlan, PoolPlan, PostgresNode } from "./topology.ts";

/** One server, as `status --json` shows it. */
export interface NodeOutput {
  readonly name: string;
  /** What it was at first; who leads a cluster now is Patroni's to say. */
  readonly role: string;
  readonly host: string;
  readonly port: number;
  readonly cpus: number;
  readonly memoryMiB: number;
  readonly image: string;
  /** Values as in postgresql.conf. */
  readonly settings: Readonly<Record<string, string>>;
  /** Docker: the container's and the data volume's name. */
  readonly container: string;
  readonly dataVolume: string;
}

export type ServiceKind =
  | "etcd"
  | "haproxy"
  | "shard-ports"
  | "pgbouncer"
  | "redis"
  | "cache-sync"
  | "backup"
  | "prometheus"
  | "alertmanager"
  | "exporters"
  | "grafana"
  | "witness"
  | "gateway"
  | "region-agent";

/** One container beside the servers. */
export interface ServiceOutput {
  readonly name: string;
  readonly kind: ServiceKind;
  readonly container: string;
}

export interface Endpoint {
  readonly host: string;
  readonly port: number;
}

/** Where clients reach what. */
export interface Endpoints {
  /** The primary, without a pool. */
  readonly write: Endpoint;
  /** Replicas, without a pool. */
  readonly read: Endpoint | null;
  /** The pools: cgraph_production writes, cgraph_production_ro reads. */
  readonly pool: Endpoint | null;
  readonly cache: Endpoint | null;
  /** Who watches. */
  readonly prometheus: Endpoint | null;
  readonly alertmanager: Endpoint | null;
  readonly grafana: Endpoint | null;
}

/** One cluster of a stack beside the first. */
export interface ClusterOutput {
  /** `global`, `shard1`, …; `worker1`, … */
  readonly name: string;
  readonly nodes: readonly NodeOutput[];
  readonly write: Endpoint;
  readonly read: Endpoint;
  readonly backupContainer: string;
}

/** Shards: the first, shard 0, is the stack's own `nodes`. */
export interface ShardingOutput {
  readonly shards: number;
  readonly buckets: number;
  readonly others: readonly ClusterOutput[];
}

/** Stage 5: the coordinator is the stack's own `nodes`. */
export interface CitusOutput {
  /** Pieces of each distributed table. */
  readonly shardCount: number;
  readonly workers: readonly ClusterOutput[];
}

/** One region of a stack in several. */
export interface RegionOutput {
  readonly name: string;
  /** Its clusters, as home's: home's own servers are in `nodes` and `sharding`. */
  readonly clusters: readonly { readonly name: string; readonly nodes: readonly NodeOutput[] }[];
  /** The primary, wherever it is; replicas here; pools here. */
  readonly write: Endpoint;
  readonly read: Endpoint;
  readonly pool: Endpoint;
  /** What says whether the region takes writes, and its way to the others: containers. */
  readonly agent: string;
  readonly gateway: string;
}

export interface RegionsOutput {
  /** Where the primary was when the stack was last brought up, or when `region promote` moved it. */
  readonly primary: string;
  /** Home first. */
  readonly all: readonly RegionOutput[];
}

/** Plain values of a stack's outputs. */
export interface StackValues {
  readonly stage: StageNumber;
  readonly target: "docker";
  readonly postgresVersion: number;
  readonly nodes: readonly NodeOutput[];
  readonly services: readonly ServiceOutput[];
  readonly endpoints: Endpoints;
  readonly pool: PoolPlan | null;
  readonly cache: CachePlan | null;
  /** Null (and absent from outputs of earlier versions) below stage 4. */
  readonly sharding: ShardingOutput | null;
  /** Null (and absent from outputs of earlier versions) below stage 5. */
  readonly citus: CitusOutput | null;
  /** While a move to stage 5 is prepared: the Citus cluster that the rows go to, coordinator first; else null or absent. */
  readonly arriving: readonly ClusterOutput[] | null;
  /** Null (and absent from outputs of earlier versions) where there is one region. */
  readonly regions: RegionsOutput | null;
  readonly backupContainer: string;
  readonly notes: readonly string[];
  /** Generations of passwords that are accepted, the one in use first: they say by which names roles log in. */
  readonly passwordGenerations: readonly number[];
  /** Secret. Of the generation in use. */
  readonly passwords: Readonly<Record<RoleName, string>>;
  /** Secret. Of the one that is accepted beside, while passwords are rotated. */
  readonly otherPasswords: Readonly<Record<RoleName, string>> | null;
  /** Secret. */
  readonly backupKey: string;
  /** Secret. */
  readonly cachePassword: string | null;
}

/** A plain value as the program gives it: known when what it names has been made. */
export type Promised<T> = T extends readonly (infer U)[] ? pulumi.Input<readonly pulumi.Input<U>[]> : pulumi.Input<T>;
export type StackOutputs = { readonly [K in keyof StackValues]: Promised<StackValues[K]> };

/** One server's output, from its plan, its container, and where clients reach it. */
export function describeNode(
  node: PostgresNode,
  server: PostgresServer,
  place: Endpoint & { readonly image: string },
): pulumi.Output<NodeOutput> {
  return pulumi.all([server.containerName, server.dataVolumeName]).apply(([container, dataVolume]) => ({
    name: node.name,
    role: node.role,
    ...place,
    cpus: node.hardware.cpus,
    memoryMiB: node.hardware.memoryMiB,
    settings: Object.fromEntries(Object.entries(node.settings).map(([name, setting]) => [name, confText(setting)])),
    container,
    dataVolume,
  }));
}

export const describeService = (
  kind: ServiceKind,
  name: string,
  container: pulumi.Output<string>,
): pulumi.Output<ServiceOutput> => container.apply((value) => ({ name, kind, container: value }));
