import * as pulumi from "@pulumi/pulumi";
import { AwsSite } from "../../components/aws/AwsSite.ts";
import { DatabasePlace } from "../../components/aws/DatabasePlace.ts";
import type { RdsServer } from "../../components/aws/rdsInstance.ts";
import { Credentials } from "../../components/Credentials.ts";
import { Monitoring, watchesOf } from "../../components/Monitoring.ts";
import { PgBouncerPool } from "../../components/PgBouncerPool.ts";
import { PrimaryDb } from "../../components/PrimaryDb.ts";
import { ReadReplicaSet } from "../../components/ReadReplicaSet.ts";
import { RedisCache } from "../../components/RedisCache.ts";
import { confText } from "../../tuning/setting.ts";
import type { StackConfig } from "../config.ts";
import { costOf, totalCost } from "./cost.ts";
import type { AwsNodeOutput, AwsStackOutputs } from "./outputs.ts";
import { type AwsNode, type AwsPlan, ZONES } from "./plan.ts";

function describeNode(node: AwsNode, server: RdsServer): pulumi.Output<AwsNodeOutput> {
  return pulumi.all([server.identifier, server.address]).apply(([identifier, host]) => ({
    name: node.name,
    role: node.role,
    host,
    port: 5432,
    cpus: node.class.cpus,
    memoryMiB: node.class.memoryMiB,
    instanceClass: node.class.name,
    identifier,
    settings: Object.fromEntries(Object.entries(node.settings).map(([name, setting]) => [name, confText(setting)])),
  }));
}

/** Alarms of a plan: two for each watch of each server. */
export const alarmCount = (plan: AwsPlan): number =>
  plan.nodes.reduce((sum, node) => sum + 2 * watchesOf(node).length, 0);

/** Stages 1 to 3 on AWS: they differ in how many servers there are, and whether there are a pool and a cache. */
export function awsStage(stack: string, config: StackConfig, plan: AwsPlan): AwsStackOutputs {
  const [first, ...others] = plan.nodes;
  if (!first) throw new Error(`stage ${plan.stage} has no server`);
  const { aws, postgresVersion } = config;
  const credentials = new Credentials("credentials", { cache: plan.cache !== undefined, administrator: true });
  const { administratorPassword, cachePassword } = credentials;
  if (!administratorPassword) throw new Error("the administrator has no password");
  const site = new AwsSite("site", {
    stack,
    region: aws.region,
    network:
      aws.vpcId === undefined ? { cidr: aws.vpcCidr, zones: ZONES } : { vpcId: aws.vpcId, subnetIds: aws.subnetIds },
    clientCidrs: aws.clientCidrs,
  });
  const inRegion = { providers: [site.provider] };
  const place = new DatabasePlace("database", { site, administratorPassword }, inRegion);
  const common = { target: "aws", site, place, postgresVersion } as const;
  const primary = new PrimaryDb(
    "primary",
    { ...common, node: first, administratorPassword, backupRetentionDays: config.backupRetentionDays },
    inRegion,
  );
  const replicas = new ReadReplicaSet("replicas", { ...common, source: primary.server, nodes: others }, inRegion);
  const servers = [primary.server, ...replicas.servers];
  // What runs the pool's tasks needs AWS's registry, logs and secrets, and there is no way outside.
  if (plan.pool) site.network.serviceEndpoints(aws.region);
  const pool = plan.pool
    ? new PgBouncerPool(
        "pool",
        { target: "aws", site, pool: plan.pool, credentials, primary: primary.server, replicas: replicas.servers },
        inRegion,
      )
    : undefined;
  const cache =
    plan.cache && cachePassword
      ? new RedisCache("cache", { target: "aws", site, cache: plan.cache, password: cachePassword }, inRegion)
      : undefined;
  new Monitoring("monitoring", { site, nodes: plan.nodes, servers, email: aws.alarmEmail }, inRegion);
  const cost = costOf(plan, alarmCount(plan));
  return {
    stage: config.stage,
    target: "aws",
    region: aws.region,
    postgresVersion,
    nodes: plan.nodes.map((node, index) => describeNode(node, servers[index] ?? primary.server)),
    poolAddress: pool ? pool.pool.address : null,
    cacheAddress: cache ? cache.server.address : null,
    clientSecurityGroup: site.network.clientGroupId,
    notes: plan.notes,
    cost,
    usdPerMonth: Number(totalCost(cost).toFixed(2)),
    passwords: pulumi.secret(pulumi.output(credentials.passwords)),
    administratorPassword: pulumi.secret(administratorPassword),
    cachePassword: cachePassword ? pulumi.secret(cachePassword) : null,
  };
}
