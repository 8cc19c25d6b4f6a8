/** How the nodes of a Citus cluster know each other, as pure text. */
import { namesOf } from "../logins.ts";
import { DATABASE, OWNER, type RoleName } from "../roles.ts";
import { COORDINATOR } from "./citusNames.ts";
import { dockerName } from "./names.ts";
import { CLIENT_RULES, SERVER_RULES } from "./postgresFiles.ts";

const NODES = "cgraph_nodes";
const SOCKET = "cgraph_socket";

const names = (...roles: readonly RoleName[]): string => roles.flatMap(namesOf).join(",");
/** Whose queries nodes pass on to each other, beside the superuser's. A session of a second name acts as the first. */
const ASKING = names("cgraph", OWNER, "cgraph_readonly", "cgraph_monitor");

/**
 * pg_hba.conf of a node. A query goes on to other nodes as the role that asked it, and nobody has passwords there: nodes
 * log in with their certificates. The same roles come as clients too, with passwords; on the stack's own network they
 * come from these containers and from no others.
 */
export const citusHbaRules = (stack: string, clientContainers: readonly string[]): string[] => [
  // A node that asks itself, as Citus does when it splits a shard.
  `local ${DATABASE}  ${ASKING}  peer map=${SOCKET}`,
  ...SERVER_RULES,
  // By the names that Docker's name server gives for their addresses.
  ...clientContainers.map(
    (container) => `hostssl ${DATABASE}  ${ASKING}  ${container}.${dockerName(stack)}  scram-sha-256`,
  ),
  `hostssl ${DATABASE}  postgres,${ASKING}  samenet  cert map=${NODES}`,
  ...CLIENT_RULES,
];

/** pg_ident.conf of a node: whose certificates are nodes', and who may come by the socket. */
export const CITUS_IDENT_RULES: readonly string[] = [
  `${NODES}  /^(${COORDINATOR}|worker[0-9]+)-pg[0-9]+$  all`,
  `${SOCKET}  postgres  all`,
];
