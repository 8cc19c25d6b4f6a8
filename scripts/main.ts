/** The command line of cgraph-db. Each command's code is loaded when it runs: `--help` loads none of it. */
import { enableCompileCache } from "node:module";
import { Command, CommanderError } from "commander";
import { EXIT, type ExitCode, UserError } from "../tuning/errors.ts";
import { DEFAULT_STACK, checkStackName } from "./lib/stackFiles.ts";
import { addBackupCommands } from "./backupCommands.ts";
import { addCitusCommands } from "./citusCommands.ts";
import { type Run, addLookCommands } from "./lookCommands.ts";
import { addRegionCommands } from "./regionCommands.ts";

enableCompileCache();

// Whoever read the output is gone (a pipe into head, a broken connection): what is under way goes on without a word. Pulumi's
// runtime would otherwise report each failed report, for ever.
for (const output of [process.stdout, process.stderr]) output.on("error", () => undefined);

const program = new Command("cgraph-db")
  .description("CGraph's PostgreSQL as code: five growth stages, from one server to a distributed cluster.")
  .option("--verbose", "show stack traces of unexpected errors")
  .showHelpAfterError("(cgraph-db --help lists commands and options)")
  .exitOverride()
  .addHelpText("after", "\nExit codes: 0 done, 1 failed, 2 wrong use, 3 refused as unsafe.");

/** Runs a command's code and takes its exit code. */
const runs =
  (load: () => Promise<Run>) =>
  async (...args: unknown[]): Promise<void> => {
    // Of a command within a command too, wherever they stand: `backup verify` has those of `backup`.
    const options = (args.at(-1) as Command).optsWithGlobals<{ stack?: string }>();
    if (options.stack !== undefined) checkStackName(options.stack);
    try {
      const code = await (await load())(...([...args.slice(0, -2), options] as never[]));
      if (typeof code === "number") process.exitCode = code;
    } catch (error) {
      if (options.stack === undefined) throw error;
      const { withRegionsSaid } = await import("./regions/reach.ts");
      throw await withRegionsSaid(options.stack, error);
    }
  };

function command(name: string, description: string, options: { stack?: boolean; json?: boolean } = {}): Command {
  const made = program.command(name).description(description);
  if (options.stack !== false) made.option("-s, --stack <name>", "the stack", DEFAULT_STACK);
  if (options.json !== false) made.option("--json", "print JSON");
  return made;
}

/** For commands that work on one of a sharded stack's clusters. */
const onCluster = (made: Command): Command =>
  made.option("--cluster <name>", "of a stack with shards: shard0 (default), shard1, …, global");

const collect = (value: string, before: readonly string[]): string[] => [...before, value];

command("setup", "Install what is missing: packages, Pulumi, plugins, Docker, base image", { stack: false })
  .option("--check", "only list what is found and missing")
  .option("--target <target>", "docker or aws", "docker")
  .option("--no-install", "install nothing on this machine as root")
  .action(runs(async () => (await import("./commands/setup.ts")).setup));

command("up", "Set up what is missing, then bring the stack up")
  .option("--stage <n>", "the growth stage, 1 to 5 (kept in the stack's configuration)")
  .option("--port <port>", "port on 127.0.0.1; the others move along (kept in the stack's configuration)")
  .option("--target <target>", "docker or aws, for a new stack (kept in the stack's configuration)")
  .option(
    "--allow-replace <urn>",
    "delete or replace this resource although it holds data; can be repeated",
    collect,
    [],
  )
  .option("-y, --yes", "answer yes to every question")
  .option("--no-install", "install nothing on this machine as root")
  .action(runs(async () => (await import("./commands/up.ts")).up));

command("preview", "Show what up would change, and what a move to another stage takes")
  .option("--stage <n>", "as if the stack were at this stage")
  .option("--target <target>", "with --offline: as if the stack were on docker or aws")
  .option("--offline", "plan AWS with no account and no network, from nothing or from the stage of --from")
  .option("--from <n>", "with --offline: the stage that is there already")
  .option(
    "--allow-replace <urn>",
    "as with up: this resource may go although it holds data; can be repeated",
    collect,
    [],
  )
  .option("--markdown", "print Markdown, for a pull request")
  .option("--html <file>", "write a page with pictures into this file")
  .action(runs(async () => (await import("./commands/preview.ts")).preview));

command("migrate", "Move to another stage in use, step by step; a killed move goes on or is taken back")
  .option("--stage <n>", "the stage to move to")
  .option("--dry-run", "only list the steps")
  .option("--pause-after <step>", "end after this step; --resume goes on")
  .option("--resume", "go on with a move that was interrupted or paused")
  .option("--rollback", "take it back, up to the point of no return")
  .option(
    "--allow-replace <urn>",
    "delete or replace this resource although it holds data; can be repeated",
    collect,
    [],
  )
  .option("-y, --yes", "answer yes to every question")
  .action(runs(async () => (await import("./commands/migrate.ts")).migrate));

