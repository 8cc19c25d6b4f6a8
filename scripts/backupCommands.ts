/** The commands that take backups and restore them; main.ts has the rest. */
import type { Command } from "commander";
import type { Run } from "./lookCommands.ts";

/**
 * `command` makes one with the options that all have, `onCluster` adds the choice of a cluster, `runs` has it load its code
 * when it is called.
 */
export function addBackupCommands(
  command: (name: string, description: string) => Command,
  onCluster: (made: Command) => Command,
  runs: (load: () => Promise<Run>) => (...args: unknown[]) => Promise<void>,
): void {
  const backup = onCluster(command("backup", "Take a backup now; or verify one"))
    .option("--type <type>", "full, diff or incr", "diff")
    .action(runs(async () => (await import("./commands/backup.ts")).backup));
  backup
    .command("point [name]")
    .description("Give this moment a name that restore --to takes; without one, list those there are")
    .configureHelp({ showGlobalOptions: true })
    .action(runs(async () => (await import("./commands/backup.ts")).restorePoint));
  backup
    .command("verify")
    .description("Restore a backup on trial and read all of it; exit code 1 where it is not good")
    .option("--set <name>", "this backup; default: the newest")
    .option("--all", "read the rest of the repository as well: all WAL, all other backups")
    .configureHelp({ showGlobalOptions: true })
    .action(runs(async () => (await import("./commands/verify.ts")).verify));

  onCluster(command("backups", "List backups with size, time and WAL range")).action(
    runs(async () => (await import("./commands/backup.ts")).backups),
  );

  command("restore", "Restore into a new volume, then swap; the old volume is kept")
    .requiredOption(
      "--to <target>",
      "a time with its zone (2026-11-22T14:05:00Z), a position in WAL (0/3000148), the name of a restore point or a backup, or latest",
    )
    .option(
      "--timeline <n>",
      "end on this timeline; default: that of the time or the restore point, otherwise the newest",
    )
    .option("-y, --yes", "answer yes to every question")
    .action(runs(async () => (await import("./commands/restore.ts")).restore));
}
