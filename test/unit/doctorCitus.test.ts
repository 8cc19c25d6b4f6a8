import { describe, expect, it } from "vitest";
import {
  type ShardPlan,
  narrowed,
  sampleValue,
  shardPlan,
  shardReads,
  shardSuspects,
  withValues,
} from "../../doctor/advice/shards.ts";
import { ALL_CHECKS } from "../../doctor/checks/all.ts";
import { type CitusNodeRow, citusNodeCheck, citusTransactionCheck } from "../../doctor/checks/citusNodes.ts";
import {
  type CitusShardsRow,
  type CitusTableRow,
  type ShardGroup,
  citusTableCheck,
  shardSkewCheck,
} from "../../doctor/checks/citusShards.ts";
import { shardFindings } from "../../doctor/checks/citusStatements.ts";
import { type TenantRow, hotTenantCheck } from "../../doctor/checks/citusTenants.ts";
import { longTransactionCheck } from "../../doctor/checks/sessions.ts";
import { type Statement, slowQueryCheck, statements } from "../../doctor/checks/statements.ts";
import { brief, facts, fixes, judged, stackFacts } from "../support/doctorFacts.ts";

const GiB = 1024 ** 3;

const table = (name: string, distributedBy: string | null, more: Partial<CitusTableRow> = {}): CitusTableRow => ({
  ...{ table: `public.${name}`, schema: "public", name, kind: distributedBy === null ? "local" : "distributed" },
  ...{ distributedBy, colocation: 2, shards: 8, bytes: 0, rows: 0, like: null, ...more },
});
const TABLES = [
  table("messages", "sender_id"),
  table("reactions", "user_id"),
  table("users", null, { kind: "reference" }),
];
const statement = (text: string, more: Partial<Statement> = {}): Statement => ({
  ...{ id: "1", text, calls: 1000, total: 500, longest: 1, deviation: 0, rows: 1000, ...more },
});
const CONVERSATION = "SELECT * FROM messages WHERE conversation_id = $1 ORDER BY inserted_at DESC LIMIT $2";

describe("checks of a Citus cluster", () => {
  it("are made on its coordinator, and nowhere else", () => {
    const ids = (changes: Parameters<typeof facts>[0]) =>
      ALL_CHECKS.filter((check) => check.applies?.(facts(changes)) === true).map(({ id }) => id);
    expect(ids({ citusGroup: 0 })).toEqual([
      "shard-skew",
      "hot-tenant",
      "citus-table",
      "citus-node",
      "citus-transaction",
    ]);
    expect([ids({ citusGroup: 1 }), ids({}), ids({ citusGroup: 0, inRecovery: true })]).toEqual([[], [], []]);
  });
});

