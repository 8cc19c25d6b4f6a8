import { tmpdir } from "node:os";
import type { Report } from "../../bench/report.ts";
import { UserError } from "../../tuning/errors.ts";
import { print, printJson } from "../lib/print.ts";
import { note } from "../lib/progress.ts";
import { setUp } from "../setup/steps.ts";

export interface BenchFlags {
  readonly runs?: string;
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

async function tuning(runs: number, flags: BenchFlags): Promise<void> {
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

interface StackBench {
  /** Runs that the results take. */
  readonly runs: number;
  readonly measure: (runs: number, quick: boolean) => Promise<Report>;
}

const STACK_BENCHES: Readonly<Record<string, StackBench>> = {
  start: {
    runs: 5,
    measure: async (runs) => (await import("../../bench/start.ts")).benchStart({ runs, onProgress: note }),
  },
  failover: {
    runs: 5,
    measure: async (runs, quick) =>
      (await import("../../bench/failover.ts")).benchFailover({ runs, clients: quick ? 2 : 10, onProgress: note }),
  },
  pool: {
    runs: 3,
    measure: async (runs, quick) =>
      (await import("../../bench/pool.ts")).benchPool({ runs, seconds: quick ? 6 : 10, onProgress: note }),
  },
  reads: {
    runs: 5,
    measure: async (runs, quick) =>
      (await import("../../bench/reads.ts")).benchReads({ runs, seconds: quick ? 3 : 10, onProgress: note }),
  },
  moves: {
    runs: 5,
    measure: async (runs, quick) =>
      (await import("../../bench/moves.ts")).benchMoves({ runs, messages: quick ? 5000 : 50_000, onProgress: note }),
  },
  backup: {
    runs: 5,
    measure: async (runs, quick) =>
      (await import("../../bench/backup.ts")).benchBackup({
        ...{ runs, scale: quick ? 5 : 100, seconds: quick ? 5 : 30 },
        onProgress: note,
      }),
  },
  partitions: {
    runs: 1,
    measure: async (runs, quick) =>
      (await import("../../bench/partitions.ts")).benchPartitions({
        runs,
        rows: quick ? 100_000 : 5_000_000,
        onProgress: note,
      }),
  },
  reshard: {
    runs: 3,
    measure: async (runs, quick) =>
      (await import("../../bench/reshard.ts")).benchReshard({
        runs,
        messages: quick ? 100_000 : 2_000_000,
        asked: quick ? 50_000 : 500_000,
        onProgress: note,
      }),
  },
  fill: {
    runs: 3,
    measure: async (runs, quick) =>
      (await import("../../bench/fill.ts")).benchFill({
        runs,
        messages: quick ? 20_000 : 300_000,
        onProgress: note,
      }),
  },
  capacity: {
    runs: 3,
    measure: async (runs, quick) =>
      (await import("../../bench/capacity.ts")).benchCapacity({
        runs,
        rows: quick ? 40_000 : 1_000_000,
        seconds: quick ? 3 : 10,
        onProgress: note,
      }),
  },
  routing: {
    runs: 3,
    measure: async (runs, quick) =>
      (await import("../../bench/routing.ts")).benchRouting({ runs, seconds: quick ? 3 : 10, onProgress: note }),
  },
  workers: {
    runs: 3,
    measure: async (runs, quick) =>
      (await import("../../bench/workers.ts")).benchWorkers({
        ...{ runs, seconds: quick ? 3 : 10, messages: quick ? 20_000 : 200_000 },
        onProgress: note,
      }),
  },
  monitoring: {
    runs: 3,
    measure: async (runs, quick) =>
      (await import("../../bench/monitoring.ts")).benchMonitoring({
        runs,
        seconds: quick ? 3 : 10,
        tables: 1000,
        onProgress: note,
      }),
  },
};

async function stackBench(bench: StackBench, runs: number, flags: BenchFlags): Promise<void> {
  await setUp({ mayInstall: flags.install });
  const quick = flags.quick === true;
  const report = await bench.measure(runs, quick);
  const { reportTable, saveReport } = await import("../../bench/report.ts");
  if (flags.json) printJson(report);
  else print(reportTable(report));
  // Results are what a full run found; any other goes where it is in nobody's way.
  const path = await (quick || runs < bench.runs ? saveReport(report, tmpdir()) : saveReport(report));
  note(`written to ${path}, with a plot beside it`);
}

/** `bench WHAT`: measures one thing beside another and keeps the result. */
export async function bench(what: string, flags: BenchFlags): Promise<void> {
  const found = STACK_BENCHES[what];
  if (!found && what !== "tuning") {
    throw new UserError(`there is no benchmark ${what}`, `there are: tuning, ${Object.keys(STACK_BENCHES).join(", ")}`);
  }
  const runs = Number(flags.runs ?? (flags.quick ? 1 : (found?.runs ?? 3)));
  if (!Number.isInteger(runs) || runs < 1) {
    throw new UserError(`--runs is "${flags.runs}"`, "give a whole number from 1");
  }
  await (found ? stackBench(found, runs, flags) : tuning(runs, flags));
}
