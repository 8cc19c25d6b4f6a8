import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { AssessReport } from "../../assess/report.ts";
import { DAY_MS } from "../../assess/series.ts";
import type { Forecast } from "../../assess/verdict.ts";
import { keptFile } from "../../scripts/assess/kept.ts";
import { parseSource, publicUrl } from "../../scripts/import/source.ts";
import { type Measured, findChromium, measurePages } from "../support/chromium.ts";
import { cgraph, freePort } from "../support/cli.ts";
import { type SourceServer, startSource } from "../support/sourceServer.ts";

const browser = await findChromium();

/** CGraph's tables as a team may have made them by the guide, without our schema. */
const TABLES = `
  CREATE TABLE users (id int PRIMARY KEY, inserted_at timestamp NOT NULL);
  CREATE TABLE messages (id bigint PRIMARY KEY, content text, inserted_at timestamp NOT NULL);`;
/** So many rows, whose number doubles in so many days, now and since; none older than 500 days. */
const doubling = (table: string, rows: number, days: number, columns = ""): string =>
  `INSERT INTO ${table} SELECT i ${columns}, (now() AT TIME ZONE 'UTC') - interval '1 day' * (ln(${rows}.0 / i) / ln(2) * ${days})
   FROM generate_series(1, ${rows}) i WHERE ln(${rows}.0 / i) / ln(2) * ${days} < 500`;

