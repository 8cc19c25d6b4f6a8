import type * as pulumi from "@pulumi/pulumi";
import type { AwsPlan, AwsRegion } from "../../stacks/aws/plan.ts";
import { ReadReplicaSet } from "../ReadReplicaSet.ts";
import type { NearestReads } from "./nearestReads.ts";
import { connectRegions } from "./peering.ts";
import type { RdsReplicaArgs, RdsServer } from "./rdsInstance.ts";
import { regionReads } from "./regionReads.ts";
import { type HomeRegion, type RegionSite, type RegionSiteArgs, fenceGroup, regionSite } from "./regionSite.ts";

export interface RdsRegionsArgs
  extends
    Pick<RdsReplicaArgs, "postgresVersion" | "applyImmediately">,
    Pick<RegionSiteArgs, "clientCidrs" | "keepData"> {
  readonly target: "aws";
  readonly plan: Pick<AwsPlan, "nodes" | "regions">;
  readonly home: HomeRegion;
  /** Who hears of alarms by e-mail. */
  readonly email: string | undefined;
}

/** A region beside home, on RDS. */
export interface RdsRegion extends RegionSite {
  /** Replicas, in the order of the plan's nodes. */
  readonly servers: readonly RdsServer[];
}

/** What several regions are on RDS. */
export interface RdsRegions {
  readonly regions: readonly RdsRegion[];
  readonly reads: NearestReads;
  /** Home's. */
  readonly fenceGroupId: pulumi.Output<string>;
}

/** A region's network and key, and the replicas of every cluster, which follow home by RDS's own connection. */
function makeRegion(planned: AwsRegion, args: RdsRegionsArgs, parent: pulumi.Resource): RdsRegion {
  const { home, clientCidrs, keepData, postgresVersion, applyImmediately } = args;
  const { name, cidr } = planned;
  const made = regionSite({ home, region: { name, cidr }, clientCidrs, keepData }, parent);
  const { site, place } = made;
  const common = { target: "aws", site, place, postgresVersion, applyImmediately, acrossRegions: true } as const;
  const servers = home.clusters.flatMap(({ name: cluster, servers: [primary] }) => {
    if (!primary) throw new Error(`cluster ${cluster ?? "shard0"} has no server`);
    return new ReadReplicaSet(
      [name, ...(cluster === null ? [] : [cluster]), "replicas"].join("-"),
      { ...common, source: primary, nodes: planned.nodes.filter((node) => node.cluster === cluster) },
      { parent, providers: [site.provider] },
    ).servers;
  });
  return { ...made, servers };
}

/** Regions beside home on RDS: cross-region replicas, ways between the VPCs, alarms, names for the nearest reads. */
export function rdsRegions(args: RdsRegionsArgs, parent: pulumi.Resource): RdsRegions {
  const { home, plan, email } = args;
  const regions = plan.regions.map((planned) => makeRegion(planned, args, parent));
  connectRegions(home, regions, parent);
  const reads = regionReads({ plan, home, regions, email }, parent);
  return { regions, reads, fenceGroupId: fenceGroup(home.site) };
}
