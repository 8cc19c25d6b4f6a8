/** What the benchmarks of running stacks write: figures in groups, each the median of its runs with the spread. */
import { mkdir, writeFile } from "node:fs/promises";
import { arch, cpus, release, totalmem } from "node:os";
import { join } from "node:path";
import { table as columns } from "../scripts/lib/print.ts";
import { type ChartBar, chartSvg } from "./chart.ts";
import { median } from "./results.ts";

/** One thing measured several times, in the panel's unit. */
export interface Series {
  readonly name: string;
  readonly values: readonly number[];
}

export interface Group {
  readonly title: string;
  readonly series: readonly Series[];
}

/** Figures of one unit, to be seen side by side. */
export interface Panel {
  readonly title: string;
  readonly unit: "s" | "ms" | "transactions/s" | "rows/s" | "MB/s" | "connections" | "queries";
  /** A limit that was promised, in the panel's unit. */
  readonly limit?: number;
  readonly groups: readonly Group[];
}

export interface Report {
  /** File name in bench/results, without ending. */
  readonly name: string;
  readonly title: string;
  readonly date: string;
  /** How it was measured, sentence by sentence. */
  readonly method: readonly string[];
  readonly panels: readonly Panel[];
  /** Counts that are no measurements, such as lost rows. */
  readonly facts: Readonly<Record<string, unknown>>;
}

const machine = () => ({
  cpus: cpus().length,
  memoryMiB: Math.floor(totalmem() / 1024 ** 2),
  kernel: release(),
  architecture: arch(),
});

const figure = (value: number): string =>
  value >= 1000
    ? value.toFixed(0)
    : value >= 100
      ? value.toFixed(0)
      : value >= 10
        ? value.toFixed(1)
        : value.toFixed(2);

const summary = (values: readonly number[]) => ({
  median: median(values),
  min: Math.min(...values),
  max: Math.max(...values),
});

function bar(series: Series): ChartBar {
  const { median: mid, min: low, max: high } = summary(series.values);
  return { mid, low, high, label: figure(mid) };
}

/** Names of a report's series, in the order in which they come. */
const legend = (report: Report): string[] => [
  ...new Set(report.panels.flatMap(({ groups }) => groups.flatMap(({ series }) => series.map(({ name }) => name)))),
];

/** The picture: a panel a unit, a bar a series. */
export function reportSvg(report: Report): string {
  const names = legend(report);
  const runs = Math.max(
    ...report.panels.flatMap(({ groups }) => groups.flatMap(({ series }) => series.map(({ values }) => values.length))),
  );
  return chartSvg({
    title: report.title,
    description: report.title,
    legend: names,
    panels: report.panels.map((panel) => ({
      title: panel.title,
      axis: (value) => `${value}`,
      ...(panel.limit === undefined ? {} : { reference: panel.limit }),
      groups: panel.groups.map((group) => ({
        title: group.title,
        bars: names.map((name) => {
          const found = group.series.find((series) => series.name === name);
          return found && bar(found);
        }),
      })),
    })),
    foot: `Median of ${runs} ${runs === 1 ? "run" : "runs"}, whiskers from the least to the most; ${machine().cpus} CPUs for servers and clients together. ${report.date.slice(0, 10)}`,
  });
}

/** A table for the terminal: one line a series. */
export function reportTable(report: Report): string {
  const rows = report.panels.flatMap(({ title, unit, limit, groups }) =>
    groups.flatMap((group) =>
      group.series.map((series) => {
        const { median: mid, min, max } = summary(series.values);
        return [
          title,
          group.title,
          series.name,
          `${figure(mid)} (${figure(min)} to ${figure(max)})`,
          unit,
          limit === undefined ? "" : figure(limit),
        ];
      }),
    ),
  );
  return columns([["what", "of", "with", "median (least to most)", "unit", "limit"], ...rows]);
}

const RESULTS = join(import.meta.dirname, "results");

/** Writes NAME.json and NAME.svg to a folder (default bench/results); gives the path of the first. */
export async function saveReport(report: Report, folder = RESULTS): Promise<string> {
  const panels = report.panels.map((panel) => ({
    ...panel,
    groups: panel.groups.map((group) => ({
      ...group,
      series: group.series.map((series) => ({ ...series, ...summary(series.values) })),
    })),
  }));
  await mkdir(folder, { recursive: true });
  const path = join(folder, `${report.name}.json`);
  await writeFile(path, `${JSON.stringify({ ...report, machine: machine(), panels }, null, 2)}\n`);
  await writeFile(join(folder, `${report.name}.svg`), reportSvg(report));
  return path;
}
