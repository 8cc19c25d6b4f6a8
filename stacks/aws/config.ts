import { UserError } from "../../tuning/errors.ts";
import { type ConfigSource, flag, json, matching, oneOf, optional, wrong } from "../configValues.ts";
import type { StageNumber } from "../guide.ts";
import type { RegionsConfig } from "../regionsConfig.ts";
import { checkCidr, checkNoOverlap } from "./cidr.ts";
import { RDS_CLASSES, classNamed } from "./classes.ts";
import { EC2_CLASSES } from "./ec2Classes.ts";

/** Configuration of the target aws (`cgraph:…`), checked and with defaults filled in. */
export interface AwsConfig {
  /**
   * `cgraph:region`, default the first of `cgraph:regions`, and without that us-east-1 (guide: US-East is primary). A
   * change replaces everything, and is refused.
   */
  readonly region: string;
  /** `cgraph:vpcId`: an existing VPC; default: one of the stack's own. */
  readonly vpcId: string | undefined;
  /** `cgraph:subnetIds`: private subnets of the existing VPC, in two zones or more. */
  readonly subnetIds: readonly string[];
  /** `cgraph:vpcCidr`, default 10.20.0.0/16: addresses of the stack's own VPC; those of further regions are beside it. */
  readonly vpcCidr: string;
  /** `cgraph:clientCidrs`: addresses outside of the VPC that may connect, such as a peered VPC's; default none. */
  readonly clientCidrs: readonly string[];
  /** `cgraph:instanceClass`; default: the cheapest that has the stage's CPUs and memory. A change restarts. */
  readonly instanceClass: string | undefined;
  /** `cgraph:multiAz`, default from stage 2 on: a standby in another zone. Doubles the primary's price. */
  readonly multiAz: boolean;
  /** `cgraph:storageGiB`; default: the stage's. Grows by itself up to four times as much. */
  readonly storageGiB: number | undefined;
  /** `cgraph:storageIops`, from 400 GiB on; default: gp3's baseline there, 12 000. Costs above it. */
  readonly storageIops: number | undefined;
  /** `cgraph:storageThroughputMiBs`, from 400 GiB on; default: gp3's baseline there, 500. Costs above it. */
  readonly storageThroughputMiBs: number | undefined;
  /** `cgraph:applyImmediately`, default false: what restarts a server waits for its maintenance window. */
  readonly applyImmediately: boolean;
  /**
   * `cgraph:pooler`, from stage 2 on: pgbouncer (default), on Fargate; or rds-proxy, which AWS runs, has no pool for
   * reads, and costs by the primary's CPUs. A change gives clients another address.
   */
  readonly pooler: "pgbouncer" | "rds-proxy";
  /**
   * `cgraph:poolerImage`: PgBouncer's image in a registry that the tasks reach; default: the stack's own repository,
   * which `up` fills.
   */
  readonly poolerImage: string | undefined;
  /** `cgraph:accessHost`, default true: a small server through which people reach the database (Session Manager). */
  readonly accessHost: boolean;
  /**
   * `cgraph:keepData`, default true: databases, keys and secrets are protected, and stay when the stack is destroyed.
   * `down --delete-data` sets it to false.
   */
  readonly keepData: boolean;
  /** `cgraph:backupCopyRegion`: a snapshot a day is copied there; default: none. */
  readonly backupCopyRegion: string | undefined;
  /** `cgraph:citusAmi`, at stage 5: the image of the nodes' instances; default: Debian 13's newest. A change replaces them. */
  readonly citusAmi: string | undefined;
  /** `cgraph:cacheEngine`: valkey (default) or redis. */
  readonly cacheEngine: "valkey" | "redis";
}

export const AWS_KEYS = [
  "region",
  "vpcId",
  "subnetIds",
  "vpcCidr",
  "clientCidrs",
  "instanceClass",
  "multiAz",
  "storageGiB",
  "storageIops",
  "storageThroughputMiBs",
  "applyImmediately",
  "pooler",
  "poolerImage",
  "accessHost",
  "keepData",
  "backupCopyRegion",
  "citusAmi",
  "cacheEngine",
] as const;

/**
 * Regions in which RDS for PostgreSQL has the classes of this project's table. A region's place in this list says which
 * addresses its VPC has (regions.ts): new ones come last.
 */
export const REGIONS: readonly string[] = [
  "af-south-1 ap-east-1 ap-northeast-1 ap-northeast-2 ap-northeast-3 ap-south-1 ap-south-2 ap-southeast-1 ap-southeast-2",
  "ap-southeast-3 ap-southeast-4 ca-central-1 ca-west-1 eu-central-1 eu-central-2 eu-north-1 eu-south-1 eu-south-2",
  "eu-west-1 eu-west-2 eu-west-3 il-central-1 me-central-1 me-south-1 sa-east-1 us-east-1 us-east-2 us-west-1 us-west-2",
]
  .join(" ")
  .split(" ");

function list(source: ConfigSource, key: string): string[] {
  const value = json(source, key) ?? [];
  if (!Array.isArray(value) || !value.every((one) => typeof one === "string")) {
    throw wrong(key, source(key) ?? "", 'a list such as ["one", "two"]');
  }
  return value;
}

