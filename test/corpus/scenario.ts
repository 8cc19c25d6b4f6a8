/** What the corpus is made of: changes to record, and what each means, decided by hand. */
import type { StepMetadata } from "../../migration/change.ts";
import type { Clients, Happening } from "../../migration/effect.ts";
import type { Verdict } from "../../migration/verdict.ts";
import type { StageNumber } from "../../stacks/guide.ts";

/** What a change really does, as who runs databases knows it; never what the classifier said. */
export interface Expected {
  /** What happens to the resource that the entry is about; null where nothing would be done at all. */
  readonly happens: Happening | null;
  /** What clients notice of that. */
  readonly clients: Clients;
  /** Whether data, or the ground under it, would be lost. */
  readonly unsafe: boolean;
  /** Of all steps together. */
  readonly verdict: Verdict;
  /** Where a move to a smaller stage may do it nevertheless: all that holds data and goes is a copy. */
  readonly mayLeave?: true;
}

/** One file of the corpus. */
export interface Entry {
  readonly name: string;
  readonly target: "docker" | "aws";
  readonly stage: StageNumber;
  readonly changed: string;
  /** Type and name of the resource that `happens` and `clients` are about: `Instance pg0`. */
  readonly about: string;
  readonly expected: Expected;
  /** What the real plugins said, reduced; every step of the preview that does something. */
  readonly steps: readonly StepMetadata[];
}

export type Inputs = Readonly<Record<string, unknown>>;

/** Other inputs of the program's resources, by type and name: what no configuration key changes. */
export type Altered = Readonly<Record<string, (inputs: Inputs) => Inputs>>;

/** A stack's configuration (without `cgraph:`), and inputs of its resources. */
export interface Setting {
  readonly config?: Readonly<Record<string, string>>;
  readonly inputs?: Altered;
}

export interface Scenario extends Omit<Entry, "target" | "steps"> {
  /** How the stack is before, where it is not the stage's default. */
  readonly before?: Setting;
  readonly change: Setting;
}

/** `aws:rds/instance:Instance` and `pg0` are `Instance pg0`. */
export const nameOf = (type: string, name: string): string => `${type.split(":").at(-1) ?? type} ${name}`;

/** The same of a step. */
export const nameOfStep = ({ type, urn }: StepMetadata): string => nameOf(type, urn.split("::").at(-1) ?? urn);
