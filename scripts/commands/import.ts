import { join } from "node:path";
import type { StackValues } from "../../stacks/outputs.ts";
import { EXIT, UserError } from "../../tuning/errors.ts";
import { check, confirmedStep, cutoverQuestion, describeSource, importSteps, refuseOrNote } from "../import/steps.ts";
import { listed } from "../import/compare.ts";
import { type Source, parseSource, publicUrl, refuseHalfTls } from "../import/source.ts";
import { Tools } from "../import/tools.ts";
import { confirm } from "../lib/ask.ts";
import { containerStates } from "../lib/docker.ts";
import { lockStack } from "../lib/lock.ts";
import { ROOT } from "../lib/paths.ts";
import { bytes, print, printJson } from "../lib/print.ts";
import { note } from "../lib/progress.ts";
import { run } from "../lib/run.ts";
import {
  type Journal,
  beginJournal,
  closeJournal,
  factsOf,
  openJournal,
  refuseDuringMove,
} from "../migrate/journal.ts";
import { findBaseImage } from "../setup/baseImage.ts";
import { type MoveStep, runBack, runForward } from "../migrate/runner.ts";

export interface ImportFlags {
  readonly stack: string;
  readonly from?: string;
  readonly follow?: boolean;
  readonly dryRun?: boolean;
  readonly pauseAfter?: string;
  readonly resume?: boolean;
  readonly rollback?: boolean;
  readonly yes?: boolean;
  readonly json?: boolean;
}

/** The stack's outputs, where its server runs; undefined where it has to be brought up first. */
async function runningStack(name: string): Promise<StackValues | undefined> {
  const { openStack, stackValues } = await import("../lib/stack.ts");
  const values = await openStack(name)
    .then(stackValues)
    .catch((error: unknown) => {
      if (error instanceof UserError && /^there is no stack|is not up$/.test(error.message)) return undefined;
      throw error;
    });
  if (!values) return undefined;
  if (values.stage !== 1) {
    throw new UserError(
      `stack ${name} is at stage ${values.stage}: a database is imported at stage 1`,
      "import into a new stack (--stack NAME), then bring that one to the stage",
      EXIT.refused,
    );
  }
  const [state] = await containerStates(values.nodes.map(({ container }) => container));
  return state?.health === "healthy" ? values : undefined;
}

/** Brings the stack up where it has to be; not for a source that cannot be imported at all. */
async function stackToImportInto(flags: ImportFlags, source: Source): Promise<StackValues> {
  const there = await runningStack(flags.stack);
  if (there) return there;
  // On a new machine even the image that looks has to be set up first.
  if ((await findBaseImage()) !== undefined) {
    const tools = new Tools({ stack: flags.stack, source, server: undefined });
    try {
      const { verdict } = await check(tools, { stack: flags.stack, follow: flags.follow === true, server: undefined });
      if (verdict.refusals.length > 0) refuseOrNote(verdict);
    } finally {
      await tools.remove();
    }
  }
  const up = ["up", "--stack", flags.stack, ...(flags.yes ? ["--yes"] : [])];
  const { code, stderr } = await run(join(ROOT, "cgraph-db"), up, {
    onLine: (line) => /^[-✓✗] /.test(line) && note(line),
  });
  if (code !== 0) {
    const said = /^cgraph-db: ([^]*)/m.exec(stderr)?.[1]?.trim().split("\n  ") ?? [stderr.trim()];
    throw new UserError(
      `stack ${flags.stack} could not be brought up: ${said[0]}`,
      said.slice(1).join("\n  "),
      EXIT.failed,
    );
  }
  const values = await runningStack(flags.stack);
  if (!values)
    throw new UserError(`stack ${flags.stack} is not up`, `see ./cgraph-db status --stack ${flags.stack}`, EXIT.failed);
  return values;
}

/** Where an import that is under way comes from: the journal's URL, with the password of --from or PGPASSWORD. */
function sourceOf(flags: ImportFlags, journal: Journal | undefined): Source {
  const text = flags.from ?? journal?.from;
  if (text === undefined) throw new UserError("--from is missing", "give the URL of the database to import");
  const source = parseSource(text, process.env);
  refuseHalfTls(source);
  if (journal && publicUrl(source) !== journal.from) {
    throw new UserError(
      `the import under way is from ${journal.from}`,
      "give the same --from, or leave it out and give the password in PGPASSWORD",
      EXIT.refused,
    );
  }
  return source;
}

