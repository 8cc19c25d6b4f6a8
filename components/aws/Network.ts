import * as ec2 from "@pulumi/aws/ec2/index.js";
import * as vpc from "@pulumi/aws/vpc/index.js";
import * as pulumi from "@pulumi/pulumi";
import { subnetCidrs } from "../../stacks/aws/cidr.ts";
import type { Endpoints } from "../../stacks/aws/services.ts";
import { zonesOf } from "../../stacks/aws/zones.ts";
import { awsName } from "./names.ts";

export type NetworkArgs = {
  readonly stack: string;
  readonly region: string;
  readonly clientCidrs: readonly string[];
  /** What its resources' names in Pulumi begin with, where there are several networks; default nothing. */
  readonly prefix?: string;
} & (
  | {
      /** Addresses of a VPC of the stack's own. */
      readonly cidr: string;
      /** Availability zones with a private subnet each. */
      readonly zones: number;
    }
  | { readonly vpcId: string; readonly subnetIds: readonly string[] }
);

/** Whoever may open connections to a service, and to which port. */
export interface Ingress {
  readonly port: number;
  readonly from: readonly pulumi.Input<string>[];
  readonly cidrs?: readonly string[];
}

/**
 * Private subnets in several zones, with no way to or from the internet, and the security group of those who may
 * connect: a server of the application's joins it, and reaches the database.
 */
export class Network extends pulumi.ComponentResource {
  readonly vpcId: pulumi.Output<string>;
  readonly subnetIds: readonly pulumi.Output<string>[];
  /** Zones in the order of the subnets; undefined in an existing VPC, whose subnets say where they are. */
  readonly zones: readonly string[] | undefined;
  readonly clientGroupId: pulumi.Output<string>;
  /** Of a VPC of the stack's own. */
  readonly routeTableId: pulumi.Output<string> | undefined;
  readonly #stack: string;
  readonly #prefix: string;
  readonly #clientCidrs: readonly string[];

  constructor(name: string, args: NetworkArgs, opts?: pulumi.ComponentResourceOptions) {
    super("cgraph:aws:Network", name, {}, opts);
    this.#stack = args.stack;
    this.#prefix = args.prefix ?? "";
    this.#clientCidrs = args.clientCidrs;
    const own = "cidr" in args ? this.#ownVpc(args.cidr, args.zones, args.region) : undefined;
    if (own) {
      this.vpcId = own.vpcId;
      this.subnetIds = own.subnetIds;
      this.zones = own.zones;
      this.routeTableId = own.routeTableId;
    } else {
      const existing = args as { vpcId: string; subnetIds: readonly string[] };
      this.vpcId = pulumi.output(existing.vpcId);
      this.subnetIds = existing.subnetIds.map((id) => pulumi.output(id));
      this.zones = undefined;
      this.routeTableId = undefined;
    }
    this.clientGroupId = this.securityGroup("clients", "May connect to CGraph's database", []).id;
    this.registerOutputs({ vpcId: this.vpcId, subnetIds: this.subnetIds, clientGroupId: this.clientGroupId });
  }

