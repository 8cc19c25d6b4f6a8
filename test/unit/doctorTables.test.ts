import { describe, expect, it } from "vitest";
import {
  type Column,
  type SizeRow,
  dataBytes,
  indexBloatCheck,
  indexPages,
  tableBloatCheck,
  tablePages,
} from "../../doctor/checks/bloat.ts";
import {
  type InvalidRow,
  type TwinsRow,
  type UsageRow,
  addScans,
  duplicateIndexCheck,
  invalidIndexCheck,
  unusedIndexCheck,
} from "../../doctor/checks/indexes.ts";
import { type PartitionedRow, nextPeriod, partitionCheck, periodOf } from "../../doctor/checks/partitions.ts";
import { type SequenceRow, sequenceCheck } from "../../doctor/checks/sequences.ts";
import {
  type Statement,
  type StatementsRow,
  addStatements,
  nPlusOneCheck,
  slowQueryCheck,
} from "../../doctor/checks/statements.ts";
import { type DeadRow, type KeylessRow, deadTuplesCheck, primaryKeyCheck } from "../../doctor/checks/tables.ts";
import { DAY_MS, NOW, brief, facts, fixes, judged } from "../support/doctorFacts.ts";

const MiB = 1024 ** 2;

describe("unused indexes", () => {
  const row = (changes: Partial<UsageRow> = {}): UsageRow => ({
    ...{
      index: "public.i",
      table: "public.t",
      partitioned: false,
      scans: 0,
      bytes: 20 * MiB,
      writes: 9,
      foreignKey: false,
    },
    ...changes,
  });
  it("warn where they are large; behind a foreign key, or small, they are information", () => {
    expect(brief(judged(unusedIndexCheck, [row()]))).toEqual(["warning public.i"]);
    expect(brief(judged(unusedIndexCheck, [row({ bytes: 2 * MiB })]))).toEqual(["info public.i"]);
    expect(brief(judged(unusedIndexCheck, [row({ foreignKey: true })]))).toEqual(["info public.i"]);
    expect(brief(judged(unusedIndexCheck, [row({ scans: 1 })]))).toEqual([]);
  });
  it("get no verdict from young statistics, from a replica, or while a replica is silent", () => {
    for (const changes of [
      { countingSince: NOW - 6 * DAY_MS },
      { inRecovery: true },
      { replicasSilent: ["pg1: gone"] },
      { standbys: 2, replicasAsked: ["pg1"] },
    ]) {
      const { findings, notChecked } = judged(unusedIndexCheck, [row()], changes);
      expect(findings).toEqual([]);
      expect(notChecked).toBeDefined();
    }
  });
  it("are used where a replica uses them", () => {
    const added = addScans(
      [row(), row({ index: "public.j" })],
      [row({ scans: 3 }), row({ scans: 4 })],
      (one) => one.index,
    );
    expect(added.map(({ scans }) => scans)).toEqual([7, 0]);
    expect(brief(judged(unusedIndexCheck, added))).toEqual(["warning public.j"]);
  });
  it("are dropped without keeping writers waiting, where PostgreSQL can", () => {
    expect(fixes(judged(unusedIndexCheck, [row(), row({ index: "public.p", partitioned: true })]))).toEqual([
      "DROP INDEX CONCURRENTLY public.i;",
      "DROP INDEX public.p;",
    ]);
  });
});

