import * as pulumi from "@pulumi/pulumi";
import { clusterPorts } from "../components/docker/haproxyFiles.ts";
import { dockerName } from "../components/docker/names.ts";
import type { ShardCluster } from "../components/ShardSet.ts";
import type { Ports } from "./config.ts";
import { type CitusOutput, type ClusterOutput, type Endpoint, type ShardingOutput, describeNode } from "./outputs.ts";
import type { CitusPlan, DatabaseCluster, ShardingPlan } from "./topology.ts";

/** The clusters beside a stack's first: their servers, and the ports of this machine that lead to them. */
export function describeClusters(args: {
  readonly stack: string;
  readonly planned: readonly DatabaseCluster[];
  readonly clusters: readonly ShardCluster[];
  readonly ports: Ports;
  readonly image: string;
}): pulumi.Output<readonly ClusterOutput[]> {
  const { stack, planned, clusters, ports, image } = args;
  const others = planned.map(({ name, nodes }, index) => {
    const made = clusters[index];
    if (!made) throw new Error(`cluster ${name} was not made`);
    const described = made.servers.flatMap((server, place) => {
      const node = nodes[place];
      return node ? [describeNode(node, server, { host: dockerName(stack, node.name), port: 5432, image })] : [];
    });
    const published = clusterPorts(ports.shards, index);
    const local = (port: number): Endpoint => ({ host: "localhost", port });
    return pulumi.all([pulumi.all(described), made.backups.containerName]).apply(([known, backupContainer]) => ({
      name,
      nodes: known,
      write: local(published.write),
      read: local(published.read),
      backupContainer,
    }));
  });
  return pulumi.all(others);
}

/** What the clusters beside the first tell the commands. */
export const describeSharding = ({
  plan: { shards, buckets, others },
  ...args
}: Omit<Parameters<typeof describeClusters>[0], "planned"> & {
  readonly plan: ShardingPlan;
}): pulumi.Output<ShardingOutput> =>
  describeClusters({ ...args, planned: others }).apply((known) => ({ shards, buckets, others: known }));

/** What a Citus cluster's workers tell them. */
export const describeCitus = ({
  plan: { shardCount, others },
  ...args
}: Omit<Parameters<typeof describeClusters>[0], "planned"> & {
  readonly plan: CitusPlan;
}): pulumi.Output<CitusOutput> =>
  describeClusters({ ...args, planned: others }).apply((workers) => ({ shardCount, workers }));