describe("statements on distributed tables", () => {
  it("are looked at unless their text gives the distribution column of their one table a value", () => {
    const suspect = (text: string) => shardSuspects([statement(text)], TABLES, 100).length === 1;
    expect(suspect(CONVERSATION)).toBe(true);
    expect(suspect("UPDATE messages SET content = $1 WHERE id = $2")).toBe(true);
    expect(suspect("SELECT * FROM messages m JOIN reactions r ON r.user_id = m.sender_id WHERE m.sender_id = $1")).toBe(
      true,
    );
    expect(suspect("SELECT * FROM messages WHERE sender_id = $1")).toBe(false);
    expect(suspect("SELECT * FROM messages WHERE conversation_id = $1 AND sender_id = ANY ($2)")).toBe(false);
    expect(suspect("SELECT * FROM users WHERE username = $1")).toBe(false);
    expect(suspect("SELECT * FROM other.messages WHERE id = $1")).toBe(false);
    expect(shardSuspects([statement(CONVERSATION, { calls: 99 })], TABLES, 100)).toEqual([]);
  });

  it("are explained with values of their parameters' types", () => {
    expect(withValues("SELECT $2, '$1' FROM t WHERE id = $1 AND x = ANY($10)", ["uuid", "bigint"])).toBe(
      "SELECT '2'::bigint, '$1' FROM t WHERE id = '00000000-0000-4000-8000-000000000001'::uuid AND x = ANY('a10'::text)",
    );
    expect(sampleValue("integer[]", 3)).toBe("ARRAY['3'::integer, '103'::integer]::integer[]");
    expect(sampleValue("tsquery", 1)).toBe("NULL::tsquery");
  });

  it("get the distribution column as their first condition, where that is sure to mean the same", () => {
    const better = (text: string): string | undefined => {
      const [read] = shardReads(text, TABLES);
      return read && narrowed(text, read);
    };
    expect(better(CONVERSATION)).toBe(
      "SELECT * FROM messages WHERE sender_id = ANY ($3) AND conversation_id = $1 ORDER BY inserted_at DESC LIMIT $2",
    );
    expect(better("SELECT * FROM messages WHERE id = $1 OR read_at IS NULL")).toBe(
      "SELECT * FROM messages WHERE sender_id = ANY ($2) AND (id = $1 OR read_at IS NULL)",
    );
    expect(better("SELECT count(*) FROM messages GROUP BY conversation_id")).toBe(
      "SELECT count(*) FROM messages WHERE sender_id = ANY ($1) GROUP BY conversation_id",
    );
    expect(better("UPDATE messages SET content = $1 WHERE id = $2 RETURNING id")).toBe(
      "UPDATE messages SET content = $1 WHERE sender_id = ANY ($3) AND id = $2 RETURNING id",
    );
    expect(better("SELECT extract(year FROM inserted_at) FROM messages WHERE id = $1")).toContain(
      "WHERE sender_id = ANY ($2) AND id = $1",
    );
    for (const text of [
      "SELECT * FROM messages m JOIN users u ON u.id = m.sender_id WHERE m.id = $1",
      "SELECT * FROM messages WHERE id = $1 UNION SELECT * FROM messages WHERE id = $2",
      "SELECT * FROM messages WHERE id IN (SELECT message_id FROM reactions)",
    ]) {
      expect(better(text), text).toBeUndefined();
    }
  });

  it("are known by Citus' plan: tasks, rows sent between nodes, rows gathered on the coordinator", () => {
    const scan = (query: object) => ({ "Node Type": "Custom Scan", "Distributed Query": query });
    expect(shardPlan([{ Plan: { Plans: [{ Plans: [scan({ Job: { "Task Count": 8 } })] }] } }])).toEqual({
      ...{ tasks: 8, repartitions: false, gathered: 0 },
    });
    const jobs = { "Task Count": 12, "Dependent Jobs": [{ "Map Task Count": 1 }, { "Map Task Count": 8 }] };
    expect(shardPlan([{ Plan: scan({ Job: jobs }) }])).toMatchObject({ tasks: 12, repartitions: true });
    const subplan = { PlannedStmt: [{ Plan: scan({ Job: { "Task Count": 8 } }) }] };
    expect(shardPlan([{ Plan: scan({ Job: { "Task Count": 1 }, Subplans: [subplan] }) }])).toEqual({
      ...{ tasks: 8, repartitions: false, gathered: 8 },
    });
    // A scan on a node, below its task, is no query of Citus'.
    const remote = { Job: { "Task Count": 1, Tasks: [{ "Remote Plan": [scan({ Job: { "Task Count": 9 } })] }] } };
    expect(shardPlan([{ Plan: scan(remote) }]).tasks).toBe(1);
    expect(shardPlan([{ Plan: { "Node Type": "Result" } }])).toEqual({ tasks: 0, repartitions: false, gathered: 0 });
  });

  const told = (text: string, plan: ShardPlan | string, total = 500) =>
    shardFindings(
      [
        {
          ...{ statement: statement(text, { total }), reads: shardReads(text, TABLES), plan },
          ...{ narrowed: "SELECT $1", narrowedTasks: 2 },
        },
      ],
      1000,
      facts({ citusGroup: 0 }),
    );
  const plan = (tasks: number, more: Partial<ShardPlan> = {}): ShardPlan => ({
    ...{ tasks, repartitions: false, gathered: 0, ...more },
  });
  const JOIN = "SELECT count(*) FROM messages m JOIN reactions r ON r.message_id = m.id";

  it("are told where they ask every shard, with what they cost and how many the advice asks", () => {
    const [one] = told(CONVERSATION, plan(8));
    expect(one).toMatchObject({ check: "every-shard", severity: "warning", fix: ["EXPLAIN SELECT $1;"] });
    expect(one?.says).toMatch(/^asks 8 of 8 shards, .*public\.messages \(sender_id\); 1 000 calls, .*50 % of all time/);
    expect(one?.evidence).toMatchObject({ tasks: 8, shards: 8, tasksOfTwoValues: 2, calls: 1000 });
    expect(told(CONVERSATION, plan(8), 50)[0]?.severity).toBe("info");
    expect(told(CONVERSATION, plan(2))).toEqual([]);
    expect(told(CONVERSATION, "permission denied")[0]).toMatchObject({ severity: "info" });
    expect(told(JOIN, "permission denied")).toEqual([]);
  });

  it("are told as joins where rows go from node to node, or many shards' over the coordinator", () => {
    expect(told(JOIN, plan(12, { repartitions: true }))).toMatchObject([{ check: "shard-join", severity: "warning" }]);
    expect(told(JOIN, plan(8, { gathered: 8 }))[0]?.says).toContain("rows of 8 shards are gathered");
    // One user's rows, then every shard: the second is what costs.
    expect(told(JOIN, plan(8, { gathered: 1 }))).toMatchObject([{ check: "every-shard" }]);
    const joined = "SELECT * FROM messages m JOIN reactions r ON r.user_id = m.sender_id WHERE m.sender_id = $1";
    expect(told(joined, plan(1))).toEqual([]);
  });

  it("are the application's: not what runs the cluster; and slow ones are not to be explained generically", () => {
    const sql = statements.sql(facts());
    const [, source = ""] = /query !~\* E'((?:[^']|'')*)'/.exec(sql) ?? [];
    const manages = new RegExp(source.replaceAll("\\\\", "\\"), "i");
    for (const text of [
      "SELECT pg_catalog.citus_add_node($1)",
      "select create_distributed_table($1, $2)",
      "SELECT bytes FROM fetch_intermediate_results(ARRAY[$1]::text[],$2,$3) bytes",
    ]) {
      expect(manages.test(text), text).toBe(true);
    }
    expect(manages.test("SELECT citus_id FROM t WHERE (a = $1)")).toBe(false);
    expect(manages.test("SELECT x FROM t WHERE y = create_distributed_table($1)")).toBe(false);
    const row = { calls: 10, total: 10_000, statements: [statement(CONVERSATION, { calls: 10, total: 10_000 })] };
    expect(fixes(judged(slowQueryCheck, [row]))[0]).toContain("(GENERIC_PLAN)");
    expect(fixes(judged(slowQueryCheck, [row], { citusGroup: 0 }))[0]).toMatch(/^EXPLAIN SELECT/);
  });
});

