import * as ec2 from "@pulumi/aws/ec2/index.js";
import type * as pulumi from "@pulumi/pulumi";
import type { CitusPlace } from "../../stacks/aws/citusPlan.ts";
import type { AwsSite } from "./AwsSite.ts";
import { awsName } from "./names.ts";

/** Everywhere: package archives have no addresses that could be named. */
const EVERYWHERE = "0.0.0.0/0";

export interface NodeNetwork {
  /** By zone. */
  readonly subnetIds: readonly pulumi.Output<string>[];
  /** The way to package archives: instances that are made before it would wait for it. */
  readonly ready: readonly pulumi.Resource[];
  /** The routes of all of them. */
  readonly routeTableId: pulumi.Output<string>;
}

/**
 * Subnets of the nodes of a Citus cluster, whose addresses nobody else has: servers know each other by them. They reach
 * package archives and AWS by a NAT gateway; nothing outside reaches them. The stack's other subnets have no such way.
 */
export function nodeNetwork(
  site: AwsSite,
  { zones: cidrs, wayOut }: CitusPlace["network"],
  parent: pulumi.Resource,
): NodeNetwork {
  const child = { parent };
  const { network, stack, region, prefix } = site;
  const { vpcId, zones = [] } = network;
  const named = (...parts: string[]) => ({ tags: { Name: awsName(stack, ...parts) } });
  const gateway = new ec2.InternetGateway(`${prefix}way-out`, { vpcId, ...named("way-out") }, child);
  const outside = new ec2.Subnet(
    `${prefix}way-out`,
    {
      ...{ vpcId, cidrBlock: wayOut, mapPublicIpOnLaunch: false, ...named("way-out") },
      ...(zones[0] !== undefined && { availabilityZone: zones[0] }),
    },
    child,
  );
  const outsideRoutes = new ec2.RouteTable(`${prefix}way-out`, { vpcId, ...named("way-out") }, child);
  const toInternet = new ec2.Route(
    `${prefix}way-out`,
    { routeTableId: outsideRoutes.id, destinationCidrBlock: EVERYWHERE, gatewayId: gateway.id },
    child,
  );
  new ec2.RouteTableAssociation(`${prefix}way-out`, { subnetId: outside.id, routeTableId: outsideRoutes.id }, child);
  const address = new ec2.Eip(`${prefix}way-out`, { domain: "vpc", ...named("way-out") }, child);
  // One: nodes that run need it for nothing but figures; a new one waits until its zone is back.
  const nat = new ec2.NatGateway(
    `${prefix}way-out`,
    { allocationId: address.id, subnetId: outside.id, ...named("way-out") },
    { ...child, dependsOn: [toInternet] },
  );
  const routes = new ec2.RouteTable(`${prefix}nodes`, { vpcId, ...named("nodes") }, child);
  const route = new ec2.Route(
    `${prefix}nodes`,
    { routeTableId: routes.id, destinationCidrBlock: EVERYWHERE, natGatewayId: nat.id },
    child,
  );
  // Backups go by a way of their own, without cost.
  const storage = new ec2.VpcEndpoint(
    `${prefix}nodes-s3`,
    {
      ...{ vpcId, serviceName: `com.amazonaws.${region}.s3`, vpcEndpointType: "Gateway", ...named("nodes-s3") },
      routeTableIds: [routes.id],
    },
    child,
  );
  const associations: pulumi.Resource[] = [];
  const subnetIds = cidrs.map((cidrBlock, index) => {
    const availabilityZone = zones[index];
    const subnet = new ec2.Subnet(
      `${prefix}nodes-${index}`,
      {
        ...{ vpcId, cidrBlock, mapPublicIpOnLaunch: false, ...named("nodes", String(index)) },
        ...(availabilityZone !== undefined && { availabilityZone }),
      },
      child,
    );
    associations.push(
      new ec2.RouteTableAssociation(`${prefix}nodes-${index}`, { subnetId: subnet.id, routeTableId: routes.id }, child),
    );
    return subnet.id;
  });
  return { subnetIds, ready: [route, storage, ...associations], routeTableId: routes.id };
}
