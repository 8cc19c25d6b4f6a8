import * as rds from "@pulumi/aws/rds/index.js";
import type * as pulumi from "@pulumi/pulumi";
import type { AwsRegion } from "../../stacks/aws/plan.ts";
import { ZONES } from "../../stacks/aws/zones.ts";
import { AwsSite } from "./AwsSite.ts";
import { POSTGRES_PORT, awsName } from "./names.ts";
import type { InstancePlace, RdsServer } from "./rdsInstance.ts";

/** One of the clusters at home. */
export interface HomeCluster {
  /** Null: the first. */
  readonly name: string | null;
  /** The primary first. */
  readonly servers: readonly RdsServer[];
}

/** A service at home that other regions may reach. */
export interface OpenService {
  /** Part of its rules' names: `database`. */
  readonly name: string;
  readonly securityGroupId: pulumi.Input<string>;
  readonly port: number;
}

/** The region where the primaries are, as the others need to know it. */
export interface HomeRegion {
  readonly site: AwsSite;
  /** Addresses of its VPC; undefined for an existing one, whose owner connects it. */
  readonly cidr: string | undefined;
  readonly clusters: readonly HomeCluster[];
  /** The database, and the pool where there is one. */
  readonly services: readonly OpenService[];
  /** A role is the same in every region. */
  readonly monitoringRoleArn: pulumi.Output<string>;
}

/** A region beside home: what its servers stand on. */
export interface RegionSite {
  readonly name: string;
  readonly cidr: string;
  readonly site: AwsSite;
  readonly place: InstancePlace;
  readonly fenceGroupId: pulumi.Output<string>;
}

export interface RegionSiteArgs {
  readonly home: Pick<HomeRegion, "site" | "monitoringRoleArn" | "clusters">;
  readonly region: Pick<AwsRegion, "name" | "cidr">;
  /** Addresses outside of the VPCs that may connect, in every region. */
  readonly clientCidrs: readonly string[];
  readonly keepData: boolean;
}

/** A group that lets nobody in: where a primary goes that another region has replaced, since RDS stops none with replicas. */
export const fenceGroup = ({ network }: AwsSite): pulumi.Output<string> =>
  network.securityGroup("fence", "Lets nobody in: for a primary that was replaced", []).id;

/** A region's provider, network and key, the database's subnets, and the group of who may connect. */
export function regionSite(args: RegionSiteArgs, parent: pulumi.Resource): RegionSite {
  const { home, region, clientCidrs, keepData } = args;
  const { stack } = home.site;
  const prefix = `${region.name}-`;
  const site = new AwsSite(
    `${prefix}site`,
    {
      ...{ stack, region: region.name, network: { cidr: region.cidr, zones: ZONES }, clientCidrs },
      ...{ keepData, prefix, holdsCopies: true },
    },
    { parent },
  );
  const subnets = new rds.SubnetGroup(
    `${prefix}database`,
    { name: awsName(stack), description: `Private subnets of stack ${stack}`, subnetIds: [...site.network.subnetIds] },
    { parent: site, provider: site.provider },
  );
  const group = site.network.serviceGroup("database", "PostgreSQL", POSTGRES_PORT);
  // Shards meet here too, when the region has taken over.
  if (home.clusters.length > 1) site.network.letInEachOther("database", group, POSTGRES_PORT);
  const place: InstancePlace = {
    subnetGroupName: subnets.name,
    securityGroupId: group.id,
    monitoringRoleArn: home.monitoringRoleArn,
  };
  return { ...region, site, place, fenceGroupId: fenceGroup(site) };
}
