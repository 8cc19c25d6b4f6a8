import * as ec2 from "@pulumi/aws/ec2/index.js";
import * as vpc from "@pulumi/aws/vpc/index.js";
import type * as pulumi from "@pulumi/pulumi";
import type { AwsSite } from "./AwsSite.ts";
import { POSTGRES_PORT, awsName } from "./names.ts";
import type { HomeRegion, OpenService, RegionSite } from "./regionSite.ts";

/** A site whose VPC is the stack's own, with its addresses. */
export interface Peer {
  readonly site: AwsSite;
  readonly cidr: string;
  /** Routes beside the network's own that lead to the others too; default none. By part of their names: `nodes`. */
  readonly more?: Readonly<Record<string, pulumi.Output<string>>>;
}

/**
 * Lets another region's VPC in, by its addresses, or some of them: no security group can name one of another region.
 * `service`: up to its `lastPort`, where it has several.
 */
export function openTo(
  service: OpenService & { readonly lastPort?: number },
  from: Peer,
  opts: pulumi.CustomResourceOptions,
): void {
  const { region } = from.site;
  new vpc.SecurityGroupIngressRule(
    `${service.name}-from-${region}`,
    {
      securityGroupId: service.securityGroupId,
      ipProtocol: "tcp",
      fromPort: service.port,
      toPort: service.lastPort ?? service.port,
      cidrIpv4: from.cidr,
      description: `The stack's VPC in ${region}`,
    },
    opts,
  );
}

/** A way between two regions' VPCs, over AWS's own network, encrypted; both ways. */
function peer(here: Peer, there: Peer, parent: pulumi.Resource): void {
  const name = `${here.site.region}-${there.site.region}`;
  const tags = { Name: awsName(here.site.stack, name) };
  const hereIn = { parent, provider: here.site.provider };
  const thereIn = { parent, provider: there.site.provider };
  const connection = new ec2.VpcPeeringConnection(
    name,
    {
      vpcId: here.site.network.vpcId,
      peerVpcId: there.site.network.vpcId,
      peerRegion: there.site.region,
      tags,
    },
    hereIn,
  );
  const accepted = new ec2.VpcPeeringConnectionAccepter(
    name,
    { vpcPeeringConnectionId: connection.id, autoAccept: true, tags },
    thereIn,
  );
  for (const [from, to, opts] of [
    [here, there, hereIn],
    [there, here, thereIn],
  ] as const) {
    const { routeTableId } = from.site.network;
    if (routeTableId === undefined) throw new Error(`the network in ${from.site.region} has no routes of ours`);
    for (const [label, table] of Object.entries({ "": routeTableId, ...from.more })) {
      new ec2.Route(
        [from.site.region, ...(label === "" ? [] : [label]), "to", to.site.region].join("-"),
        {
          ...{ routeTableId: table, destinationCidrBlock: to.cidr },
          vpcPeeringConnectionId: accepted.vpcPeeringConnectionId,
        },
        opts,
      );
    }
  }
}

/** Connects every pair of regions. In an order that the configuration's does not change: it is part of names. */
export function peerAll(home: Peer | undefined, others: readonly Peer[], parent: pulumi.Resource): readonly Peer[] {
  const peers = [...(home ? [home] : []), ...others.toSorted((a, b) => a.site.region.localeCompare(b.site.region))];
  peers.forEach((one, index) => {
    for (const other of peers.slice(index + 1)) peer(one, other, parent);
  });
  return peers;
}

/**
 * Connects the VPCs, every pair that is the stack's own: applications everywhere write at home, and whichever region takes
 * over, the others reach it. Names of RDS's instances and of the pool's balancer resolve to private addresses everywhere,
 * so no names are resolved across.
 */
export function connectRegions(home: HomeRegion, regions: readonly RegionSite[], parent: pulumi.Resource): void {
  const peers = peerAll(home.cidr === undefined ? undefined : { site: home.site, cidr: home.cidr }, regions, parent);
  for (const region of regions) {
    const { name, site, place } = region;
    for (const service of home.services) openTo(service, region, { parent, provider: home.site.provider });
    const database = { name: `${name}-database`, securityGroupId: place.securityGroupId, port: POSTGRES_PORT };
    for (const from of peers.filter((one) => one.site !== site)) {
      openTo(database, from, { parent, provider: site.provider });
    }
  }
}
