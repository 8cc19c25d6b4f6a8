import * as ec2 from "@pulumi/aws/ec2/index.js";
import * as route53 from "@pulumi/aws/route53/index.js";
import type * as s3 from "@pulumi/aws/s3/index.js";
import * as secretsmanager from "@pulumi/aws/secretsmanager/index.js";
import * as pulumi from "@pulumi/pulumi";
import type { CitusAwsPlan, CitusNodes, CitusPlace } from "../../stacks/aws/citusPlan.ts";
import { readZone } from "../../stacks/aws/readNames.ts";
import type { Credentials } from "../Credentials.ts";
import type { Synchronous } from "../docker/patroniFiles.ts";
import type { AwsSite } from "./AwsSite.ts";
import { backupBucket } from "./backupBucket.ts";
import { type CitusBalancer, PATRONI_PORT, READ_PORT, citusBalancer } from "./citusBalancer.ts";
import { type Authority, type CitusShared, type Ec2Cluster, citusNodes, instanceProfile } from "./citusNodes.ts";
import { type Ec2Server, ec2Server } from "./ec2Server.ts";
import { NO_RECOVERY_DAYS, POSTGRES_PORT, awsName } from "./names.ts";
import { type NodeNetwork, nodeNetwork } from "./nodeNetwork.ts";

/** What a region beside home follows, and has from home. */
export interface CitusHome {
  readonly region: string;
  /** As this region has it. */
  readonly authority: Authority;
  /** Of home's archive: its bucket, and the key that encrypts it. */
  readonly bucket: pulumi.Output<string>;
  readonly bucketArn: pulumi.Output<string>;
  readonly keyArn: pulumi.Output<string>;
  /** Home's name of one of the region's clusters, and the names of its nodes there. */
  readonly nameOf: (cluster: CitusNodes) => string;
  readonly homeNodes: (cluster: CitusNodes) => readonly string[];
  /** What works before anything is made or replaced here. */
  readonly after: readonly pulumi.Resource[];
}

export interface Ec2CitusClusterArgs {
  readonly target: "aws";
  readonly site: AwsSite;
  readonly plan: CitusAwsPlan;
  /** The region's part of it: the plan itself at home. */
  readonly place: CitusPlace;
  readonly credentials: Credentials;
  readonly synchronous: Synchronous;
  readonly maxReadLagMiB: number;
  readonly clientCidrs: readonly string[];
  readonly backups: { readonly intervalHours: number; readonly fullDays: number; readonly retentionDays: number };
  /** Every region, home first. */
  readonly regions: readonly string[];
  /** At home: where the nodes' authority is copied to, and the key that encrypts it there. */
  readonly copies?: readonly { readonly region: string; readonly keyArn: pulumi.Output<string> }[];
  /** Beside home; undefined: this is home. */
  readonly follows?: CitusHome | undefined;
}

/** A Citus cluster in one region. */
export interface CitusOnEc2 {
  /** The coordinator first. */
  readonly clusters: readonly Ec2Cluster[];
  readonly etcd: readonly Ec2Server[];
  readonly balancer: CitusBalancer;
  /** Secrets of the nodes' authority, in this region. */
  readonly authority: Authority;
  readonly bucket: s3.Bucket;
  readonly domain: string;
  /** Groups of nodes and of etcd's members. */
  readonly securityGroupIds: readonly pulumi.Output<string>[];
  readonly balancerGroupId: pulumi.Output<string>;
  readonly network: NodeNetwork;
}

/** Debian's newest image, looked up when an instance is made (Debian's own parameter, "Cloud/AmazonEC2Image"). */
const IMAGE = "resolve:ssm:/aws/service/debian/release/13/latest/amd64";
const [CLIENTS, PEERS] = [2379, 2380];

/**
 * The nodes' authority, made by whichever server is first; its key apart from what clients may read. Every region has a
 * copy: there certificates are signed while home is lost.
 */
function authoritySecrets({ site, copies = [] }: Ec2CitusClusterArgs, parent: pulumi.Resource): Authority {
  const secret = (name: string, description: string, kept: boolean): secretsmanager.Secret =>
    new secretsmanager.Secret(
      name,
      {
        ...{ name: awsName(site.stack, name), description, kmsKeyId: site.keyArn },
        recoveryWindowInDays: kept ? 30 : NO_RECOVERY_DAYS,
        ...(copies.length > 0 && { replicas: copies.map(({ region, keyArn }) => ({ region, kmsKeyId: keyArn })) }),
      },
      { parent, ...(kept && site.kept) },
    );
  return {
    keyArn: secret("authority-key", "Key and certificate of the authority of the nodes' certificates", true).arn,
    certificateArn: secret("authority", "Certificate of the authority of the nodes' certificates", false).arn,
  };
}

