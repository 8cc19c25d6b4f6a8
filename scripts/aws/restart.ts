/** Reboots of RDS instances, replicas first; the primary fails over where it has a standby. */
import { PATRONICTL, needsRds } from "./onRds.ts";
import { type AwsNodeOutput, type AwsStackValues, furtherRegions } from "../../stacks/aws/outputs.ts";
import { step } from "../lib/progress.ts";
import { aws, needAwsCli } from "./cli.ts";

export interface Instance {
  readonly DBInstanceIdentifier: string;
  readonly DBInstanceStatus: string;
  readonly MultiAZ?: boolean;
  readonly ReadReplicaSourceDBInstanceIdentifier?: string;
  readonly DBParameterGroups?: readonly { readonly ParameterApplyStatus?: string }[];
}

/** Servers of one region. */
export interface Servers {
  readonly region: string;
  readonly nodes: readonly AwsNodeOutput[];
}

/** A stack's servers region by region, home first. */
export const serversByRegion = (values: AwsStackValues): readonly Servers[] => [
  { region: values.region, nodes: values.nodes },
  ...furtherRegions(values).map(({ name: region, nodes }) => ({ region, nodes })),
];

/** What AWS says of the instances in one region, by our names. */
export async function instancesIn({ region, nodes }: Servers): Promise<Map<string, Instance>> {
  const { DBInstances: instances = [] } = await aws<{ DBInstances?: readonly Instance[] }>(region, [
    "rds",
    "describe-db-instances",
  ]);
  const found = new Map<string, Instance>();
  for (const { name, identifier } of nodes) {
    const instance = instances.find(({ DBInstanceIdentifier }) => DBInstanceIdentifier === identifier);
    if (instance) found.set(name, instance);
  }
  return found;
}

/** What AWS says of the stack's instances in all its regions, by our names. */
export async function instancesOf(values: AwsStackValues): Promise<Map<string, Instance>> {
  const found = await Promise.all(serversByRegion(values).map(instancesIn));
  return new Map(found.flatMap((some) => [...some]));
}

export const isReplica = (instance: Instance | undefined): boolean =>
  (instance?.ReadReplicaSourceDBInstanceIdentifier ?? "") !== "";

/** Whether a parameter waits for a reboot. */
export const isPending = (instance: Instance | undefined): boolean =>
  (instance?.DBParameterGroups ?? []).some(({ ParameterApplyStatus: status }) => status === "pending-reboot");

/** Reboots the servers that `wanted` names, one after the other; gives their names. */
export async function rebootServers(
  values: AwsStackValues,
  wanted: (instance: Instance | undefined) => boolean,
): Promise<string[]> {
  needsRds(values, "restart", `${PATRONICTL} restart`);
  await needAwsCli("a reboot");
  const instances = await instancesOf(values);
  const last = (node: AwsNodeOutput): number => (isReplica(instances.get(node.name)) ? 0 : 1);
  const nodes = serversByRegion(values)
    .flatMap((servers) => servers.nodes.map((node) => ({ ...node, region: servers.region })))
    .filter(({ name }) => wanted(instances.get(name)))
    .sort((a, b) => last(a) - last(b));
  for (const { name, identifier, region } of nodes) {
    await step(`reboot of ${name}`, async (progress) => {
      const failover = instances.get(name)?.MultiAZ === true && !isReplica(instances.get(name));
      const how = failover ? ["--force-failover"] : [];
      await aws(region, ["rds", "reboot-db-instance", "--db-instance-identifier", identifier, ...how]);
      progress.detail("until it is available");
      await aws(region, ["rds", "wait", "db-instance-available", "--db-instance-identifier", identifier]);
      return { value: undefined, done: failover ? "back, on its standby" : "back" };
    });
  }
  return nodes.map(({ name }) => name);
}
