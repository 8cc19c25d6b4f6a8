/** A move's report for a pull request, in GitHub's Markdown. */
import { differencesOf } from "../../migration/picture.ts";
import type { MoveReport } from "../../migration/report.ts";
import { allowingFlags } from "../lib/allow.ts";
import { PRICES_NOTE, costRows, duration, fromTo, money, signedUsd, sorted, summary, usd, whyOf } from "./words.ts";

const SIGN: Readonly<Record<MoveReport["verdict"], string>> = { none: "⚪", safe: "🟢", restarts: "🟡", unsafe: "🔴" };

/** Text that is text: no markup, no HTML, no column of a table, no mention of anybody. */
export const escapeMarkdown = (text: string): string =>
  text
    .replace(/\s*\n\s*/g, " ")
    .replaceAll("&", "&amp;")
    .replaceAll("<", "&lt;")
    .replaceAll(">", "&gt;")
    .replace(/[\\`*_{}[\]|~#]/g, "\\$&")
    .replace(/@(?=\w)/g, "@&#8203;");

/** Code in a cell; a backtick would end it, a line would end the table. */
const code = (text: string): string =>
  text === "" ? "" : `\`${text.replace(/[`\n\r]/g, "'").replaceAll("|", "\\|")}\``;

const row = (cells: readonly string[]): string => `| ${cells.join(" | ")} |`;
export const markdownTable = (heading: readonly string[], rows: readonly (readonly string[])[]): string =>
  [row(heading), row(heading.map(() => "---")), ...rows.map(row)].join("\n");
const e = escapeMarkdown;

function details(title: string, content: string): string {
  return `<details>\n<summary>${title}</summary>\n\n${content}\n\n</details>`;
}

function stepsTable({ steps }: MoveReport): string {
  return markdownTable(
    ["step", "does", "clients", "pause", "takes about", "way back"],
    steps.map((one) => [
      code(one.id),
      e(one.does),
      one.clients === "nothing" ? "" : e(one.clients),
      one.pause ? `**${duration(one.pause.seconds)}**` : "",
      duration(one.duration.seconds),
      one.noReturn === null ? e(one.wayBack) : `⛔ **none from here on**: ${e(one.noReturn)}`,
    ]),
  );
}

function changesTable(report: MoveReport): string {
  return markdownTable(
    ["what happens", "resource", "type", "holds data", "clients", "why"],
    sorted(report.changes).map((one) => [
      one.loss === "none" ? one.happens : `**${one.happens}**`,
      code(one.name),
      code(one.type),
      one.holdsData ? "yes" : "",
      one.clients === "nothing" ? "" : one.clients,
      e(whyOf(one, report)),
    ]),
  );
}

function costTable(report: MoveReport): string {
  const { cost, costNow, differenceUsdPerMonth } = report;
  return markdownTable(
    ["part", "what", "now", "a month"],
    [
      ...costRows(report).map((one) => [e(one.part), e(one.what), money(one.now), money(one.then)]),
      ["**all**", "", money(costNow?.usdPerMonth ?? null), `**${usd(cost?.usdPerMonth ?? 0)}**`],
      ["**difference**", "", "", `**${signedUsd(differenceUsdPerMonth ?? 0)}**`],
    ],
  );
}

export function renderMarkdown(report: MoveReport): string {
  const { verdict, meaning, steps, changes, notFitting, notes, cost, drift, differenceUsdPerMonth } = report;
  const refused = changes.filter(({ loss }) => loss === "refused").map(({ urn }) => urn);
  const bases = steps.flatMap((one) => [
    ...(one.pause ? [`- ${code(one.id)} pause: ${e(one.pause.basis)}`] : []),
    `- ${code(one.id)} takes: ${e(one.duration.basis)}`,
  ]);
  return [
    `### ${SIGN[verdict]} ${verdict}: ${e(meaning)}`,
    `**${e(report.stack)}** (${report.target}), ${fromTo(report)}. ${e(summary(report).join(" "))}`.trimEnd(),
    ...(notFitting.length > 0
      ? [["**Would not fit:**", "", ...notFitting.map((one) => `- ${e(one.what)}. Then: ${e(one.remedy)}.`)].join("\n")]
      : []),
    ...(refused.length > 0
      ? [`To lose it all the same, name each:\n\n\`\`\`sh\n./cgraph-db … ${allowingFlags(refused)}\n\`\`\``]
      : []),
    ...(steps.length > 0 ? [stepsTable(report), details("What the figures rest on", bases.join("\n"))] : []),
    ...(changes.length > 0
      ? [details(`${changes.length} ${changes.length === 1 ? "change" : "changes"}`, changesTable(report))]
      : []),
    details(
      "Before and after",
      markdownTable(
        ["", "before", "after"],
        differencesOf(report.before, report.after).map((one) => [
          e(one.part),
          e(one.before),
          one.before === one.after ? e(one.after) : `**${e(one.after) || "none"}**`,
        ]),
      ),
    ),
    ...(drift && drift.length > 0
      ? [
          `**Drift**: what runs differs from the stack's state in ${drift.length === 1 ? "one place" : `${drift.length} places`}`,
          markdownTable(
            ["where", "what", "expected", "found", "what to do"],
            drift.map((one) => [e(one.where), e(one.what), e(one.expected), e(one.found), code(one.remedy)]),
          ),
        ]
      : []),
    ...(cost
      ? [
          details(
            `${usd(cost.usdPerMonth)} a month (${signedUsd(differenceUsdPerMonth ?? 0)})`,
            `${costTable(report)}\n\n${PRICES_NOTE}`,
          ),
        ]
      : []),
    ...(notes.length > 0 ? [notes.map((text) => `> ${e(text)}`).join("\n>\n")] : []),
  ].join("\n\n");
}
