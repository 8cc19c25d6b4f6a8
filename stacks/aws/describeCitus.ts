/** Stage 5's outputs on AWS, from what was made. */
import * as pulumi from "@pulumi/pulumi";
import { DATABASE_LABEL, READ_PORT } from "../../components/aws/citusBalancer.ts";
import type { CitusOnEc2 } from "../../components/aws/citusOnEc2.ts";
import type { MadeRegion } from "../../components/aws/citusRegions.ts";
import { POSTGRES_PORT } from "../../components/aws/names.ts";
import { confText } from "../../tuning/setting.ts";
import { APP_POOLS } from "../guide.ts";
import type { Endpoint } from "../outputs.ts";
import type { CitusAwsPlan, CitusPlace, CitusRegion } from "./citusPlan.ts";
import type { AwsAppPools, AwsCitusOutput, AwsCitusRegionOutput, AwsNodeOutput } from "./outputs.ts";
import type { AwsPool } from "./plan.ts";
import { acrossName, acrossZone, readLabel } from "./readNames.ts";

/** Connections of a region's coordinator that are not the application's: monitoring, people, the next move. */
const DIRECT_CONNECTIONS = 20;

/** The servers as commands know them; whoever leads now, the balancer says. `beside`: of a region that follows. */
export const citusNodesOf = (
  { clusters }: CitusPlace,
  { settings }: CitusAwsPlan,
  made: CitusOnEc2,
  beside = false,
): pulumi.Output<AwsNodeOutput[]> =>
  pulumi.all(made.clusters.map(({ servers }) => pulumi.all(servers.map(({ instanceId }) => instanceId)))).apply((ids) =>
    clusters.flatMap(({ name: cluster, nodes }, at) =>
      nodes.map((node, index) => ({
        ...{ name: node.name, cluster, role: index === 0 && !beside ? "primary" : "replica" },
        ...{ host: node.address, port: POSTGRES_PORT, instanceClass: node.class.name },
        ...{ cpus: node.class.cpus, memoryMiB: node.class.memoryMiB, identifier: ids[at]?.[index] ?? "" },
        settings: Object.fromEntries(Object.entries(settings).map(([name, setting]) => [name, confText(setting)])),
      })),
    ),
  );

/** A region's coordinator, for writes and for reads, by names that every region knows. */
const coordinatorOf = (stack: string, region: string): { readonly write: Endpoint; readonly read: Endpoint } => {
  const host = acrossName(stack, DATABASE_LABEL, region);
  return { write: { host, port: POSTGRES_PORT }, read: { host, port: READ_PORT } };
};

const pools = (connections: number, perApiNode: number): AwsAppPools => ({
  perApiNode,
  mostApiNodes: Math.floor(connections / perApiNode),
});

function describeRegion(
  stack: string,
  plan: CitusAwsPlan,
  region: CitusRegion,
  { site, made }: MadeRegion,
): pulumi.Output<AwsCitusRegionOutput> {
  const direct = Number(plan.settings["max_connections"]?.value) - DIRECT_CONNECTIONS;
  return pulumi
    .all([
      citusNodesOf(region, plan, made, true),
      ...([made.bucket.id, made.authority.certificateArn, site.network.clientGroupId] as const),
    ])
    .apply(([nodes, backupBucket, authoritySecret, clientSecurityGroup]) => ({
      ...{ name: region.name, nodes, ...coordinatorOf(stack, region.name) },
      pools: { read: pools(direct, APP_POOLS.replica.value) },
      ...{ etcd: region.etcd.map(({ name }) => name), backupBucket, authoritySecret, clientSecurityGroup },
    }));
}

/** `home`: what was made there; `regions`: those beside it, in the plan's order. */
export function describeCitus(
  stack: string,
  plan: CitusAwsPlan,
  pool: AwsPool,
  home: {
    readonly region: string;
    readonly made: CitusOnEc2;
    /** Undefined where there is one region. */
    readonly fenceGroupId: pulumi.Output<string> | undefined;
  },
  regions: readonly MadeRegion[],
): pulumi.Output<AwsCitusOutput> {
  const { made } = home;
  const clients = pool.tasks * pool.maxClientConnections;
  const { primary, replica } = APP_POOLS;
  const described = pulumi.all(
    plan.regions.flatMap((region, index) => {
      const its = regions[index];
      return its ? [describeRegion(stack, plan, region, its)] : [];
    }),
  );
  return pulumi
    .all([
      ...([made.bucket.id, made.authority.certificateArn, described] as const),
      ...([made.balancer.arn, made.balancerGroupId, home.fenceGroupId ?? ""] as const),
    ])
    .apply(([backupBucket, authoritySecret, elsewhere, balancerArn, openGroup, fenceGroup]) => ({
      ...{ workers: plan.workers, shardCount: plan.shardCount, domain: made.domain },
      ...{ etcd: plan.etcd.map(({ name }) => name), backupBucket, authoritySecret },
      // Each API node holds both at home's pool.
      pools: {
        write: { perApiNode: primary.value, mostApiNodes: Math.floor(clients / (primary.value + replica.value)) },
        read: { perApiNode: replica.value, mostApiNodes: Math.floor(clients / (primary.value + replica.value)) },
      },
      regions: elsewhere,
      ...(elsewhere.length > 0 && {
        home: { ...coordinatorOf(stack, home.region), balancerArn, openGroup, fenceGroup },
        nearest: { host: `${readLabel(null)}.${acrossZone(stack)}`, port: READ_PORT },
      }),
    }));
}