describe("duplicate indexes", () => {
  const twin = (name: string, changes: Partial<TwinsRow["a"]> = {}): TwinsRow["a"] => ({
    ...{ name, unique: false, primary: false, constraint: null, needed: false, bytes: 2 * MiB },
    ...changes,
  });
  const row = (a: TwinsRow["a"], b: TwinsRow["a"], same = true): TwinsRow => ({
    ...{ table: "t", partitioned: false, a, b, same },
  });
  it("of the same columns: the one that says less goes, whatever their order", () => {
    const key = twin("k", { unique: true, primary: true, constraint: "k" });
    for (const one of [row(key, twin("i")), row(twin("i"), key)]) {
      expect(fixes(judged(duplicateIndexCheck, [one]))).toEqual(["DROP INDEX CONCURRENTLY i;"]);
    }
    const unique = twin("u", { unique: true, constraint: "u" });
    expect(fixes(judged(duplicateIndexCheck, [row(key, unique)]))).toEqual(["ALTER TABLE t DROP CONSTRAINT u;"]);
  });
  it("that a foreign key rests on stay, and so does a unique one whose columns begin a longer one", () => {
    expect(
      judged(duplicateIndexCheck, [row(twin("a", { needed: true }), twin("b", { needed: true }))]).findings,
    ).toEqual([]);
    expect(judged(duplicateIndexCheck, [row(twin("a", { unique: true }), twin("b"), false)]).findings).toEqual([]);
  });
  it("of fewer columns are information", () => {
    expect(brief(judged(duplicateIndexCheck, [row(twin("a"), twin("b"), false)]))).toEqual(["info a"]);
  });
  it("never all of them go", () => {
    const [a, b, c] = [twin("a"), twin("b"), twin("c")];
    const dropped = fixes(judged(duplicateIndexCheck, [row(a, b), row(a, c), row(b, c)]));
    expect(dropped.length).toBeGreaterThan(0);
    expect(dropped.length).toBeLessThan(3);
    expect(new Set(dropped).size).toBe(dropped.length);
  });
});

describe("invalid indexes", () => {
  const row = (changes: Partial<InvalidRow>): InvalidRow => ({
    ...{ index: "public.i", table: "t", partitioned: false, unique: false, bytes: 8192, lacking: [] },
    ...changes,
  });
  it("are built anew, leftovers dropped", () => {
    expect(
      fixes(
        judged(invalidIndexCheck, [row({}), row({ index: "public.i_ccnew1" }), row({ index: 'public."I_ccold"' })]),
      ),
    ).toEqual([
      "REINDEX INDEX CONCURRENTLY public.i;",
      "DROP INDEX CONCURRENTLY public.i_ccnew1;",
      'DROP INDEX CONCURRENTLY public."I_ccold";',
    ]);
    expect(fixes(judged(invalidIndexCheck, [row({ partitioned: true, lacking: ["p1"] })]))).toEqual([
      "DROP INDEX public.i;",
    ]);
  });
});

describe("bloat", () => {
  const uuid: Column = [16, "c", 0, false];
  const time: Column = [8, "d", 0, false];
  const text: Column = [40, "i", 0, true];
  const row = (changes: Partial<SizeRow>): SizeRow => ({
    ...{ name: "public.t", whole: "public.t", tuples: 1e6, pages: 0, fillfactor: 100, columns: [uuid, time] },
    ...changes,
  });
  it("knows a row's bytes: alignment, short texts without one, nulls that take nothing", () => {
    expect(dataBytes([uuid, time])).toBe(24);
    expect(dataBytes([[4, "i", 0, false], time])).toBe(16);
    expect(dataBytes([[1, "c", 0, false], text])).toBe(41);
    expect(dataBytes([uuid, [8, "d", 0.5, false]])).toBe(20);
    expect(dataBytes([uuid, [null, "i", 0, true]])).toBeUndefined();
  });
  it("needs as many pages as PostgreSQL writes", () => {
    // 24 bytes of header, 24 of data, 4 of pointer: 8168 / 52 = 157.
    expect(tablePages(row({}), 8192)).toBe(Math.ceil(1e6 / 157));
    expect(tablePages(row({ fillfactor: 50 }), 8192)).toBe(Math.ceil(1e6 / 78));
    const leaves = Math.ceil(1e6 / Math.floor((8152 * 0.9) / 28));
    const pages = indexPages(row({ columns: [uuid], fillfactor: 90 }), 8192) ?? 0;
    expect(pages).toBeGreaterThan(leaves);
    expect(pages).toBeLessThan(leaves * 1.02);
  });
  it("is told where it is large, in bytes and in share, partitions together", () => {
    const pages = Math.ceil(1e6 / 157);
    expect(judged(tableBloatCheck, [row({ pages: Math.round(pages * 1.5) })]).findings).toEqual([]);
    expect(brief(judged(tableBloatCheck, [row({ pages: pages + 9000 })]))).toEqual(["warning public.t"]);
    const half = (name: string): SizeRow => row({ name, tuples: 1e5, pages: pages / 10 + 5000 });
    const found = judged(tableBloatCheck, [half("public.t_1"), half("public.t_2")]);
    expect(brief(found)).toEqual(["warning public.t"]);
    expect(fixes(found)).toEqual(["VACUUM (FULL, ANALYZE) public.t_1;", "VACUUM (FULL, ANALYZE) public.t_2;"]);
    expect(
      fixes(judged(indexBloatCheck, [row({ name: "public.i", whole: "public.i", pages: 30_000, fillfactor: 90 })])),
    ).toEqual(["REINDEX INDEX CONCURRENTLY public.i;"]);
  });
  it("of what the role may not see is said to be unknown", () => {
    const { findings, notChecked } = judged(tableBloatCheck, [row({ columns: [[null, "i", 0, true]], pages: 1e6 })]);
    expect(findings).toEqual([]);
    expect(notChecked).toContain("public.t");
  });
});

