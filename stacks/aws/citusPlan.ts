/** Stage 5 on AWS, as plain data: the nodes of a Citus cluster on EC2, etcd's members, where they are. No Pulumi in it. */
import { COORDINATOR, NODE_CONNECTION, citusGroup, workerCluster } from "../../components/docker/citusNames.ts";
import { EXIT, UserError } from "../../tuning/errors.ts";
import { tunePostgres } from "../../tuning/postgresql.ts";
import type { Settings } from "../../tuning/setting.ts";
import type { StackConfig } from "../config.ts";
import { GUIDE } from "../guide.ts";
import { addressIn, subnetCidrs } from "./cidr.ts";
import { checkCitusRegions } from "./citusRegions.ts";
import { type ServerClass, chooseClass, classNamed } from "./classes.ts";
import { EBS_BASELINE, EC2_CLASSES, type Ebs, checkEbs } from "./ec2Classes.ts";
import { regionCidr } from "./regions.ts";
import { ZONES } from "./zones.ts";

/** A server on EC2 whose data is on a volume of its own. */
export interface Ec2Node {
  /** `coordinator-pg0`, `eu-west-1-worker1-pg0`, `etcd2`: where it is, never its role. */
  readonly name: string;
  /** Index of its availability zone. */
  readonly zone: number;
  /** Fixed: whatever instance takes the node's place has it. */
  readonly address: string;
  readonly class: ServerClass;
  readonly volume: Ebs;
}

/** A primary with its standbys, which are in other zones; beside home one that follows home's. */
export interface CitusNodes {
  /** `coordinator`, `worker1`, …; beside home `eu-west-1-coordinator`, … */
  readonly name: string;
  /** Citus' number of it: 0 is the coordinator. */
  readonly group: number;
  /** The primary-to-be first. */
  readonly nodes: readonly Ec2Node[];
}

/** What a Citus cluster has in one region. */
export interface CitusPlace {
  /** The coordinator first. */
  readonly clusters: readonly CitusNodes[];
  readonly etcd: readonly Ec2Node[];
  /** Addresses of all nodes, and of nobody else; by zone; those of the way out to package archives; and of balancers. */
  readonly network: {
    readonly nodes: string;
    readonly zones: readonly string[];
    readonly wayOut: string;
    readonly balancers: string;
  };
  /** An image of Debian 13 for amd64 there; undefined: the newest when an instance is made. */
  readonly ami: string | undefined;
}

/** A region beside home: a standby of every node, which follows home. */
export interface CitusRegion extends CitusPlace {
  readonly name: string;
  /** Addresses of its VPC. */
  readonly cidr: string;
}

/** Home's place, and what holds everywhere. */
export interface CitusAwsPlan extends CitusPlace {
  readonly workers: number;
  /** Pieces of each distributed table. */
  readonly shardCount: number;
  /** Those beside home. */
  readonly regions: readonly CitusRegion[];
  /** Of every node: any may be a primary tomorrow. */
  readonly settings: Settings;
}

/** etcd asks for little, but for it always (etcd, "Hardware recommendations": two CPUs, a few GiB for a small cluster). */
const ETCD = {
  members: 3,
  size: { cpus: 2, memoryMiB: 2048 },
  volume: { sizeGiB: 10, iops: EBS_BASELINE.iops, throughputMiBs: EBS_BASELINE.throughputMiBs },
} as const;
/** As RDS gives a volume of this size by itself, so that moving on from stage 4 loses nothing. */
const DATA = { iops: 12_000, throughputMiBs: 500 } as const;
/** AWS keeps the first four addresses of a subnet and its last. */
const FIRST_ADDRESS = 4;
/** Addresses of a cluster in each zone, so that workers and standbys come and go without moving the others'. */
const ADDRESSES_EACH = 16;

