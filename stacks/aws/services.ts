/** AWS's services that a stack reaches from within its own VPC, which has no way outside. */
import type { AwsPlan } from "./plan.ts";

export interface Endpoints {
  /** By an interface in the VPC's subnets. Each costs by the hour and zone. */
  readonly interfaces: readonly { readonly service: string; readonly zones: number }[];
  /** By a route, without cost. */
  readonly gateways: readonly string[];
}

/** The pool's tasks are in all zones; people can wait for a zone to come back. */
const [POOL_ZONES, ACCESS_ZONES] = [2, 1];

/** What the plan's parts need: image registry, logs and secrets for the pool's tasks, Session Manager for people. */
export function endpointsOf({ ownVpc, pool, accessHost }: Pick<AwsPlan, "ownVpc" | "pool" | "accessHost">): Endpoints {
  // In an existing VPC they are its owner's to have.
  if (!ownVpc) return { interfaces: [], gateways: [] };
  const tasks = pool?.kind === "pgbouncer" ? ["ecr.api", "ecr.dkr", "logs", "secretsmanager"] : [];
  const people = accessHost ? ["ssm", "ssmmessages"] : [];
  return {
    interfaces: [
      ...tasks.map((service) => ({ service, zones: POOL_ZONES })),
      ...people.map((service) => ({ service, zones: ACCESS_ZONES })),
    ],
    // The registry keeps its images there, and the host's packages are there too.
    gateways: tasks.length + people.length > 0 ? ["s3"] : [],
  };
}
