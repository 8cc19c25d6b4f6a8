import { CLEARED } from "../../migration/reshard.ts";
import { planMove } from "../../migration/moves.ts";
import { LEFT } from "../../migration/toCitus.ts";
import type { PlannedStep } from "../../migration/moveSteps.ts";
import { STAGES } from "../../stacks/guide.ts";
import { EXIT, type ExitCode, UserError } from "../../tuning/errors.ts";
import { allowReplacing } from "../lib/allow.ts";
import { confirm } from "../lib/ask.ts";
import { lockStack } from "../lib/lock.ts";
import { print, printJson, terminalWidth } from "../lib/print.ts";
import { anyStackValues, openStack, stackValues } from "../lib/stack.ts";
import { requireRegionsForMove } from "../regions/reach.ts";
import { checkTopology, checkedConfig } from "../lib/stackConfig.ts";
import { MoveContext } from "../migrate/context.ts";
import { factsOf } from "../migrate/facts.ts";
import { type Journal, beginJournal, closeJournal, openJournal } from "../migrate/journal.ts";
import { runBack, runForward } from "../migrate/runner.ts";
import { executable } from "../migrate/steps.ts";
import { renderSteps } from "../report/terminal.ts";
import { requireCitusToBeHad } from "../setup/citusImage.ts";

export interface MigrateFlags {
  readonly stack: string;
  readonly stage?: string;
  readonly dryRun?: boolean;
  readonly pauseAfter?: string;
  readonly resume?: boolean;
  readonly rollback?: boolean;
  readonly allowReplace?: readonly string[];
  readonly yes?: boolean;
  readonly json?: boolean;
}

function stageWanted(text: string | undefined): number {
  const stage = STAGES.find((one) => String(one) === text);
  if (stage === undefined) {
    throw new UserError(
      text === undefined ? "migrate where to?" : `there is no stage ${text}`,
      `./cgraph-db migrate --stage N, with one of ${STAGES.join(", ")}`,
    );
  }
  return stage;
}

/** A journal keeps what the plan was made of, so that a resumed move has the same steps. */
interface Begun {
  readonly journal: Journal;
  readonly planned: readonly PlannedStep[];
}

async function begin(context: MoveContext, flags: MigrateFlags): Promise<Begun | undefined> {
  const to = stageWanted(flags.stage);
  const values = await stackValues(context.stack);
  if (values.stage === to) {
    throw new UserError(`stack ${flags.stack} is at stage ${to} already`, "nothing was changed", EXIT.wrongUse);
  }
  if (values.stage > 3 && !(values.stage === 4 && to === 5)) {
    throw new UserError(
      `there is no move from ${values.stage === 5 ? "a Citus cluster" : "shards"} back to fewer servers`,
      values.stage === 5 ? "see docs/citus.md" : "see docs/sharding.md",
      EXIT.refused,
    );
  }
  const config = checkedConfig(flags.stack, { stage: String(to) });
  await checkTopology(config);
  if (flags.dryRun !== true) await requireRegionsForMove(values);
  await requireCitusToBeHad(config);
  const planned = planMove(values.stage, to, await factsOf(flags.stack, values, to));
  if (flags.pauseAfter !== undefined && !planned.some(({ id }) => id === flags.pauseAfter)) {
    throw new UserError(
      `the move has no step ${flags.pauseAfter}`,
      `use one of ${planned.map(({ id }) => id).join(", ")}`,
    );
  }
  if (flags.dryRun === true) {
    if (flags.json) printJson({ from: values.stage, to, steps: planned });
    else print(renderSteps(planned, terminalWidth()));
    return undefined;
  }
  if (!flags.json) print(renderSteps(planned, terminalWidth()));
  const final = planned.find(({ noReturn }) => noReturn !== null);
  await confirm(
    `This moves stack ${flags.stack} from stage ${values.stage} to ${to}${final ? `; there is no way back from ${final.id} on: ${final.noReturn}` : ""}.`,
    "yes",
    flags.yes === true,
  );
  const about = { kind: "migrate", stack: flags.stack, from: String(values.stage), to: String(to) } as const;
  return { journal: beginJournal(about, planned), planned };
}

