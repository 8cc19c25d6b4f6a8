/** A result as a picture: bars of speed beside stock PostgreSQL's, one panel a disk. Plain SVG, for light and dark pages. */
import type { DiskName } from "./disk.ts";
import { type Cell, type Result, type WorkloadInfo, speed } from "./results.ts";

const WIDTH = 960;
const PANEL = 270;
const LEFT = 52;
const RIGHT = 16;
const TOP = 84;
const PLOT_TOP = 40;
const PLOT_BOTTOM = 58;
const FOOT = 34;

const DISK_TITLES: Readonly<Record<DiskName, string>> = {
  bare: "Local disk, no limit",
  gp3: "Disk as fast as AWS gp3's baseline: 125 MiB/s, 3000 requests/s",
};

const STYLE = `
text { font: 13px system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; fill: #1f2328; }
.title { font-size: 18px; font-weight: 600; } .panel { font-size: 14px; font-weight: 600; }
.small, .tick { font-size: 11.5px; fill: #59636e; } .value { font-size: 12px; font-weight: 600; paint-order: stroke; stroke: #ffffff; stroke-width: 3px; }
.page { fill: #ffffff; } .grid { stroke: #d1d9e0; } .one { stroke: #59636e; stroke-dasharray: 4 3; }
.whisker { stroke: #1f2328; stroke-width: 1.3; }
.c0 { fill: #a3abb5; } .c1 { fill: #d99a2b; } .c2 { fill: #2f6fb7; } .c3 { fill: #7a4fb0; } .c4 { fill: #2e8b57; }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3; } .small, .tick { fill: #9198a1; }
  .page { fill: #0d1117; } .value { stroke: #0d1117; } .grid { stroke: #30363d; } .one { stroke: #9198a1; } .whisker { stroke: #e6edf3; }
  .c0 { fill: #6e7781; } .c1 { fill: #c28419; } .c2 { fill: #4a90e2; } .c3 { fill: #9a72d0; } .c4 { fill: #3fa36b; }
}`;

const escape = (text: string): string => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;");
const n = (value: number): string => value.toFixed(1).replace(/\.0$/, "");

function text(x: number, y: number, content: string, name: string, anchor = "start"): string {
  return `<text x="${n(x)}" y="${n(y)}" class="${name}" text-anchor="${anchor}">${escape(content)}</text>`;
}

/** A step between lines of the grid that gives at most six of them. */
function gridStep(top: number): number {
  return [0.25, 0.5, 1, 2, 5, 10, 20].find((step) => top / step <= 6) ?? 50;
}

const absolute = (value: number, unit: WorkloadInfo["unit"]): string =>
  unit === "s" ? `${value.toFixed(1)} s` : `${Math.round(value)} tx/s`;

interface Bar {
  readonly cell: Cell;
  readonly mid: number;
  readonly low: number;
  readonly high: number;
}

function bar({ mid, low, high }: Bar, index: number, x: number, width: number, y: (value: number) => number): string {
  const centre = x + width / 2;
  const cap = width / 6;
  const whisker = [
    `M${n(centre)} ${n(y(low))}V${n(y(high))}`,
    `M${n(centre - cap)} ${n(y(low))}h${n(cap * 2)}M${n(centre - cap)} ${n(y(high))}h${n(cap * 2)}`,
  ].join("");
  return (
    `<rect x="${n(x)}" y="${n(y(mid))}" width="${n(width)}" height="${n(y(0) - y(mid))}" rx="2" class="c${index}"/>` +
    `<path d="${whisker}" class="whisker"/>` +
    text(centre, y(high) - 6, mid.toFixed(2), "value", "middle")
  );
}

function panel(result: Result, disk: DiskName, configs: readonly string[], offset: number): string {
  const groups = result.workloads.map((workload) => {
    const found = configs.map((config) =>
      result.cells.find((one) => one.disk === disk && one.config === config && one.workload === workload.name),
    );
    const base = found[0]?.median ?? NaN;
    const bars = found.map((one): Bar | undefined => {
      if (!one) return undefined;
      const of = (value: number): number => speed(value, base, workload.unit);
      return {
        cell: one,
        mid: of(one.median),
        low: Math.min(of(one.min), of(one.max)),
        high: Math.max(of(one.min), of(one.max)),
      };
    });
    return { workload, base, bars };
  });
  const highest = Math.max(1.2, ...groups.flatMap(({ bars }) => bars.flatMap((one) => (one ? [one.high] : []))));
  const step = gridStep(highest);
  // Room above the highest whisker for its number.
  const top = highest * 1.12;
  const bottomY = offset + PANEL - PLOT_BOTTOM;
  const y = (value: number): number => bottomY - (value / top) * (PANEL - PLOT_TOP - PLOT_BOTTOM);
  const parts = [text(LEFT, offset + 20, DISK_TITLES[disk], "panel")];
  for (let value = 0; value <= top; value += step) {
    parts.push(
      `<path d="M${LEFT} ${n(y(value))}H${WIDTH - RIGHT}" class="${value === 1 ? "one" : "grid"}"/>`,
      text(LEFT - 8, y(value) + 4, `${value}×`, "tick", "end"),
    );
  }
  const groupWidth = (WIDTH - LEFT - RIGHT) / groups.length;
  const barWidth = Math.min(44, (groupWidth * 0.8) / configs.length);
  groups.forEach(({ workload, base, bars }, position) => {
    const centre = LEFT + groupWidth * (position + 0.5);
    const left = centre - (barWidth * configs.length) / 2;
    bars.forEach((one, index) => one && parts.push(bar(one, index, left + index * barWidth + 2, barWidth - 4, y)));
    parts.push(
      text(centre, bottomY + 19, workload.title, "label", "middle"),
      text(centre, bottomY + 36, `stock: ${absolute(base, workload.unit)}`, "small", "middle"),
    );
  });
  return parts.join("\n");
}

/** The picture of a result. Shows the first five configurations; the first is what the others are measured against. */
export function plotSvg(result: Result): string {
  const configs = [...new Set(result.cells.map((one) => one.config))].slice(0, 5);
  const disks = result.disks.map((disk) => disk.name);
  const height = TOP + disks.length * PANEL + FOOT;
  const { machine } = result;
  const legend = configs.map((config, index) => {
    const x = LEFT + index * 120;
    return `<rect x="${x}" y="${TOP - 31}" width="13" height="13" rx="2" class="c${index}"/>${text(x + 20, TOP - 20, config, "label")}`;
  });
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" height="${height}" role="img">`,
    `<title>Speed of PostgreSQL with three configurations, beside its defaults</title>`,
    `<style>${STYLE}\n</style>`,
    `<rect class="page" width="${WIDTH}" height="${height}"/>`,
    text(
      LEFT,
      32,
      `PostgreSQL ${machine.postgres}, ${machine.serverCpus} CPUs and ${machine.serverMemoryMiB / 1024} GiB: speed beside its defaults (higher is faster)`,
      "title",
    ),
    ...legend,
    ...disks.map((disk, index) => panel(result, disk, configs, TOP + index * PANEL)),
    text(
      LEFT,
      height - 14,
      `Median of ${result.runs} ${result.runs === 1 ? "run" : "runs"}, whiskers from the slowest to the fastest; ` +
        `writes and loads count the checkpoint after them. ${result.date.slice(0, 10)}`,
      "small",
    ),
    "</svg>\n",
  ].join("\n");
}