describe("dead rows", () => {
  const row = (changes: Partial<DeadRow>): DeadRow => ({
    ...{ table: "public.t", whole: "public.t", live: 1e5, dead: 0, due: 1e4, off: false, vacuumedSeconds: 60 },
    underWay: false,
    ...changes,
  });
  it("are told where autovacuum does not keep up, and where nobody vacuums at the moment", () => {
    expect(judged(deadTuplesCheck, [row({ dead: 15_000 })]).findings).toEqual([]);
    expect(brief(judged(deadTuplesCheck, [row({ dead: 25_000 })]))).toEqual(["warning public.t"]);
    expect(judged(deadTuplesCheck, [row({ dead: 25_000, underWay: true })]).findings).toEqual([]);
    expect(fixes(judged(deadTuplesCheck, [row({ dead: 25_000, off: true })]))).toEqual([
      "VACUUM (ANALYZE) public.t;",
      "ALTER TABLE public.t RESET (autovacuum_enabled);",
    ]);
  });
  it("have the guide's thresholds in all tables together", () => {
    const large = (table: string): DeadRow => row({ table, whole: table, dead: 6e6, due: 1e7 });
    expect(brief(judged(deadTuplesCheck, [large("a"), large("b")]))).toEqual(["warning database app"]);
    expect(brief(judged(deadTuplesCheck, [row({ dead: 6e7, due: 1e8 })]))).toEqual(["critical database app"]);
  });
});

describe("tables without a primary key", () => {
  const row = (changes: Partial<KeylessRow>): KeylessRow => ({
    ...{ table: "public.t", rows: 5000, candidate: null, published: false, hasId: false },
    ...changes,
  });
  it("warn unless they are small, and take a unique index where there is one", () => {
    expect(brief(judged(primaryKeyCheck, [row({})]))).toEqual(["warning public.t"]);
    expect(brief(judged(primaryKeyCheck, [row({ rows: 10 }), row({ rows: -1 })]))).toEqual([
      "info public.t",
      "info public.t",
    ]);
    expect(brief(judged(primaryKeyCheck, [row({ rows: 10, published: true })]))).toEqual(["warning public.t"]);
    expect(fixes(judged(primaryKeyCheck, [row({ candidate: '"U"' }), row({ hasId: true })]))).toEqual([
      'ALTER TABLE public.t ADD PRIMARY KEY USING INDEX "U";',
      "ALTER TABLE public.t ADD COLUMN row_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY;",
    ]);
  });
});

