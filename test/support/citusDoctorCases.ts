/** What doctor says of a Citus cluster. Bodies of tests: they share a stage 5 that has its schema with its other tests. */
import type pg from "pg";
import { expect } from "vitest";
import { COORDINATOR } from "../../components/docker/citusNames.ts";
import type { CheckId, Finding } from "../../doctor/finding.ts";
import type { DoctorReport } from "../../doctor/report.ts";
import type { Thresholds } from "../../doctor/thresholds.ts";
import { examine } from "../../scripts/doctor/examine.ts";
import { withDockerStack } from "../../scripts/doctor/place.ts";
import { currentPrimary, superuserSql } from "../../scripts/lib/cluster.ts";
import { clusterView } from "../../scripts/lib/clusters.ts";
import { openStack, stackValues } from "../../scripts/lib/stack.ts";
import { doctor, findingsOf } from "./doctor.ts";
import { eventually } from "./eventually.ts";

const DATABASE = "cgraph_production";
/** Calls that a test has patience for, and small tables. */
const LIMITS: Partial<Thresholds> = {
  ...{ everyShardCalls: 3, everyShardTimeShare: 0, transactionSeconds: 1, localTableRows: 10, referenceBytes: 1 },
  ...{ nodeSkew: 0.99, nodeSkewBytes: 0, shardSkewBytes: 1, tenantCpuPercent: 0.0001, tenantSharePercent: 50 },
};

const userId = (number: number): string => `00000000-0000-4000-8000-${String(number).padStart(12, "0")}`;
const CONVERSATION = userId(9001);

const viewOf = async (stack: string, cluster: string) =>
  clusterView(await stackValues(await openStack(stack)), { cluster });
const containerOf = async (stack: string, cluster: string): Promise<string> =>
  (await currentPrimary((await viewOf(stack, cluster)).values)).container;

const examined = async (stack: string, limits = LIMITS): Promise<DoctorReport> =>
  withDockerStack(stack, await viewOf(stack, COORDINATOR), (place) => examine(place, { limits }));

const OF_CITUS: readonly CheckId[] = [
  ...(["every-shard", "shard-join", "shard-skew", "hot-tenant", "citus-table", "citus-node"] as const),
  "citus-transaction",
];

/** A cluster as it was brought up: every node was asked, by `doctor --stack` and one by one, and nothing ails it. */
export async function findsNothing(stack: string): Promise<void> {
  const { report } = await doctor(["--stack", stack, "--cluster", COORDINATOR]);
  expect(report.findings.filter(({ check }) => OF_CITUS.includes(check))).toEqual([]);
  expect(report.notChecked.filter(({ check, reason }) => OF_CITUS.includes(check) || /psql/.test(reason))).toEqual([]);
  console.log(`a Citus coordinator: ${report.seconds} s`);
  const worker = (await doctor(["--stack", stack, "--cluster", "worker1"])).report;
  expect(worker.cluster).toBe("worker1");
  expect([...worker.findings, ...worker.notChecked].filter(({ check }) => OF_CITUS.includes(check))).toEqual([]);
}

/** Statements by what Citus plans for them, and the advice that it prunes by. `owner`: on the coordinator. */
export async function findsStatements(owner: pg.Client, stack: string): Promise<void> {
  await superuserSql(await containerOf(stack, COORDINATOR), "SELECT pg_stat_statements_reset()", DATABASE);
  await owner.query(
    `INSERT INTO users (id, username, email) SELECT id::uuid, id, id || '@example.com'
      FROM (SELECT '00000000-0000-4000-8000-' || lpad(i::text, 12, '0') AS id FROM generate_series(1, 40) i) u
      ON CONFLICT DO NOTHING`,
  );
  for (let number = 1; number <= 40; number++) {
    await owner.query("INSERT INTO messages (conversation_id, sender_id, content) VALUES ($1, $2, 'hello')", [
      CONVERSATION,
      userId(number),
    ]);
  }
  const conversation = "SELECT id, content FROM messages WHERE conversation_id = $1 ORDER BY inserted_at DESC LIMIT $2";
  const join = `SELECT count(*) FROM messages m JOIN reactions r ON r.message_id = m.id WHERE m.conversation_id = $1`;
  await owner.query("SET citus.enable_repartition_joins = on");
  for (let number = 1; number <= 4; number++) {
    await owner.query(conversation, [CONVERSATION, 10]);
    await owner.query("UPDATE messages SET read_at = now() WHERE conversation_id = $1", [CONVERSATION]);
    await owner.query(join, [CONVERSATION]);
    // These ask one shard: nothing is said of them.
    await owner.query("SELECT * FROM messages WHERE sender_id = $1 LIMIT 5", [userId(number)]);
    await owner.query(
      "SELECT count(*) FROM messages m JOIN reactions r ON r.user_id = m.sender_id WHERE m.sender_id = $1",
      [userId(number)],
    );
    await owner.query("SELECT * FROM users WHERE username = $1", [userId(number)]);
  }
  await owner.query("RESET citus.enable_repartition_joins");
  const report = await examined(stack);
  const textOf = ({ evidence }: Finding): string => String(evidence["statement"]);
  const every = findingsOf(report, "every-shard");
  expect(every.map(textOf).sort()).toEqual([
    expect.stringMatching(/^SELECT id, content FROM messages WHERE conversation_id/),
    expect.stringMatching(/^UPDATE messages SET read_at/),
  ]);
  for (const { evidence, fix } of every) {
    expect(evidence["tasks"]).toBe(evidence["shards"]);
    // Two users are in one shard or in two, of as many as there are.
    expect(evidence["tasksOfTwoValues"]).toBeLessThanOrEqual(2);
    expect(fix.join()).toMatch(/WHERE sender_id = ANY \(\$\d\) AND conversation_id = \$/);
  }
  expect(findingsOf(report, "shard-join").map(textOf)).toEqual([expect.stringMatching(/r\.message_id = m\.id/)]);
}

