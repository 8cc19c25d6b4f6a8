/** What a stack has in regions beside home, as plain data: replicas of each cluster, in a network of their own. */
import { UserError } from "../../tuning/errors.ts";
import type { StackConfig } from "../config.ts";
import { checkNoOverlap, cidrBeside } from "./cidr.ts";
import { REGIONS } from "./config.ts";
import type { AwsNode, AwsRegion } from "./plan.ts";
import { ZONES } from "./zones.ts";

/** Of one server, in all regions together (Amazon RDS User Guide, "Working with DB instance read replicas"). */
const MOST_REPLICAS = 15;
/** Replicas of one server in other regions that AWS promises (the same, "Creating a read replica in a different Region"). */
const PROMISED_ACROSS = 5;

/**
 * Addresses of a region's VPC: as many as home's has, and so far from it as the region's place in the list of all regions
 * says. So a region has the same ones whichever others there are, and in whatever order they are named.
 */
export const regionCidr = (vpcCidr: string, region: string): string => cidrBeside(vpcCidr, 1 + REGIONS.indexOf(region));

/** Replicas of a cluster's primary in a region. A name says where they are: `eu-west-1-pg0`, `eu-west-1-shard1-pg0`. */
function replicasOf(primary: AwsNode, region: string, count: number): AwsNode[] {
  return Array.from({ length: count }, (_, index) => ({
    ...primary,
    name: [region, ...(primary.cluster === null ? [] : [primary.cluster]), `pg${index}`].join("-"),
    role: "replica",
    zone: index % ZONES,
    multiAz: false,
  }));
}

/**
 * The regions beside home. `nodes`: home's. Throws a UserError where a primary would have more replicas than RDS makes, or
 * where two regions, or one and `cgraph:clientCidrs`, would share addresses.
 */
export function planRegions({ regions, aws }: StackConfig, nodes: readonly AwsNode[]): AwsRegion[] {
  const { others, replicas, primary } = regions;
  if (others.length === 0) return [];
  if (primary !== aws.region) {
    throw new UserError(
      `cgraph:primaryRegion is ${primary}; on AWS the primary's region is home, ${aws.region}`,
      "unset it: ./cgraph-db config unset primaryRegion; docs/aws.md#when-home-is-lost has how another region takes over",
    );
  }
  const primaries = nodes.filter(({ role }) => role === "primary");
  const atHome = nodes.length / primaries.length - 1;
  const across = others.length * replicas;
  if (atHome + across > MOST_REPLICAS) {
    throw new UserError(
      `a primary would have ${atHome} replicas in its region and ${across} in others; RDS makes ${MOST_REPLICAS} of one`,
      "lower cgraph:replicas or cgraph:regionReplicas, or take a region out of cgraph:regions",
    );
  }
  const planned = others.map((name) => ({
    name,
    cidr: regionCidr(aws.vpcCidr, name),
    nodes: primaries.flatMap((primary) => replicasOf(primary, name, replicas)),
  }));
  const ours = aws.vpcId === undefined ? [aws.vpcCidr] : [];
  checkNoOverlap([...ours, ...planned.map(({ cidr }) => cidr), ...aws.clientCidrs]);
  return planned;
}

/** What a person should know of several regions. */
export function regionNotes(
  { regions, aws }: StackConfig,
  planned: readonly AwsRegion[],
  nodes: readonly AwsNode[],
): string[] {
  if (planned.length === 0) return [];
  const across = planned.length * regions.replicas;
  const primaries = nodes.filter(({ role }) => role === "primary").length;
  return [
    `every region's prices are counted as us-east-1's, and what crosses regions is not counted: all that is written, ${across > 1 ? `${across} times` : "once"}, and what applications send`,
    "a promotion of a region makes the other regions' replicas anew: RDS attaches none of them to another primary (./cgraph-db region promote REGION --dry-run)",
    ...(across > PROMISED_ACROSS
      ? [
          `AWS promises ${PROMISED_ACROSS} replicas of a server in other regions; ${primaries > 1 ? "each primary" : "the primary"} would have ${across}`,
        ]
      : []),
    ...(aws.vpcId === undefined
      ? []
      : [
          `${aws.vpcId} is yours, so nothing is peered with it: connect it to ${planned.map(({ name, cidr }) => `${name} (${cidr})`).join(", ")}, and name its addresses in cgraph:clientCidrs`,
        ]),
  ];
}
