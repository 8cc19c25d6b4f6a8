/** What a benchmark found: medians with their spread, and the figures of one configuration beside another's. */
import { table as columns } from "../scripts/lib/print.ts";
import type { DiskName } from "./disk.ts";
import type { Proof } from "./proof.ts";
import type { Measurement } from "./workloads.ts";

export interface WorkloadInfo {
  readonly name: string;
  readonly title: string;
  readonly unit: "transactions/s" | "s";
}

/** All runs of one configuration with one workload on one disk. */
export interface Cell {
  readonly disk: DiskName;
  readonly config: string;
  readonly workload: string;
  readonly median: number;
  readonly min: number;
  readonly max: number;
  readonly runs: readonly Measurement[];
}

/** How many times as fast ours is (above 1: faster, for seconds as for transactions/s), on medians. */
export interface Ratio {
  readonly disk: DiskName;
  readonly workload: string;
  readonly oursToStock: number;
  readonly oursToPgtune: number;
}

export interface Result {
  readonly date: string;
  readonly runs: number;
  readonly quick: boolean;
  readonly machine: {
    readonly cpus: number;
    readonly memoryMiB: number;
    readonly kernel: string;
    readonly docker: string;
    readonly cgroupVersion: number;
    readonly postgres: string;
    /** Load of the machine (one minute) before the benchmark began: above 0.5 other work blurred the figures. */
    readonly loadBefore: number;
    readonly serverCpus: number;
    readonly serverMemoryMiB: number;
  };
  readonly method: readonly string[];
  readonly scale: object;
  readonly disks: readonly { readonly name: DiskName; readonly mechanism: string; readonly proof: Proof }[];
  readonly settings: Readonly<Record<string, Readonly<Record<string, string>>>>;
  readonly workloads: readonly WorkloadInfo[];
  readonly cells: readonly Cell[];
  readonly ratios: readonly Ratio[];
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  const upper = sorted[middle] ?? NaN;
  return sorted.length % 2 ? upper : ((sorted[middle - 1] ?? NaN) + upper) / 2;
}

export function cell(disk: DiskName, config: string, workload: string, runs: readonly Measurement[]): Cell {
  const values = runs.map((run) => run.value);
  return { disk, config, workload, median: median(values), min: Math.min(...values), max: Math.max(...values), runs };
}

/** How many times as fast as `base` a value is. */
export const speed = (value: number, base: number, unit: WorkloadInfo["unit"]): number =>
  unit === "s" ? base / value : value / base;

export function ratios(cells: readonly Cell[], workloads: readonly WorkloadInfo[]): Ratio[] {
  const disks = [...new Set(cells.map((one) => one.disk))];
  return disks.flatMap((disk) =>
    workloads.flatMap(({ name, unit }) => {
      const of = (config: string): number | undefined =>
        cells.find((one) => one.disk === disk && one.workload === name && one.config === config)?.median;
      const [stock, pgtune, ours] = [of("stock"), of("pgtune"), of("ours")];
      if (stock === undefined || pgtune === undefined || ours === undefined) return [];
      const rounded = (base: number): number => Number(speed(ours, base, unit).toFixed(3));
      return [{ disk, workload: name, oursToStock: rounded(stock), oursToPgtune: rounded(pgtune) }];
    }),
  );
}

const figure = (value: number): string =>
  value >= 1000 ? value.toFixed(0) : value >= 100 ? value.toFixed(1) : value.toFixed(2);

/** A table for the terminal: one line a disk and workload, `median (min to max)` for each configuration. */
export function table(result: Result): string {
  const names = [...new Set(result.cells.map((one) => one.config))];
  const rows = [["disk", "workload", "unit", ...names, "ours/stock", "ours/pgtune"]];
  for (const { name: disk } of result.disks) {
    for (const workload of result.workloads) {
      const of = names.map((config) =>
        result.cells.find((one) => one.disk === disk && one.workload === workload.name && one.config === config),
      );
      const ratio = result.ratios.find((one) => one.disk === disk && one.workload === workload.name);
      rows.push([
        disk,
        workload.name,
        workload.unit,
        ...of.map((one) => (one ? `${figure(one.median)} (${figure(one.min)} to ${figure(one.max)})` : "")),
        ...(ratio ? [ratio.oursToStock.toFixed(2), ratio.oursToPgtune.toFixed(2)] : ["", ""]),
      ]);
    }
  }
  return columns(rows);
}