/** gp3's limits on RDS (AWS, "Amazon RDS DB instance storage"). */
const GP3 = { from: 400, iops: [12_000, 64_000], throughput: [500, 4000], iopsPerMiBs: 4 } as const;

/** Refuses storage that AWS would refuse, whatever the stage's size. Throws a UserError that says what would do. */
export function checkStorage(storageGiB: number, iops: number | undefined, throughput: number | undefined): void {
  if (iops === undefined && throughput === undefined) return;
  if (storageGiB < GP3.from) {
    throw new UserError(
      `gp3 volumes under ${GP3.from} GiB take no storageIops and no storageThroughputMiBs of their own; this one has ${storageGiB} GiB`,
      `remove them, or set cgraph:storageGiB to ${GP3.from} or more`,
    );
  }
  const [wantedIops, wantedThroughput] = [iops ?? GP3.iops[0], throughput ?? GP3.throughput[0]];
  if (wantedIops < wantedThroughput * GP3.iopsPerMiBs) {
    throw new UserError(
      `gp3 gives at most a MiB/s for each ${GP3.iopsPerMiBs} IOPS: ${wantedThroughput} MiB/s need ${wantedThroughput * GP3.iopsPerMiBs} IOPS, not ${wantedIops}`,
      "raise cgraph:storageIops or lower cgraph:storageThroughputMiBs",
    );
  }
}

/** AWS's shortest limit is ElastiCache's, 40 characters with our prefix and `-cache`. */
const LONGEST_STACK_NAME = 27;

/** Refuses names of stacks that AWS would refuse as a part of its own. */
export function checkAwsStackName(stack: string): void {
  if (stack.length <= LONGEST_STACK_NAME && !stack.includes("--") && !stack.endsWith("-")) return;
  throw new UserError(
    `"${stack}" is no name for a stack on AWS`,
    `use up to ${LONGEST_STACK_NAME} characters, without two hyphens in a row or one at the end`,
  );
}

/**
 * Reads what the target aws needs. `regions`: undefined for a stack in Docker, whose regions are not AWS's. Throws a
 * UserError that names key, value and what is allowed.
 */
export function readAwsConfig(source: ConfigSource, stage: StageNumber, regions: RegionsConfig | undefined): AwsConfig {
  const region = regions?.all[0] ?? source("region") ?? "us-east-1";
  const ofRds = `a region of RDS: ${REGIONS.join(", ")}`;
  if (!REGIONS.includes(region)) throw wrong(source("region") === undefined ? "regions" : "region", region, ofRds);
  const unknown = regions?.others.find((other) => !REGIONS.includes(other));
  if (unknown !== undefined) throw wrong("regions", unknown, ofRds);
  const backupCopyRegion = source("backupCopyRegion");
  if (backupCopyRegion !== undefined && (!REGIONS.includes(backupCopyRegion) || backupCopyRegion === region)) {
    throw wrong("backupCopyRegion", backupCopyRegion, `another region than ${region}: ${REGIONS.join(", ")}`);
  }
  const instanceClass = source("instanceClass");
  if (instanceClass !== undefined) classNamed(instanceClass, stage === 5 ? EC2_CLASSES : RDS_CLASSES);
  const vpcId = matching(source, "vpcId", /^vpc-[0-9a-f]+$/, "the id of a VPC, vpc-…");
  const subnetIds = list(source, "subnetIds");
  if (vpcId === undefined ? subnetIds.length > 0 : subnetIds.length < 2) {
    throw new UserError(
      vpcId === undefined
        ? "cgraph:subnetIds is given without cgraph:vpcId"
        : `cgraph:vpcId is given with ${subnetIds.length} private subnets in cgraph:subnetIds; a database needs two, in two zones`,
      `name both: pulumi config set --path 'cgraph:subnetIds[0]' subnet-…`,
    );
  }
  const vpcCidr = checkCidr("vpcCidr", source("vpcCidr") ?? "10.20.0.0/16", 16, 24);
  const clientCidrs = list(source, "clientCidrs").map((cidr) => checkCidr("clientCidrs", cidr, 8, 32));
  checkNoOverlap(vpcId === undefined ? [vpcCidr, ...clientCidrs] : clientCidrs);
  return {
    region,
    vpcId,
    subnetIds,
    vpcCidr,
    clientCidrs,
    instanceClass,
    multiAz: flag(source, "multiAz", stage > 1),
    storageGiB: optional(source, "storageGiB", 20, 65_536),
    storageIops: optional(source, "storageIops", ...GP3.iops),
    storageThroughputMiBs: optional(source, "storageThroughputMiBs", ...GP3.throughput),
    applyImmediately: flag(source, "applyImmediately", false),
    pooler: oneOf(source, "pooler", ["pgbouncer", "rds-proxy"] as const, "pgbouncer"),
    poolerImage: source("poolerImage"),
    accessHost: flag(source, "accessHost", true),
    keepData: flag(source, "keepData", true),
    backupCopyRegion,
    citusAmi: source("citusAmi"),
    cacheEngine: oneOf(source, "cacheEngine", ["valkey", "redis"] as const, "valkey"),
  };
}