/** What was found when all was done. Throws a UserError where source and stack are not the same, or it is not known. */
function report(flags: ImportFlags, journal: Journal): void {
  const follow = journal.steps.some(({ id }) => id === "follow");
  const number = (step: string, fact: string): number => Number(factsOf(journal, step)[fact] ?? 0);
  const names = (fact: string): readonly string[] => (factsOf(journal, "recheck")[fact] ?? []) as readonly string[];
  const compared = follow ? "recheck" : "verify";
  const copySeconds = number("copy", "copyMs") / 1000;
  const figures = {
    tables: number(compared, "tables"),
    rows: number(compared, "rows"),
    bytes: number(compared, "bytes"),
    copySeconds,
    bytesPerSecond: copySeconds > 0 ? Math.round(number("copy", "bytes") / copySeconds) : 0,
    pauseMs: number("finish", "at") - number(follow ? "cutover" : "freeze", "at"),
  };
  const [different, rewritten, lost] = [
    names("differences"),
    names("rewritten"),
    factsOf(journal, "recheck")["lost"] === true,
  ];
  const same = different.length === 0 && !lost;
  if (flags.json) {
    const found = { same, differences: different, notCompared: rewritten };
    printJson({ stack: flags.stack, from: journal.from, follow, done: true, ...figures, ...found });
  } else {
    const other = flags.stack === "dev" ? "" : ` --stack ${flags.stack}`;
    const how = same ? ", the same on both sides" : "";
    print(`Imported ${journal.from}: ${figures.tables} tables, ${figures.rows} rows, ${bytes(figures.bytes)}${how}.
Copied at ${bytes(figures.bytesPerSecond)} a second, indexes included; nobody could write for ${(figures.pauseMs / 1000).toFixed(1)} s.
Writes go to the stack now; the source stays as it was, read only.

  URLs with passwords  ./cgraph-db env${other}
  a first backup       ./cgraph-db backup --type full${other}`);
  }
  if (rewritten.length > 0) {
    note(
      `  note: not compared, since the stack's clients have emptied, rewritten or dropped them: ${rewritten.join(", ")}`,
    );
  }
  const remedy = `the stack takes writes since, so nothing is taken back by itself; the source, read only, has everything it had.
  Bring what is missing over by hand, or stop the application and go back to the source:
  ALTER DATABASE … RESET default_transaction_read_only there; what clients have written since is in the stack only`;
  if (lost) {
    throw new UserError(
      "the stack's server has started anew before the last comparison was done: what was written while the copy was followed is not compared",
      remedy,
      EXIT.failed,
    );
  }
  if (!same) {
    throw new UserError(
      `source and stack differed when the stack took over:\n  ${listed(different)}`,
      remedy,
      EXIT.failed,
    );
  }
}

/** A dry run: looks at both sides, makes and keeps nothing but the image. */
async function dryRun(flags: ImportFlags, source: Source): Promise<void> {
  const values = await runningStack(flags.stack);
  const server = values?.nodes[0]?.container;
  const tools = new Tools({ stack: flags.stack, source, server });
  try {
    const found = await check(tools, { stack: flags.stack, follow: flags.follow === true, server });
    if (flags.json) printJson({ source: found.source, ...found.verdict });
    else print(describeSource(found.source));
    refuseOrNote(found.verdict);
    if (!server) note(`  note: stack ${flags.stack} is not up: what it lacks was not looked at`);
  } finally {
    await tools.remove();
  }
}

