/** What a move has done so far, in a file: it survives a killed process and a machine that starts anew. */
import { existsSync, readFileSync, renameSync } from "node:fs";
import { join } from "node:path";
import { EXIT, UserError } from "../../tuning/errors.ts";
import { writeWhole } from "../lib/files.ts";
import { stackFolder } from "../lib/paths.ts";

export type StepState = "pending" | "running" | "done" | "undoing" | "undone";

/** A step's own memory: plain data that its other runs, and its undoing, need. */
export type Facts = Readonly<Record<string, unknown>>;

export interface JournalStep {
  readonly id: string;
  readonly title: string;
  readonly state: StepState;
  readonly startedAt: string | null;
  readonly endedAt: string | null;
  readonly facts: Facts;
}

export interface Journal {
  readonly version: 1;
  readonly kind: "migrate" | "import" | "reshard";
  readonly stack: string;
  /** Of a move between stages: their numbers. Of an import: a URL without its password, and the stage. Of buckets: in words. */
  readonly from: string;
  readonly to: string;
  /** Of a move of buckets: each bucket's shard before and after, and how many shards the stack has and is to have. */
  readonly buckets?: {
    readonly before: readonly number[];
    readonly after: readonly number[];
    readonly shards: { readonly now: number; readonly then: number };
  };
  readonly startedAt: string;
  /** Whether it goes on or takes back. */
  readonly direction: "forward" | "back";
  readonly steps: readonly JournalStep[];
}

const file = (stack: string): string => join(stackFolder(stack), "move.json");

/** The move that a stack is in; undefined where it is in none. */
export function openJournal(stack: string): Journal | undefined {
  const path = file(stack);
  if (!existsSync(path)) return undefined;
  const journal = JSON.parse(readFileSync(path, "utf8")) as Journal;
  if ((journal.version as number) !== 1) {
    throw new UserError(
      `${path} was written by another version of cgraph-db`,
      "go on with the version that began the move",
      EXIT.failed,
    );
  }
  return journal;
}

export function saveJournal(journal: Journal): void {
  writeWhole(file(journal.stack), `${JSON.stringify(journal, null, 2)}\n`, 0o600);
}

/** What a step has remembered. */
export const factsOf = (journal: Journal | undefined, step: string): Facts =>
  journal?.steps.find(({ id }) => id === step)?.facts ?? {};

/** Puts a finished move aside: it is looked at, not gone on with. */
export function closeJournal(stack: string): void {
  if (existsSync(file(stack))) renameSync(file(stack), join(stackFolder(stack), "last-move.json"));
}

/** The last finished move. */
export function lastJournal(stack: string): Journal | undefined {
  const path = join(stackFolder(stack), "last-move.json");
  return existsSync(path) ? (JSON.parse(readFileSync(path, "utf8")) as Journal) : undefined;
}

export function beginJournal(
  about: Pick<Journal, "kind" | "stack" | "from" | "to" | "buckets">,
  steps: readonly { readonly id: string; readonly title: string }[],
): Journal {
  const journal: Journal = {
    version: 1,
    ...about,
    startedAt: new Date().toISOString(),
    direction: "forward",
    steps: steps.map(({ id, title }) => ({ id, title, state: "pending", startedAt: null, endedAt: null, facts: {} })),
  };
  saveJournal(journal);
  return journal;
}

/** The journal with one step changed, saved. */
export function markStep(journal: Journal, id: string, change: Partial<JournalStep>): Journal {
  const changed = {
    ...journal,
    steps: journal.steps.map((step) => (step.id === id ? { ...step, ...change } : step)),
  };
  saveJournal(changed);
  return changed;
}

/** Refuses a command that would get in the way of a move that is under way. */
export function refuseDuringMove(stack: string): void {
  const journal = openJournal(stack);
  if (!journal) return;
  throw new UserError(
    `stack ${stack} is in the middle of a move from ${journal.from} to ${journal.to}, begun ${journal.startedAt}`,
    `./cgraph-db ${journal.kind} --resume --stack ${stack} goes on, ./cgraph-db ${journal.kind} --rollback --stack ${stack} takes it back`,
    EXIT.refused,
  );
}
