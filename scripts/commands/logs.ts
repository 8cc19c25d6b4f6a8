import { UserError } from "../../tuning/errors.ts";
import { allNodes } from "../lib/clusters.ts";
import { runAttached } from "../lib/run.ts";
import { openStack, stackValues } from "../lib/stack.ts";

/** `logs`: a server's log (default: the first server's); `backup` names the backup schedule, others a service. */
export async function logs(
  server: string | undefined,
  flags: { stack: string; follow?: boolean; tail: string },
): Promise<number> {
  const values = await stackValues(await openStack(flags.stack));
  const containers: Record<string, string> = {
    ...Object.fromEntries(allNodes(values).map((node) => [node.name, node.container])),
    ...Object.fromEntries(values.services.map((service) => [service.name, service.container])),
    backup: values.backupContainer,
  };
  const name = server ?? values.nodes[0]?.name ?? "";
  const container = containers[name];
  if (!container) throw new UserError(`there is no server ${name}`, `use one of ${Object.keys(containers).join(", ")}`);
  return runAttached("docker", ["logs", "--tail", flags.tail, ...(flags.follow ? ["--follow"] : []), container]);
}
