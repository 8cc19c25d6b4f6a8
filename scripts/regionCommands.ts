/** The commands for a stack's regions; main.ts has the rest. */
import type { Command } from "commander";
import { DEFAULT_STACK } from "./lib/stackFiles.ts";
import type { Run } from "./lookCommands.ts";

/** `runs` has a command load its code when it is called. */
export function addRegionCommands(
  program: Command,
  runs: (load: () => Promise<Run>) => (...args: unknown[]) => Promise<void>,
): void {
  const region = program.command("region").description("Regions: where the primary is, and moving it");
  const regional = (name: string, description: string): Command =>
    region
      .command(name)
      .description(description)
      .option("-s, --stack <name>", "the stack", DEFAULT_STACK)
      .option("--json", "print JSON");
  regional("list", "Where the primary is, how far the others are behind, what promotions have lost").action(
    runs(async () => (await import("./commands/region.ts")).listRegions),
  );
  regional("promote <region>", "Move the primary to this region; on AWS --dry-run lists the commands, which you call")
    .option("--dry-run", "only say what would be done")
    .option("--force", "also while the primary's region is healthy: hands over without loss")
    .option("-y, --yes", "answer yes to every question")
    .action(runs(async () => (await import("./commands/region.ts")).promoteRegion));
  for (const [how, description] of [
    ["cut", "In Docker: end all connections between this region and the others"],
    ["heal", "In Docker: let them be again"],
  ] as const) {
    regional(`${how} <region>`, description).action(
      runs(async () => {
        const { cutRegion } = await import("./commands/region.ts");
        return (name: never, flags: never) => cutRegion(name, how, flags);
      }),
    );
  }
}
