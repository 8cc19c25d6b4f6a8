/** The commands for a Citus cluster, stage 5; main.ts has the rest. */
import type { Command } from "commander";
import type { Run } from "./lookCommands.ts";

/** `command` makes one with the options that all have, `runs` has it load its code when it is called. */
export function addCitusCommands(
  command: (name: string, description: string) => Command,
  runs: (load: () => Promise<Run>) => (...args: unknown[]) => Promise<void>,
): void {
  const workers = command(
    "workers",
    "List the workers of a Citus cluster, with their shards; or add, remove, rebalance",
  ).action(runs(async () => (await import("./commands/workers.ts")).listWorkers));
  // They take the options of `workers` itself.
  const within = (name: string, description: string): Command =>
    workers.command(name).description(description).configureHelp({ showGlobalOptions: true });
  within("add", "Make more of them and move shards there, in use; goes on where it was broken off")
    .option("--count <n>", "so many", "1")
    .option("--no-rebalance", "leave the shards where they are")
    .action(runs(async () => (await import("./commands/workers.ts")).workersAdd));
  within("remove", "Move the shards of the highest ones to the others, then take them out; volumes stay")
    .option("--count <n>", "so many", "1")
    .option("-y, --yes", "answer yes to every question")
    .action(runs(async () => (await import("./commands/workers.ts")).workersRemove));
  within("rebalance", "Spread the shards evenly over the workers there are, in use").action(
    runs(async () => (await import("./commands/workers.ts")).workersRebalance),
  );

  command("isolate-tenant <user>", "Give a user's rows a shard of their own (stage 5)")
    .option("--to <worker>", "and move it to this worker")
    .action(runs(async () => (await import("./commands/isolateTenant.ts")).isolateTenant));
}
