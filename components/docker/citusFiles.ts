/** How the nodes of a Citus cluster know each other, as pure text. */
import { namesOf } from "../logins.ts";
import { DATABASE, OWNER, type RoleName } from "../roles.ts";
import { COORDINATOR } from "./citusNames.ts";
import { ROUTER } from "./haproxyFiles.ts";
import { dockerName } from "./names.ts";
import { CLIENT_RULES, serverRules } from "./postgresFiles.ts";

const NODES = "cgraph_nodes";
const SOCKET = "cgraph_socket";

const names = (...roles: readonly RoleName[]): string => roles.flatMap(namesOf).join(",");
/** Whose queries nodes pass on to each other, beside the superuser's. A session of a second name acts as the first. */
const ASKING = names("cgraph", OWNER, "cgraph_readonly", "cgraph_monitor");

/**
 * pg_hba.conf of a node. A query goes on to other nodes as the role that asked it, and nobody has passwords there: nodes
 * log in with their certificates. The same roles come as clients too, with passwords; where nodes and clients share a
 * network, from the addresses in `clients` and no others.
 */
export const citusRules = (nodes: string, clients: readonly string[]): string[] => [
  // A node that asks itself, as Citus does when it splits a shard.
  `local ${DATABASE}  ${ASKING}  peer map=${SOCKET}`,
  ...serverRules(nodes),
  ...clients.map((client) => `hostssl ${DATABASE}  ${ASKING}  ${client}  scram-sha-256`),
  `hostssl ${DATABASE}  postgres,${ASKING}  ${nodes}  cert map=${NODES}`,
  ...CLIENT_RULES,
];

/** The same in Docker, where clients are these containers of the stack's own network. */
export const citusHbaRules = (stack: string, clientContainers: readonly string[]): string[] =>
  citusRules(
    "samenet",
    // By the names that Docker's name server gives for their addresses.
    clientContainers.map((container) => `${container}.${dockerName(stack)}`),
  );

/** pg_ident.conf of a node: whose certificates are nodes', and who may come by the socket. `prefix`: begins their names. */
const identRules = (prefix: string): string[] => [
  `${NODES}  /^${prefix}(${COORDINATOR}|worker[0-9]+)-pg[0-9]+$  all`,
  `${SOCKET}  postgres  all`,
];

export const CITUS_IDENT_RULES: readonly string[] = identRules("");

/** Who may log in to a node: rules of pg_hba.conf and pg_ident.conf. */
export interface NodeRules {
  readonly hba: readonly string[];
  readonly ident: readonly string[];
}

/** The same of a node's standbys in a region beside home: its own nodes, and clients by its own router. */
export const citusRegionRules = (stack: string, region: string): NodeRules => ({
  hba: citusRules("samenet", [`${dockerName(stack, `${region}-${ROUTER}`)}.${dockerName(stack, region)}`]),
  ident: identRules(`${region}-`),
});
