import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { calledNames, statementOf, writesOf } from "../../scripts/inspect/explain.ts";
import { type IndexRow, reportIndexes } from "../../scripts/inspect/indexes.ts";
import { type LockNode, type Wait, lockTrees } from "../../scripts/inspect/locks.ts";
import { whySystem } from "../../scripts/inspect/session.ts";
import { clip } from "../../scripts/inspect/sql.ts";
import { type RowStatistics, type TableRow, bloatOf, reportTables } from "../../scripts/inspect/tables.ts";
import { refuseSkipped } from "../../scripts/inspect/vacuum.ts";
import { explainConnection, tlsOf } from "../../scripts/lib/databaseClient.ts";
import { UserError } from "../../tuning/errors.ts";

describe("a table's bloat", () => {
  // Rows of 100 bytes take 4 + 24 + 104 on a page: 61 fit, so 6100 rows need 100 pages.
  const full: RowStatistics = {
    ...{ name: "public.t", blockBytes: 8192, fillfactor: 100, rows: 6100, columns: 3, described: 3 },
    ...{ widthBytes: 100, hasNulls: false, heapBytes: 100 * 8192 },
  };
  it.each([
    ["none, where the rows fill their pages", {}, 0],
    ["half of it, where half of the rows are gone", { rows: 3050 }, 50 * 8192],
    ["all of it, where no row is left", { rows: 0 }, 100 * 8192],
    ["none, where the table is empty and was never analysed", { heapBytes: 0, rows: null }, 0],
    ["unknown, where it was never analysed", { rows: null }, null],
    ["unknown, where the user may not read a column's statistics", { described: 2 }, null],
    ["none, where pages are meant to be half empty", { rows: 3050, fillfactor: 50 }, 0],
  ])("is %s", (_, change, expected) => {
    expect(bloatOf({ ...full, ...change })).toBe(expected);
  });
  it("is never below nothing, and never above the table", () => {
    fc.assert(
      fc.property(fc.nat(1e9), fc.nat(4000), fc.nat(1e12), (rows, widthBytes, heapBytes) => {
        const bloat = bloatOf({ ...full, rows, widthBytes, heapBytes }) ?? -1;
        return bloat >= 0 && bloat <= heapBytes;
      }),
    );
  });
});

describe("a report on tables", () => {
  const row = (name: string, change: Partial<TableRow> = {}): TableRow => ({
    ...{ name, root: null, heapBytes: 100, toastBytes: 10, indexBytes: 50, rows: 90, deadRows: 10 },
    ...{ lastVacuum: "2026-11-02T10:00:00+00:00", lastAnalyze: "2026-11-02T10:00:00+00:00", frozenAge: 5, ...change },
  });
  const parts = [
    row("public.m_1", { root: "public.m", lastVacuum: "2026-10-01T10:00:00+00:00", frozenAge: 900 }),
    row("public.m_2", { root: "public.m" }),
  ];

  it("tells a partitioned table as a whole: sums, and the part that has waited longest", () => {
    const [whole] = reportTables([...parts, row("public.small", { heapBytes: 1 })], []);
    expect(whole).toMatchObject({
      ...{ name: "public.m", partitions: 2, totalBytes: 320, rows: 180, deadRows: 20, deadShare: 0.1, frozenAge: 900 },
      ...{ lastVacuum: "2026-10-01T10:00:00+00:00", bloatBytes: null },
    });
    expect(reportTables(parts, [], { partitions: true }).map(({ name }) => name)).toEqual(["public.m_1", "public.m_2"]);
  });

  it("says never where one part never was, and does not make up rows", () => {
    const [whole] = reportTables([...parts, row("public.m_3", { root: "public.m", lastVacuum: null, rows: null })], []);
    expect(whole).toMatchObject({ lastVacuum: null, rows: null, deadShare: null });
  });
});

