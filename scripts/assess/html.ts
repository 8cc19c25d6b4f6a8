/** `assess` as one page: each growth with its line, its limit and the day on which they meet. */
import { METRICS } from "../../assess/metrics.ts";
import { type AssessReport, amount, day, whenOf } from "../../assess/report.ts";
import type { Sample } from "../../assess/series.ts";
import type { Forecast } from "../../assess/verdict.ts";
import { escapeHtml as e } from "../report/escape.ts";
import { list, page, section } from "../report/page.ts";
import { HEAD, STRAIN_HEAD, basis, forecastRows, strainRows } from "./terminal.ts";

const [WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM] = [640, 260, 66, 14, 26, 30];

const STYLE = `
.plots { display: grid; grid-template-columns: 1fr; gap: 16px; }
figure .plot { max-width: 820px; }
.plot text { font-size: 12px; fill: var(--soft); } .plot .end { text-anchor: end; } .plot .start { text-anchor: start; }
.plot .grid { stroke: var(--line); } .plot .seen { fill: var(--blue); } .plot .line { fill: none; stroke: var(--blue); stroke-width: 2; }
.plot .limit { stroke: var(--red); stroke-width: 1.5; stroke-dasharray: 6 3; } .plot .limit-text { fill: var(--red); }
.plot rect.when { fill: var(--amber-soft); stroke: none; } .plot .now { stroke: var(--soft); stroke-dasharray: 2 3; }
.plot .met { fill: var(--red); }
.level-critical td:nth-child(3) { color: var(--red); font-weight: 600; } .level-warning td:nth-child(3) { color: var(--amber); font-weight: 600; }
@media (max-width: 640px) { .plot text { font-size: 19px; } }`;

/** A step between lines of the grid that reads well: 1, 2 or 5 times a power of ten. */
export function gridStep(span: number, lines = 4): number {
  const raw = span / lines;
  const power = 10 ** Math.floor(Math.log10(raw));
  return ([1, 2, 5, 10].find((factor) => factor * power >= raw) ?? 10) * power;
}

function plot(one: Forecast, samples: readonly Sample[], now: number): string {
  const { metric, limit, line, crossing } = one;
  const latest = crossing?.latest ?? undefined;
  const times = [...samples, ...line].map(({ at }) => at);
  const end = Math.max(now, ...times, Math.min(latest ?? now, (crossing?.at ?? now) * 2 - now));
  const begin = Math.min(now, ...times);
  // A limit far above is no part of the picture.
  const seenTop = Math.max(...samples.map(({ value }) => value), ...line.map(({ value }) => value), one.value);
  const showsLimit = limit !== null && (crossing !== null || limit <= seenTop * 3);
  const top = Math.max(seenTop, showsLimit ? limit : 0) * 1.08 || 1;
  const x = (at: number): number => LEFT + ((WIDTH - LEFT - RIGHT) * (at - begin)) / Math.max(1, end - begin);
  const y = (value: number): number => HEIGHT - BOTTOM - ((HEIGHT - TOP - BOTTOM) * value) / top;
  const f = (value: number): string => value.toFixed(1);
  const step = gridStep(top);
  const grid = Array.from({ length: Math.floor(top / step) + 1 }, (_, index) => index * step);
  const spoken = `${METRICS[metric].title}: now ${amount(metric, one.value)}${limit === null ? "" : `, limit ${amount(metric, limit)}`}; ${whenOf(one)}`;
  return [
    `<svg class="plot" viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-label="${e(spoken)}">`,
    ...(crossing
      ? [
          `<rect class="when" x="${f(x(Math.max(begin, crossing.earliest)))}" y="${TOP}" width="${f(Math.max(2, x(Math.min(end, latest ?? end)) - x(crossing.earliest)))}" height="${HEIGHT - TOP - BOTTOM}"/>`,
        ]
      : []),
    ...grid.map(
      (value) =>
        `<line class="grid" x1="${LEFT}" x2="${WIDTH - RIGHT}" y1="${f(y(value))}" y2="${f(y(value))}"/><text class="end" x="${LEFT - 6}" y="${f(y(value) + 4)}">${e(amount(metric, value))}</text>`,
    ),
    `<line class="now" x1="${f(x(now))}" x2="${f(x(now))}" y1="${TOP}" y2="${HEIGHT - BOTTOM}"/>`,
    ...(line.length > 1
      ? [
          `<polyline class="line" points="${line.map(({ at, value }) => `${f(x(at))},${f(y(Math.max(0, value)))}`).join(" ")}"/>`,
        ]
      : []),
    ...samples.map(({ at, value }) => `<circle class="seen" cx="${f(x(at))}" cy="${f(y(value))}" r="2.5"/>`),
    ...(showsLimit
      ? [
          `<line class="limit" x1="${LEFT}" x2="${WIDTH - RIGHT}" y1="${f(y(limit))}" y2="${f(y(limit))}"/>`,
          `<text class="limit-text start" x="${LEFT + 4}" y="${f(y(limit) - 5)}">limit ${e(amount(metric, limit))}</text>`,
        ]
      : []),
    ...(crossing && limit !== null
      ? [`<circle class="met" cx="${f(x(crossing.at))}" cy="${f(y(limit))}" r="5"/>`]
      : []),
    `<text class="start" x="${LEFT}" y="${HEIGHT - 10}">${day(begin)}</text>`,
    `<text class="end" x="${WIDTH - RIGHT}" y="${HEIGHT - 10}">${day(end)}</text>`,
    "</svg>",
  ].join("");
}

