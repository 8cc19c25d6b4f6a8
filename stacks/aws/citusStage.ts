import * as pulumi from "@pulumi/pulumi";
import { accessHost, accessHostName } from "../../components/aws/accessHost.ts";
import { AwsSite } from "../../components/aws/AwsSite.ts";
import { READ_PORT } from "../../components/aws/citusBalancer.ts";
import type { Ec2Cluster } from "../../components/aws/citusOnEc2.ts";
import { imageRepository } from "../../components/aws/imageRepository.ts";
import { POSTGRES_PORT } from "../../components/aws/names.ts";
import { CitusCluster } from "../../components/CitusCluster.ts";
import { Credentials } from "../../components/Credentials.ts";
import { refusedGeneration } from "../../components/logins.ts";
import { Monitoring } from "../../components/Monitoring.ts";
import { PgBouncerPool } from "../../components/PgBouncerPool.ts";
import { RedisCache } from "../../components/RedisCache.ts";
import { confText } from "../../tuning/setting.ts";
import type { StackConfig } from "../config.ts";
import type { CitusAwsPlan } from "./citusPlan.ts";
import { costOf, totalCost } from "./cost.ts";
import type { AwsNodeOutput, AwsStackOutputs } from "./outputs.ts";
import type { AwsPlan } from "./plan.ts";
import { endpointsOf } from "./services.ts";
import { ZONES } from "./zones.ts";

const [POOL_PORT, CACHE_PORT] = [6432, 6379];

/** The servers as commands know them; whoever leads now, the balancer says. */
const nodesOf = ({ clusters, settings }: CitusAwsPlan, made: readonly Ec2Cluster[]): pulumi.Output<AwsNodeOutput[]> =>
  pulumi.all(made.map(({ servers }) => pulumi.all(servers.map(({ instanceId }) => instanceId)))).apply((ids) =>
    clusters.flatMap(({ name: cluster, nodes }, at) =>
      nodes.map((node, index) => ({
        ...{ name: node.name, cluster, role: index === 0 ? "primary" : "replica" },
        ...{ host: node.address, port: POSTGRES_PORT, instanceClass: node.class.name },
        ...{ cpus: node.class.cpus, memoryMiB: node.class.memoryMiB, identifier: ids[at]?.[index] ?? "" },
        settings: Object.fromEntries(Object.entries(settings).map(([name, setting]) => [name, confText(setting)])),
      })),
    ),
  );

/** Stage 5 on AWS: a Citus cluster on EC2, in the home region, with the same pool, cache and way in as stages on RDS. */
export function awsCitusStage(
  stack: string,
  config: StackConfig,
  plan: AwsPlan,
  citusPlan: CitusAwsPlan,
): AwsStackOutputs {
  const { aws, postgresVersion, backups } = config;
  const credentials = new Credentials("credentials", {
    cache: plan.cache !== undefined,
    generations: config.passwordGenerations,
  });
  const newest = credentials.accepted.find(({ number }) => number === Math.max(...credentials.generations));
  const site = new AwsSite("site", {
    ...{ stack, region: aws.region, clientCidrs: aws.clientCidrs, keepData: aws.keepData },
    network: { cidr: aws.vpcCidr, zones: ZONES },
  });
  const inRegion = { providers: [site.provider] };
  const cluster = new CitusCluster(
    "citus",
    {
      ...({ target: "aws", site, plan: citusPlan, credentials, synchronous: config.synchronous } as const),
      ...{ maxReadLagMiB: config.maxReadLagMiB, clientCidrs: aws.clientCidrs },
      backups: {
        intervalHours: backups.intervalHours,
        fullDays: backups.fullDays,
        retentionDays: backups.retentionDays,
      },
    },
    inRegion,
  );
  const { made } = cluster;
  const { address } = made.balancer;
  site.network.serviceEndpoints(aws.region, endpointsOf(plan), made.securityGroupIds);
  if (plan.accessHost) accessHost(site);
  const { pool } = plan;
  if (pool?.kind !== "pgbouncer") throw new Error("stage 5 has no PgBouncer");
  const ownImage = pool.image === undefined ? imageRepository(site).image : undefined;
  const poolers = new PgBouncerPool(
    "pool",
    {
      ...({ target: "aws", site, pool, image: ownImage ?? pool.image ?? "", credentials } as const),
      ...{ primary: { address }, replicas: [{ address, port: READ_PORT }], authorityArn: made.authorityArn },
    },
    // The nodes' certificates, which its tasks verify, have an authority once the nodes are there.
    { ...inRegion, dependsOn: made.clusters[0]?.servers.map(({ working }) => working) ?? [] },
  );
  const cache =
    plan.cache && newest?.cache
      ? new RedisCache(
          "cache",
          {
            ...({ target: "aws", site, cache: plan.cache, password: newest.cache } as const),
            refusesOlder: refusedGeneration(credentials.generations) !== undefined,
          },
          inRegion,
        )
      : undefined;
  new Monitoring("monitoring", { target: "aws", site, plan, citus: made, email: config.monitoring.email }, inRegion);
  const cost = costOf(plan);
  const { cachePassword } = credentials;
  return {
    ...{ stage: config.stage, target: "aws", region: aws.region, postgresVersion },
    nodes: nodesOf(citusPlan, made.clusters),
    endpoints: pulumi
      .all([address, poolers.pool.address, cache?.server.address])
      .apply(([host, poolHost, cacheHost]) => ({
        write: { host, port: POSTGRES_PORT },
        read: [{ host, port: READ_PORT }],
        pool: { kind: pool.kind, host: poolHost, port: POOL_PORT },
        cache: cacheHost === undefined ? null : { host: cacheHost, port: CACHE_PORT },
      })),
    sharding: null,
    citus: pulumi.all([made.bucket, made.authorityArn]).apply(([backupBucket, authoritySecret]) => ({
      ...{ workers: citusPlan.workers, shardCount: citusPlan.shardCount, domain: made.domain },
      ...{ etcd: citusPlan.etcd.map(({ name }) => name), backupBucket, authoritySecret },
    })),
    ...{ regions: [], across: null },
    poolImage: ownImage ?? null,
    accessHost: plan.accessHost ? accessHostName(stack) : null,
    clientSecurityGroup: site.network.clientGroupId,
    ...{ notes: plan.notes, cost, usdPerMonth: totalCost(cost) },
    passwordGenerations: credentials.generations,
    passwords: credentials.passwords,
    otherPasswords: credentials.otherPasswords,
    administratorPassword: null,
    backupKey: pulumi.secret(credentials.backupKey),
    cachePassword: cachePassword ? pulumi.secret(cachePassword) : null,
  };
}