/** Tables on the coordinator alone, reference tables, skew; each gone once what is named was done. */
export async function findsPlacement(owner: pg.Client, stack: string): Promise<void> {
  await owner.query(
    `CREATE TABLE doctor_local (id int, user_id uuid NOT NULL, PRIMARY KEY (id, user_id));
     INSERT INTO doctor_local SELECT i, gen_random_uuid() FROM generate_series(1, 100) i; ANALYZE doctor_local`,
  );
  const found = await examined(stack);
  const tables = findingsOf(found, "citus-table");
  const local = tables.find(({ subject }) => subject === "public.doctor_local");
  expect(local?.severity).toBe("warning");
  expect(tables.find(({ subject }) => subject === "public.users")?.says).toMatch(/reference table/);
  for (const sql of local?.fix ?? []) await owner.query(sql);
  const after = findingsOf(await examined(stack), "citus-table");
  expect(after.map(({ subject }) => subject)).not.toContain("public.doctor_local");
  // One user's rows make their shard larger than the others.
  await owner.query(`INSERT INTO doctor_local SELECT i, '${userId(1)}' FROM generate_series(1000, 60000) i`);
  const skewed = findingsOf(await examined(stack), "shard-skew").map(({ subject }) => subject);
  expect(skewed).toContainEqual(expect.stringMatching(/^shard .*doctor_local_\d+$/));
  await owner.query("DROP TABLE doctor_local");
}

/** The user who asks most, in the minute that has just ended. */
export async function findsTenants(owner: pg.Client, stack: string): Promise<void> {
  // The last whole minute counts, and those who wrote before may be in it.
  const hot = await eventually(
    "a hot tenant",
    async () => {
      for (let call = 0; call < 100; call++) {
        await owner.query("SELECT count(*) FROM messages WHERE sender_id = $1", [userId(7)]);
      }
      const found = findingsOf(await examined(stack), "hot-tenant");
      return found.find(({ subject }) => subject.includes(`tenant ${userId(7)} on worker`));
    },
    150_000,
  );
  expect(hot.fix.join()).toContain(`isolate-tenant ${userId(7)}`);
  expect(hot.evidence["querySharePercent"]).toBeGreaterThan(50);
}

/** What was prepared on a worker and never ended is told, and ended by Citus' own function. */
export async function findsNodes(stack: string): Promise<void> {
  const [coordinator, worker] = [await containerOf(stack, COORDINATOR), await containerOf(stack, "worker1")];
  const gid = "citus_0_1_4000000000_0";
  const recovery = (value: string): Promise<string> =>
    superuserSql(coordinator, `ALTER SYSTEM ${value}`).then(() => superuserSql(coordinator, "SELECT pg_reload_conf()"));
  // Citus itself would mend it within a minute.
  await recovery("SET citus.recover_2pc_interval = -1");
  try {
    await superuserSql(
      worker,
      `BEGIN; SELECT pg_logical_emit_message(true, 'test', 'x'); SELECT txid_current(); PREPARE TRANSACTION '${gid}'`,
      DATABASE,
    );
    await new Promise((resolve) => setTimeout(resolve, 1500));
    const [left] = findingsOf(await examined(stack), "citus-transaction");
    expect(left).toMatchObject({ evidence: { transactions: [gid] }, fix: ["SELECT recover_prepared_transactions();"] });
    await superuserSql(coordinator, left?.fix[0] ?? "", DATABASE);
    expect(findingsOf(await examined(stack), "citus-transaction")).toEqual([]);
  } finally {
    await recovery("RESET citus.recover_2pc_interval");
  }
}