describe("shards", () => {
  const group = (node: string, size: number, largest = "messages_1"): ShardGroup => ({
    ...{ colocation: 2, node, bytes: size, largest },
  });
  const row = (groups: readonly ShardGroup[], nodes: readonly string[]): CitusShardsRow => ({
    ...{ tables: [], groups },
    nodes: nodes.map((node) => ({ node, groups: groups.filter((one) => one.node === node).length })),
  });
  const even = [group("a:1", GiB), group("a:1", GiB), group("b:1", GiB), group("b:1", GiB)];

  it("are well where they are even, or small", () => {
    expect(judged(shardSkewCheck, [row(even, ["a:1", "b:1"])]).findings).toEqual([]);
    const small = even.map((one, index) => ({ ...one, bytes: index === 0 ? 1e6 : 1e3 }));
    expect(judged(shardSkewCheck, [row(small, ["a:1", "b:1"])]).findings).toEqual([]);
  });
  it("that a new node was not given, are told, unless there are fewer shards than nodes", () => {
    const found = judged(shardSkewCheck, [row(even, ["a:1", "b:1", "c:1"])], { stack: stackFacts() });
    expect(brief(found)).toEqual(["warning node c:1"]);
    expect(fixes(found)).toEqual(["./cgraph-db workers rebalance"]);
    expect(judged(shardSkewCheck, [row(even.slice(0, 1), ["a:1", "b:1"])]).findings).toEqual([]);
  });
  it("are told by node from half more than the mean, by shard from three times", () => {
    const nodes = [group("a:1", 4 * GiB), group("a:1", 4 * GiB), group("b:1", 2 * GiB)];
    expect(brief(judged(shardSkewCheck, [row(nodes, ["a:1", "b:1"])]))).toEqual(["warning node a:1"]);
    const shards = [...even, group("a:1", 30 * GiB, "posts_7"), group("b:1", 30 * GiB), ...even, ...even, ...even];
    const found = judged(shardSkewCheck, [row(shards, ["a:1", "b:1"])], { stack: stackFacts() });
    expect(brief(found)).toEqual(["warning shard posts_7", "warning shard messages_1"]);
    expect(fixes(found)[0]).toBe("./cgraph-db isolate-tenant ID");
  });
});

