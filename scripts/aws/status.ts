/** `status` of a stack on AWS. */
import { PATRONICTL, needsRds } from "./onRds.ts";
import type { AwsNodeOutput, AwsStackValues } from "../../stacks/aws/outputs.ts";
import { EXIT, type ExitCode } from "../../tuning/errors.ts";
import { print, printJson, table } from "../lib/print.ts";
import { aws, hasAwsCli } from "./cli.ts";
import { type Instance, type Servers, instancesIn, isPending, isReplica, serversByRegion } from "./restart.ts";

interface Alarm {
  readonly AlarmName: string;
}

/** A server with what AWS says of it. */
export interface ServerStatus extends AwsNodeOutput {
  readonly region: string;
  readonly state: string;
  readonly pendingReboot: boolean;
}

export interface RegionStatus {
  readonly region: string;
  readonly nodes: readonly ServerStatus[];
  /** Alarms that ring. */
  readonly alarms: readonly string[];
  /** Why it tells nothing; null where it does. */
  readonly silent: string | null;
}

/** Whether a region answers, and every server in it is available, as far as anybody can tell. */
export const isWell = ({ silent, nodes }: Pick<RegionStatus, "silent" | "nodes">): boolean =>
  silent === null && nodes.every(({ state }) => ["available", "unknown", "backing-up"].includes(state));

/** Servers as their region tells of them; undefined: it does not. */
const told = ({ region, nodes }: Servers, instances: ReadonlyMap<string, Instance> | undefined): ServerStatus[] =>
  nodes.map((node) => {
    const instance = instances?.get(node.name);
    const state = instances ? (instance?.DBInstanceStatus ?? "missing") : "unknown";
    const role = instance ? (isReplica(instance) ? "replica" : "primary") : node.role;
    return { ...node, region, role, state, pendingReboot: isPending(instance) };
  });

/** One region. `refused`: what AWS says instead, where it does not answer. */
async function regionStatus(stack: string, servers: Servers): Promise<RegionStatus & { readonly refused?: unknown }> {
  const { region } = servers;
  try {
    const [instances, { MetricAlarms: alarms = [] }] = await Promise.all([
      instancesIn(servers),
      aws<{ MetricAlarms?: readonly Alarm[] }>(region, [
        ...["cloudwatch", "describe-alarms", "--state-value", "ALARM", "--alarm-name-prefix", `cgraph-${stack}-`],
      ]),
    ]);
    return { region, nodes: told(servers, instances), alarms: alarms.map(({ AlarmName }) => AlarmName), silent: null };
  } catch (refused) {
    const silent = refused instanceof Error ? refused.message : String(refused);
    return { region, nodes: told(servers, undefined), alarms: [], silent, refused };
  }
}

/**
 * Every region of a stack, home first, as far as it answers: one that is lost does not hide the others. Throws what AWS
 * says where none does.
 */
export async function regionStatuses(values: AwsStackValues, stack: string): Promise<RegionStatus[]> {
  const found = await Promise.all(serversByRegion(values).map((servers) => regionStatus(stack, servers)));
  if (found.every(({ silent }) => silent !== null)) throw found[0]?.refused as Error;
  return found;
}

/** The same without anybody to ask. */
export const unasked = (values: AwsStackValues): RegionStatus[] =>
  serversByRegion(values).map((servers) => ({
    region: servers.region,
    nodes: told(servers, undefined),
    alarms: [],
    silent: null,
  }));

/** Servers with what AWS says of them, alarms that ring, and addresses. Exit 1 where a server is not available. */
export async function statusAws(stack: string, values: AwsStackValues, json: boolean): Promise<ExitCode> {
  needsRds(values, "status", `${PATRONICTL} list`);
  const mayAsk = await hasAwsCli();
  const regions = mayAsk ? await regionStatuses(values, stack) : unasked(values);
  const nodes = regions.flatMap((one) => one.nodes);
  const alarms = regions.flatMap((one) => one.alarms);
  const silent = regions.filter((one) => one.silent !== null);
  const { stage, target, region, postgresVersion, endpoints, notes, usdPerMonth } = values;
  if (json) {
    printJson({ stack, stage, target, region, postgresVersion, nodes, endpoints, alarms, usdPerMonth, notes });
  } else {
    print(
      `stack ${stack}, stage ${stage} on ${target} in ${regions.map((one) => one.region).join(", ")}, PostgreSQL ${postgresVersion}, $${usdPerMonth} a month`,
    );
    print(
      table([
        ["server", "role", "state", "class", "address", "shared_buffers", "connections"],
        ...nodes.map((node) => [
          node.name,
          node.role,
          node.pendingReboot ? `${node.state}, parameters wait for a reboot` : node.state,
          node.instanceClass,
          `${node.host}:${node.port}`,
          node.settings["shared_buffers"] ?? "",
          node.settings["max_connections"] ?? "",
        ]),
      ]),
    );
    const { pool, cache } = endpoints;
    if (pool) print(`pool: ${pool.host}:${pool.port} (${pool.kind})`);
    if (cache) print(`cache: ${cache.host}:${cache.port}`);
    if (values.across) print(`nearest replica: ${values.across.nearest.host}:${values.across.nearest.port}`);
    print(mayAsk ? `alarms: ${alarms.join(", ") || "none"}` : "states and alarms: install the AWS CLI to see them");
    for (const one of silent) print(`${one.region} does not answer: ${one.silent}`);
    for (const text of notes) print(`note: ${text}`);
  }
  return regions.every(isWell) ? EXIT.done : EXIT.failed;
}
