/** The doctor's report as text for a terminal: worst first, below each finding what mends it. */
import { type Finding, SEVERITIES, type Severity } from "../../doctor/finding.ts";
import { type DoctorReport, countsText, versionText } from "../../doctor/report.ts";
import { duration } from "../../tuning/words.ts";
import { wrap } from "../report/columns.ts";

const INDENT = "  ";
/** Less room than this beside the first columns, and the text begins below them. */
const LEAST_TEXT = 40;
/** A longer subject pushes its own text to the right, not everybody's. */
const MOST_SUBJECT = 40;

export const TITLES: Readonly<Record<Severity, string>> = {
  critical: "critical",
  warning: "warnings",
  info: "for information",
};

export const subjectOf = ({ server, subject }: Finding): string => (server === null ? subject : `${server} ${subject}`);

/** What the report is about, in one line. */
export const headline = (report: DoctorReport): string => {
  const { database, address, version, role, stack, cluster, replicas, statisticsSince, checkedAt, seconds } = report;
  const age = (Date.parse(checkedAt) - Date.parse(statisticsSince)) / 1000;
  const place =
    stack === null
      ? `${database} at ${address}`
      : `stack ${stack}${cluster === null ? "" : `, ${cluster}`}, ${database} at ${address}`;
  const others = replicas.length > 0 ? ` with ${replicas.join(", ")}` : "";
  return `${place}: PostgreSQL ${versionText(version)}, ${role}${others}, statistics of ${duration(age)}; ${countsText(report.counts)} (${seconds} s)`;
};

/** Cells in columns, the last one broken over lines. */
function row(cells: readonly [string, string, string], widths: readonly [number, number], width: number): string[] {
  const head = `${INDENT}${cells[0].padEnd(widths[0])}  ${cells[1].padEnd(widths[1])}`;
  const room = width - head.length - 2;
  if (room < LEAST_TEXT) {
    return [head.trimEnd(), ...wrap(`${INDENT}${INDENT}${cells[2]}`, width)];
  }
  return wrap(cells[2], room).map((line, index) => (index === 0 ? head : " ".repeat(head.length)) + `  ${line}`);
}

function section(severity: Severity, findings: readonly Finding[], width: number): string[] {
  const most = (texts: readonly string[], limit: number): number =>
    Math.min(limit, Math.max(...texts.map((text) => text.length)));
  const widths = [
    most(
      findings.map(({ check }) => check),
      Number.POSITIVE_INFINITY,
    ),
    most(findings.map(subjectOf), MOST_SUBJECT),
  ] as const;
  const lines = findings.flatMap((one) => [
    ...row([one.check, subjectOf(one), one.says], widths, width),
    // A statement to copy is not broken.
    ...one.fix.map((statement) => `${INDENT}${INDENT}${statement}`),
    ...(one.note === null ? [] : wrap(`${INDENT}${INDENT}-- ${one.note}`, width)),
  ]);
  return [`${TITLES[severity]} (${findings.length})`, ...lines, ""];
}

/** `width`: columns of the terminal; infinite where lines need not be broken. */
export function renderTerminal(report: DoctorReport, width: number): string {
  const sections = SEVERITIES.flatMap((severity) => {
    const findings = report.findings.filter((one) => one.severity === severity);
    return findings.length === 0 ? [] : section(severity, findings, width);
  });
  const widest = Math.max(0, ...report.notChecked.map(({ check }) => check.length));
  const rest = report.notChecked.flatMap(({ check, reason }) => row([check, "", reason], [widest, 0], width));
  return [...wrap(headline(report), width), "", ...sections, ...(rest.length > 0 ? ["not checked", ...rest] : [])]
    .join("\n")
    .trimEnd();
}
