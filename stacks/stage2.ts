import * as pulumi from "@pulumi/pulumi";
import { Backups } from "../components/Backups.ts";
import { Cluster, type ClusterArgs } from "../components/docker/cluster.ts";
import { dockerName } from "../components/docker/names.ts";
import type { RedisServer } from "../components/docker/redisContainer.ts";
import { ROUTER, type RoutedCluster, SHARD_PORTS } from "../components/docker/haproxyFiles.ts";
import { poolerNames } from "../components/docker/pgbouncerContainers.ts";
import { PgBouncerPool } from "../components/PgBouncerPool.ts";
import { PrimaryDb } from "../components/PrimaryDb.ts";
import { ReadReplicaSet } from "../components/ReadReplicaSet.ts";
import { DATABASE, ROUTER_DATABASE } from "../components/roles.ts";
import { Router } from "../components/Router.ts";
import { ShardSet } from "../components/ShardSet.ts";
import { arriving } from "./citus.ts";
import type { StackConfig } from "./config.ts";
import { type Foundation, foundation, repositoryOptions } from "./foundation.ts";
import { aloneOutputs } from "./stage1.ts";
import { ALONE, type HomeRegional, type RegionsNeeds, regionalClusters, regionsOf } from "./regions.ts";
import { NOT_MONITORED, monitor } from "./monitor.ts";
import { type ServiceOutput, type StackOutputs, describeNode, describeService } from "./outputs.ts";
import {
  FIRST_CLUSTER,
  GLOBAL_CLUSTER,
  clusterScope,
  globalSlot,
  shardedPools,
} from "../components/docker/shardRoutes.ts";
import { describeSharding } from "./shardOutputs.ts";
import type { PoolPlan, Topology } from "./topology.ts";

const MiB = 1024 * 1024;

/** Every client of the poolers and, beside them, as many again that come directly. */
export const routerConnections = (pool: PoolPlan): number => 2 * pool.instances * pool.maxClientConnections;

/** Stage 2: a primary and its replicas under Patroni, HAProxy and PgBouncer in front. */
export function stage2(stack: string, config: StackConfig, topology: Topology, before?: Topology): StackOutputs {
  return replicated(stack, config, topology, foundation(stack, config, topology), { before });
}

/** A stage that a stack is about to move to. */
export interface NextStage {
  readonly config: StackConfig;
  readonly topology: Topology;
}

export interface ReplicatedOptions {
  /** While a move to stage 5 is prepared: that stage, whose Citus cluster stands beside the servers that go on. */
  readonly next?: NextStage | undefined;
  /**
   * While a move from stage 1 is prepared: its topology. Its server goes on as it is, on its own and on its port; all that
   * stands beside it is there already, the router made but not started.
   */
  readonly before?: Topology | undefined;
  /** The cache, where the stage has one, and what keeps it in step. */
  readonly cache?: { readonly server: RedisServer; readonly services: readonly pulumi.Output<ServiceOutput>[] };
}

/** Whether the application's names lead to the router database: not while a move to shards is prepared. */
const leadsToRouter = ({ phase }: StackConfig): boolean => phase === "none";

/** Logical slots that outlive failovers: the global database's for its subscribers. The cache follows by a temporary one. */
const slotsWith =
  (shards: number) =>
  (cluster: string): ClusterArgs["slots"] =>
    cluster === GLOBAL_CLUSTER
      ? Object.fromEntries(
          Array.from({ length: shards }, (_, shard) => [globalSlot(shard), { database: DATABASE, plugin: "pgoutput" }]),
        )
      : {};

