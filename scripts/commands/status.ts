import { EXIT, type ExitCode } from "../../tuning/errors.ts";
import { containerStates } from "../lib/docker.ts";
import { print, printJson, table } from "../lib/print.ts";
import { openStack, stackValues } from "../lib/stack.ts";

/** `status`: what runs, how large, and whether it is healthy. Exit 1 where a server is not. */
export async function status(flags: { stack: string; json?: boolean }): Promise<ExitCode> {
  const values = await stackValues(await openStack(flags.stack));
  const names = [...values.nodes.map((node) => node.container), values.backupContainer];
  const states = await containerStates(names);
  const health = (container: string): string => {
    const state = states.find((one) => one.name === container);
    if (!state) return "missing";
    return state.status === "running" ? (state.health === "none" ? "running" : state.health) : state.status;
  };
  const nodes = values.nodes.map((node) => ({ ...node, state: health(node.container) }));
  const backups = { container: values.backupContainer, state: health(values.backupContainer) };
  if (flags.json) {
    printJson({
      stack: flags.stack,
      stage: values.stage,
      target: values.target,
      postgresVersion: values.postgresVersion,
      nodes,
      backups,
      notes: values.notes,
    });
  } else {
    print(`stack ${flags.stack}, stage ${values.stage} on ${values.target}, PostgreSQL ${values.postgresVersion}`);
    print(
      table([
        ["server", "role", "state", "address", "CPUs", "memory", "shared_buffers", "connections", "data"],
        ...nodes.map((node) => [
          node.name,
          node.role,
          node.state,
          `${node.host}:${node.port}`,
          String(node.cpus),
          `${node.memoryMiB} MiB`,
          node.settings["shared_buffers"] ?? "",
          node.settings["max_connections"] ?? "",
          node.dataVolume,
        ]),
        ["backup", "schedule", backups.state, "", "", "", "", "", ""],
      ]),
    );
    for (const text of values.notes) print(`note: ${text}`);
  }
  return nodes.every((node) => node.state === "healthy") ? EXIT.done : EXIT.failed;
}
