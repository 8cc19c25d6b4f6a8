/** Names under which replicas are found, in a zone that only the stack's VPCs know. */

/** Seconds that an answer is kept: for so long clients go on to a replica that has been taken out. */
export const READ_TTL_SECONDS = 30;

/** `production.cgraph.internal`. */
export const readZone = (stack: string): string => `${stack}.cgraph.internal`;

/** The nearest replica of a cluster (null: of the first): `read`, `read-shard1`. */
export const readLabel = (cluster: string | null): string => (cluster === null ? "read" : `read-${cluster}`);

/** A cluster's replicas in one region, in turn: `read-eu-west-1`, `read-shard1-eu-west-1`. */
export const regionLabel = (cluster: string | null, region: string): string => `${readLabel(cluster)}-${region}`;

/** In which names lead to regions, the same in all of them: `regions.production.cgraph.internal`. */
export const acrossZone = (stack: string): string => `regions.${readZone(stack)}`;

/** Something of a region, wherever it is asked for: `database.eu-west-1.regions.production.cgraph.internal`. */
export const acrossName = (stack: string, label: string, region: string): string =>
  `${label}.${region}.${acrossZone(stack)}`;

/** Where a region's balancer leads other regions' copies of a Citus cluster to whoever takes writes: group 0's port. */
const LINK_PORT = 5500;
export const linkPort = (group: number): number => LINK_PORT + group;
