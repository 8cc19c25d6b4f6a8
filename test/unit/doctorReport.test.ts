import { describe, expect, it } from "vitest";
import { type Finding, countsOf, finding } from "../../doctor/finding.ts";
import type { DoctorReport } from "../../doctor/report.ts";
import { renderMarkdown } from "../../scripts/doctor/markdown.ts";
import { connectError } from "../../scripts/doctor/session.ts";
import { renderTerminal } from "../../scripts/doctor/terminal.ts";

const found: Finding[] = [
  finding({
    check: "transaction-id",
    severity: "critical",
    subject: "database app",
    says: "1.2 thousand million used",
    fix: ["VACUUM (FREEZE, ANALYZE) public.a;"],
  }),
  finding({
    check: "unused-index",
    severity: "warning",
    subject: 'public."I|x"',
    server: "pg1",
    says: `${"many words that go on and on ".repeat(6)}<b>`,
    fix: ['DROP INDEX CONCURRENTLY public."I|x";', "./cgraph-db status"],
    note: "a note with ``` in it",
  }),
];
const report: DoctorReport = {
  database: "app",
  address: "db:5432",
  version: 160_004,
  role: "primary",
  stack: "dev",
  cluster: null,
  replicas: ["pg1"],
  checkedAt: "2026-11-25T12:00:00.000Z",
  statisticsSince: "2026-11-15T12:00:00.000Z",
  seconds: 0.42,
  counts: countsOf(found),
  findings: found,
  notChecked: [{ check: "archiver", reason: "archive_mode is off" }],
};

describe("the report on a terminal", () => {
  it("groups by severity, with the statements whole below each finding", () => {
    const text = renderTerminal(report, 80);
    const [head] = text.split("\n\n");
    expect(head?.replace(/\n/g, " ")).toBe(
      "stack dev, app at db:5432: PostgreSQL 16.4, primary with pg1, statistics of 10 days; 1 critical, 1 warning (0.42 s)",
    );
    expect(text).toMatch(
      /critical \(1\)\n {2}transaction-id {2}database app {2}1\.2 thousand million used\n {4}VACUUM \(FREEZE, ANALYZE\) public\.a;/,
    );
    expect(text).toContain('\n    DROP INDEX CONCURRENTLY public."I|x";\n    ./cgraph-db status\n    -- a note');
    expect(text).toMatch(/not checked\n {2}archiver +archive_mode is off$/);
    expect(Math.max(...text.split("\n").map((line) => line.length))).toBeLessThanOrEqual(80);
  });
  it("stays readable where it is narrow, and says that nothing was found", () => {
    for (const line of renderTerminal(report, 40).split("\n")) expect(line.length).toBeLessThanOrEqual(60);
    const well = renderTerminal({ ...report, findings: [], notChecked: [], counts: countsOf([]) }, 80);
    expect(well).toContain("nothing found");
    expect(well.trimEnd()).toBe(well);
  });
});

describe("the report as Markdown", () => {
  it("is text where it is text, and code where it is code", () => {
    const text = renderMarkdown(report);
    expect(text).toContain("#### 🔴 critical (1)");
    expect(text).toContain('**unused-index** pg1 public."I\\|x":');
    expect(text).toContain("&lt;b&gt;");
    expect(text).toContain('```sql\nDROP INDEX CONCURRENTLY public."I|x";\n```\n\n```sh\n./cgraph-db status\n```');
    expect(text).toContain("> a note with \\`\\`\\` in it");
    expect(text).toContain("<summary>Not checked (1)</summary>");
  });
  it("fences code that holds a fence", () => {
    const odd = finding({
      ...found[0],
      check: "disk",
      severity: "info",
      subject: "x",
      says: "y",
      fix: ["SELECT '```';"],
    });
    expect(renderMarkdown({ ...report, findings: [odd] })).toContain("````sql\nSELECT '```';\n````");
  });
});

describe("a connection that fails", () => {
  it.each([
    [{ code: "28P01", message: "password authentication failed" }, "wrong or missing password"],
    [{ code: "28000", message: "no pg_hba.conf entry" }, "refuses ann: no pg_hba.conf entry"],
    [{ code: "3D000", message: 'database "x" does not exist' }, 'database "x" does not exist'],
    [{ code: "ECONNREFUSED", message: "connect ECONNREFUSED" }, "cannot be reached"],
    [{ code: "DEPTH_ZERO_SELF_SIGNED_CERT", message: "self-signed certificate" }, "certificate is not trusted"],
    [{ message: "timeout expired" }, "cannot be reached: timeout expired"],
  ])("%o", (error, words) => {
    const told = connectError("postgresql://db:5432/x", "ann", error);
    expect(told.message).toContain(words);
    expect(told.exitCode).toBe(1);
  });
});
