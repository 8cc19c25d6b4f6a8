import * as pulumi from "@pulumi/pulumi";
import { clusterPorts } from "../components/docker/haproxyFiles.ts";
import { dockerName } from "../components/docker/names.ts";
import type { ShardCluster } from "../components/ShardSet.ts";
import type { Ports } from "./config.ts";
import { type Endpoint, type ShardingOutput, describeNode } from "./outputs.ts";
import type { ShardingPlan } from "./topology.ts";

/** What the clusters beside the first tell the commands. */
export function describeSharding(args: {
  readonly stack: string;
  readonly plan: ShardingPlan;
  readonly clusters: readonly ShardCluster[];
  readonly ports: Ports;
  readonly image: string;
}): pulumi.Output<ShardingOutput> {
  const { stack, plan, clusters, ports, image } = args;
  const others = plan.others.map(({ name, nodes }, index) => {
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
  return pulumi.all(others).apply((known) => ({ shards: plan.shards, buckets: plan.buckets, others: known }));
}