/** Images by region: `cgraph:citusAmi` is the id of home's, or an object of ids by region. Throws a UserError. */
function imagesOf({ aws, regions }: StackConfig): Readonly<Record<string, string>> {
  const given = aws.citusAmi;
  if (given === undefined) return {};
  const images: unknown = given.startsWith("{") ? parsed(given) : { [aws.region]: given };
  const isImage = ([region, id]: [string, unknown]): boolean =>
    regions.all.includes(region) && typeof id === "string" && /^ami-[0-9a-f]+$/.test(id);
  if (typeof images === "object" && images !== null && Object.entries(images).every(isImage)) {
    return images as Record<string, string>;
  }
  throw new UserError(
    `cgraph:citusAmi is "${given}", which is not the id of an image, or one for each of the stack's regions`,
    `give one of Debian 13 for amd64 in ${aws.region}, ami-…, or {"${aws.region}": "ami-…", …}: an image has another id in each region; or unset it: the newest is taken`,
  );
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** Everything that a stack on AWS may have, and at stage 5 does not. Throws a UserError. */
function checkCitus(config: StackConfig): void {
  const { aws } = config;
  if (aws.vpcId !== undefined) {
    throw new UserError(
      "cgraph:vpcId names an existing VPC; nodes of a Citus cluster know each other by addresses that are theirs alone, which takes a VPC of the stack's own",
      "unset cgraph:vpcId and cgraph:subnetIds, and peer the two VPCs (cgraph:clientCidrs)",
    );
  }
  if (config.postgresVersion !== 17) {
    throw new UserError(
      `cgraph:postgresVersion is ${config.postgresVersion}; Debian 13, which the nodes run, has 17`,
      "unset it: ./cgraph-db config unset postgresVersion",
    );
  }
  if (aws.backupCopyRegion !== undefined) {
    throw new UserError(
      "cgraph:backupCopyRegion copies snapshots of RDS; at stage 5 backups are in a bucket of S3",
      "unset it, and have S3 replicate the bucket: docs/aws.md, Stage 5",
    );
  }
  checkCitusRegions(config);
}

/** What a place is made of. */
interface PlaceInput {
  /** What its servers' names begin with: nothing at home. */
  readonly prefix: string;
  readonly cidr: string;
  readonly workers: number;
  /** Servers of each cluster. */
  readonly servers: number;
  readonly class: ServerClass;
  readonly volume: Ebs;
  readonly ami: string | undefined;
}

/** Throws a UserError where the range has too few addresses. */
function planPlace({ prefix, cidr, workers, servers, class: serverClass, volume, ami }: PlaceInput): CitusPlace {
  // The VPC in four parts: clients, pool and balancers; none; nodes; the way out at the end of the last.
  const [balancers = "", , nodes = ""] = subnetCidrs(cidr, 2, 4);
  const parts = subnetCidrs(cidr, 4, 16);
  const zones = parts.slice(8, 8 + ZONES);
  const place = (zone: number, index: number): Pick<Ec2Node, "zone" | "address"> => {
    const address = addressIn(zones[zone] ?? "", FIRST_ADDRESS + index);
    if (address !== undefined) return { zone, address };
    throw new UserError(
      `cgraph:vpcCidr has too few addresses for ${workers} workers: each cluster takes ${ADDRESSES_EACH} in each zone, and ${cidr} is too small`,
      "give the VPC more, up to /16: ./cgraph-db config set vpcCidr 10.20.0.0/16",
      EXIT.failed,
    );
  };
  const names = [COORDINATOR, ...Array.from({ length: workers }, (_, index) => workerCluster(index + 1))];
  return {
    clusters: names.map((name) => {
      const group = citusGroup(name);
      return {
        name: `${prefix}${name}`,
        group,
        nodes: Array.from({ length: servers }, (_, index) => ({
          name: `${prefix}${name}-pg${index}`,
          // Primaries are spread over the zones, and each standby is in another than its primary.
          ...place((group + index) % ZONES, ADDRESSES_EACH * (group + 1) + index),
          class: serverClass,
          volume,
        })),
      };
    }),
    etcd: Array.from({ length: ETCD.members }, (_, index) => ({
      name: `${prefix}etcd${index}`,
      ...place(index % ZONES, index),
      class: chooseClass({ ...ETCD.size, burstable: true }, EC2_CLASSES),
      volume: ETCD.volume,
    })),
    network: { nodes, zones, wayOut: parts[15] ?? "", balancers },
    ami,
  };
}

/** The nodes of stage 5. Throws a UserError where something of the configuration does not go with it. */
export function planCitus(config: StackConfig): CitusAwsPlan {
  checkCitus(config);
  const { aws } = config;
  const figures = GUIDE[5];
  const wanted = figures.serverSize.value;
  const replicas = config.replicas ?? figures.replicasPerPrimary.value;
  const { workers, shardCount } = config.citus;
  const serverClass = aws.instanceClass
    ? classNamed(aws.instanceClass, EC2_CLASSES)
    : chooseClass({ ...wanted, burstable: false }, EC2_CLASSES);
  const volume: Ebs = {
    sizeGiB: aws.storageGiB ?? wanted.diskGiB,
    iops: aws.storageIops ?? DATA.iops,
    throughputMiBs: aws.storageThroughputMiBs ?? DATA.throughputMiBs,
  };
  checkEbs(volume);
  const settings = tunePostgres({
    hardware: { ...serverClass, diskGiB: volume.sizeGiB, storage: { kind: "ssd" } },
    role: "replica",
    postgresMajor: config.postgresVersion,
    maxConnections: config.maxConnections ?? figures.maxConnections.value,
    ...{ walKeepGiB: 1, cronDatabase: "cgraph_production" },
    citus: { workers, replicas, nodeConnection: NODE_CONNECTION },
    overrides: config.settings,
  });
  const common = { workers, class: serverClass, volume };
  const images = imagesOf(config);
  return {
    ...planPlace({ ...common, prefix: "", cidr: aws.vpcCidr, servers: 1 + replicas, ami: images[aws.region] }),
    ...{ workers, shardCount, settings },
    regions: config.regions.others.map((name) => {
      const place = { prefix: `${name}-`, cidr: regionCidr(aws.vpcCidr, name), servers: config.regions.replicas };
      return { name, cidr: place.cidr, ...planPlace({ ...common, ...place, ami: images[name] }) };
    }),
  };
}

/** All servers of a place: etcd's members, then the nodes. */
export const citusServers = ({ etcd, clusters }: Pick<CitusPlace, "etcd" | "clusters">): readonly Ec2Node[] => [
  ...etcd,
  ...clusters.flatMap(({ nodes }) => nodes),
];

/** The place of a region. Throws where the plan has none there. */
export function placeIn(plan: CitusAwsPlan, home: string, region: string): CitusPlace {
  const found = region === home ? plan : plan.regions.find(({ name }) => name === region);
  if (!found) throw new Error(`nothing is planned in ${region}`);
  return found;
}
