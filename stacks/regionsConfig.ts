/** The regions of a stack's configuration. Pure. */
import { MOST_REGIONS } from "../components/docker/regionRoutes.ts";
import { UserError } from "../tuning/errors.ts";
import { type ConfigSource, json, optional, wrong } from "./configValues.ts";
import type { StageNumber } from "./guide.ts";

export interface RegionsConfig {
  /**
   * Every region; the first is home, where the stack began. Default one; at stage 5 on AWS the guide's three, unless
   * `cgraph:region` names home.
   */
  readonly all: readonly string[];
  /** All but home. */
  readonly others: readonly string[];
  /** Where the primary is; default home. Written by `region promote`. */
  readonly primary: string;
  /** Servers of each cluster in each of the others; default 1. */
  readonly replicas: number;
}

export const REGION_KEYS = ["regions", "regionReplicas", "primaryRegion"] as const;

/** The guide's home; a stack on AWS has its own. */
const DEFAULT_HOME = "us-east-1";
/** The guide's picture of stage 5: US-East is primary, EU-West and Asia-Pacific have read replicas. */
const GUIDE_REGIONS: readonly string[] = [DEFAULT_HOME, "eu-west-1", "ap-southeast-1"];
const NAMES = {
  aws: { pattern: /^[a-z]{2}(-[a-z]+)+-\d$/, example: '["us-east-1", "eu-west-1", "ap-southeast-1"]' },
  docker: { pattern: /^[a-z][a-z0-9-]{0,20}$/, example: '["us-east-1", "eu-west-1", "ap-southeast-1"]' },
} as const;

/**
 * Reads `cgraph:regions`, `cgraph:regionReplicas` and `cgraph:primaryRegion`. `awsRegion`: what `cgraph:region` says, on
 * AWS. Throws a UserError for a region twice, a name that is none, several regions at stage 1, and a home that is not the
 * stack's.
 */
export function readRegions(
  source: ConfigSource,
  stage: StageNumber,
  target: "docker" | "aws",
  awsRegion?: string,
): RegionsConfig {
  const { pattern, example } = NAMES[target];
  // What `cgraph:region` may be is for others to check.
  const byDefault =
    stage === 5 && target === "aws" && awsRegion === undefined ? GUIDE_REGIONS : [awsRegion ?? DEFAULT_HOME];
  const all = json(source, "regions") ?? byDefault;
  const isName = (one: unknown): one is string => typeof one === "string" && (one === awsRegion || pattern.test(one));
  if (!Array.isArray(all) || all.length === 0 || all.length > MOST_REGIONS || !all.every(isName)) {
    throw wrong("regions", source("regions") ?? "", `a list of 1 to ${MOST_REGIONS} regions such as ${example}`);
  }
  const twice = all.find((name, index) => all.indexOf(name) !== index);
  if (twice !== undefined) {
    throw new UserError(`cgraph:regions names ${twice} twice`, "name each region once");
  }
  const [home = DEFAULT_HOME, ...others] = all;
  if (stage === 1 && others.length > 0) {
    throw new UserError(
      `cgraph:regions names ${all.length} regions, but stage 1 is a single server`,
      "regions come with stage 2: name one here, and more when the stack is there (./cgraph-db migrate --stage 2, or up --stage 2)",
    );
  }
  if (awsRegion !== undefined && home !== awsRegion) {
    throw new UserError(
      `cgraph:regions begins with ${home}, but cgraph:region is ${awsRegion}`,
      `the first of the regions is where the primary is: name ${awsRegion} first, or unset cgraph:region`,
    );
  }
  const primary = source("primaryRegion") ?? home;
  if (!all.includes(primary)) {
    throw new UserError(
      `cgraph:primaryRegion is ${primary}, which is none of the regions ${all.join(", ")}`,
      "move the primary to a region that stays before you take its own out: ./cgraph-db region promote",
    );
  }
  return { all, others, primary, replicas: optional(source, "regionReplicas", 1, 5) ?? 1 };
}
