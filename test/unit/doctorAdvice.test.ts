import { describe, expect, it } from "vitest";
import { type Wish, candidatesOf, merged, readersOf, scannedTables, servedTables } from "../../doctor/advice/advice.ts";
import {
  type Conditions,
  candidateFor,
  createStatements,
  definition,
  indexName,
} from "../../doctor/advice/candidates.ts";
import { type Explained, type PlanNode, sequentialScans, usesHypothetical } from "../../doctor/advice/plan.ts";
import type { TableIndex, TableScanRow } from "../../doctor/advice/tables.ts";
import { missingIndexFindings } from "../../doctor/checks/missingIndexes.ts";
import type { Statement } from "../../doctor/checks/statements.ts";
import { readsOf } from "../../doctor/statements/reads.ts";
import { tokenize } from "../../doctor/statements/tokens.ts";
import { facts } from "../support/doctorFacts.ts";

const index = (columns: (string | null)[], changes: Partial<TableIndex> = {}): TableIndex => ({
  ...{ name: `i_${columns.join("_")}`, columns, unique: false, predicate: null },
  ...changes,
});
const messages = (changes: Partial<TableScanRow> = {}): TableScanRow => ({
  ...{ table: "public.messages", schema: "public", name: "messages", rows: 200_000, bytes: 30e6 },
  ...{ scans: 1000, scannedRows: 2e8, indexScans: 5, partitions: [] },
  columns: [
    { name: "id", type: "uuid", distinct: -1 },
    { name: "sender_id", type: "uuid", distinct: 500 },
    { name: "conversation_id", type: "uuid", distinct: 9000 },
    { name: "kind", type: "character varying", distinct: 3 },
    { name: "body", type: "jsonb", distinct: null },
    { name: "order", type: "integer", distinct: null },
    { name: "inserted_at", type: "timestamp without time zone", distinct: null },
    { name: "read_at", type: "timestamp without time zone", distinct: null },
  ],
  indexes: [index(["id"], { unique: true })],
  ...changes,
});
const conditions = (sql: string): Conditions => {
  const [read] = readsOf(tokenize(sql));
  return read ?? { predicates: [], order: [], limited: false };
};
const candidate = (where: string, table = messages()): string | undefined => {
  const found = candidateFor(table, conditions(`SELECT * FROM messages ${where}`));
  return found && `${definition(found)}${found.partlyServed ? " only if proven" : ""}`;
};

describe("the index that a read asks for", () => {
  it.each<[string, string | undefined]>([
    ["WHERE sender_id = $1", "(sender_id)"],
    ["WHERE kind = $1 AND conversation_id = $2 AND sender_id = $3", "(conversation_id, sender_id, kind)"],
    ["WHERE sender_id = $1 AND inserted_at > $2", "(sender_id, inserted_at)"],
    ["WHERE sender_id = $1 AND inserted_at > $2 ORDER BY inserted_at DESC LIMIT $3", "(sender_id, inserted_at DESC)"],
    ["WHERE sender_id = $1 ORDER BY inserted_at DESC LIMIT $2", "(sender_id, inserted_at DESC)"],
    ["WHERE sender_id = $1 ORDER BY inserted_at DESC", "(sender_id)"],
    ["ORDER BY inserted_at DESC LIMIT $1", "(inserted_at DESC)"],
    ["WHERE sender_id = $1 AND read_at IS NULL", "(sender_id) WHERE read_at IS NULL"],
    ["WHERE lower(kind) = $1", "(lower(kind))"],
    ["WHERE kind::text = $1", "(kind)"],
    ['WHERE "order" = $1', '("order")'],
    ["WHERE id = $1", undefined],
    ["WHERE id = $1 AND kind = $2", undefined],
    ["WHERE id::text = $1", undefined],
    ["WHERE body = $1", undefined],
    ["WHERE nowhere = $1", undefined],
    ["WHERE read_at IS NULL", undefined],
    ["", undefined],
  ])("%s", (where, expected) => {
    expect(candidate(where)).toBe(expected);
  });
  it("is none where one there begins with its columns, and needs a proof where one has some of them", () => {
    const has = (...indexes: TableIndex[]) => messages({ indexes });
    expect(candidate("WHERE sender_id = $1", has(index(["sender_id", "inserted_at"])))).toBeUndefined();
    expect(candidate("WHERE sender_id = $1", has(index(["inserted_at", "sender_id"])))).toBe("(sender_id)");
    expect(candidate("WHERE sender_id = $1", has(index(["sender_id"], { predicate: "read_at IS NULL" })))).toBe(
      "(sender_id)",
    );
    expect(candidate("WHERE sender_id = $1 AND kind = $2", has(index(["sender_id"])))).toBe(
      "(sender_id, kind) only if proven",
    );
    expect(candidate("m JOIN users u ON u.id = m.sender_id")).toBe("(sender_id) only if proven");
  });
});

