/** How long AWS takes for what, and from whom we have it. */
import type { Estimate } from "./moveSteps.ts";

export const MINUTE = 60;

/** What AWS says of its services' times, and what we take where it says nothing. The worse end of a range. */
export const AWS = {
  failover: { seconds: 120, basis: "a Multi-AZ failover takes 60 to 120 s (Amazon RDS User Guide)" },
  reboot: { seconds: 3 * MINUTE, basis: "a reboot without a standby; AWS names no figure, we take three minutes" },
  classAlone: {
    seconds: 10 * MINUTE,
    basis: "another class without a standby: several minutes (Amazon RDS User Guide), we take ten",
  },
  snapshotPause: {
    seconds: MINUTE,
    basis:
      "a replica is copied from a snapshot, for which a server without a standby stops I/O for about a minute (Amazon RDS User Guide)",
  },
  drained: {
    seconds: 1,
    basis:
      "new tasks of the pool take over, the old ones have two minutes to let their clients finish: a reconnect each",
  },
  classChange: {
    seconds: 15 * MINUTE,
    basis: "AWS names no figure; a quarter of an hour for each server, by experience of others",
  },
  create: {
    seconds: 15 * MINUTE,
    basis: "a server, the pool and the cache are made at once; a quarter of an hour, AWS names no figure",
  },
  small: { seconds: 5 * MINUTE, basis: "balancer and tasks of Fargate; AWS names no figure, we take five minutes" },
  cache: { seconds: 15 * MINUTE, basis: "a cache of ElastiCache; AWS names no figure, we take a quarter of an hour" },
  delete: { seconds: 10 * MINUTE, basis: "a server or a cache is deleted; AWS names no figure, we take ten minutes" },
  promotion: {
    seconds: 10 * MINUTE,
    basis: "a promotion takes several minutes and ends with a reboot (Amazon RDS User Guide); we take ten",
  },
  acrossRegions: {
    seconds: 60 * MINUTE,
    basis: "a snapshot is copied to the other region first; AWS names no figure, an hour taken, more for much data",
  },
  person: { seconds: 2 * MINUTE, basis: "a person looks" },
} as const satisfies Record<string, Estimate>;

/** Beside the data's size: the server itself. */
export const REPLICA_BASE_SECONDS = 15 * MINUTE;
/** Storage of a new server is read from the snapshot; a cautious rate. */
export const REPLICA_BYTES_PER_SECOND = 100 * 1024 * 1024;
/** `partitions convert` through the network, cautiously: as on two cores. */
export const CONVERT_BYTES_PER_SECOND = 8 * 1024 * 1024;
