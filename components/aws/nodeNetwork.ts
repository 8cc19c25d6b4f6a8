import * as ec2 from "@pulumi/aws/ec2/index.js";
import type * as pulumi from "@pulumi/pulumi";
import type { CitusAwsPlan } from "../../stacks/aws/citusPlan.ts";
import type { AwsSite } from "./AwsSite.ts";
import { awsName } from "./names.ts";

/** Everywhere: package archives have no addresses that could be named. */
const EVERYWHERE = "0.0.0.0/0";

export interface NodeNetwork {
  /** By zone. */
  readonly subnetIds: readonly pulumi.Output<string>[];
  /** The way to package archives: instances that are made before it would wait for it. */
  readonly ready: readonly pulumi.Resource[];
}

/**
 * Subnets of the nodes of a Citus cluster, whose addresses nobody else has: servers know each other by them. They reach
 * package archives and AWS by a NAT gateway; nothing outside reaches them. The stack's other subnets have no such way.
 */
export function nodeNetwork(
  site: AwsSite,
  { zones: cidrs, wayOut }: CitusAwsPlan["network"],
  parent: pulumi.Resource,
): NodeNetwork {
  const child = { parent };
  const { network, stack, region } = site;
  const { vpcId, zones = [] } = network;
  const named = (...parts: string[]) => ({ tags: { Name: awsName(stack, ...parts) } });
  const gateway = new ec2.InternetGateway("way-out", { vpcId, ...named("way-out") }, child);
  const outside = new ec2.Subnet(
    "way-out",
    {
      ...{ vpcId, cidrBlock: wayOut, mapPublicIpOnLaunch: false, ...named("way-out") },
      ...(zones[0] !== undefined && { availabilityZone: zones[0] }),
    },
    child,
  );
  const outsideRoutes = new ec2.RouteTable("way-out", { vpcId, ...named("way-out") }, child);
  const toInternet = new ec2.Route(
    "way-out",
    { routeTableId: outsideRoutes.id, destinationCidrBlock: EVERYWHERE, gatewayId: gateway.id },
    child,
  );
  new ec2.RouteTableAssociation("way-out", { subnetId: outside.id, routeTableId: outsideRoutes.id }, child);
  const address = new ec2.Eip("way-out", { domain: "vpc", ...named("way-out") }, child);
  // One: nodes that run need it for nothing but figures; a new one waits until its zone is back.
  const nat = new ec2.NatGateway(
    "way-out",
    { allocationId: address.id, subnetId: outside.id, ...named("way-out") },
    { ...child, dependsOn: [toInternet] },
  );
  const routes = new ec2.RouteTable("nodes", { vpcId, ...named("nodes") }, child);
  const route = new ec2.Route(
    "nodes",
    { routeTableId: routes.id, destinationCidrBlock: EVERYWHERE, natGatewayId: nat.id },
    child,
  );
  // Backups go by a way of their own, without cost.
  const storage = new ec2.VpcEndpoint(
    "nodes-s3",
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
      `nodes-${index}`,
      {
        ...{ vpcId, cidrBlock, mapPublicIpOnLaunch: false, ...named("nodes", String(index)) },
        ...(availabilityZone !== undefined && { availabilityZone }),
      },
      child,
    );
    associations.push(
      new ec2.RouteTableAssociation(`nodes-${index}`, { subnetId: subnet.id, routeTableId: routes.id }, child),
    );
    return subnet.id;
  });
  return { subnetIds, ready: [route, storage, ...associations] };
}