describe("tables", () => {
  const judge = (one: CitusTableRow) => judged(citusTableCheck, [{ tables: [one], groups: [], nodes: [] }]);
  it("on the coordinator alone are told, and distributed as another one that has the same column", () => {
    expect(brief(judge(table("notes", null, { rows: 50 })))).toEqual(["info public.notes"]);
    const found = judge(table("notes", null, { rows: 50_000, like: { column: "user_id", table: "public.reactions" } }));
    expect(brief(found)).toEqual(["warning public.notes"]);
    expect(fixes(found)).toEqual([
      "SELECT create_distributed_table('public.notes', 'user_id', colocate_with => 'public.reactions');",
    ]);
    expect(fixes(judge(table("notes", null)))).toEqual(["SELECT create_reference_table('public.notes');"]);
  });
  it("that are references are told by their size", () => {
    const of = (size: number) => brief(judge(table("users", null, { kind: "reference", bytes: size })));
    expect([of(GiB / 2), of(2 * GiB), of(20 * GiB)]).toEqual([[], ["info public.users"], ["warning public.users"]]);
    expect(judge(table("messages", "sender_id", { bytes: 99 * GiB })).findings).toEqual([]);
  });
});

describe("tenants", () => {
  const tenant = (name: string, cpuSeconds: number, queries = 100): TenantRow => ({
    ...{ node: "a:1", tenant: name, table: "messages", queries, cpuSeconds },
  });
  const judge = (tenants: readonly TenantRow[], track: string | null = "all", stack = stackFacts()) =>
    judged(hotTenantCheck, [{ track, periodSeconds: 60, tenants }], { stack });
  it("are hot with a quarter of a processor and a fifth of their node", () => {
    const found = judge([tenant("x", 20, 900), tenant("y", 5)]);
    expect(brief(found)).toEqual(["warning tenant x on a:1"]);
    expect(found.findings[0]?.says).toContain("33 % of a processor in the last 60 s, 80 %");
    expect(found.findings[0]?.says).toContain("900 queries (90 %)");
    expect(fixes(found)).toEqual(["./cgraph-db isolate-tenant x"]);
    expect(judge([tenant("x", 14), tenant("y", 1)]).findings).toEqual([]);
    expect(judge([tenant("x", 16), tenant("y", 80)]).findings).toHaveLength(1);
  });
  it("are not known where nobody counts them", () => {
    const { findings, notChecked } = judge([tenant("x", 50)], "none");
    expect([findings, notChecked]).toEqual([[], expect.stringContaining("is none")]);
  });
  it("are isolated by SQL where the cluster is no stack's", () => {
    const row = { track: "all", periodSeconds: 60, tenants: [tenant("o'x", 50)] };
    expect(fixes(judged(hotTenantCheck, [row]))[0]).toContain("isolate_tenant_to_new_shard('messages', 'o''x', ");
  });
});

