import { describe, expect, it } from "vitest";
import { wrap, wrappedTable } from "../../scripts/report/columns.ts";
import { renderHtml } from "../../scripts/report/html.ts";
import { renderMarkdown } from "../../scripts/report/markdown.ts";
import { renderTerminal } from "../../scripts/report/terminal.ts";
import { duration, shortType } from "../../scripts/report/words.ts";
import { HOSTILE, awsReport, change, dockerReport } from "../support/moveReports.ts";

const hostile = change(HOSTILE, "replace", { properties: [{ path: HOSTILE, kind: "update", replaces: true }] });
const lost = change("pg1-data", "delete", { type: "docker:index/volume:Volume", stateful: true });
const docker = dockerReport(1, 3, [hostile, change("a", "create"), change("b", "create")]);
const aws = awsReport(1, 2, [change("pg0", "create")]);

describe("a report on a terminal", () => {
  it("has the verdict first, then steps, changes and cost", () => {
    const text = renderTerminal(aws, Number.POSITIVE_INFINITY);
    const places = ["safe: ", "2:window", "what happens", "difference"].map((words) => text.indexOf(words));
    expect(places).toEqual([...places].sort((a, b) => a - b));
    expect(places[0]).toBe(0);
  });

  it.each([40, 60, 80, 120])("fits %i columns", (columns) => {
    for (const report of [docker, aws]) {
      for (const line of renderTerminal(report, columns).split("\n")) {
        expect(line.length, line).toBeLessThanOrEqual(columns);
      }
    }
  });

  it("folds harmless changes of one kind, and leaves no notable one out", () => {
    const text = renderTerminal(docker, Number.POSITIVE_INFINITY);
    expect(text).toContain("a, b");
    expect(text).toContain(HOSTILE);
  });

  it("says how a refused loss is allowed, as a shell takes it", () => {
    const text = renderTerminal(dockerReport(2, 1, [lost]), 80);
    expect(text).toContain(`--allow-replace '${lost.urn}'`);
  });

  it("loses no word in wrapping", () => {
    const text = "- one two three four-more five";
    expect(
      wrap(text, 12)
        .map((line) => line.trim())
        .join(" "),
    ).toBe(text);
    expect(wrap("abcdefghij", 4).join("")).toBe("abcdefghij");
    expect(
      wrappedTable(
        [
          ["a", "b"],
          ["x y z", "w"],
        ],
        100,
      ),
    ).toBe("a      b\nx y z  w");
  });
});

describe("a report as Markdown", () => {
  const text = renderMarkdown(docker);
  it("has a row for each step and each change", () => {
    for (const { id } of docker.steps) expect(text).toContain(`| \`${id}\` |`);
    expect(text.match(/^\| (create|restart|reload|\*\*)/gm)).toHaveLength(docker.changes.length);
    expect(text).toContain("<summary>3 changes</summary>");
  });
  it("escapes what would be markup", () => {
    // Within code nothing is markup.
    expect(text.replace(/`[^`\n]*`/g, "")).not.toContain("<script>");
    expect(text).toContain("&lt;script&gt;");
    for (const row of text.split("\n").filter((line) => line.startsWith("| restart"))) {
      expect(row.replaceAll("\\|", "").match(/\|/g), row).toHaveLength(7);
    }
  });
});

describe("a report as a page", () => {
  it("needs nothing from anywhere, runs nothing, and escapes", () => {
    for (const page of [renderHtml(docker), renderHtml(aws)]) {
      expect(page).not.toMatch(/<script|<img|<link|url\(|@import|https?:/);
      expect(page).not.toMatch(/NaN|undefined|Infinity/);
      expect(page).toContain("default-src 'none'");
    }
    expect(renderHtml(docker)).toContain("&lt;script&gt;alert(&quot;1&quot;)");
  });

  it("has every step, every change, and a picture of before and after", () => {
    const page = renderHtml(docker);
    expect(page.match(/data-step="/g)).toHaveLength(docker.steps.length);
    expect(page.match(/data-urn="/g)).toHaveLength(docker.changes.length);
    expect(page.match(/<svg /g)).toHaveLength(2);
    for (const { name } of docker.after.servers) expect(page).toContain(`${name} · `);
  });

  it("has one picture where nothing was there before", () => {
    expect(renderHtml(awsReport(0, 1, [])).match(/<svg /g)).toHaveLength(1);
  });
});

it("tells drift in every form", () => {
  const finding = { kind: "setting", where: "pg0", what: HOSTILE, expected: "1", found: "2", remedy: "./cgraph-db up" };
  const report = { ...docker, drift: [{ ...finding, kind: "setting" as const }] };
  for (const text of [renderTerminal(report, 200), renderMarkdown(report), renderHtml(report)]) {
    expect(text).toMatch(/drift/i);
    expect(text).toContain("./cgraph-db up");
  }
  expect(renderHtml(report)).not.toContain("<script>");
});

it("writes types without what repeats in them", () => {
  expect(
    ["docker:index/container:Container", "aws:rds/instance:Instance", "cgraph:db:PrimaryDb"].map(shortType),
  ).toEqual(["docker:Container", "aws:rds:Instance", "cgraph:db:PrimaryDb"]);
});

it("writes durations as people say them", () => {
  expect([0.7, 5, 61, 600, 3 * 3600].map(duration)).toEqual(["0.7 s", "5 s", "61 s", "10 min", "3 h"]);
});