/** The flags of every command that moves buckets. */
const movingBuckets = (made: Command): Command =>
  made
    .option("--dry-run", "only list the steps")
    .option("--pause-after <step>", "end after this step; --resume goes on")
    .option("--resume", "go on with a move that was interrupted or paused")
    .option("--rollback", "take it back, up to the point of no return")
    .option("-y, --yes", "answer yes to every question");

movingBuckets(command("reshard", "Move buckets between shards in use: onto more shards, or some to one"))
  .option("--shards <n>", "spread them evenly over so many; new ones are made")
  .option("--move-bucket <n>", "move this bucket; can be repeated", (value: string, before: string[] | undefined) =>
    collect(value, before ?? []),
  )
  .option("--to <shard>", "with --move-bucket: the shard that is to have them")
  .action(runs(async () => (await import("./commands/reshard.ts")).reshard));

movingBuckets(command("rebalance", "Spread the buckets evenly over the shards that there are")).action(
  runs(async () => (await import("./commands/reshard.ts")).reshard),
);

addCitusCommands(command, runs);

command("down", "Stop and remove everything but data and secrets")
  .option("--delete-data", "data, backups and secrets too: asks for the stack's name")
  .option("--force", "also while no server is primary")
  .option("-y, --yes", "answer yes to every question")
  .action(runs(async () => (await import("./commands/down.ts")).down));

command("status", "Show what runs and whether it is healthy").action(
  runs(async () => (await import("./commands/status.ts")).status),
);

command("env", "Print connection URLs with passwords, as dotenv")
  .option("--format <format>", "dotenv, json, or exs: Ecto's configuration as in the guide", "dotenv")
  .action(runs(async () => (await import("./commands/env.ts")).env));

onCluster(command("switchover", "Hand the writes to a replica; clients of the pools wait for a moment"))
  .option("--to <server>", "this replica; default: the one that lags least")
  .action(runs(async () => (await import("./commands/switchover.ts")).runSwitchover));

onCluster(command("failover", "Make a replica primary when the primary is lost"))
  .option("--to <server>", "this replica; default: the one that lags least")
  .option("-y, --yes", "answer yes to every question")
  .action(runs(async () => (await import("./commands/switchover.ts")).runFailover));

addRegionCommands(program, runs);

command("restart", "Restart the servers")
  .option("--rolling", "one after the other, the primary last and after it has handed over")
  .action(runs(async () => (await import("./commands/restart.ts")).restart));

const config = program.command("config").description("The stack's configuration (docs/configuration.md)");
config
  .command("show")
  .description("Print what it sets")
  .option("-s, --stack <name>", "the stack", DEFAULT_STACK)
  .option("--json", "print JSON")
  .action(runs(async () => (await import("./commands/config.ts")).showConfig));
config
  .command("set <key> [value]")
  .description("Set a key, when the whole still goes together")
  .option("-s, --stack <name>", "the stack", DEFAULT_STACK)
  .option("--secret", "read the value from standard input and keep it encrypted")
  .option("--json", "print JSON")
  .action(runs(async () => (await import("./commands/config.ts")).setConfigKey));
config
  .command("unset <key>")
  .description("Give a key its default again")
  .option("-s, --stack <name>", "the stack", DEFAULT_STACK)
  .option("--json", "print JSON")
  .action(runs(async () => (await import("./commands/config.ts")).unsetConfigKey));
config
  .command("apply")
  .description("Bring the servers to it; restart only what a changed setting makes it, replicas first")
  .option("-s, --stack <name>", "the stack", DEFAULT_STACK)
  .option("-y, --yes", "answer yes to every question")
  .option("--json", "print JSON")
  .action(runs(async () => (await import("./commands/restart.ts")).applyConfig));

onCluster(command("psql [args...]", "Open psql on the primary; arguments after -- go to psql", { json: false }))
  .option("--role <name>", "connect as this role; postgres is the superuser", "cgraph")
  .action(runs(async () => (await import("./commands/psql.ts")).psql));

command("logs [server]", "Show the log of a server or service; `backup` is the backup schedule", { json: false })
  .option("-f, --follow", "go on as new lines come")
  .option("--tail <lines>", "lines from the end", "100")
  .action(runs(async () => (await import("./commands/logs.ts")).logs));

const schema = program.command("schema").description("CGraph's tables and indexes");
schema
  .command("apply")
  .description("Create what is missing; can be repeated")
  .option("-s, --stack <name>", "the stack", DEFAULT_STACK)
  .option("--json", "print JSON")
  .action(runs(async () => (await import("./commands/schema.ts")).applySchema));
schema
  .command("show")
  .description("Print the SQL")
  .action(runs(async () => async () => (await import("./commands/schema.ts")).showSchema()));

const partitions = program.command("partitions").description("Messages by month (stage 3)");
partitions
  .command("convert")
  .description("Partition messages while they are in use; goes on where an interrupted call stopped")
  .option("-s, --stack <name>", "the stack", DEFAULT_STACK)
  .option("--drop-old", "drop the table from before at the end")
  .option("-y, --yes", "answer yes to every question")
  .option("--json", "print JSON")
  .action(runs(async () => (await import("./commands/partitions.ts")).convertPartitions));
