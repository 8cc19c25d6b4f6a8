/** The doctor's report for a pull request or an issue, in GitHub's Markdown. */
import { type Finding, SEVERITIES, type Severity } from "../../doctor/finding.ts";
import type { DoctorReport } from "../../doctor/report.ts";
import { escapeMarkdown as e } from "../report/markdown.ts";
import { TITLES, headline, subjectOf } from "./terminal.ts";

const SIGN: Readonly<Record<Severity, string>> = { critical: "🔴", warning: "🟡", info: "⚪" };

/** A fence longer than any that stands in the text. */
function fenced(lines: readonly string[], language: string): string {
  const longest = Math.max(2, ...lines.flatMap((line) => [...line.matchAll(/`+/g)].map(([ticks]) => ticks.length)));
  const fence = "`".repeat(longest + 1);
  return [`${fence}${language}`, ...lines, fence].join("\n");
}

const isCommand = (line: string): boolean => line.startsWith("./");

function one(finding: Finding): string {
  const { check, says, fix, note } = finding;
  const sql = fix.filter((line) => !isCommand(line));
  const commands = fix.filter(isCommand);
  return [
    `**${e(check)}** ${e(subjectOf(finding))}: ${e(says)}`,
    ...(sql.length > 0 ? [fenced(sql, "sql")] : []),
    ...(commands.length > 0 ? [fenced(commands, "sh")] : []),
    ...(note === null ? [] : [`> ${e(note)}`]),
  ].join("\n\n");
}

export function renderMarkdown(report: DoctorReport): string {
  const sections = SEVERITIES.flatMap((severity) => {
    const findings = report.findings.filter((finding) => finding.severity === severity);
    return findings.length === 0
      ? []
      : [`#### ${SIGN[severity]} ${TITLES[severity]} (${findings.length})`, ...findings.map(one)];
  });
  const rest = report.notChecked.map(({ check, reason }) => `- **${e(check)}**: ${e(reason)}`);
  return [
    `### ${e(headline(report))}`,
    ...sections,
    ...(rest.length > 0
      ? [`<details>\n<summary>Not checked (${rest.length})</summary>\n\n${rest.join("\n")}\n\n</details>`]
      : []),
  ].join("\n\n");
}
