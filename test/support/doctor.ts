import { expect } from "vitest";
import type { CheckId, Finding } from "../../doctor/finding.ts";
import type { DoctorReport } from "../../doctor/report.ts";
import { cgraph, cgraphOk } from "./cli.ts";

/** What `doctor --json` says of a stack, or of a database by its URL. */
export async function doctor(
  args: readonly string[],
  env = process.env,
): Promise<{ code: number; report: DoctorReport }> {
  const { code, stdout, stderr } = await cgraph(["doctor", ...args, "--json"], { env });
  if (stdout === "") throw new Error(stderr);
  return { code, report: JSON.parse(stdout) as DoctorReport };
}

export const findingsOf = ({ findings }: DoctorReport, check: CheckId): Finding[] =>
  findings.filter((one) => one.check === check);

/** What a young and small database cannot be judged by, and what a stack in Docker does not tell. */
const NOT_CHECKED: readonly CheckId[] = ["archiver", "backup-verification", "cache-hit", "disk", "unused-index"];

/** A stack as it was brought up, with its schema and some rows: everything was looked at, nothing is to be mended. */
export async function expectNothingToMend(stack: string): Promise<DoctorReport> {
  // As autovacuum does within its minute: a load of a few seconds is sooner done.
  await cgraphOk("psql", "--stack", stack, "--role", "postgres", "--", "-c", "VACUUM (ANALYZE)");
  const { code, report } = await doctor(["--stack", stack]);
  expect(report.findings.filter(({ severity }) => severity !== "info")).toEqual([]);
  expect(code).toBe(0);
  expect(report.notChecked.filter(({ check }) => !NOT_CHECKED.includes(check))).toEqual([]);
  return report;
}
