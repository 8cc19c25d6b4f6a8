/** A tuning result as a picture: bars of speed beside stock PostgreSQL's, one panel a disk. */
import { type ChartBar, type ChartGroup, chartSvg } from "./chart.ts";
import type { DiskName } from "./disk.ts";
import { type Result, type WorkloadInfo, speed } from "./results.ts";

const DISK_TITLES: Readonly<Record<DiskName, string>> = {
  bare: "Local disk, no limit",
  gp3: "Disk as fast as AWS gp3's baseline: 125 MiB/s, 3000 requests/s",
};

const absolute = (value: number, unit: WorkloadInfo["unit"]): string =>
  unit === "s" ? `${value.toFixed(1)} s` : `${Math.round(value)} tx/s`;

function group(result: Result, disk: DiskName, configs: readonly string[], workload: WorkloadInfo): ChartGroup {
  const found = configs.map((config) =>
    result.cells.find((one) => one.disk === disk && one.config === config && one.workload === workload.name),
  );
  const base = found[0]?.median ?? NaN;
  const bars = found.map((cell): ChartBar | undefined => {
    if (!cell) return undefined;
    const [mid, one, other] = [cell.median, cell.min, cell.max].map((value) => speed(value, base, workload.unit)) as [
      number,
      number,
      number,
    ];
    return { mid, low: Math.min(one, other), high: Math.max(one, other), label: mid.toFixed(2) };
  });
  return { title: workload.title, note: `stock: ${absolute(base, workload.unit)}`, bars };
}

/** The picture of a result. Shows the first five configurations; the first is what the others are measured against. */
export function plotSvg(result: Result): string {
  const configs = [...new Set(result.cells.map((one) => one.config))].slice(0, 5);
  const { machine } = result;
  return chartSvg({
    title: `PostgreSQL ${machine.postgres}, ${machine.serverCpus} CPUs and ${machine.serverMemoryMiB / 1024} GiB: speed beside its defaults (higher is faster)`,
    description: "Speed of PostgreSQL with three configurations, beside its defaults",
    legend: configs,
    panels: result.disks.map(({ name }) => ({
      title: DISK_TITLES[name],
      axis: (value) => `${value}×`,
      reference: 1,
      groups: result.workloads.map((workload) => group(result, name, configs, workload)),
    })),
    foot:
      `Median of ${result.runs} ${result.runs === 1 ? "run" : "runs"}, whiskers from the slowest to the fastest; ` +
      `writes and loads count the checkpoint after them. ${result.date.slice(0, 10)}`,
  });
}
