import * as lb from "@pulumi/aws/lb/index.js";
import * as route53 from "@pulumi/aws/route53/index.js";
import type * as pulumi from "@pulumi/pulumi";
import type { Ec2Node } from "../../stacks/aws/citusPlan.ts";
import type { AwsSite } from "./AwsSite.ts";
import { POSTGRES_PORT, awsName } from "./names.ts";

export const PATRONI_PORT = 8008;
/** Where the coordinator's standbys serve reads. */
export const READ_PORT = 5433;
/** The name by which clients reach the coordinator, before the stack's domain. */
export const DATABASE_LABEL = "database";

export interface CitusBalancerArgs {
  readonly site: AwsSite;
  /** The coordinator's. */
  readonly nodes: readonly Ec2Node[];
  readonly securityGroupId: pulumi.Output<string>;
  /** MiB of WAL that a standby may lack and still serve reads. */
  readonly maxReadLagMiB: number;
  readonly zoneId: pulumi.Output<string>;
  readonly domain: string;
}

export interface CitusBalancer {
  /** `database.production.cgraph.internal`. */
  readonly address: pulumi.Output<string>;
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
  const { site, nodes, domain } = args;
  const { network, stack } = site;
  const child = { parent };
  const balancer = new lb.LoadBalancer(
    "database",
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
  const way = (name: "write" | "read", port: number, path: string): lb.TargetGroup => {
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
        `${name}-${node.name}`,
        { targetGroupArn: targets.arn, targetId: node.address, port: POSTGRES_PORT },
        child,
      );
    }
    return targets;
  };
  const write = way("write", POSTGRES_PORT, "/primary");
  const read = way("read", READ_PORT, `/replica?lag=${args.maxReadLagMiB}MB`);
  const record = new route53.Record(
    DATABASE_LABEL,
    {
      ...{ zoneId: args.zoneId, name: `${DATABASE_LABEL}.${domain}`, type: "A" },
      aliases: [{ name: balancer.dnsName, zoneId: balancer.zoneId, evaluateTargetHealth: false }],
    },
    child,
  );
  return {
    address: record.name,
    figures: { balancer: balancer.arnSuffix, write: write.arnSuffix, read: read.arnSuffix },
  };
}