/** The zone of the stack's names as this region's VPC knows it. Beside home the names of home's nodes lead here. */
function nodeZone({ site, place, follows }: Ec2CitusClusterArgs, parent: pulumi.Resource) {
  const { network, stack, region, prefix } = site;
  const domain = readZone(stack);
  const { id: zoneId } = new route53.Zone(
    `${prefix}nodes`,
    {
      ...{ name: domain, comment: follows ? `Names of stack ${stack} in ${region}` : `Names of stack ${stack}` },
      vpcs: [{ vpcId: network.vpcId, ...(follows && { vpcRegion: region }) }],
    },
    { parent },
  );
  for (const cluster of follows ? place.clusters : []) {
    for (const homeNode of follows?.homeNodes(cluster) ?? []) {
      new route53.Record(
        `${prefix}for-${homeNode}`,
        {
          ...{ zoneId, name: `${homeNode}.${domain}`, type: "A", ttl: 60 },
          records: cluster.nodes.map(({ address }) => address),
        },
        { parent },
      );
    }
  }
  return { domain, zoneId };
}

/** A Citus cluster on EC2 in one region: etcd, the coordinator, workers, the way to them, and where their backups go. */
export function citusOnEc2(args: Ec2CitusClusterArgs, parent: pulumi.Resource): CitusOnEc2 {
  const { site, place, follows } = args;
  const { network, stack, prefix } = site;
  const child = { parent };
  const nodes = nodeNetwork(site, place.network, parent);
  const { domain, zoneId } = nodeZone(args, parent);
  const template = new ec2.LaunchTemplate(
    `${prefix}nodes`,
    { name: awsName(stack, "nodes"), imageId: IMAGE, updateDefaultVersion: true },
    child,
  );
  const shared: CitusShared = {
    ...{ args, domain, zoneId, template, subnetIds: nodes.subnetIds, ami: place.ami },
    ...{ authority: follows?.authority ?? authoritySecrets(args, parent), bucket: backupBucket(site, parent) },
    etcdMembers: place.etcd.map(({ name }) => name),
  };
  const clients = { from: [network.clientGroupId], cidrs: args.clientCidrs };
  const balancerGroup = network.securityGroup("database", "The way to the coordinator", [
    { port: POSTGRES_PORT, ...clients },
    { port: READ_PORT, ...clients },
  ]);
  const nodeGroup = network.securityGroup("nodes", "Nodes of the Citus cluster", [
    { port: POSTGRES_PORT, from: [balancerGroup.id] },
    { port: PATRONI_PORT, from: [balancerGroup.id] },
  ]);
  for (const port of [POSTGRES_PORT, PATRONI_PORT]) network.letInEachOther("nodes", nodeGroup, port);
  const etcdGroup = network.securityGroup("etcd", "Members of etcd", [{ port: CLIENTS, from: [nodeGroup.id] }]);
  for (const port of [CLIENTS, PEERS]) network.letInEachOther("etcd", etcdGroup, port);

  const etcdProfile = instanceProfile(`${prefix}etcd`, shared, undefined, parent);
  const etcd: Ec2Server[] = [];
  for (const node of place.etcd) {
    const before = etcd.at(-1)?.working;
    const input = pulumi
      .all([shared.authority.certificateArn, shared.authority.keyArn])
      .apply(([authority, authorityKey]) => ({
        ...{ kind: "etcd" as const, authority, authorityKey, etcdMembers: shared.etcdMembers },
        beside: follows !== undefined,
      }));
    etcd.push(
      ec2Server(
        { ...shared, site, node, input, securityGroupId: etcdGroup.id, profileName: etcdProfile.profileName },
        before ? [before] : [...nodes.ready, ...etcdProfile.ready, ...(follows?.after ?? [])],
        parent,
      ),
    );
  }
  const [coordinator, ...workers] = place.clusters;
  if (!coordinator) throw new Error("a Citus cluster without a coordinator");
  const etcdWorks = etcd.slice(-1).map(({ working }) => working);
  const first = citusNodes(shared, coordinator, nodeGroup.id, etcdWorks, parent);
  // Workers side by side; at home the coordinator, which they announce themselves to, before them.
  const before = follows ? etcdWorks : first.servers.map(({ working }) => working);
  const others = workers.map((worker) => citusNodes(shared, worker, nodeGroup.id, before, parent));
  const balancer = citusBalancer(
    {
      ...{ site, zoneId, domain, securityGroupId: balancerGroup.id, beside: follows !== undefined },
      clusters: place.clusters,
      // Other regions follow over it, whichever has the primary.
      linked: args.regions.length > 1,
      maxReadLagMiB: args.maxReadLagMiB,
    },
    parent,
  );
  return {
    ...{ clusters: [first, ...others], etcd, balancer, domain, bucket: shared.bucket, network: nodes },
    ...{ authority: shared.authority, balancerGroupId: balancerGroup.id },
    securityGroupIds: [nodeGroup.id, etcdGroup.id],
  };
}
