/** What several regions ask of a Citus cluster on AWS, as plain data. */
import { UserError } from "../../tuning/errors.ts";
import type { StackConfig } from "../config.ts";
import { checkNoOverlap } from "./cidr.ts";
import type { CitusAwsPlan } from "./citusPlan.ts";
import { regionCidr } from "./regions.ts";
import { FEW_ZONES, ZONES } from "./zones.ts";

/** Listeners of a balancer (Elastic Load Balancing, "Quotas for your Network Load Balancers"), two of which are clients'. */
const MOST_LISTENERS = 50;
const CLIENTS = 2;

/** Throws a UserError where the regions do not go with a Citus cluster. */
export function checkCitusRegions({ regions, aws, citus }: StackConfig): void {
  const { all, others, primary, replicas } = regions;
  const few = all.find((name) => FEW_ZONES.includes(name));
  if (few !== undefined) {
    throw new UserError(
      `many accounts find two zones in ${few}; etcd's three members take ${ZONES}, one each`,
      `name another region: ./cgraph-db config set regions '["us-west-2"]'`,
    );
  }
  if (others.length === 0) return;
  if (primary !== aws.region) {
    throw new UserError(
      `cgraph:primaryRegion is ${primary}; on AWS the primary's region is home, ${aws.region}`,
      "unset it: ./cgraph-db config unset primaryRegion; docs/aws.md#when-home-is-lost-at-stage-5 has how another region takes over",
    );
  }
  if (replicas > 1) {
    throw new UserError(
      `cgraph:regionReplicas is ${replicas}; at stage 5 on AWS every node has one standby in each region beside home, to which the node's name leads there`,
      "unset it: ./cgraph-db config unset regionReplicas",
    );
  }
  if (CLIENTS + 1 + citus.workers > MOST_LISTENERS) {
    throw new UserError(
      `cgraph:workers is ${citus.workers}; regions follow each other over one balancer, which has ${MOST_LISTENERS} listeners: the coordinator and ${MOST_LISTENERS - CLIENTS - 1} workers`,
      `use fewer workers, or one region: ./cgraph-db config set regions '["${aws.region}"]'`,
    );
  }
  checkNoOverlap([aws.vpcCidr, ...others.map((name) => regionCidr(aws.vpcCidr, name)), ...aws.clientCidrs]);
}

/** What a person should know of several regions. */
export const citusRegionNotes = ({ regions }: CitusAwsPlan, home: string): string[] =>
  regions.length === 0
    ? []
    : [
        `stage 5 is in ${regions.length + 1} regions; one is a line: ./cgraph-db config set regions '["${home}"]'`,
        `every region's prices are counted as us-east-1's, and what crosses regions is not counted: all that is written, ${regions.length > 1 ? `${regions.length} times` : "once"}, what applications send, and at first all of the data`,
        "each region beside home has one standby of every node: after a promotion it has no second one (./cgraph-db region promote REGION --dry-run)",
      ];
