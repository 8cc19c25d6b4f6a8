/** The commands for a Citus cluster, stage 5; main.ts has the rest. */
import type { Command } from "commander";
import type { Run } from "./lookCommands.ts";
import { DEFAULT_STACK } from "./lib/stackFiles.ts";

/** `command` makes one with the options that all have, `runs` has it load its code when it is called. */
export function addCitusCommands(
  command: (name: string, description: string) => Command,
  runs: (load: () => Promise<Run>) => (...args: unknown[]) => Promise<void>,
): void {
  const workers = command(
    "workers",
    "List the workers of a Citus cluster, with their shards; or add, remove, rebalance",
  ).action(runs(async () => (await import("./commands/workers.ts")).listWorkers));
  const withStack = (name: string, description: string): Command =>
    workers
      .command(name)
      .description(description)
      .option("-s, --stack <name>", "the stack", DEFAULT_STACK)
      .option("--json", "print JSON");
  withStack("add", "Make more of them and move shards there, in use; goes on where it was broken off")
    .option("--count <n>", "so many", "1")
    .option("--no-rebalance", "leave the shards where they are")
    .action(runs(async () => (await import("./commands/workers.ts")).workersAdd));
  withStack("remove", "Move the shards of the highest ones to the others, then take them out; volumes stay")
    .option("--count <n>", "so many", "1")
    .option("-y, --yes", "answer yes to every question")
    .action(runs(async () => (await import("./commands/workers.ts")).workersRemove));
  withStack("rebalance", "Spread the shards evenly over the workers there are, in use").action(
    runs(async () => (await import("./commands/workers.ts")).workersRebalance),
  );

  command("isolate-tenant <user>", "Give a user's rows a shard of their own (stage 5)")
    .option("--to <worker>", "and move it to this worker")
    .action(runs(async () => (await import("./commands/isolateTenant.ts")).isolateTenant));
}