describe("its statement", () => {
  const made = (table: TableScanRow, sql = "SELECT * FROM messages WHERE sender_id = $1") => {
    const found = candidateFor(table, conditions(sql));
    if (!found) throw new Error("no candidate");
    return found;
  };
  it("keeps nobody waiting; of a partitioned table, partition by partition", () => {
    expect(createStatements(made(messages()))).toEqual([
      "CREATE INDEX CONCURRENTLY idx_messages_sender_id ON public.messages (sender_id);",
    ]);
    const partitioned = messages({ partitions: ["public.messages_1", 'archive."M.2"'] });
    expect(createStatements(made(partitioned))).toEqual([
      "CREATE INDEX idx_messages_sender_id ON ONLY public.messages (sender_id);",
      "CREATE INDEX CONCURRENTLY idx_messages_sender_id_1 ON public.messages_1 (sender_id);",
      "ALTER INDEX public.idx_messages_sender_id ATTACH PARTITION public.idx_messages_sender_id_1;",
      'CREATE INDEX CONCURRENTLY idx_messages_sender_id_2 ON archive."M.2" (sender_id);',
      "ALTER INDEX public.idx_messages_sender_id ATTACH PARTITION archive.idx_messages_sender_id_2;",
    ]);
    expect(createStatements(made(messages({ partitions: null })))).toEqual([
      "CREATE INDEX idx_messages_sender_id ON public.messages (sender_id);",
    ]);
  });
  it("has a name that fits and is free", () => {
    const long = messages({ name: "m".repeat(80), indexes: [index(["x"], { name: "idx_messages_sender_id" })] });
    expect(indexName(made(long))).toHaveLength(63);
    expect(indexName(made(messages({ indexes: long.indexes })))).toBe("idx_messages_sender_id_2");
  });
});

const plan = (node: Partial<PlanNode>): Explained => [
  {
    Plan: { "Node Type": "Limit", "Total Cost": 100, Plans: [{ "Node Type": "Seq Scan", "Total Cost": 99, ...node }] },
  },
];

describe("a plan", () => {
  const scan = { Schema: "public", "Relation Name": "messages", Filter: "(messages.sender_id = $1)" };
  it("tells which of the tables it reads from start to end, partitions by their whole", () => {
    expect(sequentialScans(plan(scan), [messages()])[0]?.predicates).toMatchObject([
      { column: "sender_id", kind: "equal" },
    ]);
    expect(sequentialScans(plan({ ...scan, Schema: "other" }), [messages()])).toEqual([]);
    expect(sequentialScans(plan({ ...scan, "Node Type": "Index Scan" }), [messages()])).toEqual([]);
    const whole = messages({ partitions: ["public.messages_1"] });
    expect(sequentialScans(plan({ ...scan, "Relation Name": "messages_1" }), [whole])[0]?.table).toBe(whole);
  });
  it("tells whether it uses an index that is not there", () => {
    expect(usesHypothetical(plan({ "Index Name": "<123>btree_messages_sender_id" }), [123])).toBe(true);
    expect(usesHypothetical(plan({ "Index Name": "i_sender_id" }), [123])).toBe(false);
  });
});

const statement = (text: string, id = text, total = 1): Statement => ({
  ...{ id, text, calls: 100, total, longest: 1, deviation: 0, rows: 100 },
});

