import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { type Server, createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  binsOf,
  chooseHistories,
  dailyPeaks,
  latestRate,
  partitionBounds,
  ratesOf,
  recentPeak,
  sizesOf,
  totalsOf,
} from "../../assess/history.ts";
import { METRICS, type Metric } from "../../assess/metrics.ts";
import { needsOf } from "../../assess/next.ts";
import { PROMQL } from "../../assess/prometheus.ts";
import { type AssessFindings, amount, reportOf } from "../../assess/report.ts";
import { DAY_MS, MONTH_DAYS, type Sample } from "../../assess/series.ts";
import { Findings } from "../../scripts/assess/findings.ts";
import { gridStep, renderAssessHtml } from "../../scripts/assess/html.ts";
import { keep, keptFile } from "../../scripts/assess/kept.ts";
import { readPrometheus } from "../../scripts/assess/prometheus.ts";
import { fromPartitions } from "../../scripts/assess/tables.ts";
import { renderMarkdown, renderTerminal, sparkline } from "../../scripts/assess/terminal.ts";
import { costOf, totalCost } from "../../stacks/aws/cost.ts";
import { planAws } from "../../stacks/aws/plan.ts";
import { readConfig } from "../../stacks/config.ts";

const NOW = Date.UTC(2026, 10, 25, 12);
const at = (day: number): number => NOW + day * DAY_MS;

describe("rows by the day on which they came in", () => {
  const days = (count: number) => Array.from({ length: count }, (_, index) => ({ at: at(-index - 0.5), rows: 10 }));

  it("of half a year become weeks back from now; of longer months", () => {
    const weeks = binsOf(days(100), NOW);
    expect(weeks.map(({ from, to }) => (to - from) / DAY_MS)).toEqual(Array(15).fill(7));
    expect(weeks.at(-1)).toMatchObject({ to: NOW, rows: 70 });
    const months = binsOf(days(400), NOW);
    expect(months.at(-1)).toMatchObject({ from: Date.UTC(2026, 9, 1), to: Date.UTC(2026, 10, 1), rows: 310 });
  });
  it("give rates of a month, without the first bin, which may have begun late", () => {
    const rates = ratesOf(binsOf(days(100), NOW));
    expect(rates).toHaveLength(14);
    for (const { value } of rates) expect(value).toBeCloseTo(10 * MONTH_DAYS);
    expect(latestRate(binsOf(days(100), NOW))).toBeCloseTo(10 * MONTH_DAYS);
    expect(latestRate([])).toBeUndefined();
  });
  it("give how many there were at each time, up to all that there are", () => {
    const totals = totalsOf(binsOf(days(400), NOW), 4_000, NOW);
    expect(totals.at(-1)).toEqual({ at: NOW, value: 4_000 });
    // The month that is not over has brought 25 days' worth: half of today is over.
    expect(totals.at(-2)?.value).toBeCloseTo(4_000 - 250, -1);
    expect(totals.every(({ value }, index) => index === 0 || value >= (totals[index - 1]?.value ?? 0))).toBe(true);
  });
  it("tell how large the database was, each message as large as now", () => {
    const sizes = sizesOf(binsOf(days(100), NOW), { total: 1_000, bytes: 600 }, 1_000, NOW);
    expect(sizes.at(-1)?.value).toBeCloseTo(1_000);
    expect(sizes[0]?.value).toBeGreaterThan(400);
    expect(sizes[0]?.value).toBeLessThan(450);
    expect(sizesOf([], { total: 0, bytes: 600 }, 1_000, NOW)).toEqual([]);
  });
});