describe("a report on indexes", () => {
  const index = (name: string, change: Partial<IndexRow> = {}): IndexRow => ({
    ...{ name, table: "public.t", root: null, rootTable: null, bytes: 8192, scans: 0, rowsRead: 0, rowsFetched: 0 },
    ...{ enforces: false, valid: true, signature: name, ...change },
  });
  const findings = (indexes: readonly IndexRow[], replicas: readonly Record<string, number>[] = []) =>
    Object.fromEntries(reportIndexes({ indexes, since: null }, replicas).map((one) => [one.name, one.findings]));

  it("calls unused what no server has scanned and nothing needs", () => {
    const indexes = [index("a"), index("b", { scans: 3 }), index("c", { enforces: true }), index("d")];
    expect(findings(indexes, [{ d: 7 }, {}])).toEqual({ a: ["unused"], b: [], c: [], d: [] });
  });
  it("tells partitions of an index together", () => {
    const part = { root: "public.i", rootTable: "public.m" };
    expect(
      reportIndexes({ indexes: [index("x", part), index("y", { ...part, scans: 2 })], since: null }),
    ).toMatchObject([{ name: "public.i", table: "public.m", partitions: 2, bytes: 16384, scans: 2, findings: [] }]);
  });
  it("names what is invalid, and what is there twice", () => {
    const found = findings([
      index("broken", { valid: false, scans: 1 }),
      index("one", { scans: 1, signature: "s" }),
      index("two", { scans: 1, signature: "s" }),
    ]);
    expect(found["broken"]?.[0]).toContain("invalid");
    expect([found["one"], found["two"]]).toEqual([["the same as two"], ["the same as one"]]);
  });
});

describe("who waits for whom", () => {
  const wait = (pid: number, ...blockedBy: number[]): Wait => ({
    ...{ pid, blockedBy, lockType: "relation", mode: "ShareLock", relation: "public.t", waitSeconds: 1 },
  });
  const shape = (nodes: readonly LockNode[]): unknown =>
    nodes.map(({ pid, blocks }) => (blocks.length === 0 ? pid : { [pid]: shape(blocks) }));

  it("is a tree from whoever waits for nobody", () => {
    expect(shape(lockTrees([wait(2, 1), wait(3, 2), wait(4, 1)]))).toEqual([{ 1: [{ 2: [3] }, 4] }]);
  });
  it("has one who waits for two below each of them", () => {
    expect(shape(lockTrees([wait(3, 1, 2)]))).toEqual([{ 1: [3] }, { 2: [3] }]);
  });
  it("ends, in a ring too", () => {
    expect(shape(lockTrees([wait(1, 2), wait(2, 1)]))).toEqual([{ 1: [2] }]);
    expect(shape(lockTrees([wait(1, 2), wait(2, 1), wait(3, 2)]))).toEqual([{ 1: [{ 2: [3] }] }]);
  });
  it("is nobody where nobody waits, and everybody who does is shown", () => {
    expect(lockTrees([])).toEqual([]);
    const pids = (nodes: readonly LockNode[]): number[] => nodes.flatMap(({ pid, blocks }) => [pid, ...pids(blocks)]);
    const edges = fc.array(fc.tuple(fc.integer({ min: 1, max: 6 }), fc.integer({ min: 0, max: 6 })), { maxLength: 8 });
    fc.assert(
      fc.property(edges, (pairs) => {
        const waits = [...Map.groupBy(pairs, ([pid]) => pid)].map(([pid, of]) => wait(pid, ...of.map(([, by]) => by)));
        const shown = new Set(pids(lockTrees(waits)));
        return waits.every(({ pid, blockedBy }) => shown.has(pid) && blockedBy.every((by) => shown.has(by)));
      }),
    );
  });
});

describe("a process that is not to be ended", () => {
  it.each([
    [{ kind: "client backend", user: "cgraph", application: "app" }, undefined],
    [{ kind: "client backend", user: "postgres", application: "Patroni heartbeat" }, "Patroni"],
    [{ kind: "client backend", user: "postgres", application: "pgBackRest [backup]" }, "backup"],
    [{ kind: "client backend", user: "cgraph_pooler_b", application: "" }, "PgBouncer"],
    [{ kind: "walsender", user: "replicator", application: "pg1" }, "replication"],
    [{ kind: "walsender", user: "someone", application: "pg_basebackup" }, "replication"],
    [{ kind: "autovacuum worker", user: null, application: "" }, "autovacuum"],
    [{ kind: "checkpointer", user: null, application: "" }, "the server itself (checkpointer)"],
  ])("%j works for %s", (process, words) => {
    if (words === undefined) expect(whySystem(process)).toBeUndefined();
    else expect(whySystem(process)).toContain(words);
  });
});

