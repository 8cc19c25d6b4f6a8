/** Names of a Citus cluster's parts, as plans, components and commands need them. Pure. */

/** The minor series of Citus that a new node's image gets; 14 is the first for PostgreSQL 18, and has 17 too. */
export const CITUS_VERSION = "14.0";

/** The cluster of servers that clients talk to: Citus' group 0. */
export const COORDINATOR = "coordinator";
/** Workers are numbered as Citus' groups are: from 1. */
export const workerCluster = (worker: number): string => `worker${worker}`;
export const isWorker = (cluster: string): boolean => /^worker[0-9]+$/.test(cluster);
/** The group of a cluster. */
export const citusGroup = (cluster: string): number =>
  cluster === COORDINATOR ? 0 : Number(cluster.slice("worker".length));

/** No cluster has more servers: `cgraph:replicas` ends there. */
const MOST_SERVERS = 16;
/**
 * Every name that Citus' tables may have for a node, one for each server that home may give it. In another region all of
 * them lead to that region's own standby of the node: the tables are the same everywhere.
 */
export const nodeNames = (cluster: string): string[] =>
  Array.from({ length: MOST_SERVERS }, (_, index) => `${cluster}-pg${index}`);

const TLS = "/run/cgraph-tls";
/** citus.node_conninfo: a node shows its own certificate, and asks for the other's. */
export const NODE_CONNECTION = `sslmode=verify-full sslrootcert=${TLS}/ca.crt sslcert=${TLS}/server.crt sslkey=${TLS}/server.key`;
