import * as pulumi from "@pulumi/pulumi";
import { accessHost, accessHostName } from "../../components/aws/accessHost.ts";
import { AwsSite } from "../../components/aws/AwsSite.ts";
import { backupCopies } from "../../components/aws/backupCopies.ts";
import { DatabasePlace } from "../../components/aws/DatabasePlace.ts";
import { imageRepository } from "../../components/aws/imageRepository.ts";
import { POSTGRES_PORT } from "../../components/aws/names.ts";
import type { RdsServer } from "../../components/aws/rdsInstance.ts";
import type { OpenService } from "../../components/aws/regionSite.ts";
import { Credentials } from "../../components/Credentials.ts";
import { refusedGeneration } from "../../components/logins.ts";
import { Monitoring } from "../../components/Monitoring.ts";
import { MultiRegion } from "../../components/MultiRegion.ts";
import { PgBouncerPool } from "../../components/PgBouncerPool.ts";
import { PrimaryDb } from "../../components/PrimaryDb.ts";
import { RdsProxy } from "../../components/RdsProxy.ts";
import { ReadReplicaSet } from "../../components/ReadReplicaSet.ts";
import { RedisCache } from "../../components/RedisCache.ts";
import { type RdsShardCluster, ShardSet } from "../../components/ShardSet.ts";
import type { StackConfig } from "../config.ts";
import { awsCitusStage } from "./citusStage.ts";
import { costOf, totalCost } from "./cost.ts";
import { describeAcross, describeNode, describeRegion, describeShards } from "./describe.ts";
import type { AwsStackOutputs } from "./outputs.ts";
import type { AwsNode, AwsPlan, AwsPool, AwsProxy } from "./plan.ts";
import { endpointsOf } from "./services.ts";
import { ZONES } from "./zones.ts";

const [POOL_PORT, CACHE_PORT] = [6432, 6379];

/** Clusters of a plan beside the first, in its order. */
const otherClusters = ({ nodes }: AwsPlan): { readonly name: string; readonly nodes: readonly AwsNode[] }[] =>
  [...new Set(nodes.map(({ cluster }) => cluster))]
    .filter((cluster) => cluster !== null)
    .map((name) => ({ name, nodes: nodes.filter(({ cluster }) => cluster === name) }));

