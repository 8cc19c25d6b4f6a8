import * as pulumi from "@pulumi/pulumi";
import { type ContainerRegionsArgs, type MadeRegions, regionContainers } from "./docker/regionContainers.ts";

/**
 * The regions of a stack beside the one where it began: replicas of every cluster, reads near whoever reads, writes led to
 * the region where the primary is, and what agrees on which region that is. Which one it is at a time is not a resource's
 * to say: `region promote` moves it.
 */
export class MultiRegion extends pulumi.ComponentResource {
  readonly made: MadeRegions;

  constructor(name: string, args: ContainerRegionsArgs, opts?: pulumi.ComponentResourceOptions) {
    super("cgraph:db:MultiRegion", name, {}, opts);
    this.made = regionContainers(args, this);
    this.registerOutputs({ regions: this.made.regions.map((region) => region.name) });
  }
}