describe("a statement to explain", () => {
  it.each([
    ["SELECT 1;\n", "SELECT 1"],
    [
      "-- a comment\n/* more */ EXPLAIN (ANALYZE, BUFFERS, FORMAT TEXT)\nSELECT * FROM messages;",
      "SELECT * FROM messages",
    ],
    ["explain analyze verbose select 1", "select 1"],
    ["EXPLAIN SELECT 1", "SELECT 1"],
  ])("%j is taken as %j", (text, expected) => {
    expect(statementOf(text)).toBe(expected);
  });
  it.each(["", " ;", "-- nothing", "/* nothing */"])("%j is none", (text) => {
    expect(() => statementOf(text)).toThrow("no statement");
  });
  it("names the functions that it calls, and none of a text or a comment", () => {
    expect(calledNames(`SELECT nextval('s(x(') , lower(a) /* hidden(1) */ FROM "t(" WHERE b = $$c(1)$$ -- d(`)).toEqual(
      ["nextval", "lower"],
    );
  });
  it("tells from the plan what would be written, in a WITH too", () => {
    const plan = {
      "Node Type": "CTE Scan",
      Plans: [{ "Node Type": "ModifyTable", Operation: "Delete", Schema: "public", "Relation Name": "messages" }],
    };
    expect(writesOf([{ Plan: plan }])).toEqual([{ operation: "Delete", table: "public.messages" }]);
    expect(writesOf([{ Plan: { "Node Type": "Seq Scan" } }])).toEqual([]);
  });
});

describe("a VACUUM that passed over a table", () => {
  it("has failed", () => {
    expect(() => refuseSkipped(['permission denied to vacuum "t", skipping it'])).toThrow("skipping it");
    expect(() => refuseSkipped(["something else"])).not.toThrow();
  });
});

describe("a connection", () => {
  const tls = (sslmode?: string, files: Record<string, string> = {}) =>
    tlsOf({ parameters: sslmode === undefined ? {} : { sslmode }, files });
  const authority = { sslrootcert: new URL(import.meta.url).pathname };
  it("looks at certificates as libpq does", () => {
    expect(tls("disable")).toBe(false);
    expect(tls()).toEqual({ rejectUnauthorized: false });
    expect(tls("require")).toEqual({ rejectUnauthorized: false });
    expect(tls("verify-full")).toEqual({});
    for (const mode of ["require", "verify-ca"]) {
      const options = tls(mode, authority);
      expect(options).toMatchObject({ ca: expect.anything() as unknown });
      expect(options).not.toMatchObject({ rejectUnauthorized: false });
      expect(options && options.checkServerIdentity?.("other", {} as never)).toBeUndefined();
    }
    expect(tls("verify-full", authority)).not.toHaveProperty("checkServerIdentity");
  });

  it.each([
    [{ code: "28P01", message: "password authentication failed" }, "refuses the login"],
    [{ code: "ECONNREFUSED", message: "connect ECONNREFUSED 127.0.0.1:1" }, "does not answer"],
    [{ code: "", message: "timeout expired" }, "does not answer"],
    [{ code: "SELF_SIGNED_CERT_IN_CHAIN", message: "self-signed certificate" }, "self-signed"],
    [{ code: "3D000", message: 'database "x" does not exist' }, "does not exist"],
    [{ code: "53300", message: "too many clients already" }, "no connection left"],
  ])("that fails with %j says so", (error, words) => {
    const told = explainConnection(error, "the database", "do something");
    expect(told).toBeInstanceOf(UserError);
    expect((told as UserError).message).toContain(words);
  });
  it("leaves other errors as they are", () => {
    const error = { code: "42P01", message: "no such table" };
    expect(explainConnection(error, "the database", "")).toBe(error);
  });
});

describe("a query in a table", () => {
  it("stands on one line", () => {
    expect(clip("SELECT\n  1,\t2", 80)).toBe("SELECT 1, 2");
    expect(clip("abcdef", 4)).toBe("abc…");
  });
});
