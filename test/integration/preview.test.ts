import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type pg from "pg";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { MoveReport } from "../../migration/report.ts";
import { listLabelled } from "../../scripts/lib/docker.ts";
import { readStackConfig } from "../../scripts/lib/stackConfig.ts";
import { cgraph, cgraphOk, freePort, removeStack, setConfig, uniqueStack } from "../support/cli.ts";
import { ask } from "../support/client.ts";
import { schemaErrors } from "../support/previewSchema.ts";

/** One stack that goes to stage 2 and, because somebody insists, back by `up` alone. */
const stack = uniqueStack();
const folder = mkdtempSync(join(tmpdir(), "cgraph-preview-test-"));

const preview = (...args: string[]) => cgraph(["preview", "--stack", stack, ...args]);
async function report(...args: string[]): Promise<MoveReport> {
  const { stdout, stderr, code } = await preview("--json", ...args);
  expect([0, 3], stderr).toContain(code);
  const found = JSON.parse(stdout) as MoveReport;
  expect(schemaErrors(found)).toEqual([]);
  expect(code).toBe(found.verdict === "unsafe" ? 3 : 0);
  return found;
}

async function sql<T extends pg.QueryResultRow>(text: string): Promise<T[]> {
  const env = JSON.parse(await cgraphOk("env", "--stack", stack, "--json")) as Record<string, string>;
  return ask<T>(env["DATABASE_OWNER_URL"], text);
}

beforeAll(async () => {
  await setConfig(stack, { maxConnections: "60", monitoring: "false" });
  await cgraphOk("up", "--stack", stack, "--no-install", "--port", String(await freePort()));
  await sql("CREATE TABLE kept AS SELECT generate_series(1, 1000) AS i");
});
afterAll(async () => {
  await removeStack(stack);
  rmSync(folder, { recursive: true, force: true });
});

describe("a move to the next stage", () => {
  it("is told whole, with the steps that migrate has, and changes nothing", async () => {
    const config = readStackConfig(stack);
    const told = await report("--stage", "2");
    const { steps } = JSON.parse(
      await cgraphOk("migrate", "--stack", stack, "--stage", "2", "--dry-run", "--json"),
    ) as {
      steps: { id: string }[];
    };
    expect(told).toMatchObject({ stack, target: "docker", from: 1, to: 2, verdict: "restarts", notFitting: [] });
    expect(told.steps.map(({ id }) => id)).toEqual(steps.map(({ id }) => id));
    expect(told.longestPause).toMatchObject({ step: "2:takeover", clients: "writes pause" });
    expect(told.movesBytes).toBeGreaterThan(1_000_000);
    expect(told.before?.servers.map(({ name }) => name)).toEqual(["pg0"]);
    expect(told.after.servers.map(({ name }) => name)).toEqual(["pg0", "pg1"]);
    // A file with passwords is secret as a whole: that it changes is said, since no difference shows it.
    expect(told.secretOnly.map((urn) => urn.split("::").at(-1))).toContain("pg0-config-writer");
    expect(JSON.stringify(told)).not.toContain("SCRAM-SHA-256$");
    expect(readStackConfig(stack)).toEqual(config);
  });

  it("is told in every form", async () => {
    const page = join(folder, "page.html");
    const { stdout: markdown, code } = await preview("--stage", "2", "--markdown", "--html", page);
    expect(code).toBe(0);
    expect(markdown).toMatch(/^### 🟡 restarts: /);
    expect(markdown).toContain("| `2:takeover` |");
    expect(readFileSync(page, "utf8")).toContain('data-step="2:takeover"');
    const { stdout: text } = await preview("--stage", "2");
    expect(text.indexOf("restarts: ")).toBe(0);
    expect(text).toContain("2:takeover");
  });

  it("is told in one form at a time, and without a page that cannot be written", async () => {
    expect(await preview("--json", "--markdown")).toMatchObject({ code: 2, stdout: "" });
    const { code, stderr } = await preview("--html", join(folder, "none", "page.html"));
    expect(code).toBe(2);
    expect(stderr).toContain("there is no folder");
  });
});

describe("a move back", () => {
  let refused: string[];

  it("is refused, with what would not fit", async () => {
    await cgraphOk("up", "--stack", stack, "--no-install", "--stage", "2");
    const told = await report("--stage", "1");
    expect(told).toMatchObject({ from: 2, to: 1, verdict: "unsafe" });
    expect(told.steps.map(({ id }) => id)).toContain("1:alone");
    expect(told.notFitting.map(({ what }) => what)).toContain("the pools would be gone");
    refused = told.changes.filter(({ loss }) => loss === "refused").map(({ urn }) => urn);
    expect(refused.map((urn) => urn.split("::").at(-1))).toContain("pg1-data");
  });

  it("is safe to look at where what goes is named, and says what is lost", async () => {
    const [first = "", ...others] = refused.flatMap((urn) => ["--allow-replace", urn]);
    const told = await report("--stage", "1", first, ...others);
    expect(told.verdict).toBe("restarts");
    expect(told.meaning).toContain("LOST to the stack, as allowed");
    expect(told.changes.filter(({ loss }) => loss === "allowed")).toHaveLength(refused.length);
    // One that is not named is enough to refuse the whole.
    expect((await report("--stage", "1", "--allow-replace", refused[0] ?? "")).verdict).toBe("unsafe");
  });

  it("is refused by up too, before anything is changed", async () => {
    const before = (await listLabelled("container", stack)).map(({ id }) => id).sort();
    const { code, stderr } = await cgraph(["up", "--stack", stack, "--no-install", "--stage", "1"]);
    expect(code, stderr).toBe(3);
    expect(stderr).toContain("pg1-data");
    expect(stderr).toContain("./cgraph-db migrate");
    expect((await listLabelled("container", stack)).map(({ id }) => id).sort()).toEqual(before);
    expect(readStackConfig(stack)["stage"]).toBe("2");
  });

  it("is refused while a server has the writes that would go", async () => {
    await cgraphOk("switchover", "--stack", stack, "--to", "pg1");
    const flags = refused.flatMap((urn) => ["--allow-replace", urn]);
    const { code, stderr } = await cgraph(["up", "--stack", stack, "--no-install", "--stage", "1", ...flags]);
    expect(code, stderr).toBe(3);
    expect(stderr).toContain("pg1 has the writes, and would go");
    await cgraphOk("switchover", "--stack", stack, "--to", "pg0");
  });

  it("refuses what is no URN", async () => {
    const { code, stderr } = await cgraph(["up", "--stack", stack, "--no-install", "--allow-replace", "pg1-data"]);
    expect(code).toBe(2);
    expect(stderr).toContain("is not the URN of a resource");
  });

  it("is done by up where all that goes is named; what stays is all there", async () => {
    const flags = refused.flatMap((urn) => ["--allow-replace", urn]);
    const { code, stderr } = await cgraph(["up", "--stack", stack, "--no-install", "--stage", "1", ...flags]);
    expect(code, stderr).toBe(0);
    expect(stderr).toContain("which stays in Docker");
    expect(await sql("SELECT count(*)::int AS n FROM kept")).toEqual([{ n: 1000 }]);
    expect(await report()).toMatchObject({ verdict: "none", changes: [] });
  });
});
