/** What `up` asks of regions beside home before it changes anything there. */
import type { Change } from "../../migration/change.ts";
import { allowedLosses } from "../../migration/verdict.ts";
import { type AwsStackValues, furtherRegions } from "../../stacks/aws/outputs.ts";
import { EXIT, UserError } from "../../tuning/errors.ts";
import { aws, hasAwsCli, needAwsCli } from "./cli.ts";
import { type Servers, instancesIn, isReplica } from "./restart.ts";

const serversElsewhere = (values: AwsStackValues | undefined): Servers[] =>
  (values ? furtherRegions(values) : []).map(({ name: region, nodes }) => ({ region, nodes }));

/**
 * Throws a UserError where a replica in another region follows nobody any more: it was promoted, and what the configuration
 * says of the stack is not so. Without the AWS CLI nobody can tell.
 */
export async function checkNotPromoted(values: AwsStackValues | undefined): Promise<void> {
  const elsewhere = serversElsewhere(values);
  if (elsewhere.length === 0 || !(await hasAwsCli())) return;
  for (const servers of elsewhere) {
    const instances = await instancesIn(servers);
    const promoted = servers.nodes.find(({ name }) => instances.has(name) && !isReplica(instances.get(name)));
    if (!promoted) continue;
    throw new UserError(
      `${promoted.identifier} in ${servers.region} was promoted: it follows nobody, and has what no other server has; nothing was changed`,
      `go the way back first: ./cgraph-db region promote ${servers.region} --dry-run lists it`,
      EXIT.refused,
    );
  }
}

/** Takes AWS's deletion protection off replicas in other regions that are allowed to go: `up` deletes them. */
export async function releaseReplicas(values: AwsStackValues | undefined, changes: readonly Change[]): Promise<void> {
  const going = new Set(allowedLosses(changes).map(({ before }) => before["identifier"]));
  const leaving = serversElsewhere(values)
    .map((servers) => ({ ...servers, nodes: servers.nodes.filter(({ identifier }) => going.has(identifier)) }))
    .filter(({ nodes }) => nodes.length > 0);
  if (leaving.length === 0) return;
  await needAwsCli("letting go of replicas in other regions");
  for (const servers of leaving) {
    const instances = await instancesIn(servers);
    for (const { identifier } of servers.nodes.filter(({ name }) => instances.has(name))) {
      await aws(servers.region, [
        ...["rds", "modify-db-instance", "--db-instance-identifier", identifier],
        ...["--no-deletion-protection", "--apply-immediately"],
      ]);
    }
  }
}