describe("partitions", () => {
  it.each([
    [
      "FOR VALUES FROM ('2026-01-01 00:00:00') TO ('2026-02-01 00:00:00')",
      "2026-01-01T00:00:00Z",
      "2026-02-01T00:00:00Z",
    ],
    ["FOR VALUES FROM ('2026-01-01') TO ('2026-02-01')", "2026-01-01T00:00:00Z", "2026-02-01T00:00:00Z"],
    [
      "FOR VALUES FROM ('2026-01-01 00:00:00+02') TO ('2026-02-01 00:00:00+02')",
      "2025-12-31T22:00:00Z",
      "2026-01-31T22:00:00Z",
    ],
  ])("%s is a time", (text, from, to) => {
    expect(partitionBounds(text)).toEqual({ from: Date.parse(from), to: Date.parse(to) });
  });
  it.each([
    "DEFAULT",
    "FOR VALUES IN ('a')",
    "FOR VALUES FROM (1) TO (2)",
    "FOR VALUES FROM (MINVALUE) TO ('2026-01-01')",
  ])("%s is none", (text) => expect(partitionBounds(text)).toBeUndefined());
  it("give months by their statistics: without those that are empty before the first, and without the one that is not over", () => {
    const month = (from: string, to: string, rows: number | null) => ({
      ...{ name: from, rows, pages: 1, bytes: 1 },
      bounds: `FOR VALUES FROM ('${from}') TO ('${to}')`,
    });
    const counted = fromPartitions(
      [
        month("2026-12-01", "2027-01-01", 0),
        month("2026-11-01", "2026-12-01", 400),
        month("2026-08-01", "2026-09-01", 0),
        month("2026-09-01", "2026-10-01", 300),
        month("2026-10-01", "2026-11-01", null),
        { name: "d", rows: 7, pages: 1, bytes: 1, bounds: "DEFAULT" },
      ],
      NOW,
    );
    expect(counted?.bins.map(({ rows }) => rows)).toEqual([300, 0]);
    expect(counted?.total).toBe(707);
    expect(fromPartitions([{ name: "t", rows: 1, pages: 1, bytes: 1, bounds: null }], NOW)).toBeUndefined();
  });
});

describe("a load", () => {
  const hours = Array.from({ length: 72 }, (_, hour) => ({ at: at(0) - (71 - hour) * 3_600_000, value: hour % 24 }));
  it("counts by each day's busiest hour", () => {
    expect(Math.max(...dailyPeaks("cpuShare", hours).map(({ value }) => value))).toBe(23);
    expect(dailyPeaks("cacheHitRatio", hours).map(({ value }) => value)).toContain(0);
    expect(recentPeak(dailyPeaks("cpuShare", hours))).toBeGreaterThan(10);
    expect(recentPeak([])).toBeUndefined();
  });
});

describe("of several histories", () => {
  const history = (source: string, days: number, every: number, estimated = false) => ({
    ...{ metric: "databaseBytes" as const, source, estimated },
    samples: Array.from({ length: Math.floor(days / every) + 1 }, (_, index) => ({
      at: at(index * every - days),
      value: 1,
    })),
  });
  const chosen = (...all: ReturnType<typeof history>[]) => chooseHistories(all).map(({ source }) => source);
  it("the one counts that reaches back furthest, with enough values, measured before reckoned", () => {
    expect(chosen(history("short", 30, 1), history("long", 90, 1))).toEqual(["long"]);
    expect(chosen(history("two values", 300, 300), history("short", 30, 1))).toEqual(["short"]);
    expect(chosen(history("reckoned", 300, 30, true), history("measured", 30, 1))).toEqual(["measured"]);
    expect(chosen(history("reckoned", 300, 30, true), history("just begun", 1, 1))).toEqual(["reckoned"]);
  });
});

describe("what assess keeps", () => {
  const folder = mkdtempSync(join(tmpdir(), "cgraph-growth-"));
  afterAll(() => rmSync(folder, { recursive: true }));
  const users = (file: string, day: number, value: number): readonly Sample[] =>
    keep(file, at(day), { users: value }).find(({ metric }) => metric === "users")?.samples ?? [];
  it("is one value an hour at the most, and survives a damaged file", () => {
    const file = join(folder, "growth.json");
    users(file, -10, 1);
    users(file, -5, 2);
    users(file, -5 + 1 / 48, 3);
    expect(users(file, 0, 4).map(({ value }) => value)).toEqual([1, 3, 4]);
    writeFileSync(file, readFileSync(file, "utf8").slice(0, 20));
    expect(users(file, 1, 5).map(({ value }) => value)).toEqual([5]);
  });
  it("of a database elsewhere is in a file that shows nothing of it", () => {
    const url = "postgresql://me@db.example.com:5432/app";
    expect(keptFile({ database: url })).not.toMatch(/example|me@|app\./);
    expect(keptFile({ database: url })).not.toBe(keptFile({ database: `${url}2` }));
  });
});

