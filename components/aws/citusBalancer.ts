import * as lb from "@pulumi/aws/lb/index.js";
import * as route53 from "@pulumi/aws/route53/index.js";
import type * as pulumi from "@pulumi/pulumi";
import type { CitusNodes, Ec2Node } from "../../stacks/aws/citusPlan.ts";
import { linkPort } from "../../stacks/aws/readNames.ts";
import type { AwsSite } from "./AwsSite.ts";
import { POSTGRES_PORT, awsName } from "./names.ts";

export const PATRONI_PORT = 8008;
/** Where the coordinator's standbys serve reads. */
export const READ_PORT = 5433;
/** The name by which clients reach the coordinator, before the stack's domain. */
export const DATABASE_LABEL = "database";

export interface CitusBalancerArgs {
  readonly site: AwsSite;
  /** The coordinator's first. */
  readonly clusters: readonly CitusNodes[];
  /** Whether other regions follow over it: then it leads to the primary of every cluster. */
  readonly linked: boolean;
  /** Whether the region is beside home: there the coordinator that leads the others, while it follows, serves reads. */
  readonly beside: boolean;
  readonly securityGroupId: pulumi.Output<string>;
  /** MiB of WAL that a standby may lack and still serve reads. */
  readonly maxReadLagMiB: number;
  readonly zoneId: pulumi.Output<string>;
  readonly domain: string;
}

export interface CitusBalancer {
  /** `database.production.cgraph.internal`. */
  readonly address: pulumi.Output<string>;
  readonly arn: pulumi.Output<string>;
  /** AWS's own name of it. */
  readonly alias: { readonly name: pulumi.Output<string>; readonly zoneId: pulumi.Output<string> };
  /** CloudWatch's names of the balancer, and of the targets of each way. */
  readonly figures: {
    readonly balancer: pulumi.Output<string>;
    readonly write: pulumi.Output<string>;
    readonly read: pulumi.Output<string>;
  };
}

/**
 * The way to the coordinator: to whichever of its servers takes writes, and to standbys that keep up. Patroni says which,
 * so after a failover clients find the new primary at the same address. It verifies no certificates; clients do.
 */
export function citusBalancer(args: CitusBalancerArgs, parent: pulumi.Resource): CitusBalancer {
  const { site, clusters, domain, beside, linked } = args;
  const { network, stack, prefix } = site;
  const child = { parent };
  const [coordinator] = clusters;
  if (!coordinator) throw new Error("a balancer without a coordinator");
  const balancer = new lb.LoadBalancer(
    `${prefix}database`,
    {
      name: awsName(stack, "db").slice(0, 32),
      internal: true,
      loadBalancerType: "network",
      subnets: [...network.subnetIds],
      securityGroups: [args.securityGroupId],
      enableCrossZoneLoadBalancing: true,
    },
    child,
  );
  const way = (label: string, nodes: readonly Ec2Node[], port: number, path: string): lb.TargetGroup => {
    const name = `${prefix}${label}`;
    const targets = new lb.TargetGroup(
      name,
      {
        ...{ port: POSTGRES_PORT, protocol: "TCP", targetType: "ip", vpcId: network.vpcId },
        deregistrationDelay: 0,
        // Clients of a primary that is none any more must notice.
        connectionTermination: true,
        healthCheck: {
          ...{ protocol: "HTTPS", port: String(PATRONI_PORT), path, matcher: "200" },
          ...{ interval: 5, timeout: 4, healthyThreshold: 2, unhealthyThreshold: 2 },
        },
      },
      child,
    );
    new lb.Listener(
      name,
      {
        ...{ loadBalancerArn: balancer.arn, port, protocol: "TCP" },
        defaultActions: [{ type: "forward", targetGroupArn: targets.arn }],
      },
      child,
    );
    for (const node of nodes) {
      new lb.TargetGroupAttachment(
        `${label}-${node.name}`,
        { targetGroupArn: targets.arn, targetId: node.address, port: POSTGRES_PORT },
        child,
      );
    }
    return targets;
  };
  const write = way("write", coordinator.nodes, POSTGRES_PORT, "/primary");
  // Patroni knows no lag behind another region; who is far behind an alarm takes out of the names.
  const readers = beside ? "/read-only" : `/replica?lag=${args.maxReadLagMiB}MB`;
  const read = way("read", coordinator.nodes, READ_PORT, readers);
  if (linked) {
    for (const { group, nodes } of clusters) way(`link-${group}`, nodes, linkPort(group), "/primary");
  }
  const record = new route53.Record(
    `${prefix}${DATABASE_LABEL}`,
    {
      ...{ zoneId: args.zoneId, name: `${DATABASE_LABEL}.${domain}`, type: "A" },
      aliases: [{ name: balancer.dnsName, zoneId: balancer.zoneId, evaluateTargetHealth: false }],
    },
    child,
  );
  return {
    ...{ address: record.name, arn: balancer.arn },
    alias: { name: balancer.dnsName, zoneId: balancer.zoneId },
    figures: { balancer: balancer.arnSuffix, write: write.arnSuffix, read: read.arnSuffix },
  };
}
