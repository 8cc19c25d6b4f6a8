/** `assess` for a terminal, and as Markdown. */
import { METRICS } from "../../assess/metrics.ts";
import { type AssessReport, amount, boundText, paceOf, whenOf } from "../../assess/report.ts";
import type { Sample } from "../../assess/series.ts";
import { PRICES_AS_OF } from "../../stacks/aws/classes.ts";
import { table } from "../lib/print.ts";
import { escapeMarkdown as e, markdownTable } from "../report/markdown.ts";

const BARS = "▁▂▃▄▅▆▇█";

/** Samples as a row of bars, the oldest first; the lowest of them is the lowest bar. */
export function sparkline(samples: readonly Sample[], width = 24): string {
  if (samples.length < 2) return "";
  const sorted = [...samples].sort((a, b) => a.at - b.at);
  const [from, to] = [sorted[0]?.at ?? 0, sorted.at(-1)?.at ?? 0];
  const bins = Map.groupBy(sorted, ({ at }) =>
    Math.min(width - 1, Math.floor((width * (at - from)) / Math.max(1, to - from))),
  );
  const means = [...bins.values()].map((bin) => bin.reduce((sum, { value }) => sum + value, 0) / bin.length);
  const [low, high] = [Math.min(...means), Math.max(...means)];
  return means.map((value) => BARS[high === low ? 0 : Math.round(((value - low) / (high - low)) * 7)]).join("");
}

const HEAD = ["what", "now", "limit", "met on", "growth", "until now"] as const;

function forecastRows({ verdict, histories }: AssessReport): string[][] {
  return verdict.forecasts.map((one) => [
    METRICS[one.metric].title,
    amount(one.metric, one.value),
    boundText(one),
    whenOf(one),
    paceOf(one),
    sparkline(histories.find(({ metric }) => metric === one.metric)?.samples ?? []),
  ]);
}

const strainRows = ({ verdict }: AssessReport): string[][] =>
  verdict.strains.map(({ metric, value, level }) => {
    const { bounds } = METRICS[metric];
    return [
      METRICS[metric].title,
      amount(metric, value),
      level === "shown" ? "" : level,
      bounds ? `${bounds.bad} ${amount(metric, bounds.warning)}, ${amount(metric, bounds.critical)}` : "",
    ];
  });

const STRAIN_HEAD = ["what", "now", "", "warning, critical"] as const;

/** What was measured, what was not, and what was taken for true: section by section. */
function basis(report: AssessReport): readonly (readonly [string, readonly string[]])[] {
  const { values, histories, missing, assumed, next, notes } = report;
  const title = (metric: keyof typeof METRICS): string => METRICS[metric].title;
  return [
    ["Measured", values.map(({ metric, how }) => `${title(metric)}: ${how}`)],
    [
      "Growth from",
      histories.map(({ metric, source, samples }) => `${title(metric)}: ${source}, ${samples.length} values`),
    ],
    [
      "Not measured",
      [...Map.groupBy(missing, ({ why }) => why)].map(
        ([why, all]) => `${all.map(({ metric }) => title(metric)).join(", ")}: ${why}`,
      ),
    ],
    ["Assumed", [...assumed, ...(next?.aws ? [`AWS's list prices of ${PRICES_AS_OF}, us-east-1, on demand`] : [])]],
    ["Notes", notes],
  ];
}

export function renderTerminal(report: AssessReport): string {
  const { verdict, summary, subject } = report;
  return [
    `${subject}: ${summary[0] ?? ""}`,
    ...summary.slice(1),
    "",
    ...(verdict.forecasts.length > 0 ? [table([HEAD, ...forecastRows(report)]), ""] : []),
    ...(verdict.strains.length > 0 ? [table([STRAIN_HEAD, ...strainRows(report)]), ""] : []),
    ...basis(report)
      .filter(([, items]) => items.length > 0)
      .flatMap(([name, items]) => [`${name}:`, ...items.map((item) => `  ${item}`)]),
  ].join("\n");
}

export function renderMarkdown(report: AssessReport): string {
  const { verdict, summary, subject, at } = report;
  const cells = (rows: readonly (readonly string[])[]): string[][] => rows.map((row) => row.map((cell) => e(cell)));
  return [
    `### ${e(subject)}: stage ${verdict.stage}`,
    summary.map((text) => e(text)).join(" "),
    ...(verdict.forecasts.length > 0 ? [markdownTable(HEAD, cells(forecastRows(report)))] : []),
    ...(verdict.strains.length > 0 ? [markdownTable(STRAIN_HEAD, cells(strainRows(report)))] : []),
    ...basis(report)
      .filter(([, items]) => items.length > 0)
      .map(([name, items]) => `**${name}**\n\n${items.map((item) => `- ${e(item)}`).join("\n")}`),
    `<sub>${at}</sub>`,
  ].join("\n\n");
}

/** The same sections for a page. */
export { HEAD, STRAIN_HEAD, basis, forecastRows, strainRows };
