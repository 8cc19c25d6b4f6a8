import * as pulumi from "@pulumi/pulumi";
import { COORDINATOR_ROUTES, ROUTER, SHARD_PORTS } from "../components/docker/haproxyFiles.ts";
import { dockerName } from "../components/docker/names.ts";
import { poolerNames } from "../components/docker/pgbouncerContainers.ts";
import { coordinatorPools } from "../components/docker/shardRoutes.ts";
import { PgBouncerPool } from "../components/PgBouncerPool.ts";
import { Router } from "../components/Router.ts";
import { citusCluster } from "./citus.ts";
import { describeCitus } from "./shardOutputs.ts";
import type { StackConfig } from "./config.ts";
import { foundation } from "./foundation.ts";
import { monitor } from "./monitor.ts";
import { type StackOutputs, describeNode, describeService } from "./outputs.ts";
import { routerConnections } from "./stage2.ts";
import { stage3 } from "./stage3.ts";
import { stage4 } from "./stage4.ts";
import type { Topology } from "./topology.ts";

const MiB = 1024 * 1024;

/**
 * Stage 5: a Citus cluster, HAProxy and a cluster of PgBouncers in front. `before`: while a move is prepared, the stage whose
 * servers go on meanwhile, with the Citus cluster beside them.
 */
export function stage5(stack: string, config: StackConfig, topology: Topology, before?: Topology): StackOutputs {
  if (before) {
    const earlier = { ...config, stage: before.stage, phase: "none" } as const;
    const stages = { 3: stage3, 4: stage4 } as const;
    return stages[before.stage === 4 ? 4 : 3](stack, earlier, before, { config, topology });
  }
  const { nodes, pool, citus: plan } = topology;
  if (!pool || !plan) throw new Error("stage 5 has no pool or no Citus cluster");
  const base = foundation(stack, config, topology);
  const { credentials } = base;
  const { postgresVersion, ports } = config;
  const routing = { maxReadLagBytes: config.maxReadLagMiB * MiB, maxConnections: routerConnections(pool) };
  const { cluster, site, regional } = citusCluster(stack, config, topology, base, { regions: routing });
  const { coordinator, clusters } = cluster.made;
  const poolers = new PgBouncerPool("pool", { site, credentials, pool, front: coordinatorPools() });
  const router = new Router(
    "router",
    {
      site,
      nodes: nodes.map((node) => node.name),
      alias: COORDINATOR_ROUTES,
      poolers: poolerNames(pool.instances),
      clusters: plan.others.map(({ name, nodes: its }) => ({ name, nodes: its.map((node) => node.name) })),
      ports,
      regions: regional.router,
      ...routing,
      started: true,
    },
    { dependsOn: [cluster, poolers, ...regional.first] },
  );
  const parts = {
    servers: clusters.flatMap((one) => one.servers),
    primaries: clusters.length,
    backups: coordinator.backups,
    cluster: { router, pool: poolers.pool },
  };
  const watching = monitor(config, base, parts, [cluster, poolers, router]);
  const local = (port: number) => ({ host: "localhost", port });
  const image = site.postgresImage.name;
  return {
    stage: config.stage,
    target: "docker",
    postgresVersion,
    nodes: coordinator.servers.flatMap((server, index) => {
      const node = nodes[index];
      return node ? [describeNode(node, server, { host: dockerName(stack, node.name), port: 5432, image })] : [];
    }),
    services: [
      ...coordinator.cluster.etcdContainerNames.map((container, index) =>
        describeService("etcd", `etcd${index}`, container),
      ),
      describeService("haproxy", ROUTER, router.containerName),
      ...(router.shardPortsName ? [describeService("shard-ports", SHARD_PORTS, router.shardPortsName)] : []),
      ...poolers.pool.containerNames.map((container, index) =>
        describeService("pgbouncer", `pgbouncer${index}`, container),
      ),
      ...clusters.slice(1).map((one) => describeService("backup", `${one.name}-backup`, one.backups.containerName)),
      ...regional.services,
      ...watching.services,
    ],
    endpoints: {
      write: local(ports.write),
      read: local(ports.read),
      pool: local(ports.pool),
      cache: null,
      ...watching.endpoints,
    },
    pool,
    cache: null,
    sharding: null,
    citus: describeCitus({ stack, plan, clusters: clusters.slice(1), ports, image }),
    arriving: null,
    regions: regional.output,
    backupContainer: coordinator.backups.containerName,
    notes: topology.notes,
    passwordGenerations: credentials.generations,
    passwords: credentials.passwords,
    otherPasswords: credentials.otherPasswords,
    backupKey: pulumi.secret(credentials.backupKey),
    cachePassword: null,
  };
}