/** The servers of stages 2 to 4 and what leads to them. */
export function replicated(
  stack: string,
  config: StackConfig,
  topology: Topology,
  base: Foundation,
  { before, cache, next }: ReplicatedOptions,
): StackOutputs {
  const { nodes, pool, sharding } = topology;
  const [first, ...others] = nodes;
  if (!first || !pool) throw new Error(`stage ${config.stage} has no server or no pool`);
  const { credentials, site, repository } = base;
  const { postgresVersion, dataGenerations, dataVolumeOptions, ports } = config;
  const databasesOf = (name: string): string[] => (name === GLOBAL_CLUSTER ? [ROUTER_DATABASE] : []);
  const slotsOf = slotsWith(sharding?.shards ?? 0);
  const pools = sharding && shardedPools(sharding, leadsToRouter(config));
  const maxReadLagBytes = config.maxReadLagMiB * MiB;
  const maxConnections = routerConnections(pool);
  const routerNames = [ROUTER, dockerName(stack, ROUTER)];
  const regionsWith = (repositoryOf: RegionsNeeds["repositoryOf"]): HomeRegional => {
    const needs = { ...pools, maxReadLagBytes, maxConnections, databasesOf, slotsOf, routerNames, repositoryOf };
    return regionsOf(stack, config, topology, base, { ...needs, citus: false });
  };
  let regional = sharding ? ALONE : regionsWith(() => repository);
  const cluster = new Cluster("cluster", {
    site,
    credentials,
    postgresVersion,
    scope: clusterScope(stack, FIRST_CLUSTER, dataGenerations.at(-1)),
    etcdMembers: config.etcdMembers,
    firstNode: first.name,
    settings: first.settings,
    synchronous: config.synchronous,
    restores: repository.restores,
    regional: regionalClusters(topology),
    slots: slotsOf(FIRST_CLUSTER),
    routerNames,
  });
  const common = { site, postgresVersion, credentials, repository, dataGenerations, dataVolumeOptions };
  const alone = before?.nodes[0];
  const primary = new PrimaryDb(
    "primary",
    alone ? { ...common, node: alone, place: { port: ports.write } } : { ...common, node: first, place: { cluster } },
  );
  const replicas = new ReadReplicaSet("replicas", { ...common, cluster, nodes: others });
  const servers = [primary.server, ...replicas.servers];
  const shardSet =
    sharding &&
    new ShardSet("shards", {
      ...{ site, credentials, postgresVersion, dataGenerations, dataVolumeOptions, routerNames },
      first: cluster,
      firstRepository: repository,
      clusters: sharding.others,
      slotsOf,
      databasesOf,
      regional: regionalClusters(topology),
      regionsOf: (repositoryOf) => {
        regional = regionsWith(repositoryOf);
        return regional.farOf;
      },
      etcdMembers: config.etcdMembers,
      synchronous: config.synchronous,
      ...repositoryOptions(config),
      intervalHours: config.backups.intervalHours,
      fullDays: config.backups.fullDays,
    });
  const coming = next && arriving(stack, next.config, next.topology, base, cluster);
  const beside: RoutedCluster[] = [
    ...(sharding?.others.map(({ name, nodes: its }) => ({ name, nodes: its.map((node) => node.name) })) ?? []),
    ...(coming ? [coming.routed] : []),
  ];
  const poolers = new PgBouncerPool("pool", { site, credentials, pool, ...pools });
  const router = new Router(
    "router",
    {
      site,
      nodes: nodes.map((node) => node.name),
      poolers: poolerNames(pool.instances),
      clusters: beside,
      ports,
      regions: regional.router,
      ...{ maxReadLagBytes, maxConnections },
      started: !alone,
    },
    // Clients come when servers are there, and go before the servers do: nothing is written while they stop.
    {
      dependsOn: [
        ...[primary, replicas, poolers, ...regional.first],
        ...(shardSet ? [shardSet] : []),
        ...(coming ? [coming.cluster] : []),
      ],
    },
  );
  const backups = new Backups("backups", {
    site,
    servers: alone ? [primary.server] : servers,
    clustered: alone === undefined,
    far: regional.farOf(sharding ? FIRST_CLUSTER : ""),
    repository,
    intervalHours: config.backups.intervalHours,
    fullDays: config.backups.fullDays,
  });
  if (before && alone) {
    const watching = { services: [], endpoints: NOT_MONITORED };
    return aloneOutputs({ config, node: alone, server: primary.server, base, backups, watching, notes: before.notes });
  }
  const all = [...servers, ...(shardSet?.clusters.flatMap((one) => one.servers) ?? [])];
  const parts = {
    servers: all,
    primaries: 1 + (shardSet?.clusters.length ?? 0),
    backups,
    cluster: { router, pool: poolers.pool },
    ...(cache && { cache: cache.server }),
  };
  const watching = monitor(config, base, parts, [primary, replicas, poolers, router, backups]);
  const local = (port: number) => ({ host: "localhost", port });
  return {
    stage: config.stage,
    target: "docker",
    postgresVersion,
    nodes: nodes.map((node, index) =>
      describeNode(node, servers[index] ?? primary.server, {
        host: dockerName(stack, node.name),
        port: 5432,
        image: site.postgresImage.name,
      }),
    ),
    services: [
      ...cluster.etcdContainerNames.map((container, index) => describeService("etcd", `etcd${index}`, container)),
      describeService("haproxy", ROUTER, router.containerName),
      ...(router.shardPortsName ? [describeService("shard-ports", SHARD_PORTS, router.shardPortsName)] : []),
      ...poolers.pool.containerNames.map((container, index) =>
        describeService("pgbouncer", `pgbouncer${index}`, container),
      ),
      ...(cache?.services ?? []),
      ...(shardSet?.clusters.map((one) => describeService("backup", `${one.name}-backup`, one.backups.containerName)) ??
        []),
      ...regional.services,
      ...watching.services,
    ],
    endpoints: {
      write: local(ports.write),
      read: local(ports.read),
      pool: local(ports.pool),
      cache: cache ? local(ports.cache) : null,
      ...watching.endpoints,
    },
    pool,
    cache: topology.cache ?? null,
    sharding:
      sharding && shardSet
        ? describeSharding({
            stack,
            plan: sharding,
            clusters: shardSet.clusters,
            ports,
            image: site.postgresImage.name,
          })
        : null,
    citus: null,
    arriving: coming ? coming.output(beside.length - 1) : null,
    regions: regional.output,
    backupContainer: backups.containerName,
    notes: topology.notes,
    passwordGenerations: credentials.generations,
    passwords: credentials.passwords,
    otherPasswords: credentials.otherPasswords,
    backupKey: pulumi.secret(credentials.backupKey),
    cachePassword: cache && credentials.cachePassword ? pulumi.secret(credentials.cachePassword) : null,
  };
}
