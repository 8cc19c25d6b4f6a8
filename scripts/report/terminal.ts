/** A move's report as text for a terminal: the verdict, then steps, changes, cost. */
import type { MoveReport, ReportChange } from "../../migration/report.ts";
import { allowingFlags } from "../lib/allow.ts";
import { driftText } from "../lib/drift.ts";
import {
  PRICES_NOTE,
  costRows,
  duration,
  fromTo,
  isNotable,
  money,
  shortType,
  signedUsd,
  sorted,
  summary,
  usd,
  whyOf,
} from "./words.ts";
import { wrappedTable, wrap } from "./columns.ts";

/** Harmless changes of one kind, in one row. */
function folded(changes: readonly ReportChange[]): string[][] {
  const groups = new Map<string, ReportChange[]>();
  for (const change of changes) {
    const key = `${change.happens} ${change.type}`;
    groups.set(key, [...(groups.get(key) ?? []), change]);
  }
  return [...groups.values()].map((group) => {
    const [first] = group;
    const names = group.map(({ name }) => name);
    const shown = names.length > 4 ? [...names.slice(0, 3), `${names.length - 3} more`] : names;
    return [
      first?.happens ?? "",
      shown.join(", "),
      shortType(first?.type ?? ""),
      first?.holdsData === true ? "yes" : "",
      "",
      "",
    ];
  });
}

function changesTable(report: MoveReport, width: number): string {
  const changes = sorted(report.changes);
  const rows = changes
    .filter((change) => isNotable(change, report))
    .map((one) => [
      one.happens,
      one.name,
      shortType(one.type),
      one.holdsData ? "yes" : "",
      one.clients === "nothing" ? "" : one.clients,
      whyOf(one, report),
    ]);
  const quiet = folded(changes.filter((change) => !isNotable(change, report)));
  return wrappedTable([["what happens", "resource", "type", "holds data", "clients", "why"], ...rows, ...quiet], width);
}

/** The steps of a move as a table. */
export function renderSteps(steps: MoveReport["steps"], width: number): string {
  return wrappedTable(
    [
      ["step", "does", "clients", "for about", "takes about", "way back"],
      ...steps.map((one) => [
        one.id,
        one.does,
        one.clients === "nothing" ? "" : one.clients,
        one.pause ? duration(one.pause.seconds) : "",
        duration(one.duration.seconds),
        one.noReturn === null ? one.wayBack : `NONE from here on: ${one.noReturn}`,
      ]),
    ],
    width,
  );
}

/** Each part's price, the whole, and the difference. */
export function renderCost(
  report: Pick<MoveReport, "cost" | "costNow" | "differenceUsdPerMonth">,
  width: number,
): string {
  const { cost, costNow, differenceUsdPerMonth } = report;
  if (!cost) return "";
  const now = costNow !== null;
  const heading = now ? ["part", "what", "now", "a month"] : ["part", "what", "a month"];
  const row = (part: string, what: string, before: string, after: string): string[] =>
    now ? [part, what, before, after] : [part, what, after];
  return [
    wrappedTable(
      [
        heading,
        ...costRows(report).map((one) => row(one.part, one.what, money(one.now), money(one.then))),
        row("all", "", money(costNow?.usdPerMonth ?? null), usd(cost.usdPerMonth)),
        row("difference", "", "", signedUsd(differenceUsdPerMonth ?? 0)),
      ],
      width,
    ),
    ...wrap(PRICES_NOTE, width),
  ].join("\n");
}

function refusal(report: MoveReport): string[] {
  const refused = report.changes.filter(({ loss }) => loss === "refused").map(({ urn }) => urn);
  if (refused.length === 0) return [];
  const flags = allowingFlags(refused);
  return [`To lose it all the same, name each: ${flags}`];
}

/** `width`: columns of the terminal; infinite where lines need not be broken. */
export function renderTerminal(report: MoveReport, width: number): string {
  const { verdict, meaning, notFitting, notes } = report;
  const lines = (texts: readonly string[]): string => texts.map((text) => wrap(text, width).join("\n")).join("\n");
  const moving = report.from !== report.to || report.steps.length > 0;
  return [
    lines([`${verdict}: ${meaning}`, ...(moving ? [[`${fromTo(report)}.`, ...summary(report)].join(" ")] : [])]),
    ...(notFitting.length > 0
      ? [lines(["Would not fit:", ...notFitting.map(({ what, remedy }) => `  - ${what}. Then: ${remedy}.`)])]
      : []),
    ...(report.steps.length > 0 ? [renderSteps(report.steps, width)] : []),
    ...(report.changes.length > 0 ? [changesTable(report, width)] : []),
    ...(report.drift && report.drift.length > 0 ? [driftText(report.drift)] : []),
    ...(report.cost ? [renderCost(report, width)] : []),
    // A command to copy is not broken.
    ...refusal(report),
    ...(notes.length > 0 ? [lines(notes.map((text) => `note: ${text}`))] : []),
  ].join("\n\n");
}