  #ownVpc(cidr: string, zoneCount: number, region: string) {
    const child = { parent: this };
    const prefix = this.#prefix;
    const own = new ec2.Vpc(
      `${prefix}vpc`,
      { cidrBlock: cidr, enableDnsSupport: true, enableDnsHostnames: true, tags: { Name: awsName(this.#stack) } },
      child,
    );
    // No route but the VPC's own, and to the stack's other regions: what is in here reaches nothing outside, and nothing
    // outside reaches it.
    const routes = new ec2.RouteTable(
      `${prefix}private`,
      { vpcId: own.id, tags: { Name: awsName(this.#stack, "private") } },
      child,
    );
    const zones = zonesOf(region, zoneCount);
    // Sixteen parts: room for public ones, should there ever be any.
    const cidrs = subnetCidrs(cidr, 4, zoneCount);
    const subnets = zones.map((zone, index) => {
      const subnet = new ec2.Subnet(
        `${prefix}private-${index}`,
        {
          vpcId: own.id,
          cidrBlock: cidrs[index] ?? "",
          availabilityZone: zone,
          mapPublicIpOnLaunch: false,
          tags: { Name: awsName(this.#stack, "private", zone) },
        },
        child,
      );
      new ec2.RouteTableAssociation(
        `${prefix}private-${index}`,
        { subnetId: subnet.id, routeTableId: routes.id },
        child,
      );
      return subnet;
    });
    return { vpcId: own.id, routeTableId: routes.id, subnetIds: subnets.map((subnet) => subnet.id), zones };
  }

  /** A security group that lets in who is named, to the port that is named, and nothing else. */
  securityGroup(name: string, description: string, ingress: readonly Ingress[]): ec2.SecurityGroup {
    const child = { parent: this };
    const prefix = this.#prefix;
    const group = new ec2.SecurityGroup(
      `${prefix}${name}`,
      {
        vpcId: this.vpcId,
        description: `${description}, stack ${this.#stack}`,
        tags: { Name: awsName(this.#stack, name) },
      },
      child,
    );
    new vpc.SecurityGroupEgressRule(
      `${prefix}${name}-out`,
      { securityGroupId: group.id, ipProtocol: "-1", cidrIpv4: "0.0.0.0/0", description: "Answers, and calls to AWS" },
      child,
    );
    for (const { port, from, cidrs = [] } of ingress) {
      from.forEach((referencedSecurityGroupId, index) => {
        this.#letIn(`${name}-${port}-${index}`, group, port, {
          referencedSecurityGroupId,
          description: "From a security group",
        });
      });
      cidrs.forEach((cidrIpv4, index) => {
        this.#letIn(`${name}-${port}-cidr-${index}`, group, port, { cidrIpv4, description: "cgraph:clientCidrs" });
      });
    }
    return group;
  }

  #letIn(
    name: string,
    { id }: ec2.SecurityGroup,
    port: number,
    who: Pick<vpc.SecurityGroupIngressRuleArgs, "referencedSecurityGroupId" | "cidrIpv4" | "description">,
  ): void {
    new vpc.SecurityGroupIngressRule(
      `${this.#prefix}${name}`,
      { securityGroupId: id, ipProtocol: "tcp", fromPort: port, toPort: port, ...who },
      { parent: this },
    );
  }

  /** Lets the servers of a group reach each other. */
  letInEachOther(name: string, group: ec2.SecurityGroup, port: number): void {
    this.#letIn(`${name}-${port}-servers`, group, port, {
      referencedSecurityGroupId: group.id,
      description: "From each other",
    });
  }

  /**
   * Ways to AWS's own services that stay within the stack's own VPC, which has no other way out. `servers`: groups that
   * may take them beside the clients'. Within the VPC nobody reaches those services otherwise.
   */
  serviceEndpoints(
    region: string,
    { interfaces, gateways }: Endpoints,
    servers: readonly pulumi.Input<string>[] = [],
  ): void {
    const routes = this.routeTableId;
    if (routes === undefined || interfaces.length + gateways.length === 0) return;
    const group = this.securityGroup("endpoints", "AWS services", [
      { port: 443, from: [this.clientGroupId, ...servers] },
    ]);
    const endpoint = (service: string, how: Partial<ec2.VpcEndpointArgs>): ec2.VpcEndpoint =>
      new ec2.VpcEndpoint(
        service.replaceAll(".", "-"),
        {
          vpcId: this.vpcId,
          serviceName: `com.amazonaws.${region}.${service}`,
          tags: { Name: awsName(this.#stack, service) },
          ...how,
        },
        { parent: this },
      );
    for (const service of gateways) endpoint(service, { vpcEndpointType: "Gateway", routeTableIds: [routes] });
    for (const { service, zones } of interfaces) {
      endpoint(service, {
        vpcEndpointType: "Interface",
        privateDnsEnabled: true,
        subnetIds: this.subnetIds.slice(0, zones),
        securityGroupIds: [group.id],
      });
    }
  }

  /** The group of a service that clients connect to. */
  serviceGroup(name: string, description: string, port: number): ec2.SecurityGroup {
    return this.securityGroup(name, description, [{ port, from: [this.clientGroupId], cidrs: this.#clientCidrs }]);
  }
}
