/** A stack's outputs on AWS, from what was made. */
import * as pulumi from "@pulumi/pulumi";
import type { AwsSite } from "../../components/aws/AwsSite.ts";
import { POSTGRES_PORT } from "../../components/aws/names.ts";
import type { InstancePlace, RdsServer } from "../../components/aws/rdsInstance.ts";
import type { RdsRegion, RdsRegions } from "../../components/aws/rdsRegions.ts";
import type { RdsShardCluster } from "../../components/ShardSet.ts";
import { confText } from "../../tuning/setting.ts";
import type { Endpoint } from "../outputs.ts";
import type { AwsAcrossOutput, AwsNodeOutput, AwsPlaceOutput, AwsRegionOutput, AwsStackValues } from "./outputs.ts";
import type { AwsNode, AwsPlan } from "./plan.ts";
import { readLabel } from "./readNames.ts";

const at = (host: string): Endpoint => ({ host, port: POSTGRES_PORT });

/** Where the clusters beside the first are. */
export const describeShards = (
  { shards, buckets }: NonNullable<AwsPlan["sharding"]>,
  clusters: readonly RdsShardCluster[],
): pulumi.Output<NonNullable<AwsStackValues["sharding"]>> =>
  pulumi.all(clusters.map(({ servers }) => pulumi.all(servers.map(({ address }) => address)))).apply((addresses) => ({
    shards,
    buckets,
    others: addresses.map(([write = "", ...read], index) => ({
      name: clusters[index]?.name ?? "",
      write: at(write),
      read: read.map(at),
    })),
  }));

export function describeNode(node: AwsNode, server: RdsServer): pulumi.Output<AwsNodeOutput> {
  const { identifier: id, address, instance } = server;
  return pulumi
    .all([id, address, instance.arn, instance.parameterGroupName])
    .apply(([identifier, host, arn, parameterGroup]) => ({
      name: node.name,
      cluster: node.cluster,
      role: node.role,
      ...at(host),
      cpus: node.class.cpus,
      memoryMiB: node.class.memoryMiB,
      instanceClass: node.class.name,
      identifier,
      arn,
      parameterGroup,
      settings: Object.fromEntries(Object.entries(node.settings).map(([name, setting]) => [name, confText(setting)])),
    }));
}

const describePlace = (
  { keyArn }: AwsSite,
  place: InstancePlace,
  fenceGroupId: pulumi.Output<string>,
): pulumi.Output<AwsPlaceOutput> =>
  pulumi
    .all([place.subnetGroupName, place.securityGroupId, fenceGroupId, keyArn])
    .apply(([subnetGroup, securityGroup, fenceGroup, key]) => ({
      subnetGroup,
      securityGroup,
      fenceGroup,
      keyArn: key,
    }));

/** `nodes`: the region's, in the order of its servers. */
export function describeRegion(
  { name, site, place, servers, fenceGroupId }: RdsRegion,
  nodes: readonly AwsNode[],
): pulumi.Output<AwsRegionOutput> {
  const described = pulumi.all(
    servers.flatMap((server, index) => {
      const node = nodes[index];
      return node ? [describeNode(node, server)] : [];
    }),
  );
  return pulumi
    .all([described, site.network.clientGroupId, describePlace(site, place, fenceGroupId)])
    .apply(([made, clientSecurityGroup, its]) => {
      const readsOf = (cluster: string | null): Endpoint[] =>
        made.filter((one) => one.cluster === cluster).map(({ host }) => at(host));
      const others = [...new Set(nodes.map(({ cluster }) => cluster))].filter((cluster) => cluster !== null);
      return {
        name,
        nodes: made,
        read: readsOf(null),
        shards: others.map((cluster) => ({ name: cluster, read: readsOf(cluster) })),
        clientSecurityGroup,
        place: its,
      };
    });
}

export const describeAcross = (
  { reads, fenceGroupId }: RdsRegions,
  home: AwsSite,
  place: InstancePlace,
): pulumi.Output<AwsAcrossOutput> =>
  pulumi.all([reads.zoneId, describePlace(home, place, fenceGroupId)]).apply(([zoneId, its]) => ({
    zone: reads.zone,
    zoneId,
    nearest: at(`${readLabel(null)}.${reads.zone}`),
    home: its,
  }));
