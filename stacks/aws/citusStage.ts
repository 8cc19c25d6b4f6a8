import * as pulumi from "@pulumi/pulumi";
import { accessHost, accessHostName } from "../../components/aws/accessHost.ts";
import { AwsSite } from "../../components/aws/AwsSite.ts";
import { READ_PORT } from "../../components/aws/citusBalancer.ts";
import type { CitusHome, Ec2CitusClusterArgs } from "../../components/aws/citusOnEc2.ts";
import { homeCluster } from "../../components/aws/citusFiles.ts";
import { type CitusSitesArgs, joinRegions } from "../../components/aws/citusRegions.ts";
import { imageRepository } from "../../components/aws/imageRepository.ts";
import { POSTGRES_PORT } from "../../components/aws/names.ts";
import { fenceGroup } from "../../components/aws/regionSite.ts";
import { CitusCluster } from "../../components/CitusCluster.ts";
import { Credentials } from "../../components/Credentials.ts";
import { refusedGeneration } from "../../components/logins.ts";
import { Monitoring } from "../../components/Monitoring.ts";
import { MultiRegion } from "../../components/MultiRegion.ts";
import { PgBouncerPool } from "../../components/PgBouncerPool.ts";
import { RedisCache } from "../../components/RedisCache.ts";
import type { StackConfig } from "../config.ts";
import type { CitusAwsPlan } from "./citusPlan.ts";
import { costOf, totalCost } from "./cost.ts";
import { citusNodesOf, describeCitus } from "./describeCitus.ts";
import type { AwsStackOutputs } from "./outputs.ts";
import type { AwsPlan } from "./plan.ts";
import { endpointsOf } from "./services.ts";
import { ZONES } from "./zones.ts";

const [POOL_PORT, CACHE_PORT] = [6432, 6379];

type Elsewhere = MultiRegion<CitusSitesArgs>;
type Common = Omit<Ec2CitusClusterArgs, "site" | "place" | "copies" | "follows">;

/** Ground for the regions beside home; undefined where there are none. */
function regionsBesideHome(stack: string, { aws }: StackConfig, { regions }: CitusAwsPlan): Elsewhere | undefined {
  if (regions.length === 0) return undefined;
  const { clientCidrs, keepData } = aws;
  return new MultiRegion("regions", { target: "aws", sites: { stack, regions, clientCidrs, keepData } });
}

/**
 * A Citus cluster in each region beside home that follows home's. One after the other, in an order that the configuration's
 * does not change: what is replaced in one region, another one serves meanwhile.
 */
function followers(
  elsewhere: Elsewhere,
  common: Common,
  home: { readonly site: AwsSite; readonly cluster: CitusCluster<Ec2CitusClusterArgs> },
) {
  const { made } = home.cluster;
  const worksIn = ({ clusters }: typeof made): pulumi.Resource[] =>
    clusters.flatMap(({ servers }) => servers.map(({ working }) => working));
  let after = worksIn(made);
  const regions = elsewhere.made.regions
    .toSorted((a, b) => a.name.localeCompare(b.name))
    .map((region) => {
      const { name, plan, site } = region;
      // A copy of a secret has the ARN of the secret itself but for the region (Secrets Manager's guide, "Replicate").
      const inRegion = (arn: pulumi.Output<string>): pulumi.Output<string> =>
        arn.apply((text) => text.split(":").with(3, name).join(":"));
      const follows: CitusHome = {
        region: home.site.region,
        authority: {
          keyArn: inRegion(made.authority.keyArn),
          certificateArn: inRegion(made.authority.certificateArn),
        },
        ...{ bucket: made.bucket.id, bucketArn: made.bucket.arn, keyArn: home.site.keyArn, after },
        nameOf: ({ group }) => homeCluster(group),
        homeNodes: ({ group }) =>
          common.plan.clusters.find((one) => one.group === group)?.nodes.map((node) => node.name) ?? [],
      };
      const cluster = new CitusCluster(
        `${name}-citus`,
        { ...common, site, place: plan, follows },
        { parent: elsewhere, providers: [site.provider] },
      );
      after = worksIn(cluster.made);
      return { site, plan, cidr: plan.cidr, nodes: plan.network.nodes, made: cluster.made };
    });
  return elsewhere.made.regions.flatMap(({ name }) => regions.find(({ site }) => site.region === name) ?? []);
}

/**
 * Stage 5 on AWS: a Citus cluster on EC2, which those of other regions follow; at home with the same pool, cache and way in as
 * stages on RDS.
 */
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
  const elsewhere = regionsBesideHome(stack, config, citusPlan);
  const common = {
    ...({ target: "aws", plan: citusPlan, credentials, synchronous: config.synchronous } as const),
    ...{ maxReadLagMiB: config.maxReadLagMiB, clientCidrs: aws.clientCidrs, regions: config.regions.all },
    backups: {
      intervalHours: backups.intervalHours,
      fullDays: backups.fullDays,
      retentionDays: backups.retentionDays,
    },
  };
  const copies = elsewhere?.made.regions.map(({ name, site: { keyArn } }) => ({ region: name, keyArn })) ?? [];
  const cluster = new CitusCluster("citus", { ...common, site, place: citusPlan, copies }, inRegion);
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
      ...{
        primary: { address },
        replicas: [{ address, port: READ_PORT }],
        authorityArn: made.authority.certificateArn,
      },
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
  const regions = elsewhere ? followers(elsewhere, common, { site, cluster }) : [];
  const watched = new Monitoring(
    "monitoring",
    { target: "aws", site, plan, citus: made, email: config.monitoring.email },
    inRegion,
  );
  let fenceGroupId: pulumi.Output<string> | undefined;
  if (elsewhere) {
    fenceGroupId = fenceGroup(site);
    joinRegions(
      {
        ...{ plan: citusPlan, regions, email: config.monitoring.email, watched },
        home: { site, cidr: aws.vpcCidr, nodes: citusPlan.network.nodes, made },
        services: [{ name: "pool", securityGroupId: poolers.pool.securityGroupId, port: POOL_PORT }],
      },
      elsewhere,
    );
  }
  const cost = costOf(plan);
  const { cachePassword } = credentials;
  return {
    ...{ stage: config.stage, target: "aws", region: aws.region, postgresVersion },
    nodes: citusNodesOf(citusPlan, citusPlan, made),
    endpoints: pulumi
      .all([address, poolers.pool.address, cache?.server.address])
      .apply(([host, poolHost, cacheHost]) => ({
        write: { host, port: POSTGRES_PORT },
        read: [{ host, port: READ_PORT }],
        pool: { kind: pool.kind, host: poolHost, port: POOL_PORT },
        cache: cacheHost === undefined ? null : { host: cacheHost, port: CACHE_PORT },
      })),
    sharding: null,
    citus: describeCitus(stack, citusPlan, pool, { region: aws.region, made, fenceGroupId }, regions),
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