describe("sequences", () => {
  const row = (changes: Partial<SequenceRow>): SequenceRow => ({
    ...{ sequence: "public.s", type: "bigint", min: 1, max: 2 ** 63, increment: 1, last: 1, readable: true },
    ...{ table: "public.t", column: "id", columnType: "bigint" },
    ...changes,
  });
  it("end where their column ends", () => {
    expect(judged(sequenceCheck, [row({ last: 2e9 })]).findings).toEqual([]);
    const found = judged(sequenceCheck, [row({ last: 2e9, columnType: "integer" })]);
    expect(brief(found)).toEqual(["critical public.t.id"]);
    expect(fixes(found)).toEqual(["ALTER TABLE public.t ALTER COLUMN id TYPE bigint;"]);
    expect(brief(judged(sequenceCheck, [row({ last: 26_000, columnType: "smallint" })]))).toEqual([
      "warning public.t.id",
    ]);
  });
  it("are made larger themselves, where they are the narrow ones, or bounded", () => {
    const narrow = row({
      last: 2.1e9,
      type: "integer",
      max: 2_147_483_647,
      table: null,
      column: null,
      columnType: null,
    });
    expect(fixes(judged(sequenceCheck, [narrow]))).toEqual(["ALTER SEQUENCE public.s AS bigint;"]);
    expect(fixes(judged(sequenceCheck, [row({ last: 95, max: 100 })]))).toEqual([
      "ALTER SEQUENCE public.s NO MAXVALUE;",
    ]);
  });
  it("may fall, have given nothing yet, or be hidden", () => {
    const falling = row({ increment: -1, min: -100, max: -1, last: -95 });
    expect(brief(judged(sequenceCheck, [falling]))).toEqual(["critical public.t.id"]);
    expect(judged(sequenceCheck, [row({ last: null })])).toEqual({ findings: [], notChecked: undefined });
    expect(judged(sequenceCheck, [row({ last: null, readable: false })]).notChecked).toContain("public.s");
  });
});

describe("partitions by time", () => {
  const month = (name: string, from: string, to: string) => ({
    name,
    bounds: `FOR VALUES FROM ('${from}') TO ('${to}')`,
    rows: 5,
  });
  const november = month("public.t_p20261101", "2026-11-01", "2026-12-01");
  const december = month("public.t_p20261201", "2026-12-01", "2027-01-01");
  const january = month("public.t_p20270101", "2027-01-01 00:00:00", "2027-02-01 00:00:00");
  const row = (partitions: PartitionedRow["partitions"], changes: Partial<PartitionedRow> = {}): PartitionedRow => ({
    ...{
      table: "public.t",
      schema: "public",
      name: "t",
      key: "at",
      keyType: "timestamp without time zone",
      partitions,
      procedure: null,
    },
    ...changes,
  });
  it("have bounds with and without a zone, or none", () => {
    expect(periodOf(january.bounds)).toEqual({ from: Date.UTC(2027, 0, 1), to: Date.UTC(2027, 1, 1) });
    expect(periodOf("FOR VALUES FROM ('2027-01-01 00:00:00+00') TO (MAXVALUE)")).toEqual({
      from: Date.UTC(2027, 0, 1),
      to: Number.POSITIVE_INFINITY,
    });
    expect(periodOf("DEFAULT")).toBeUndefined();
  });
  it("go on by months where they are months, else by their length", () => {
    expect(nextPeriod({ from: Date.UTC(2026, 11, 1), to: Date.UTC(2027, 0, 1) }).to).toBe(Date.UTC(2027, 1, 1));
    expect(nextPeriod({ from: 0, to: 7 * DAY_MS })).toEqual({ from: 7 * DAY_MS, to: 14 * DAY_MS });
  });
  it("with two ahead are well; fewer warn, none for now is critical", () => {
    expect(judged(partitionCheck, [row([november, december, january])]).findings).toEqual([]);
    const few = judged(partitionCheck, [row([november, december])]);
    expect(brief(few)).toEqual(["warning public.t"]);
    expect(fixes(few)).toEqual([
      "CREATE TABLE public.t_p20270101 PARTITION OF public.t FOR VALUES FROM ('2027-01-01') TO ('2027-02-01');",
    ]);
    const october = month("public.t_p20261001", "2026-10-01", "2026-11-01");
    expect(brief(judged(partitionCheck, [row([october])]))).toEqual(["critical public.t"]);
    // Of old times only, and without an end: nothing to make.
    const old = month("public.old", "2025-01-01", "2025-02-01");
    const endless = { name: "public.e", bounds: "FOR VALUES FROM ('2026-01-01') TO (MAXVALUE)", rows: 0 };
    expect(judged(partitionCheck, [row([old]), row([endless])]).findings).toEqual([]);
  });
  it("are made by whoever keeps them", () => {
    const procedure = "cgraph_partitions.maintain_t";
    expect(fixes(judged(partitionCheck, [row([november], { procedure })]))).toEqual([`CALL ${procedure}();`]);
    const extensions = [{ name: "pg_partman", schema: "partman", version: "5.2" }];
    expect(fixes(judged(partitionCheck, [row([november])], { extensions }))).toEqual([
      "SELECT partman.run_maintenance('public.t');",
    ]);
  });
  it("beside which rows fell are told, by other ranges than time too", () => {
    const stray = { name: "public.t_default", bounds: "DEFAULT", rows: 3 };
    expect(brief(judged(partitionCheck, [row([november, december, january, stray])]))).toEqual([
      "warning public.t_default",
    ]);
    const byNumber = judged(partitionCheck, [row([stray], { keyType: "bigint" })]);
    expect(brief(byNumber)).toEqual(["warning public.t_default"]);
    expect(byNumber.notChecked).toContain("public.t");
  });
});