describe("a database whose growth is known", () => {
  const folder = mkdtempSync(join(tmpdir(), "cgraph-assess-"));
  let server: SourceServer;
  let report: AssessReport;
  let url: string;
  const assess = async (...args: string[]): Promise<string> => {
    const { code, stdout, stderr } = await cgraph(["assess", "--url", url, "--seconds", "1", ...args]);
    if (code !== 0) throw new Error(stderr);
    return stdout;
  };
  const forecastOf = (metric: string): Forecast | undefined =>
    report.verdict.forecasts.find((one) => one.metric === metric);
  const daysUntil = (one: Forecast | undefined): number =>
    ((one?.crossing?.at ?? NaN) - Date.parse(report.at)) / DAY_MS;

  beforeAll(async () => {
    server = await startSource(await freePort());
    url = server.url();
    await server.query(TABLES);
    await server.query(doubling("users", 6_000, 90));
    await server.query(doubling("messages", 250_000, 60, ", repeat('x', 60)"));
    await server.query("VACUUM ANALYZE");
    report = JSON.parse(await assess("--json", "--html", join(folder, "page.html"))) as AssessReport;
  });
  afterAll(async () => {
    rmSync(keptFile({ database: publicUrl(parseSource(url, {})) }), { force: true });
    rmSync(folder, { recursive: true });
    await server.stop();
  });

  it("is at stage 1, and meets the limits on the days that were built in", () => {
    expect(report.verdict).toMatchObject({
      stage: 1,
      presentStage: null,
      first: { metric: "users", kind: "exponential" },
    });
    const users = Math.log2(10_000 / 6_000) * 90;
    expect(Math.abs(daysUntil(forecastOf("users")) - users)).toBeLessThan(4);
    // The rate of a total that doubles in 60 days doubles too: now it is total × ln 2 / 60 a day.
    const rate = ((250_000 * Math.LN2) / 60) * (365.25 / 12);
    const messages = Math.log2(1_000_000 / rate) * 60;
    expect(Math.abs(daysUntil(forecastOf("messagesPerMonth")) - messages) / messages).toBeLessThan(0.05);
  });

  it("says what was measured, what could not be, and what it took for true", () => {
    expect(report.values.map(({ metric }) => metric)).toEqual(
      expect.arrayContaining(["users", "databaseBytes", "messagesPerMonth", "connectionShare", "queriesPerSecond"]),
    );
    const missing = Object.fromEntries(report.missing.map(({ metric, why }) => [metric, why]));
    expect(missing["p99Ms"]).toContain("no distribution");
    expect(missing["cpuShare"]).toContain("not its machine");
    expect(report.assumed.join()).toContain("reckoned from messages");
    expect(report.next).toMatchObject({ stage: 2, servers: 2 });
  });

  it("samples a large table instead of reading it, and comes to the same", async () => {
    // Wide rows, three or four to a page: 250 000 of them are far more pages than are read.
    await server.query(`DROP TABLE messages; CREATE TABLE messages (id bigint, content text, inserted_at timestamp NOT NULL);
      ALTER TABLE messages ALTER COLUMN content SET STORAGE PLAIN`);
    await server.query(doubling("messages", 120_000, 60, ", repeat('x', 1900)"));
    await server.query("VACUUM ANALYZE messages");
    const before = await server.query<{ n: string }>(
      "SELECT heap_blks_read + heap_blks_hit AS n FROM pg_statio_user_tables WHERE relname = 'messages'",
    );
    const sampled = JSON.parse(await assess("--json")) as AssessReport;
    const how = sampled.values.find(({ metric }) => metric === "messagesPerMonth")?.how;
    expect(how).toContain("a sample of 8192 of");
    const [found] = sampled.verdict.forecasts.filter(({ metric }) => metric === "messagesPerMonth");
    expect(found?.kind).toBe("exponential");
    expect(Math.abs((found?.doublingDays ?? 0) - 60)).toBeLessThan(6);
    const after = await server.query<{ n: string }>(
      "SELECT heap_blks_read + heap_blks_hit AS n FROM pg_statio_user_tables WHERE relname = 'messages'",
    );
    expect(Number(after[0]?.n) - Number(before[0]?.n)).toBeLessThan(12_000);
  });

  it("takes months from the statistics of partitions, without a right to read them", async () => {
    await server.query(`ALTER TABLE messages RENAME TO unpartitioned;
      CREATE TABLE messages (LIKE unpartitioned) PARTITION BY RANGE (inserted_at);
      DO $$ DECLARE month date := date_trunc('month', now() - interval '17 months'); BEGIN
        WHILE month < now() + interval '2 months' LOOP
          EXECUTE format('CREATE TABLE messages_p%s PARTITION OF messages FOR VALUES FROM (%L) TO (%L)', to_char(month, 'YYYYMMDD'), month, month + interval '1 month');
          month := month + interval '1 month';
        END LOOP; END $$;
      INSERT INTO messages SELECT * FROM unpartitioned;
      CREATE ROLE monitor LOGIN PASSWORD 'm'; GRANT pg_monitor TO monitor`);
    await server.query("ANALYZE messages");
    const monitor = url.replace(/\/\/[^@]*@/, "//monitor:m@");
    const { stdout, stderr, code } = await cgraph(["assess", "--url", monitor, "--seconds", "1", "--json"]);
    expect(code, stderr).toBe(0);
    rmSync(keptFile({ database: publicUrl(parseSource(monitor, {})) }), { force: true });
    const partitioned = JSON.parse(stdout) as AssessReport;
    expect(partitioned.values.find(({ metric }) => metric === "messagesPerMonth")?.how).toMatch(
      /statistics of \d+ partitions/,
    );
    const [found] = partitioned.verdict.forecasts.filter(({ metric }) => metric === "messagesPerMonth");
    expect(Math.abs((found?.doublingDays ?? 0) - 60)).toBeLessThan(3);
    expect(partitioned.missing.find(({ metric }) => metric === "users")?.why).toContain("may not read");
  });

  it("of another application is judged by size, connections and queries", async () => {
    const other = server.url("postgres");
    const { stdout } = await cgraph(["assess", "--url", other, "--seconds", "1"]);
    rmSync(keptFile({ database: publicUrl(parseSource(other, {})) }), { force: true });
    expect(stdout).toContain("not CGraph's database");
    expect(stdout).toMatch(/^connections +\d/m);
    expect(stdout).toMatch(/^queries a second +/m);
  });

  it("refuses what it cannot do before it looks", async () => {
    expect((await cgraph(["assess", "--url", url, "--seconds", "0"])).code).toBe(2);
    expect((await cgraph(["assess", "--url", url, "--json", "--markdown"])).code).toBe(2);
    expect((await cgraph(["assess", "--url", url, "--html", "/no/such/folder/x.html"])).code).toBe(2);
  });

  describe.skipIf(browser === undefined)(
    browser === undefined ? "has a page (no Chromium is on this machine)" : "has a page",
    () => {
      it.each([
        ["light", "rgb(255, 255, 255)"],
        ["dark", "rgb(13, 17, 23)"],
      ])("that fits a phone and a desk, %s", async (theme, background) => {
        const page = readFileSync(join(folder, "page.html"), "utf8");
        const measured: Measured[] = await measurePages(
          browser ?? "",
          [375, 1280].map((widthPixels) => ({ page, widthPixels })),
          theme === "dark",
        );
        for (const [index, widthPixels] of [375, 1280].entries()) {
          expect(measured[index]?.pageWidth).toBeLessThanOrEqual(widthPixels);
          expect(measured[index]?.visible["pictures"]).toBe(3);
          expect(measured[index]?.background).toBe(background);
        }
      });
    },
  );
});
