import { createHash } from "node:crypto";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { type Server, createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { lockStack, processStart } from "../../scripts/lib/lock.ts";
import { stackFolder } from "../../scripts/lib/paths.ts";
import type { Backup } from "../../scripts/lib/pgbackrest.ts";
import {
  type RestoreSources,
  lsnValue,
  parseHistory,
  restoreArguments,
  timelineFor,
} from "../../scripts/lib/restoreTarget.ts";
import { bytes, table } from "../../scripts/lib/print.ts";
import { pipe, run } from "../../scripts/lib/run.ts";
import { checkStackName } from "../../scripts/lib/stackFiles.ts";
import { download, findChecksum } from "../../scripts/setup/download.ts";
import { compareVersions, parseVersion } from "../../scripts/setup/versions.ts";

describe("a download", () => {
  const folder = mkdtempSync(join(tmpdir(), "cgraph-download-"));
  const content = "the program";
  const sum = createHash("sha256").update(content).digest("hex");
  let server: Server;
  let base: string;
  const hits: string[] = [];

  beforeAll(async () => {
    server = createServer((request, response) => {
      hits.push(request.url ?? "");
      if (request.url === "/good.tar.gz" || request.url === "/bad.tar.gz") response.end(content);
      else if (request.url === "/sums") response.end(`${sum}  good.tar.gz\n${"0".repeat(64)}  bad.tar.gz\n`);
      else if (request.url === "/silent") return;
      else response.writeHead(403).end();
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  });
  afterAll(() => {
    server.closeAllConnections();
    server.close();
    rmSync(folder, { recursive: true });
  });

  const get = (file: string, sums = "sums", patience = { answerMs: 300, totalMs: 2000 }) =>
    download({ url: `${base}/${file}`, checksumsUrl: `${base}/${sums}` }, join(folder, file), patience);

  it("arrives whole, when its checksum is the published one", async () => {
    await get("good.tar.gz");
    expect(readFileSync(join(folder, "good.tar.gz"), "utf8")).toBe(content);
  });

  it("with another checksum is refused, and leaves no file", async () => {
    await expect(get("bad.tar.gz")).rejects.toThrow(/bad\.tar\.gz has SHA-256/);
    expect(existsSync(join(folder, "bad.tar.gz"))).toBe(false);
  });

  it("that nobody published a checksum for is not even begun", async () => {
    hits.length = 0;
    await expect(get("other.tar.gz")).rejects.toThrow("no SHA-256 for other.tar.gz");
    expect(hits).toEqual(["/sums"]);
  });

  it("that is refused fails at once, without tries again", async () => {
    hits.length = 0;
    await expect(get("good.tar.gz", "missing")).rejects.toThrow("answers 403");
    expect(hits).toHaveLength(1);
  });

  it("from a server that does not answer is given up in time", async () => {
    await expect(get("good.tar.gz", "silent")).rejects.toThrow("no answer within 0.3 s");
  });

  it("from a server that is not there says so", async () => {
    await expect(
      download({ url: "http://127.0.0.1:1/x", checksumsUrl: "http://127.0.0.1:1/y" }, join(folder, "x")),
    ).rejects.toThrow("127.0.0.1:1");
  });

  it("reads lists with and without the binary mark", () => {
    expect(findChecksum(`${sum} *a.zip`, "a.zip")).toBe(sum);
    expect(findChecksum(`${sum}  a.zip.sig`, "a.zip")).toBeUndefined();
  });
});

describe("the lock of a stack", () => {
  const stack = "test-lock";
  afterEach(() => rmSync(stackFolder(stack), { recursive: true, force: true }));

  it("is held by one living process", () => {
    const first = lockStack(stack, "up");
    expect(first.interrupted).toBe(false);
    expect(() => lockStack(stack, "down")).toThrow(/another cgraph-db up \(process \d+/);
    first.release();
    lockStack(stack, "down").release();
  });

  it("of a process that has died is taken over, and tells that work was interrupted", async () => {
    const { stdout } = await run("sh", ["-c", "echo $$"]);
    lockStack(stack, "up").release();
    writeFileSync(
      join(stackFolder(stack), "lock.json"),
      JSON.stringify({ pid: Number(stdout), startedAt: "1", command: "up", since: "" }),
    );
    const lock = lockStack(stack, "up");
    expect(lock.interrupted).toBe(true);
    lock.release();
  });

  it("of a process whose number another one has now is taken over", () => {
    lockStack(stack, "up").release();
    writeFileSync(
      join(stackFolder(stack), "lock.json"),
      JSON.stringify({ pid: process.pid, startedAt: "not mine", command: "up", since: "" }),
    );
    const lock = lockStack(stack, "up");
    expect(lock.interrupted).toBe(true);
    lock.release();
  });

  it("knows processes by their start", () => {
    expect(processStart(process.pid)).toBe(processStart(process.pid));
    expect(processStart(2 ** 22 + 1)).toBeUndefined();
  });
});

describe("the target of a restore", () => {
  const backup = (name: string, endedAt: string, lsnEnd: string, timeline = 1): Backup => ({
    name,
    endedAt,
    type: "full",
    startedAt: endedAt,
    databaseBytes: 1,
    storedBytes: 1,
    walStart: "",
    walEnd: `0000000${timeline}0000000000000003`,
    lsnStart: "0/0",
    lsnEnd,
    error: false,
  });
  const first = backup("20260101-000000F", "2026-01-01T00:01:00Z", "0/3000148");
  const second = backup("20260102-000000F", "2026-01-02T00:01:00Z", "0/7000000");
  const sources: RestoreSources = {
    backups: [first, second],
    points: [{ name: "before-import", lsn: "0/8000000", timeline: 1, at: "2026-01-02T03:00:00Z" }],
    timeline: { id: 1, history: [] },
    currentLsn: "A/1000",
    now: Date.parse("2026-01-03T00:00:00Z"),
  };
  const told = (to: string, changes: Partial<RestoreSources> = {}) => restoreArguments(to, { ...sources, ...changes });

  it("by time begins at the newest backup before it, in UTC", () => {
    expect(told("2026-01-02T02:00:00.123456+01:00")).toEqual([
      "--set=20260102-000000F",
      "--type=time",
      "--target=2026-01-02 01:00:00.123456+00",
      "--target-timeline=1",
    ]);
    expect(told("2026-01-01 12:00+00")[0]).toBe("--set=20260101-000000F");
  });

  it("by the name of a backup ends with it, on its own timeline", () => {
    expect(told("20260101-000000F")).toEqual([
      "--set=20260101-000000F",
      "--type=immediate",
      "--recovery-option=recovery_target_timeline=current",
    ]);
  });

  it("by position or restore point begins at the newest backup that is consistent before it", () => {
    expect(told("0/6ffffff").slice(0, 3)).toEqual(["--set=20260101-000000F", "--type=lsn", "--target=0/6FFFFFF"]);
    expect(told("1/0")[0]).toBe("--set=20260102-000000F");
    expect(told("before-import").slice(0, 3)).toEqual([
      "--set=20260102-000000F",
      "--type=name",
      "--target=before-import",
    ]);
  });

  it("never begins with a backup of a timeline that was left before", () => {
    // At 0/5000000 somebody restored: what the second backup holds is not in what came after.
    const timeline = { id: 2, history: [{ id: 1, leftAt: lsnValue("0/5000000") }] };
    expect(told("2026-01-02T02:00:00Z", { timeline })[0]).toBe("--set=20260101-000000F");
    const third = backup("20260102-120000F", "2026-01-02T12:00:00Z", "0/6000000", 2);
    const backups = [first, second, third];
    expect(told("latest", { timeline, backups })).toEqual([
      "--set=20260102-120000F",
      "--type=default",
      "--target-timeline=2",
    ]);
    expect(told("2026-01-02T13:00:00Z", { backups })[0]).toBe("--set=20260102-000000F");
  });

  it("means the timeline of its moment, and a position the newest", () => {
    const began = (text: string): number => Date.parse(text);
    const timelines = [
      { id: 1, since: 0 },
      { id: 2, since: began("2026-01-02T12:00:00Z") },
      { id: 3, since: began("2026-01-02T13:00:00Z") },
    ];
    const of = (to: string): number => timelineFor(to, sources.points, timelines);
    expect([of("2026-01-02T11:59:59Z"), of("2026-01-02T12:00:00Z"), of("2026-01-02T14:00:00+01:00")]).toEqual([
      1, 2, 3,
    ]);
    expect([of("before-import"), of("0/9000000"), of("latest")]).toEqual([1, 3, 3]);
  });

  it("reads a timeline's history as PostgreSQL writes it", () => {
    expect(parseHistory('1\t0/5000000\tno recovery target specified\n\n2\tA/0\tat restore point "x"\n')).toEqual([
      { id: 1, leftAt: 0x5000000n },
      { id: 2, leftAt: 0xa00000000n },
    ]);
  });

  it.each(["2026-01-02T00:00:00", "last week", "0/xyz", "no-such-point"])("%s is no target", (to) => {
    expect(() => told(to)).toThrow("is neither");
  });

  it.each(["2025-12-31T00:00:00Z", "2999-01-01T00:00:00Z", "0/3000147", "A/1001"])("%s is refused", (to) => {
    expect(() => told(to)).toThrow("outside of what can be restored");
    const remedy =
      "on timeline 1 that is from 2026-01-01T00:01:00Z (0/3000148) until 2026-01-03T00:00:00.000Z (A/1000)";
    expect(() => told(to)).toThrow(expect.objectContaining({ remedy }) as Error);
  });
});

describe("names, versions, figures", () => {
  it.each(["", "Dev", "../x", "a".repeat(41), "-a", "a b"])("refuses the stack name %j", (name) => {
    expect(() => checkStackName(name)).toThrow("no name for a stack");
  });

  it("compares versions by number", () => {
    expect(compareVersions(parseVersion("v3.258.0"), [3, 30])).toBeGreaterThan(0);
    expect(compareVersions(parseVersion("go1.25"), [1, 25, 0])).toBe(0);
    expect(parseVersion("nonsense")).toEqual([0]);
  });

  it("writes tables and bytes for people", () => {
    expect(
      table([
        ["a", "b"],
        ["long", "x"],
      ]),
    ).toBe("a     b\nlong  x");
    expect([bytes(0), bytes(1536), bytes(5 * 1024 ** 3)]).toEqual(["0 B", "1.5 kiB", "5.0 GiB"]);
  });

  it("pipes one program into another and tells whether both ended well", async () => {
    expect(await pipe(["echo", "x"], ["cat"])).toBe(true);
    expect(await pipe(["false"], ["cat"])).toBe(false);
    expect(await pipe(["echo", "x"], ["false"])).toBe(false);
    expect(await pipe(["no-such-program"], ["cat"])).toBe(false);
  });
});
