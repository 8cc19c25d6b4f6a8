/** AWS's services that a stack reaches from within its VPC, which has no way outside. */

/** By an interface in the VPC's own subnets: registry, logs, secrets of the pool's tasks. Each costs by the hour and zone. */
export const INTERFACE_SERVICES = ["ecr.api", "ecr.dkr", "logs", "secretsmanager"] as const;
/** Zones in which they are. */
export const ENDPOINT_ZONES = 2;
/** By a route, without cost: the registry keeps its images there. */
export const GATEWAY_SERVICES = ["s3"] as const;