const rowsHtml = (
  head: readonly string[],
  rows: readonly (readonly string[])[],
  levels: readonly string[] = [],
): string =>
  `<table class="stack"><thead><tr>${head.map((cell) => `<th>${e(cell)}</th>`).join("")}</tr></thead><tbody>${rows
    .map(
      (row, index) =>
        `<tr class="level-${levels[index] ?? "none"}">${row.map((cell, column) => `<td${column === 0 ? "" : ` data-name="${e(head[column] ?? "")}"`}>${e(cell)}</td>`).join("")}</tr>`,
    )
    .join("")}</tbody></table>`;

export function renderAssessHtml(report: AssessReport): string {
  const { subject, verdict, summary, histories } = report;
  const now = Date.parse(report.at);
  const { first, presentStage, stage } = verdict;
  const strained = verdict.strains.some(({ level }) => level === "critical");
  const tone =
    strained || (presentStage !== null && stage > presentStage)
      ? "unsafe"
      : first?.course === "grows"
        ? "restarts"
        : "safe";
  const drawn = verdict.forecasts.flatMap((one) => {
    const samples = histories.find(({ metric }) => metric === one.metric)?.samples ?? [];
    return samples.length < 2
      ? []
      : [
          `<figure data-plot="${one.metric}"><figcaption>${e(METRICS[one.metric].title)}</figcaption>${plot(one, samples, now)}</figure>`,
        ];
  });
  return page(
    `${subject}: stage ${stage}`,
    `assessed ${report.at.slice(0, 16).replace("T", " ")} UTC`,
    [
      `<div class="verdict ${tone}"><b>stage ${stage}</b>${summary.map((text) => `<p>${e(text)}</p>`).join("")}</div>`,
      ...(drawn.length > 0
        ? [
            section(
              "Growth",
              `<div class="plots">${drawn.join("")}</div><p class="soft">Points: what was seen. Line: Theil and Sen's, through all of them. Yellow: when the limit is met, in ninety of a hundred such series.</p>`,
            ),
          ]
        : []),
      ...(verdict.forecasts.length > 0
        ? [
            section(
              "Limits",
              rowsHtml(
                HEAD.slice(0, -1),
                forecastRows(report).map((row) => row.slice(0, -1)),
              ),
            ),
          ]
        : []),
      ...(verdict.strains.length > 0
        ? [
            section(
              "Load",
              rowsHtml(
                STRAIN_HEAD,
                strainRows(report),
                verdict.strains.map(({ level }) => level),
              ),
            ),
          ]
        : []),
      ...basis(report)
        .filter(([, items]) => items.length > 0)
        .map(([name, items]) => section(name, list("notes", items.map(e)))),
    ],
    STYLE,
  );
}