describe("Prometheus", () => {
  let server: Server;
  let address: string;
  const asked: URLSearchParams[] = [];
  beforeAll(async () => {
    server = createServer((request, response) => {
      const url = new URL(request.url ?? "", "http://x");
      asked.push(url.searchParams);
      const query = url.searchParams.get("query") ?? "";
      const [start, end] = [Number(url.searchParams.get("start")), Number(url.searchParams.get("end"))];
      if (url.pathname === "/broken/api/v1/query_range") response.end('{"status":"error","error":"out of memory"}');
      else if (url.pathname !== "/api/v1/query_range") response.writeHead(404).end("{}");
      else {
        const values: [number, string][] = [];
        for (let time = start; time <= end; time += 3600) values.push([time, String(1e9 + (time - start))]);
        const known = query.startsWith("max(pg_database_size_bytes") || query.includes("pg_stat_database_xact_commit");
        const odd: [number, string][] = query.includes("histogram_quantile") ? [[start, "NaN"]] : [];
        response.end(
          JSON.stringify({
            status: "success",
            data: { result: known ? [{ values }] : odd.length ? [{ values: odd }] : [] },
          }),
        );
      }
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    address = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  });
  afterAll(() => server.close());
  const read = async (url: string): Promise<Findings> => {
    const findings = new Findings();
    await readPrometheus(url, { database: 'odd"name', days: 30, now: NOW }, findings);
    return findings;
  };

  it("is asked for every metric, by the first name that it knows", async () => {
    asked.length = 0;
    const { values, histories, missing } = await read(address);
    expect(values.map(({ metric }) => metric)).toEqual(["databaseBytes", "queriesPerSecond"]);
    expect(histories.map(({ metric, samples }) => [metric, samples.length])).toEqual([
      ["databaseBytes", 30 * 24 + 1],
      ["queriesPerSecond", 31],
    ]);
    expect(missing.map(({ metric }) => metric)).toContain("p99Ms");
    const queries = asked.map((one) => one.get("query") ?? "");
    expect(queries.some((query) => query.includes('datname="odd\\"name"'))).toBe(true);
    expect(queries.some((query) => query.includes("$database"))).toBe(false);
  });
  it("that does not answer, or not as it should, says so", async () => {
    await expect(read("http://127.0.0.1:1")).rejects.toThrow("does not answer as it should");
    await expect(read(`${address}/broken`)).rejects.toThrow("out of memory");
    await expect(read("9090")).rejects.toThrow("--prometheus is");
    await expect(read("ftp://x")).rejects.toThrow("--prometheus is");
  });
  it("has an expression for every metric", () => {
    expect(Object.keys(PROMQL).sort()).toEqual(Object.keys(METRICS).sort());
    for (const expressions of Object.values(PROMQL)) {
      expect(expressions.length).toBeGreaterThan(0);
      for (const text of expressions) {
        expect(text.split("(").length, text).toBe(text.split(")").length);
      }
    }
  });
});

describe("a report", () => {
  const samples = Array.from({ length: 40 }, (_, index) => ({
    at: at((index - 39) * 3),
    value: 3_000 + (index - 39) * 60 + 2_340,
  }));
  const findings = (change: Partial<AssessFindings> = {}): AssessFindings => ({
    ...{ now: NOW, subject: "stack dev", target: "docker", presentStage: 1, isCGraph: true, assumed: [], notes: [] },
    values: [
      { metric: "users", value: 5_340, how: "public.users, counted" },
      { metric: "cpuShare", value: 0.97, how: "docker stats" },
    ],
    histories: [{ metric: "users", source: "public.users", samples }],
    missing: [
      { metric: "p99Ms", why: "nobody keeps it" },
      { metric: "cpuShare", why: "asked in vain before" },
    ],
    ...change,
  });
  const hostile = `<script>alert(1)</script> | @everyone`;

  it("says what fits, what is met first and when, what strains, and what the next stage takes", () => {
    const { summary, next, missing } = reportOf(findings());
    expect(summary[0]).toBe("Stage 1 is right.");
    expect(summary[1]).toMatch(/^Met first: users, 10 K, on 2027-07-\d\d \(/);
    expect(summary.join(" ")).toContain("Critical now: CPU 97 %");
    expect(next).toMatchObject({ stage: 2, servers: 2 });
    // What was measured in the end is not missing.
    expect(missing.map(({ metric }) => metric)).toEqual(["p99Ms"]);
  });
  it("prices a stage as its plan on AWS does", () => {
    const plan = planAws(readConfig((key) => ({ target: "aws", stage: "3" })[key as "stage"]));
    expect(needsOf(3).aws?.usdPerMonth).toBe(totalCost(costOf(plan)));
    expect(needsOf(5)).toMatchObject({ servers: 16, regions: ["us-east-1", "eu-west-1", "ap-southeast-1"] });
  });
  it("tells a stack that has outgrown its stage to move to the one that fits", () => {
    const grown = findings({ values: [{ metric: "users", value: 150_000, how: "" }], histories: [] });
    const { summary, next } = reportOf(grown);
    expect(summary[0]).toBe("Stage 3 fits, by users; the stack is at stage 1: it is time to move.");
    expect(next?.stage).toBe(3);
  });
  it("says of a database without messages that it is not CGraph's", () => {
    const plain = findings({
      presentStage: null,
      isCGraph: false,
      histories: [],
      values: [{ metric: "databaseBytes", value: 5e10, how: "" }],
    });
    expect(reportOf(plain).summary[0]).toContain("not CGraph's database");
    expect(reportOf(plain).verdict.stage).toBe(2);
  });
  it("has nothing after the last stage", () => {
    const last = findings({ presentStage: 5, values: [{ metric: "users", value: 5e7, how: "" }], histories: [] });
    expect(reportOf(last)).toMatchObject({ next: null, verdict: { stage: 5 } });
  });
  it("says the same in every form, and takes no text for markup", () => {
    const report = reportOf(findings({ subject: hostile, notes: [hostile] }));
    for (const text of [renderTerminal(report), renderMarkdown(report), renderAssessHtml(report)]) {
      expect(text).toContain("Stage 1 is right");
      expect(text).toContain("2027-07");
    }
    for (const text of [renderMarkdown(report), renderAssessHtml(report)]) expect(text).not.toContain("<script>");
    expect(renderMarkdown(report)).not.toMatch(/ @everyone/);
    expect(renderAssessHtml(report)).toContain('data-plot="users"');
  });
  it.each([
    ["users", 12_345, "12.3 K"],
    ["users", 999, "999"],
    ["messagesPerMonth", 2.5e9, "2.5 billion"],
    ["databaseBytes", 123e9, "123 GB"],
    ["cpuShare", 0.755, "75.5 %"],
    ["p99Ms", 1.234, "1.23 ms"],
    ["queriesPerSecond", 1234.5, "1235 /s"],
  ] as const)("writes %s %d as %s", (metric: Metric, value, text) => expect(amount(metric, value)).toBe(text));
});

describe("a picture", () => {
  it("has bars from the least to the most", () => {
    const rising = Array.from({ length: 48 }, (_, index) => ({ at: index, value: index }));
    expect(sparkline(rising, 8)).toBe("▁▂▃▄▅▆▇█");
    expect(
      sparkline(
        rising.map(({ at: time }) => ({ at: time, value: 5 })),
        4,
      ),
    ).toBe("▁▁▁▁");
    expect(sparkline([])).toBe("");
  });
  it("has lines at round values", () => {
    expect([gridStep(100), gridStep(7), gridStep(0.9), gridStep(3.2e9)]).toEqual([50, 2, 0.5, 1e9]);
  });
});