/** A stack on AWS. Stages 1 to 4 differ in how many servers and clusters there are, and whether there are a pool and a cache. */
export function awsStage(stack: string, config: StackConfig, plan: AwsPlan): AwsStackOutputs {
  if (plan.citus) return awsCitusStage(stack, config, plan, plan.citus);
  const [first, ...others] = plan.nodes.filter(({ cluster }) => cluster === null);
  if (!first) throw new Error(`stage ${plan.stage} has no server`);
  const { aws, postgresVersion } = config;
  const credentials = new Credentials("credentials", {
    cache: plan.cache !== undefined,
    administrator: true,
    generations: config.passwordGenerations,
  });
  const { administratorPassword, cachePassword } = credentials;
  const newest = credentials.accepted.find(({ number }) => number === Math.max(...credentials.generations));
  if (!administratorPassword) throw new Error("the administrator has no password");
  const site = new AwsSite("site", {
    stack,
    region: aws.region,
    network:
      aws.vpcId === undefined ? { cidr: aws.vpcCidr, zones: ZONES } : { vpcId: aws.vpcId, subnetIds: aws.subnetIds },
    clientCidrs: aws.clientCidrs,
    keepData: aws.keepData,
  });
  const inRegion = { providers: [site.provider] };
  const serversMeet = plan.sharding !== undefined;
  const place = new DatabasePlace("database", { site, administratorPassword, serversMeet }, inRegion);
  const common = { target: "aws", site, place, postgresVersion, applyImmediately: aws.applyImmediately } as const;
  const primary = new PrimaryDb(
    "primary",
    { ...common, node: first, administratorPassword, backupRetentionDays: config.backups.retentionDays },
    inRegion,
  );
  const replicas = new ReadReplicaSet("replicas", { ...common, source: primary.server, nodes: others }, inRegion);
  const firstServers = [primary.server, ...replicas.servers];
  const clusters = plan.sharding
    ? new ShardSet(
        "shards",
        {
          ...{ ...common, administratorPassword, backupRetentionDays: config.backups.retentionDays },
          clusters: otherClusters(plan),
        },
        inRegion,
      ).clusters
    : [];
  const servers = [...firstServers, ...clusters.flatMap((cluster) => cluster.servers)];
  if (aws.backupCopyRegion !== undefined) {
    backupCopies({
      ...{ site, region: aws.backupCopyRegion, retentionDays: config.backups.retentionDays },
      primaryArns: [primary.server, ...clusters.flatMap((cluster) => cluster.servers.slice(0, 1))].map(
        ({ instance }) => instance.arn,
      ),
    });
  }
  site.network.serviceEndpoints(aws.region, endpointsOf(plan));
  if (plan.accessHost) accessHost(site);
  const pool = plan.pool ? makePool(plan.pool, { site, credentials, servers: firstServers, clusters }) : undefined;
  const cache =
    plan.cache && newest?.cache
      ? new RedisCache(
          "cache",
          {
            ...{ target: "aws", site, cache: plan.cache, password: newest.cache },
            refusesOlder: refusedGeneration(credentials.generations) !== undefined,
          },
          inRegion,
        )
      : undefined;
  new Monitoring("monitoring", { target: "aws", site, plan, servers, email: config.monitoring.email }, inRegion);
  const across =
    plan.regions.length === 0
      ? undefined
      : new MultiRegion(
          "regions",
          {
            ...{ target: "aws", plan, postgresVersion, applyImmediately: aws.applyImmediately },
            home: {
              site,
              cidr: aws.vpcId === undefined ? aws.vpcCidr : undefined,
              clusters: [{ name: null, servers: firstServers }, ...clusters],
              services: [
                { name: "database", securityGroupId: place.securityGroupId, port: POSTGRES_PORT },
                ...(pool ? [pool.service] : []),
              ],
              monitoringRoleArn: place.monitoringRoleArn,
            },
            ...{ clientCidrs: aws.clientCidrs, keepData: aws.keepData, email: config.monitoring.email },
          },
          inRegion,
        ).made;
  const cost = costOf(plan);
  return {
    stage: config.stage,
    target: "aws",
    region: aws.region,
    postgresVersion,
    nodes: plan.nodes.map((node, index) => describeNode(node, servers[index] ?? primary.server)),
    endpoints: pulumi
      .all([
        primary.server.address,
        pulumi.all(replicas.servers.map(({ address }) => address)),
        pool?.address,
        cache?.server.address,
      ])
      .apply(([write, read, poolHost, cacheHost]) => ({
        write: { host: write, port: POSTGRES_PORT },
        read: read.map((host) => ({ host, port: POSTGRES_PORT })),
        pool: pool && poolHost !== undefined ? { kind: pool.kind, host: poolHost, port: pool.port } : null,
        cache: cacheHost === undefined ? null : { host: cacheHost, port: CACHE_PORT },
      })),
    sharding: plan.sharding ? describeShards(plan.sharding, clusters) : null,
    regions: (across?.regions ?? []).map((region, index) => describeRegion(region, plan.regions[index]?.nodes ?? [])),
    across: across ? describeAcross(across, site, place) : null,
    poolImage: pool?.ownImage ?? null,
    accessHost: plan.accessHost ? accessHostName(stack) : null,
    clientSecurityGroup: site.network.clientGroupId,
    notes: plan.notes,
    cost,
    usdPerMonth: totalCost(cost),
    passwordGenerations: credentials.generations,
    passwords: credentials.passwords,
    otherPasswords: credentials.otherPasswords,
    administratorPassword: pulumi.secret(administratorPassword),
    cachePassword: cachePassword ? pulumi.secret(cachePassword) : null,
  };
}

interface MadePool {
  readonly kind: "pgbouncer" | "rds-proxy";
  readonly address: pulumi.Output<string>;
  readonly port: number;
  /** Who may connect to it, and where. */
  readonly service: OpenService;
  /** The image that `up` has to put into the stack's registry, where it is not the user's own. */
  readonly ownImage: pulumi.Output<string> | undefined;
}

interface PoolNeeds {
  readonly site: AwsSite;
  readonly credentials: Credentials;
  /** The first cluster's. */
  readonly servers: readonly RdsServer[];
  readonly clusters: readonly RdsShardCluster[];
}

function makePool(pool: AwsPool | AwsProxy, { site, credentials, servers, clusters }: PoolNeeds): MadePool {
  const inRegion = { providers: [site.provider] };
  const [primary, ...replicas] = servers;
  if (!primary) throw new Error("a pool without a server");
  if (pool.kind === "rds-proxy") {
    const { address, securityGroupId } = new RdsProxy("proxy", { site, proxy: pool, credentials, primary }, inRegion);
    const service = { name: "proxy", securityGroupId, port: POSTGRES_PORT };
    return { kind: pool.kind, address, port: POSTGRES_PORT, service, ownImage: undefined };
  }
  const ownImage = pool.image === undefined ? imageRepository(site).image : undefined;
  const made = new PgBouncerPool(
    "pool",
    { target: "aws", site, pool, image: ownImage ?? pool.image ?? "", credentials, primary, replicas, clusters },
    inRegion,
  );
  const { address, securityGroupId } = made.pool;
  return {
    kind: pool.kind,
    address,
    port: POOL_PORT,
    service: { name: "pool", securityGroupId, port: POOL_PORT },
    ownImage,
  };
}