describe("nodes", () => {
  const answer = {
    ...{ version: "17.12", extension: "14.0-1", library: "14.0.1", prepared: [] },
    settings: {
      ...{ max_prepared_transactions: "200", max_connections: "100", wal_level: "logical" },
      output_plugin_libraries: "pgoutput, citus",
    } as Record<string, string>,
  };
  const node = (group: number, more: Partial<CitusNodeRow> = {}): CitusNodeRow => ({
    ...{ node: `n${group}:5432`, group, active: true, hasMetadata: true, metadataSynced: true },
    ...{ answer, error: null, ...more },
  });
  const judge = (rows: readonly CitusNodeRow[]) => judged(citusNodeCheck, rows);
  const settings = (changes: Record<string, string>) =>
    node(1, { answer: { ...answer, settings: { ...answer.settings, ...changes } } });

  it("that are alike and set for Citus are well", () => {
    expect(judge([node(0), node(1)]).findings).toEqual([]);
    const older = { max_prepared_transactions: "200", max_connections: "100", wal_level: "logical" };
    expect(judge([node(0), node(1, { answer: { ...answer, settings: older } })]).findings).toEqual([]);
  });
  it("that are inactive or silent are critical, without metadata a warning", () => {
    const found = judge([
      node(0),
      node(1, { active: false, answer: null }),
      node(2, { answer: null, error: "connection refused" }),
      node(3, { metadataSynced: false }),
    ]);
    expect(brief(found)).toEqual(["critical node n1:5432", "critical node n2:5432", "warning node n3:5432"]);
    expect(fixes(found)).toEqual([
      "SELECT citus_activate_node('n1', 5432);",
      "SELECT start_metadata_sync_to_node('n3', 5432);",
    ]);
  });
  it("of other versions are told", () => {
    const of = (changes: Partial<typeof answer>) =>
      brief(judge([node(0), node(1, { answer: { ...answer, ...changes } })]));
    expect(of({ version: "17.11" })).toEqual(["info node n1:5432"]);
    expect(of({ version: "16.9" })).toEqual(["warning node n1:5432"]);
    expect(of({ library: "14.0.0" })).toEqual(["warning node n1:5432"]);
    expect(of({ extension: "13.2-1" })).toEqual(["critical node n1:5432"]);
  });
  it("lack what writes over several nodes, moves and splits of shards need", () => {
    const of = (changes: Record<string, string>) => brief(judge([node(0), settings(changes)]));
    expect(of({ max_prepared_transactions: "0" })).toEqual(["critical max_prepared_transactions on n1:5432"]);
    expect(of({ max_prepared_transactions: "50" })).toEqual(["warning max_prepared_transactions on n1:5432"]);
    expect(of({ wal_level: "replica" })).toEqual(["warning wal_level on n1:5432"]);
    expect(of({ output_plugin_libraries: "pgoutput, test_decoding" })).toHaveLength(1);
    expect(fixes(judge([settings({ max_prepared_transactions: "50" })]))).toEqual([
      "ALTER SYSTEM SET max_prepared_transactions = 100;",
    ]);
  });
  it("with a write prepared and not ended are told, and never to roll it back by hand", () => {
    const left = (seconds: number, gid = "citus_0_12_34_0") => ({
      answer: { ...answer, prepared: [{ gid, seconds }] },
    });
    const found = judged(citusTransactionCheck, [node(0, left(9999)), node(1, left(400)), node(2, left(4000))]);
    expect(brief(found)).toEqual(["warning node n1:5432", "critical node n2:5432"]);
    expect(new Set(fixes(found))).toEqual(new Set(["SELECT recover_prepared_transactions();"]));
    expect(judged(citusTransactionCheck, [node(1, left(100)), node(2, left(900, "mine"))]).findings).toEqual([]);
    const transaction = {
      ...{ pid: null, user: "a", application: "", state: "prepared", seconds: 400, stateSeconds: 400 },
      ...{ statement: "", horizonAge: 1 },
    };
    expect(fixes(judged(longTransactionCheck, [{ ...transaction, gid: "citus_0_12_34_0" }]))).toEqual([
      "SELECT recover_prepared_transactions();",
    ]);
    expect(fixes(judged(longTransactionCheck, [{ ...transaction, gid: "mine" }]))).toEqual([
      "ROLLBACK PREPARED 'mine';",
    ]);
  });
});
