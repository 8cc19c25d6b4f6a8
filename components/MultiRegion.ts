import * as pulumi from "@pulumi/pulumi";
import { type CitusSitesArgs, citusSites } from "./aws/citusRegions.ts";
import { type RdsRegions, type RdsRegionsArgs, rdsRegions } from "./aws/rdsRegions.ts";
import { type ContainerRegionsArgs, type MadeRegions, regionContainers } from "./docker/regionContainers.ts";

export type MultiRegionArgs = ContainerRegionsArgs | RdsRegionsArgs | CitusSitesArgs;

/**
 * The regions of a stack beside the one where it began: replicas of every cluster, reads near whoever reads, writes led to
 * the region where the primary is; in Docker also what agrees on which region that is. Which one it is at a time is not a
 * resource's to say: `region promote` moves it. Names begin with the region, so that regions come and go without touching
 * home or each other. Of a Citus cluster on EC2 it has the ground: clusters there are CitusClusters too, joined with home's.
 */
export class MultiRegion<Args extends MultiRegionArgs> extends pulumi.ComponentResource {
  readonly made: Args extends RdsRegionsArgs
    ? RdsRegions
    : Args extends CitusSitesArgs
      ? ReturnType<typeof citusSites>
      : MadeRegions;

  constructor(name: string, args: Args, opts?: pulumi.ComponentResourceOptions) {
    super("cgraph:db:MultiRegion", name, {}, opts);
    const given: MultiRegionArgs = args;
    const made =
      "target" in given
        ? "sites" in given
          ? citusSites(given, this)
          : rdsRegions(given, this)
        : regionContainers(given, this);
    this.made = made as typeof this.made;
    this.registerOutputs({ regions: made.regions.map((region) => region.name) });
  }
}
