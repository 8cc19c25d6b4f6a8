/** EC2's classes that nodes of a Citus cluster are given, with their list prices, and what their volumes may be. */
import { UserError } from "../../tuning/errors.ts";
import type { ServerClass } from "./classes.ts";

const of = (name: string, cpus: number, memoryGiB: number, usdPerHour: number): ServerClass => ({
  ...{ name, cpus, memoryMiB: memoryGiB * 1024, usdPerHour },
  burstable: name.startsWith("t"),
});

/**
 * On demand, Linux, us-east-1: AWS's list prices as they were known when this was written, in November 2026, not read off
 * AWS's list, which was out of reach; hold them against it before money depends on them. amd64 only: the Citus project has packages for no other architecture
 * (citusdata/citus issue 7851), so Graviton's lower prices are out of reach.
 */
export const EC2_CLASSES: readonly ServerClass[] = [
  of("t3a.small", 2, 2, 0.0188),
  of("t3a.medium", 2, 4, 0.0376),
  of("m6a.large", 2, 8, 0.0864),
  of("m6a.xlarge", 4, 16, 0.1728),
  of("r6a.xlarge", 4, 32, 0.2268),
  of("m6a.2xlarge", 8, 32, 0.3456),
  of("r6a.2xlarge", 8, 64, 0.4536),
  of("m6a.4xlarge", 16, 64, 0.6912),
  of("r6a.4xlarge", 16, 128, 0.9072),
  of("m6a.8xlarge", 32, 128, 1.3824),
  of("m7i.8xlarge", 32, 128, 1.6128),
  of("r6a.8xlarge", 32, 256, 1.8144),
  of("m7a.8xlarge", 32, 128, 1.85472),
  of("m6a.12xlarge", 48, 192, 2.0736),
  of("m6a.16xlarge", 64, 256, 2.7648),
  of("r6a.16xlarge", 64, 512, 3.6288),
];

/** A volume of gp3. */
export interface Ebs {
  readonly sizeGiB: number;
  readonly iops: number;
  readonly throughputMiBs: number;
}

/** What every gp3 volume has without extra cost (Amazon EBS User Guide, "General Purpose SSD volumes"). */
export const EBS_BASELINE = { iops: 3000, throughputMiBs: 125 } as const;
/** Of the same page: the most, and how many IOPS a MiB/s takes. */
const EBS_MOST = { sizeGiB: 65_536, iops: 80_000, throughputMiBs: 2000, iopsPerMiBs: 4 } as const;

/** Refuses a volume that EBS would refuse. Throws a UserError that says what would do. */
export function checkEbs({ sizeGiB, iops, throughputMiBs }: Ebs): void {
  if (sizeGiB > EBS_MOST.sizeGiB || iops > EBS_MOST.iops || throughputMiBs > EBS_MOST.throughputMiBs) {
    throw new UserError(
      `gp3 volumes of EC2 have at most ${EBS_MOST.sizeGiB} GiB, ${EBS_MOST.iops} IOPS and ${EBS_MOST.throughputMiBs} MiB/s; these are ${sizeGiB} GiB, ${iops} IOPS and ${throughputMiBs} MiB/s`,
      "lower cgraph:storageGiB, cgraph:storageIops or cgraph:storageThroughputMiBs",
    );
  }
  if (iops < throughputMiBs * EBS_MOST.iopsPerMiBs) {
    throw new UserError(
      `gp3 gives at most a MiB/s for each ${EBS_MOST.iopsPerMiBs} IOPS: ${throughputMiBs} MiB/s need ${throughputMiBs * EBS_MOST.iopsPerMiBs} IOPS, not ${iops}`,
      "raise cgraph:storageIops or lower cgraph:storageThroughputMiBs",
    );
  }
}
