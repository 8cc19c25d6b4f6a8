/** Stage 5 on AWS, as plain data: the nodes of a Citus cluster on EC2, etcd's members, where they are. No Pulumi in it. */
import { COORDINATOR, NODE_CONNECTION, citusGroup, workerCluster } from "../../components/docker/citusNames.ts";
import { EXIT, UserError } from "../../tuning/errors.ts";
import { tunePostgres } from "../../tuning/postgresql.ts";
import type { Settings } from "../../tuning/setting.ts";
import type { StackConfig } from "../config.ts";
import { GUIDE } from "../guide.ts";
import { addressIn, subnetCidrs } from "./cidr.ts";
import { type ServerClass, chooseClass, classNamed } from "./classes.ts";
import { EBS_BASELINE, EC2_CLASSES, type Ebs, checkEbs } from "./ec2Classes.ts";
import { ZONES } from "./zones.ts";

/** A server on EC2 whose data is on a volume of its own. */
export interface Ec2Node {
  /** `coordinator-pg0`, `worker1-pg1`, `etcd2`: where it is, never its role. */
  readonly name: string;
  /** Index of its availability zone. */
  readonly zone: number;
  /** Fixed: whatever instance takes the node's place has it. */
  readonly address: string;
  readonly class: ServerClass;
  readonly volume: Ebs;
}

/** A primary with its standbys, which are in other zones. */
export interface CitusNodes {
  /** `coordinator`, `worker1`, … */
  readonly name: string;
  /** Citus' number of it: 0 is the coordinator. */
  readonly group: number;
  /** The primary-to-be first. */
  readonly nodes: readonly Ec2Node[];
}

export interface CitusAwsPlan {
  readonly workers: number;
  /** Pieces of each distributed table. */
  readonly shardCount: number;
  /** The coordinator first. */
  readonly clusters: readonly CitusNodes[];
  readonly etcd: readonly Ec2Node[];
  /** Of every node: any may be a primary tomorrow. */
  readonly settings: Settings;
  /** Addresses of all nodes, and of nobody else; by zone; and those of the way out to package archives. */
  readonly network: { readonly nodes: string; readonly zones: readonly string[]; readonly wayOut: string };
  /** An image of Debian 13 for amd64; undefined: the newest when an instance is made. */
  readonly ami: string | undefined;
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

/** Everything that a stack on AWS may have, and at stage 5 does not. Throws a UserError. */
function checkCitus(config: StackConfig): void {
  const { aws, regions } = config;
  if (regions.others.length > 0) {
    throw new UserError(
      `cgraph:regions names ${regions.all.join(", ")}; on AWS this version has stage 5 in one region only`,
      `name one: ./cgraph-db config set regions '["${aws.region}"]'`,
    );
  }
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
  if (aws.citusAmi !== undefined && !/^ami-[0-9a-f]+$/.test(aws.citusAmi)) {
    throw new UserError(
      `cgraph:citusAmi is "${aws.citusAmi}", which is not the id of an image`,
      "give one of Debian 13 for amd64 in the stack's region, ami-…; or unset it: the newest is taken",
    );
  }
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
  // The VPC in four parts: clients, pool and balancers; none; nodes; the way out at the end of the last.
  const [, , nodes = ""] = subnetCidrs(aws.vpcCidr, 2, 4);
  const parts = subnetCidrs(aws.vpcCidr, 4, 16);
  const zones = parts.slice(8, 8 + ZONES);
  const place = (zone: number, index: number): Pick<Ec2Node, "zone" | "address"> => {
    const address = addressIn(zones[zone] ?? "", FIRST_ADDRESS + index);
    if (address !== undefined) return { zone, address };
    throw new UserError(
      `cgraph:vpcCidr ${aws.vpcCidr} has too few addresses for ${workers} workers: each cluster takes ${ADDRESSES_EACH} in each zone`,
      "give the VPC more, up to /16: ./cgraph-db config set vpcCidr 10.20.0.0/16",
      EXIT.failed,
    );
  };
  const names = [COORDINATOR, ...Array.from({ length: workers }, (_, index) => workerCluster(index + 1))];
  return {
    workers,
    shardCount,
    clusters: names.map((name) => {
      const group = citusGroup(name);
      return {
        name,
        group,
        nodes: Array.from({ length: 1 + replicas }, (_, index) => ({
          name: `${name}-pg${index}`,
          // Primaries are spread over the zones, and each standby is in another than its primary.
          ...place((group + index) % ZONES, ADDRESSES_EACH * (group + 1) + index),
          class: serverClass,
          volume,
        })),
      };
    }),
    etcd: Array.from({ length: ETCD.members }, (_, index) => ({
      name: `etcd${index}`,
      ...place(index % ZONES, index),
      class: chooseClass({ ...ETCD.size, burstable: true }, EC2_CLASSES),
      volume: ETCD.volume,
    })),
    settings,
    network: { nodes, zones, wayOut: parts[15] ?? "" },
    ami: aws.citusAmi,
  };
}

/** All servers of the plan: etcd's members, then the nodes. */
export const citusServers = ({ etcd, clusters }: CitusAwsPlan): readonly Ec2Node[] => [
  ...etcd,
  ...clusters.flatMap(({ nodes }) => nodes),
];
