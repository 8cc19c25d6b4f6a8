/** `status` of a stack on AWS. */
import type { AwsStackValues } from "../../stacks/aws/outputs.ts";
import { EXIT, type ExitCode } from "../../tuning/errors.ts";
import { print, printJson, table } from "../lib/print.ts";
import { aws, hasAwsCli } from "./cli.ts";
import { instancesOf, isPending, isReplica } from "./restart.ts";

interface Alarm {
  readonly AlarmName: string;
}

/** Servers with what AWS says of them, alarms that ring, and addresses. Exit 1 where a server is not available. */
export async function statusAws(stack: string, values: AwsStackValues, json: boolean): Promise<ExitCode> {
  const mayAsk = await hasAwsCli();
  const instances = mayAsk ? await instancesOf(values) : new Map<string, never>();
  const { MetricAlarms: alarms = [] } = mayAsk
    ? await aws<{ MetricAlarms?: readonly Alarm[] }>(values.region, [
        ...["cloudwatch", "describe-alarms", "--state-value", "ALARM", "--alarm-name-prefix", `cgraph-${stack}-`],
      ])
    : {};
  const nodes = values.nodes.map((node) => {
    const instance = instances.get(node.name);
    const state = mayAsk ? (instance?.DBInstanceStatus ?? "missing") : "unknown";
    const role = instance ? (isReplica(instance) ? "replica" : "primary") : node.role;
    return { ...node, role, state, pendingReboot: isPending(instance) };
  });
  const ringing = alarms.map(({ AlarmName }) => AlarmName);
  const { stage, target, region, postgresVersion, endpoints, notes, usdPerMonth } = values;
  if (json) {
    printJson({ stack, stage, target, region, postgresVersion, nodes, endpoints, alarms: ringing, usdPerMonth, notes });
  } else {
    print(
      `stack ${stack}, stage ${stage} on ${target} in ${region}, PostgreSQL ${postgresVersion}, $${usdPerMonth} a month`,
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
    print(mayAsk ? `alarms: ${ringing.join(", ") || "none"}` : "states and alarms: install the AWS CLI to see them");
    for (const text of notes) print(`note: ${text}`);
  }
  return nodes.every(({ state }) => ["available", "unknown", "backing-up"].includes(state)) ? EXIT.done : EXIT.failed;
}