describe("statements", () => {
  const one = (changes: Partial<Statement>): Statement => ({
    ...{
      id: "1",
      text: "SELECT * FROM users WHERE id = $1",
      calls: 200,
      total: 0,
      longest: 0,
      deviation: 0,
      rows: 200,
    },
    ...changes,
  });
  const row = (statements: Statement[], changes: Partial<StatementsRow> = {}): StatementsRow => ({
    calls: statements.reduce((sum, { calls }) => sum + calls, 0),
    total: statements.reduce((sum, { total }) => sum + total, 0),
    statements,
    ...changes,
  });
  it("are slow by their mean; by a guessed percentile they are information", () => {
    const slow = (meanMs: number, changes: Partial<Statement> = {}) =>
      brief(judged(slowQueryCheck, [row([one({ total: 200 * meanMs, longest: meanMs, ...changes })])]));
    expect(slow(400)).toEqual([]);
    expect(slow(600)).toEqual(["warning statement 1"]);
    expect(slow(2500)).toEqual(["critical statement 1"]);
    expect(slow(600, { calls: 4, total: 2400 })).toEqual([]);
    expect(slow(100, { deviation: 200, longest: 900 })).toEqual(["info statement 1"]);
    expect(slow(100, { deviation: 200, longest: 450 })).toEqual([]);
  });
  it("are added over servers", () => {
    const added = addStatements([row([one({ total: 5 })]), row([one({ total: 7 }), one({ id: "2" })])]);
    expect(added).toMatchObject({
      calls: 600,
      total: 12,
      statements: [{ id: "1", calls: 400, total: 12 }, { id: "2" }],
    });
  });
  const lookup = (calls: number, changes: Partial<Statement> = {}): Statement =>
    one({ calls, rows: calls, total: calls * 0.02, ...changes });
  const other = (calls: number): Statement =>
    one({ id: "2", text: "SELECT * FROM m WHERE c = $1 LIMIT $2", calls, rows: 50 * calls, total: calls });
  it("that look up single rows far more often than others come are candidates for N+1", () => {
    const found = judged(nPlusOneCheck, [row([lookup(50_000), other(1000)])]);
    expect(brief(found)).toEqual(["warning statement 1"]);
    expect(fixes(found)).toEqual(["SELECT * FROM users WHERE id = ANY ($1);"]);
    expect(brief(judged(nPlusOneCheck, [row([lookup(50_000, { total: 10 }), other(1000)])]))).toEqual([
      "info statement 1",
    ]);
  });
  it.each<[string, Statement[]]>([
    ["few calls", [lookup(9000), other(100)]],
    ["once a request", [lookup(50_000), other(50_000)]],
    ["nothing to compare with", [lookup(50_000), other(10)]],
    ["many rows", [lookup(50_000, { rows: 500_000 }), other(1000)]],
    ["slow ones", [lookup(50_000, { total: 100_000 }), other(1000)]],
    ["more than a lookup", [lookup(50_000, { text: "SELECT count(*) FROM a WHERE b = $1" }), other(1000)]],
  ])("are none: %s", (_, statements) => {
    expect(judged(nPlusOneCheck, [row(statements)]).findings).toEqual([]);
  });
  it("are read from the schema where the extension is", () => {
    const extensions = [{ name: "pg_stat_statements", schema: "Odd schema", version: "1.10" }];
    expect(slowQueryCheck.query?.sql(facts({ extensions }))).toContain('FROM "Odd schema".pg_stat_statements');
  });
});
