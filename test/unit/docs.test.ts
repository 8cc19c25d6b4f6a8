import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { ROOT } from "../../scripts/lib/paths.ts";
import { everyAlert } from "../../monitoring/alerts/index.ts";
import { planAws } from "../../stacks/aws/plan.ts";
import { alarmCount } from "../../stacks/aws/alarms.ts";
import { citusRegionAlarmCount } from "../../stacks/aws/citusAlarms.ts";
import { costOf, totalCost } from "../../stacks/aws/cost.ts";
import { KEYS, readConfig } from "../../stacks/config.ts";
import { CHECK_IDS } from "../../doctor/finding.ts";
import { LIMITS } from "../../doctor/thresholds.ts";

const read = (file: string): string => readFileSync(join(ROOT, file), "utf8");
const cells = (line: string): string[] =>
  line
    .split(/(?<!\\)\|/)
    .slice(1, -1)
    .map((cell) => cell.trim());

describe("docs/configuration.md", () => {
  const rows = read("docs/configuration.md")
    .split("\n")
    .filter((line) => /^\| `/.test(line))
    .map(cells);
  it("has every key, once", () => {
    // Some values hold a column of their own in code: keys stand first.
    expect(rows.map(([key]) => key?.replaceAll("`", "")).sort()).toEqual([...KEYS].sort());
  });
  it("says of each its values, its default, its meaning, and what a change does", () => {
    for (const row of rows) {
      expect(row, row[0]).toHaveLength(5);
      for (const cell of row) expect(cell, row[0]).not.toBe("");
    }
  });
});

describe("docs/aws.md", () => {
  const row = (title: string): string[] =>
    cells(
      read("docs/aws.md")
        .split("\n")
        .find((line) => line.startsWith(`| ${title}`)) ?? "",
    ).slice(1);
  const planned = (values: Record<string, string>) => planAws(readConfig((key) => ({ target: "aws", ...values })[key]));
  const plans = ["1", "2", "3", "4"].map((stage) => planned({ stage }));
  const cost = (plan: ReturnType<typeof planned>): string => `$${totalCost(costOf(plan)).toFixed(0)}`;
  it("has the plans' classes, alarms and costs", () => {
    expect(row("alarms").slice(0, 4)).toEqual(plans.map((plan) => String(alarmCount(plan))));
    expect(row("a month").slice(0, 4)).toEqual(plans.map(cost));
    row("primaries")
      .slice(0, 4)
      .forEach((text, index) => {
        const node = plans[index]?.nodes[0];
        expect(text).toContain(node?.class.name);
        expect(text).toContain(`${node?.storageGiB} GiB`);
      });
  });
  it("has those of stage 5, in the guide's three regions and in one", () => {
    const [three, one] = [planned({ stage: "5" }), planned({ stage: "5", regions: '["us-east-1"]' })];
    const [region] = three.citus?.regions ?? [];
    if (!region) throw new Error("stage 5 has one region");
    expect(row("alarms")[4]).toBe(
      `${alarmCount(three)} at home, ${citusRegionAlarmCount(region)} in each other region`,
    );
    expect(row("a month")[4]).toBe(`${cost(three)}; in one region ${cost(one)}`);
    const node = region.clusters[0]?.nodes[0];
    expect(row("primaries")[4]).toContain(`${node?.class.name}, ${node?.volume.sizeGiB} GiB gp3`);
  });
});

describe("docs/monitoring.md", () => {
  it("has every alert, with why and where its thresholds come from", () => {
    const rows = read("docs/monitoring.md")
      .split("\n")
      .filter((line) => /^\| `/.test(line))
      .map(cells);
    const said = rows.map(([first, , , meaning, source]) => [/`(.*)`/.exec(first ?? "")?.[1], meaning, source]);
    expect(said).toEqual(everyAlert().map(({ id, meaning, source }) => [id, meaning, source]));
  });
});

describe("docs/doctor.md", () => {
  const section = (title: string): string[][] =>
    (
      read("docs/doctor.md")
        .split("\n## ")
        .find((text) => text.startsWith(title)) ?? ""
    )
      .split("\n")
      .filter((line) => line.startsWith("| `"))
      .map(cells);
  it("has every check, in the order in which they are told", () => {
    expect(section("What it looks for").map(([check]) => check)).toEqual(CHECK_IDS.map((check) => `\`${check}\``));
  });
  it("has every threshold as it is, with its reason", () => {
    const limits = Object.entries(LIMITS).map(([name, { value, unit, reason }]) => [
      `\`${name}\``,
      `${value} ${unit}`,
      reason,
    ]);
    expect(section("Thresholds")).toEqual(limits);
  });
});