async function goOn(flags: ImportFlags, journal: Journal, steps: readonly MoveStep[], question: string): Promise<void> {
  const follow = journal.steps.some(({ id }) => id === "follow");
  const gate = steps.findIndex(({ id }) => id === confirmedStep(follow));
  const before = steps.slice(0, gate);
  // What is named at the gate is confirmed there: nobody is to wait for an answer while nobody can write.
  const options = {
    confirm: async () => undefined,
    ...(flags.pauseAfter === undefined ? {} : { pauseAfter: flags.pauseAfter }),
  };
  await runForward(journal, before, options);
  const pausesBefore = before.some(({ id }) => id === flags.pauseAfter);
  let current = openJournal(flags.stack) ?? journal;
  if (!pausesBefore) {
    if (current.steps.find(({ id }) => id === confirmedStep(follow))?.state === "pending") {
      await confirm(question, "yes", flags.yes === true);
    }
    const done = await runForward(current, steps, options);
    current = openJournal(flags.stack) ?? current;
    if (done) {
      closeJournal(flags.stack);
      report(flags, current);
      return;
    }
  }
  if (flags.json)
    printJson({ stack: flags.stack, from: journal.from, follow, done: false, pausedAfter: flags.pauseAfter });
  else
    print(
      `Paused after ${flags.pauseAfter}: ./cgraph-db import --resume --stack ${flags.stack} goes on, --rollback takes it back.`,
    );
}

function checkFlags(flags: ImportFlags): void {
  const modes = [flags.resume && "--resume", flags.rollback && "--rollback", flags.dryRun && "--dry-run"].filter(
    Boolean,
  );
  if (modes.length > 1) throw new UserError(`${modes.join(" and ")} do not go together`, "give one of them");
}

async function begin(flags: ImportFlags): Promise<void> {
  const source = sourceOf(flags, undefined);
  refuseDuringMove(flags.stack);
  if (flags.dryRun) return dryRun(flags, source);
  const follow = flags.follow === true;
  const ids = importStepIds(follow);
  if (flags.pauseAfter !== undefined && !ids.includes(flags.pauseAfter)) {
    throw new UserError(`there is no step ${flags.pauseAfter}`, `use one of ${ids.join(", ")}`);
  }
  const values = await stackToImportInto(flags, source);
  const lock = lockStack(flags.stack, "import");
  try {
    refuseDuringMove(flags.stack);
    const place = { stack: flags.stack, source, values, follow };
    const { steps, tools } = importSteps(place);
    const journal = beginJournal(
      { kind: "import", stack: flags.stack, from: publicUrl(source), to: String(values.stage) },
      steps,
    );
    if (follow) note("  note: until the import has ended, change no table, index or type on the source");
    try {
      await goOn(flags, journal, steps, cutoverQuestion(place));
    } catch (error) {
      // Nothing was done yet: what was refused can simply be called again.
      if (openJournal(flags.stack)?.steps.find(({ id }) => id === "check")?.state !== "done") {
        await tools.remove();
        closeJournal(flags.stack);
      }
      throw error;
    }
  } finally {
    lock.release();
  }
}

const importStepIds = (follow: boolean): string[] => [
  ...["check", "freeze", "copy", "own", "verify"],
  ...(follow ? ["follow", "cutover", "finish", "recheck"] : ["finish"]),
];

async function goOnOrBack(flags: ImportFlags): Promise<void> {
  const lock = lockStack(flags.stack, "import");
  try {
    const journal = openJournal(flags.stack);
    if (journal?.kind !== "import") {
      throw new UserError(`stack ${flags.stack} is in no import`, "begin one with --from");
    }
    const source = sourceOf(flags, journal);
    const follow = journal.steps.some(({ id }) => id === "follow");
    const values = await runningStack(flags.stack);
    if (!values) {
      throw new UserError(
        `the server of stack ${flags.stack} does not run`,
        `start it: docker start cgraph-${flags.stack}-pg0`,
        EXIT.failed,
      );
    }
    const place = { stack: flags.stack, source, values, follow };
    const { steps } = importSteps(place);
    if (!flags.rollback) {
      await goOn(flags, journal, steps, cutoverQuestion(place));
      return;
    }
    await runBack(journal, steps);
    closeJournal(flags.stack);
    if (flags.json) printJson({ stack: flags.stack, from: journal.from, rolledBack: true });
    else print("Taken back: the source is as it was, the stack's database is empty.");
  } finally {
    lock.release();
  }
}

/** `import`: a database from elsewhere becomes the stack's own. */
export async function importDatabase(flags: ImportFlags): Promise<void> {
  checkFlags(flags);
  await (flags.resume || flags.rollback ? goOnOrBack(flags) : begin(flags));
}
