/** The commands that look into a database, a stack's or any other; main.ts has the rest. */
import type { Command } from "commander";
import { DEFAULT_STACK } from "./lib/stackFiles.ts";

/** A command: its exit code where it has one of its own (0 otherwise). */
export type Run = (...args: never[]) => Promise<unknown>;

const URL_OPTION = "another database: postgresql://USER@HOST:PORT/DATABASE; the password may be left to PGPASSWORD";

/** `command` makes one with the options that all have, `runs` has it load its code when it is called. */
export function addLookCommands(
  program: Command,
  command: (name: string, description: string) => Command,
  runs: (load: () => Promise<Run>) => (...args: unknown[]) => Promise<void>,
): void {
  const inspect = program
    .command("inspect")
    .description("Look into a database, a stack's or any other (docs/inspect.md)");
  function inspection(name: string, description: string): Command {
    return inspect
      .command(name)
      .description(description)
      .option("-s, --stack <name>", "the stack", DEFAULT_STACK)
      .option("--url <url>", URL_OPTION)
      .option("--json", "print JSON");
  }
  inspection("size", "What takes the room: tables, indexes, long values, WAL").action(
    runs(async () => (await import("./commands/inspect.ts")).inspectSize),
  );
  inspection("tables", "Size, dead rows and bloat of each table")
    .option("--partitions", "each partition by itself")
    .option("--limit <n>", "only the largest")
    .action(runs(async () => (await import("./commands/inspect.ts")).inspectTables));
  inspection("indexes", "Size and use of each index; which are unused, invalid or there twice")
    .option("--limit <n>", "only the largest")
    .action(runs(async () => (await import("./commands/inspect.ts")).inspectIndexes));
  inspection("locks", "Who waits for whom").action(
    runs(async () => (await import("./commands/inspect.ts")).inspectLocks),
  );
  inspection("replication", "Who follows, how far behind, and what slots keep").action(
    runs(async () => (await import("./commands/inspect.ts")).inspectReplication),
  );
  inspection("activity", "Connections, and who has been at work the longest")
    .option("--limit <n>", "so many sessions; default: 20")
    .action(runs(async () => (await import("./commands/inspect.ts")).inspectActivity));
  inspection("slow", "The statements that take the server's time (pg_stat_statements)")
    .option("--by <order>", "total, mean, max or calls", "total")
    .option("--limit <n>", "so many statements; default: 10")
    .action(runs(async () => (await import("./commands/inspect.ts")).inspectSlow));

  command("vacuum <table>", "VACUUM (VERBOSE, ANALYZE) of a table, partitions included, with its progress")
    .option("--url <url>", URL_OPTION)
    .action(runs(async () => (await import("./commands/vacuum.ts")).vacuum));

  command("terminate <pid>", "End a session, after having shown what it does")
    .option("--url <url>", URL_OPTION)
    .option("--server <name>", "the stack's server whose process it is; default: the primary")
    .option("--cancel", "cancel its statement first; the session goes on where that is enough")
    .option("--force", "also what works for replication, Patroni, a backup or the server itself")
    .option("-y, --yes", "answer yes to every question")
    .action(runs(async () => (await import("./commands/terminate.ts")).terminate));

  command("explain <file>", "EXPLAIN (ANALYZE, BUFFERS) of one statement, rolled back; - reads standard input")
    .option("--url <url>", URL_OPTION)
    .option("--role <name>", "as this role", "cgraph")
    .option("--write", "also a statement that writes: it runs, and is rolled back")
    .option("--timeout <seconds>", "give up after so long", "30")
    .action(runs(async () => (await import("./commands/explain.ts")).explain));

  command("assess", "Which stage fits, which limit is met first and when, what the next stage takes (docs/assess.md)")
    .option("--url <url>", URL_OPTION)
    .option("--prometheus <url>", "ask this Prometheus as well; default: the stack's own")
    .option("--days <n>", "so far back in Prometheus", "180")
    .option("--seconds <n>", "watch the load for so long", "5")
    .option("--markdown", "print Markdown, for an issue")
    .option("--html <file>", "write a page with pictures into this file")
    .action(runs(async () => (await import("./commands/assess.ts")).assess));

  program
    .command("capacity")
    .description("What so many users need at stage 5, on paper: nodes, money, what gives way first (docs/capacity.md)")
    .option("--users <n>", "so many users, such as 30M", "100M")
    .option("--json", "print JSON")
    .action(runs(async () => (await import("./commands/capacity.ts")).capacity));
}
