import { UserError } from "../../tuning/errors.ts";
import { print, printJson } from "../lib/print.ts";
import { note } from "../lib/progress.ts";
import { setUp } from "../setup/steps.ts";

export interface BenchFlags {
  readonly runs: string;
  readonly disk: string;
  readonly quick?: boolean;
  readonly workloads?: string;
  readonly variant: readonly string[];
  readonly install: boolean;
  readonly json?: boolean;
}

/** Reads `name:setting=value,setting=value`. */
export function readVariant(text: string): [string, Record<string, string>] {
  const [, name, settings] = /^([a-z][a-z0-9]*):(.+)$/.exec(text) ?? [];
  const pairs = (settings ?? "").split(",").map((pair) => /^([a-z_.]+)=(.+)$/.exec(pair)?.slice(1) ?? []);
  if (!name || pairs.some((pair) => pair.length !== 2)) {
    throw new UserError(`--variant is "${text}"`, "write it so: --variant half:work_mem=8MB,wal_buffers=16MB");
  }
  return [name, Object.fromEntries(pairs) as Record<string, string>];
}

const DISKS: Readonly<Record<string, readonly ("bare" | "gp3")[]>> = {
  bare: ["bare"],
  gp3: ["gp3"],
  both: ["bare", "gp3"],
};

/** `bench tuning`: stock PostgreSQL, pgtune's formulas and ours, side by side. */
export async function bench(what: string, flags: BenchFlags): Promise<void> {
  if (what !== "tuning") throw new UserError(`there is no benchmark ${what}`, "there is: tuning");
  const runs = Number(flags.runs);
  if (!Number.isInteger(runs) || runs < 1)
    throw new UserError(`--runs is "${flags.runs}"`, "give a whole number from 1");
  const disks = DISKS[flags.disk];
  if (!disks) throw new UserError(`--disk is "${flags.disk}"`, `use one of ${Object.keys(DISKS).join(", ")}`);
  const variants = Object.fromEntries(flags.variant.map(readVariant));
  await setUp({ mayInstall: flags.install });
  const [{ benchTuning, saveResult }, { table }] = await Promise.all([
    import("../../bench/tuning.ts"),
    import("../../bench/results.ts"),
  ]);
  const result = await benchTuning({
    runs,
    disks,
    quick: flags.quick === true,
    onProgress: note,
    variants,
    ...(flags.workloads === undefined ? {} : { workloads: flags.workloads.split(",") }),
  });
  if (flags.json) printJson(result);
  else print(table(result));
  note(`written to ${await saveResult(result)}, with a plot beside it`);
}