describe("advice", () => {
  it("is about tables that are read from start to end, often and of many rows", () => {
    const young = facts({ countingSince: facts().now - 3_600_000 });
    const names = (...rows: TableScanRow[]) => scannedTables(rows, young).length;
    expect(names(messages())).toBe(1);
    expect(names(messages({ scans: 50 }))).toBe(0);
    expect(names(messages({ scans: 1e5, scannedRows: 1e6 }))).toBe(0);
    expect(scannedTables([messages({ scans: 200 })], facts())).toEqual([]);
    // One scan of the whole counts once for each partition.
    const partitions = Array.from({ length: 24 }, (_, number) => `public.messages_${number}`);
    expect(names(messages({ partitions, scans: 24_000, scannedRows: 2e8 }))).toBe(1);
  });
  it("takes statements that read one of them, the most expensive first", () => {
    const texts = [
      "SELECT 1 FROM users WHERE id = $1",
      "SELECT 1 FROM other.messages",
      "SELECT 1 FROM messages",
      "DELETE FROM public.messages",
    ];
    const found = readersOf(
      texts.map((text, number) => statement(text, text, number)),
      [messages()],
    );
    expect(found.map(({ text }) => text)).toEqual([texts[3], texts[2]]);
  });
  it("goes by the plan where there is one, else by the text", () => {
    const text = "SELECT * FROM messages m WHERE m.sender_id = $1 AND m.inserted_at > now() - $2";
    const definitions = (seen?: Explained) => candidatesOf(statement(text), seen, [messages()]).map(definition);
    expect(definitions()).toEqual(["(sender_id, inserted_at)"]);
    expect(definitions(plan({ "Node Type": "Index Scan" }))).toEqual([]);
    const scan = { Schema: "public", "Relation Name": "messages", Filter: "(m.conversation_id = $1)" };
    expect(candidatesOf(statement("SELECT * FROM view_of_messages"), plan(scan), [messages()]).map(definition)).toEqual(
      ["(conversation_id)"],
    );
    const twins = [messages(), messages({ table: "b.messages", schema: "b" })];
    expect(candidatesOf(statement(text), undefined, twins)).toEqual([]);
  });
  it("merges what a longer index serves too", () => {
    const wish = (where: string): Wish[] =>
      candidatesOf(statement(`SELECT * FROM messages WHERE ${where}`), undefined, [messages()]).map((one) => ({
        candidate: one,
        statements: [statement(where)],
      }));
    const wishes = merged([
      ...wish("sender_id = $1"),
      ...wish("sender_id = $1 AND inserted_at > $2"),
      ...wish("kind = $1"),
    ]);
    expect(wishes.map((one) => [definition(one.candidate), one.statements.length])).toEqual([
      ["(sender_id, inserted_at)", 2],
      ["(kind)", 1],
    ]);
  });
  it("leaves a table alone whose statements have their indexes by now", () => {
    const lookup = statement("SELECT * FROM messages WHERE sender_id = $1");
    const report = statement("SELECT * FROM messages");
    const indexed = messages({ indexes: [index(["sender_id"])] });
    const served = (statements: Statement[], table: TableScanRow, seen?: Explained) =>
      servedTables(statements, () => seen, [table]);
    expect(served([lookup], indexed)).toEqual(["public.messages"]);
    expect(served([lookup], messages())).toEqual([]);
    expect(served([lookup, report], indexed)).toEqual([]);
    expect(served([], indexed)).toEqual([]);
    const scan = { Schema: "public", "Relation Name": "messages" };
    expect(served([lookup], indexed, plan(scan))).toEqual([]);
    expect(served([report], messages(), plan({ ...scan, "Node Type": "Index Scan" }))).toEqual(["public.messages"]);
    expect(missingIndexFindings([messages()], [], ["public.messages"], facts({ countingSince: facts().now }))).toEqual(
      [],
    );
  });

  it("becomes findings: proven, unproven with the reason, and tables that ask for nothing that is understood", () => {
    const [found] = candidatesOf(statement("SELECT * FROM messages WHERE sender_id = $1"), undefined, [messages()]);
    if (!found) throw new Error("no candidate");
    const wish = { candidate: found, statements: [statement("SELECT * FROM messages WHERE sender_id = $1")] };
    const young = facts({ countingSince: facts().now });
    const tell = (...advice: Parameters<typeof missingIndexFindings>[1]) =>
      missingIndexFindings([messages()], advice, [], young);
    const [proven] = tell({ ...wish, proof: { costBefore: 5000, costAfter: 8 }, unproven: undefined });
    expect(proven).toMatchObject({
      severity: "warning",
      subject: "public.messages (sender_id)",
      evidence: { proven: true },
    });
    const [unproven] = tell({ ...wish, proof: undefined, unproven: "no hypopg" });
    expect(unproven?.says).toContain("not proven: no hypopg");
    const [table] = tell();
    expect(table).toMatchObject({ severity: "warning", subject: "public.messages" });
    expect(missingIndexFindings([messages({ indexScans: 1e6 })], [], [], young)).toEqual([]);
    expect(missingIndexFindings([messages({ scannedRows: 9e6 })], [], [], young)[0]?.severity).toBe("info");
  });
});
