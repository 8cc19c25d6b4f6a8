/** Carries out the steps of a move, or takes them back, keeping the journal. */
import { EXIT, UserError } from "../../tuning/errors.ts";
import { type Step, step as showStep } from "../lib/progress.ts";
import { type Facts, type Journal, type JournalStep, markStep, saveJournal } from "./journal.ts";

/** One step. Both ways can be repeated: a killed run is gone on with at the step in which it was. */
export interface MoveStep {
  readonly id: string;
  readonly title: string;
  /** Named beforehand and confirmed: once this has begun there is no way back. */
  readonly noReturn?: string;
  /** Does it, and gives what must be remembered. `before`: what an earlier, interrupted try has remembered. */
  readonly run: (progress: Progress, before: Facts) => Promise<Facts>;
  /** Takes it back; absent: there is nothing to take back. */
  readonly undo?: (progress: Progress, facts: Facts) => Promise<void>;
  /** Throws a UserError (refused) where it cannot be taken back as things are; asked before anything is. */
  readonly mayUndo?: (facts: Facts) => Promise<void>;
}

export interface Progress {
  /** Says what is going on. */
  readonly detail: (text: string) => void;
  /** Remembers something at once, so that an interrupted step knows it. */
  readonly remember: (facts: Facts) => void;
}

export interface RunOptions {
  /** Ends after this step. */
  readonly pauseAfter?: string;
  /** Asked once, before the point of no return. */
  readonly confirm: (what: string) => Promise<void>;
}

const stateOf = (journal: Journal, id: string): JournalStep => {
  const found = journal.steps.find((one) => one.id === id);
  if (!found) throw new Error(`the journal has no step ${id}`);
  return found;
};

async function perform(
  journal: Journal,
  { id, title }: MoveStep,
  states: { readonly during: JournalStep["state"]; readonly after: JournalStep["state"] },
  work: (progress: Progress, facts: Facts) => Promise<Facts | undefined>,
): Promise<Journal> {
  let current = markStep(journal, id, { state: states.during, startedAt: new Date().toISOString(), endedAt: null });
  await showStep(title, async (shown: Step) => {
    const remember = (facts: Facts): void => {
      current = markStep(current, id, { facts: { ...stateOf(current, id).facts, ...facts } });
    };
    const facts = await work({ detail: (text) => shown.detail(text), remember }, stateOf(current, id).facts);
    if (facts) remember(facts);
    return { value: undefined, done: states.after };
  });
  return markStep(current, id, { state: states.after, endedAt: new Date().toISOString() });
}

/** Goes on until the last step, or the one to pause after. Gives whether all is done. */
export async function runForward(journal: Journal, steps: readonly MoveStep[], options: RunOptions): Promise<boolean> {
  let current = journal;
  if (current.direction === "back") {
    throw new UserError(
      "the move is being taken back",
      `finish that first: ./cgraph-db ${journal.kind} --rollback`,
      EXIT.refused,
    );
  }
  for (const one of steps) {
    if (stateOf(current, one.id).state !== "done") {
      if (one.noReturn !== undefined && stateOf(current, one.id).state === "pending")
        await options.confirm(one.noReturn);
      current = await perform(current, one, { during: "running", after: "done" }, one.run);
    }
    if (one.id === options.pauseAfter) return one === steps.at(-1);
  }
  return true;
}

/** A move that was being taken back, and is to be gone on with after all. */
const turnedForward = (journal: Journal): Journal => ({
  ...journal,
  direction: "forward",
  steps: journal.steps.map((step) => ({
    ...step,
    state: step.state === "undone" ? "pending" : step.state === "undoing" ? "running" : step.state,
  })),
});

/** Takes back what was done, the last first. Throws a UserError (refused) behind the point of no return. */
export async function runBack(journal: Journal, steps: readonly MoveStep[]): Promise<void> {
  const final = steps.find((one) => one.noReturn !== undefined && stateOf(journal, one.id).state !== "pending");
  if (final && stateOf(journal, final.id).state !== "undone") {
    throw new UserError(
      `there is no way back: ${final.title} has begun`,
      `go on with it: ./cgraph-db ${journal.kind} --resume`,
      EXIT.refused,
    );
  }
  try {
    for (const one of steps) {
      const { state, facts } = stateOf(journal, one.id);
      if (state !== "pending" && state !== "undone") await one.mayUndo?.(facts);
    }
  } catch (error) {
    if (journal.direction === "back") saveJournal(turnedForward(journal));
    throw error;
  }
  let current: Journal = { ...journal, direction: "back" };
  saveJournal(current);
  for (const one of [...steps].reverse()) {
    const { state } = stateOf(current, one.id);
    if (state === "pending" || state === "undone") continue;
    const { undo } = one;
    if (!undo) {
      current = markStep(current, one.id, { state: "undone" });
      continue;
    }
    const back = { ...one, title: `back: ${one.title}` };
    current = await perform(current, back, { during: "undoing", after: "undone" }, async (progress, facts) => {
      await undo(progress, facts);
      return undefined;
    });
  }
}