partitions
  .command("status")
  .description("List the partitions with their sizes")
  .option("-s, --stack <name>", "the stack", DEFAULT_STACK)
  .option("--json", "print JSON")
  .action(runs(async () => (await import("./commands/partitions.ts")).partitionsStatus));

addBackupCommands(command, onCluster, runs);

command("import", "Make a PostgreSQL database from elsewhere the stack's own (docs/import.md)")
  .option("--from <url>", "postgresql://USER:PASSWORD@HOST:PORT/DATABASE; the password may be left to PGPASSWORD")
  .option("--follow", "copy and follow while the source is in use; it is read only for a moment at the end")
  .option("--dry-run", "only look at both sides, and say what stands against it")
  .option("--pause-after <step>", "check, freeze, copy, follow, cutover, own or verify; --resume goes on")
  .option("--resume", "go on with an import that was interrupted or paused")
  .option("--rollback", "take it back: the source as it was, the stack's database empty")
  .option("-y, --yes", "answer yes to every question")
  .action(runs(async () => (await import("./commands/import.ts")).importDatabase));

command("doctor", "Say what ails a database, and which statements mend it; changes nothing (docs/doctor.md)")
  .option("--url <url>", "any PostgreSQL database instead of the stack's; the password may be left to PGPASSWORD")
  .option("--replica-url <url>", "with --url: a replica, whose use of indexes counts too; can be repeated", collect, [])
  .option("--cpus <n>", "with --url: the server's CPUs, to compare its settings with what tuning derives")
  .option("--memory <MiB>", "with --url: its memory")
  .option(
    "--cluster <name>",
    "of a stack with shards only shard0, shard1, … or global; default: all, one after the other",
  )
  .option("--markdown", "print Markdown, for an issue or a pull request")
  .action(runs(async () => (await import("./commands/doctor.ts")).doctor));

command("prune", "Delete the data volumes that restores have left behind")
  .option("-y, --yes", "answer yes to every question")
  .action(runs(async () => (await import("./commands/prune.ts")).prune));

addLookCommands(program, command, runs);

const secrets = program
  .command("secrets")
  .description("What must be kept in a safe place, and what should change now and then");
secrets
  .command("export")
  .description("Print passphrase, backup key and passwords")
  .option("-s, --stack <name>", "the stack", DEFAULT_STACK)
  .option("--json", "print JSON")
  .action(runs(async () => (await import("./commands/secrets.ts")).exportSecrets));
secrets
  .command("rotate")
  .description("Make new passwords and use them, the old ones valid beside; --finish has those refused")
  .option("--finish", "refuse the old passwords; refused itself while somebody uses them")
  .option("--end-sessions", "with --finish: end the sessions of those who do")
  .option("-s, --stack <name>", "the stack", DEFAULT_STACK)
  .option("-y, --yes", "answer yes to every question")
  .option("--json", "print JSON")
  .action(runs(async () => (await import("./commands/rotate.ts")).rotate));

command("test [files...]", "Set up, then format, lint, types and all tests", { stack: false, json: false })
  .option("--full", "add the long drills")
  .option("--only <part>", "lint, typecheck or unit, without set-up")
  .option("--no-install", "install nothing on this machine as root")
  .action(runs(async () => (await import("./commands/test.ts")).test));

command(
  "bench <what>",
  "Measure: tuning, start, failover, pool, reads, moves, backup, partitions, reshard, fill, capacity, routing, workers, monitoring",
  {
    stack: false,
  },
)
  .option("--runs <n>", "runs of each; default: as many as the results take")
  .option("--disk <disk>", "tuning: bare, gp3 or both", "both")
  .option("--quick", "a small run that only shows that it works")
  .option("--workloads <list>", "tuning: only these, separated by commas")
  .option(
    "--variant <name:setting=value,...>",
    "tuning: one more column, ours with other settings; can be repeated",
    collect,
    [],
  )
  .option("--no-install", "install nothing on this machine as root")
  .action(runs(async () => (await import("./commands/bench.ts")).bench));

/** One message on standard error, and the exit code. */
function report(error: unknown): ExitCode {
  if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.done : EXIT.wrongUse;
  if (error instanceof UserError) {
    process.stderr.write(`cgraph-db: ${error.message}\n  ${error.remedy}\n`);
    return error.exitCode;
  }
  const shown = error instanceof Error ? (program.opts()["verbose"] ? error.stack : error.message) : String(error);
  process.stderr.write(
    `cgraph-db: ${shown}\n  this was not expected; --verbose before the command shows where it came from\n`,
  );
  return EXIT.failed;
}

/** Waits until a reader has everything: what a pipe has no room for is written later, and an exit would cut it off. */
const written = (output: NodeJS.WriteStream): Promise<void> =>
  new Promise((resolve) => output.write("", () => resolve()));

try {
  await program.parseAsync();
} catch (error) {
  process.exitCode = report(error);
}
await Promise.all([process.stdout, process.stderr].map(written));
// Connections that are kept for reuse would keep the process.
process.exit();
