import { UserError } from "../../tuning/errors.ts";
import { printJson } from "../lib/print.ts";
import { note } from "../lib/progress.ts";
import { setUp } from "../setup/steps.ts";

export interface BenchFlags {
  readonly runs: string;
  readonly disk: string;
  readonly quick?: boolean;
  readonly json?: boolean;
}

/** `bench tuning`: stock PostgreSQL, pgtune's formulas and ours, side by side. */
export async function bench(what: string, flags: BenchFlags): Promise<void> {
  if (what !== "tuning") throw new UserError(`there is no benchmark ${what}`, "there is: tuning");
  const runs = Number(flags.runs);
  if (!Number.isInteger(runs) || runs < 1) throw new UserError(`--runs is ${flags.runs}`, "give a whole number from 1");
  const disks = ({ bare: ["bare"], gp3: ["gp3"], both: ["bare", "gp3"] } as const)[flags.disk];
  if (!disks) throw new UserError(`--disk is ${flags.disk}`, "use bare, gp3 or both");
  await setUp({ mayInstall: true });
  const { benchTuning } = await import("../../bench/tuning.ts");
  const result = await benchTuning({ runs, disks: [...disks], quick: flags.quick === true, onProgress: note });
  if (flags.json) printJson(result);
}
