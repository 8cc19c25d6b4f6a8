/** Bars with whiskers, in groups and panels, as plain SVG for light and dark pages. */

export interface ChartBar {
  /** In the panel's units. */
  readonly mid: number;
  readonly low: number;
  readonly high: number;
  /** Over the bar. */
  readonly label: string;
}

export interface ChartGroup {
  readonly title: string;
  /** Under the title. */
  readonly note?: string;
  /** One for each name of the legend; undefined: nothing was measured. */
  readonly bars: readonly (ChartBar | undefined)[];
}

export interface ChartPanel {
  readonly title: string;
  /** How a number on the axis is written. */
  readonly axis: (value: number) => string;
  /** A dashed line: a limit, or what the bars are measured against. */
  readonly reference?: number;
  readonly groups: readonly ChartGroup[];
}

export interface Chart {
  readonly title: string;
  /** For readers who see no picture. */
  readonly description: string;
  readonly legend: readonly string[];
  readonly panels: readonly ChartPanel[];
  readonly foot: string;
}

const WIDTH = 960;
const PANEL = 270;
const LEFT = 60;
const RIGHT = 16;
const TOP = 84;
const PLOT_TOP = 40;
const PLOT_BOTTOM = 58;
const FOOT = 34;
const LEGEND_STEP = 200;

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

/** A step between lines of the grid that gives at most six of them: 1, 2, 2.5 or 5 times a power of ten. */
export function gridStep(top: number): number {
  for (let power = 10 ** Math.floor(Math.log10(top) - 1); ; power *= 10) {
    const step = [1, 2, 2.5, 5].map((factor) => factor * power).find((one) => top / one <= 6);
    if (step !== undefined) return step;
  }
}

function drawBar(bar: ChartBar, index: number, x: number, width: number, y: (value: number) => number): string {
  const centre = x + width / 2;
  const cap = width / 6;
  const whisker = [
    `M${n(centre)} ${n(y(bar.low))}V${n(y(bar.high))}`,
    `M${n(centre - cap)} ${n(y(bar.low))}h${n(cap * 2)}M${n(centre - cap)} ${n(y(bar.high))}h${n(cap * 2)}`,
  ].join("");
  return (
    `<rect x="${n(x)}" y="${n(y(bar.mid))}" width="${n(width)}" height="${n(y(0) - y(bar.mid))}" rx="2" class="c${index}"/>` +
    `<path d="${whisker}" class="whisker"/>` +
    text(centre, y(bar.high) - 6, bar.label, "value", "middle")
  );
}

function drawPanel(panel: ChartPanel, series: number, offset: number): string {
  const highest = Math.max(
    (panel.reference ?? 0) * 1.1,
    ...panel.groups.flatMap(({ bars }) => bars.flatMap((bar) => (bar ? [bar.high] : []))),
    1e-9,
  );
  const step = gridStep(highest);
  // Room above the highest whisker for its number.
  const top = highest * 1.12;
  const bottomY = offset + PANEL - PLOT_BOTTOM;
  const y = (value: number): number => bottomY - (value / top) * (PANEL - PLOT_TOP - PLOT_BOTTOM);
  const line = (value: number, name: string): string =>
    `<path d="M${LEFT} ${n(y(value))}H${WIDTH - RIGHT}" class="${name}"/>`;
  const parts = [text(LEFT, offset + 20, panel.title, "panel")];
  for (let index = 0; index * step <= top; index++) {
    const value = Number((index * step).toPrecision(12));
    parts.push(line(value, "grid"), text(LEFT - 8, y(value) + 4, panel.axis(value), "tick", "end"));
  }
  if (panel.reference !== undefined) parts.push(line(panel.reference, "one"));
  const groupWidth = (WIDTH - LEFT - RIGHT) / panel.groups.length;
  const barWidth = Math.min(56, (groupWidth * 0.8) / series);
  panel.groups.forEach(({ title, note, bars }, position) => {
    const centre = LEFT + groupWidth * (position + 0.5);
    // Only what was measured takes room, so that a lone bar stands over its title.
    const drawn = bars.flatMap((bar, index) => (bar ? [{ bar, index }] : []));
    const left = centre - (barWidth * drawn.length) / 2;
    drawn.forEach(({ bar, index }, place) =>
      parts.push(drawBar(bar, index, left + place * barWidth + 2, barWidth - 4, y)),
    );
    parts.push(text(centre, bottomY + 19, title, "label", "middle"));
    if (note !== undefined) parts.push(text(centre, bottomY + 36, note, "small", "middle"));
  });
  return parts.join("\n");
}

/** The picture. Colours are there for five names of the legend. */
export function chartSvg(chart: Chart): string {
  const height = TOP + chart.panels.length * PANEL + FOOT;
  const legend = chart.legend.map((name, index) => {
    const x = LEFT + index * Math.min(LEGEND_STEP, (WIDTH - LEFT) / chart.legend.length);
    return `<rect x="${n(x)}" y="${TOP - 31}" width="13" height="13" rx="2" class="c${index}"/>${text(x + 20, TOP - 20, name, "label")}`;
  });
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" height="${height}" role="img">`,
    `<title>${escape(chart.description)}</title>`,
    `<style>${STYLE}\n</style>`,
    `<rect class="page" width="${WIDTH}" height="${height}"/>`,
    text(LEFT, 32, chart.title, "title"),
    ...legend,
    ...chart.panels.map((panel, index) => drawPanel(panel, chart.legend.length, TOP + index * PANEL)),
    text(LEFT, height - 14, chart.foot, "small"),
    "</svg>\n",
  ].join("\n");
}
