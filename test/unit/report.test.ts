import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { gridStep } from "../../bench/chart.ts";
import { lsnValue } from "../../scripts/lib/restoreTarget.ts";
import { type Report, reportSvg, reportTable } from "../../bench/report.ts";

const report: Report = {
  name: "one",
  title: "A <title>",
  date: "2026-11-24T00:00:00.000Z",
  method: ["so"],
  facts: {},
  panels: [
    {
      title: "Seconds",
      unit: "s",
      limit: 5,
      groups: [
        { title: "first", series: [{ name: "ours", values: [3, 1, 2] }] },
        { title: "second", series: [{ name: "theirs", values: [10, 30] }] },
      ],
    },
  ],
};

describe("a benchmark's report", () => {
  it("tells medians with their spread, and the limit", () => {
    const lines = reportTable(report).split("\n");
    expect(lines[1]).toMatch(/Seconds +first +ours +2\.00 \(1\.00 to 3\.00\) +s +5\.00/);
    expect(lines[2]).toMatch(/second +theirs +20\.0 \(10\.0 to 30\.0\)/);
  });

  it("is drawn with a bar for each series that was measured, and nothing that is no number", () => {
    const svg = reportSvg(report);
    expect(svg).toContain("A &lt;title>");
    expect(svg.match(/<rect [^>]*class="c[01]"/g)).toHaveLength(2 + 2);
    expect(svg).not.toMatch(/NaN|undefined|Infinity/);
  });

  it("has at most six lines of its grid, on round numbers", () => {
    fc.assert(
      fc.property(fc.double({ min: 1e-6, max: 1e9, noNaN: true }), (top) => {
        const step = gridStep(top);
        expect(top / step).toBeLessThanOrEqual(6);
        expect(top / step).toBeGreaterThan(1);
        expect([1, 2, 2.5, 5, 10]).toContain(Number((step / 10 ** Math.floor(Math.log10(step) + 1e-9)).toPrecision(3)));
      }),
    );
  });

  it("reads positions in the WAL", () => {
    expect(lsnValue("0/0")).toBe(0n);
    expect(lsnValue("16/B374D848")).toBe((0x16n << 32n) + 0xb374d848n);
  });
});