/** Steps from which on there is no way back, and what cannot be taken back. */
const NO_RETURN: Readonly<Record<string, string>> = {
  discard: "the data of the servers that are gone is deleted",
  clear: CLEARED,
  leave: LEFT,
};

const noReturnOf = (id: string): string | null => NO_RETURN[id.slice(id.indexOf(":") + 1)] ?? null;

/** Steps of a move that has begun: those that its journal names. */
function begunBefore(journal: Journal): Begun {
  const planned = journal.steps.map(({ id, title }): PlannedStep => ({
    ...{ id, title, does: "", clients: "nothing", pause: null, movesBytes: 0, wayBack: "" },
    duration: { seconds: 0, basis: "" },
    noReturn: noReturnOf(id),
  }));
  return { journal, planned };
}

/** `migrate`: moves the stack to another stage, step by step; gone on with or taken back where it was interrupted. */
export async function migrate(flags: MigrateFlags): Promise<ExitCode> {
  const lock = lockStack(flags.stack, "migrate");
  try {
    const context = new MoveContext(await openStack(flags.stack));
    allowReplacing(context.stack, flags.allowReplace);
    const { target, stage } = await anyStackValues(context.stack);
    if (target === "aws") {
      if (flags.stage === "4" && stage < 4) {
        throw new UserError(
          "moving rows to shards on AWS is not in this version yet: a move holds clients by the poolers' consoles",
          "a stack that begins at stage 4 has shards there: see docs/aws.md",
          EXIT.refused,
        );
      }
      throw new UserError(
        "on AWS RDS carries the steps of a move out itself",
        "./cgraph-db preview --stage N lists them with what to wait for; ./cgraph-db up --stage N does it",
        EXIT.refused,
      );
    }
    const before = openJournal(flags.stack);
    const going = flags.resume === true || flags.rollback === true;
    if (going && before?.kind !== "migrate") {
      throw new UserError(
        `stack ${flags.stack} is in no move`,
        "./cgraph-db migrate --stage N begins one",
        EXIT.refused,
      );
    }
    if (!going && before) {
      throw new UserError(
        `stack ${flags.stack} is in a move from ${before.from} to ${before.to}, begun ${before.startedAt}`,
        "--resume goes on with it, --rollback takes it back",
        EXIT.refused,
      );
    }
    const begun = before ? begunBefore(before) : await begin(context, flags);
    if (before) await requireRegionsForMove(await stackValues(context.stack));
    if (!begun) return EXIT.done;
    const { journal, planned } = begun;
    const ends = { from: Number(journal.from), to: Number(journal.to) };
    const recall = (id: string) => openJournal(flags.stack)?.steps.find((one) => one.id === id)?.facts ?? {};
    const steps = executable(context, planned, ends, recall);
    if (flags.rollback === true) {
      await runBack(journal, steps);
      closeJournal(flags.stack);
      report(flags, ends.from, `Back at stage ${ends.from}.`);
      return EXIT.done;
    }
    const finished = await runForward(journal, steps, {
      ...(flags.pauseAfter === undefined ? {} : { pauseAfter: flags.pauseAfter }),
      // Confirmed with the whole, which named it.
      confirm: (what) =>
        before ? confirm(`There is no way back from here on: ${what}.`, "yes", flags.yes === true) : Promise.resolve(),
    });
    if (!finished) {
      report(flags, null, `Paused after ${flags.pauseAfter}. --resume goes on, --rollback takes it back.`);
      return EXIT.done;
    }
    const last = openJournal(flags.stack);
    closeJournal(flags.stack);
    report(flags, ends.to, `Stage ${ends.to}.`, last);
    return EXIT.done;
  } finally {
    lock.release();
  }
}

function report(flags: MigrateFlags, stage: number | null, text: string, journal?: Journal): void {
  if (flags.json)
    printJson({ stack: flags.stack, stage, steps: journal?.steps ?? openJournal(flags.stack)?.steps ?? [] });
  else print(text);
}
