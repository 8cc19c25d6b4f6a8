import pg from "pg";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { DoctorReport } from "../../doctor/report.ts";
import { type ExamineOptions, examine } from "../../scripts/doctor/examine.ts";
import { type Place, withDockerStack } from "../../scripts/doctor/place.ts";
import { currentPrimary, superuserSql } from "../../scripts/lib/cluster.ts";
import { openStack, stackValues } from "../../scripts/lib/stack.ts";
import { findBaseImage } from "../../scripts/setup/baseImage.ts";
import type { StackValues } from "../../stacks/outputs.ts";
import { cgraphOk, freePort, removeStack, setConfig, uniqueStack } from "../support/cli.ts";
import { doctor, expectNothingToMend, findingsOf } from "../support/doctor.ts";
import { eventually } from "../support/eventually.ts";

/** Stage 3 with one replica. Stages 1 and 2 are looked at by the tests that have them anyway. */
const stack = uniqueStack();
const DATABASE = "cgraph_production";
let values: StackValues;
let owner: pg.Client;

/** A report of the stack in this process, from a place that was changed. */
const examined = (change: (place: Place) => Place, options: ExamineOptions = {}): Promise<DoctorReport> =>
  withDockerStack(stack, { name: "", values }, (place) => examine(change(place), options));
const servers = async () => {
  const { name, container } = await currentPrimary(values);
  return { primary: container, replica: values.nodes.find((one) => one.name !== name)?.container ?? "" };
};

beforeAll(async () => {
  await setConfig(stack, {
    ...{ maxConnections: "100", replicas: "1", cacheMemoryMiB: "64", poolers: "1" },
    ...{ port: String(await freePort()), baseImage: (await findBaseImage()) ?? "" },
  });
  await cgraphOk("up", "--stack", stack, "--stage", "3", "--no-install");
  await cgraphOk("schema", "apply", "--stack", stack);
  values = await stackValues(await openStack(stack));
  const env = JSON.parse(await cgraphOk("env", "--stack", stack, "--json")) as Record<string, string>;
  owner = new pg.Client({ connectionString: env["DATABASE_OWNER_URL"] });
  owner.on("error", () => undefined);
  await owner.connect();
  await owner.query(`
    INSERT INTO users (username, email) SELECT 'u' || i, 'u' || i || '@example.com' FROM generate_series(1, 500) i;
    INSERT INTO conversations (title) SELECT 'c' || i FROM generate_series(1, 100) i;
    INSERT INTO messages (conversation_id, sender_id, content, inserted_at)
      SELECT c.id, u.id, 'hello', now() AT TIME ZONE 'UTC' - random() * interval '40 days'
      FROM conversations c, users u WHERE random() < 0.4`);
  await cgraphOk("partitions", "convert", "--stack", stack);
});
afterAll(async () => {
  await owner.end().catch(() => undefined);
  await removeStack(stack);
});

describe("a stack of several servers", () => {
  it("with its schema and messages by month has nothing to be mended, and its replica counts too", async () => {
    const report = await expectNothingToMend(stack);
    expect(report).toMatchObject({ stack, role: "primary", replicas: ["pg1"] });
    console.log(`a primary and a replica: ${report.seconds} s`);
  });

  it("has an index proven by hypopg, for a table that is read from start to end", async () => {
    await owner.query(`CREATE TABLE events (id serial PRIMARY KEY, actor uuid NOT NULL, kind varchar(20), ref int, at timestamp);
      INSERT INTO events (actor, kind, ref, at) SELECT gen_random_uuid(), 'kind ' || i % 3, i, now() FROM generate_series(1, 100000) i;
      SELECT setval('events_id_seq', 2100000000)`);
    await owner.query("ANALYZE events");
    for (let number = 0; number < 60; number++) {
      const actor = "00000000-0000-4000-8000-000000000001";
      await owner.query("SELECT * FROM events WHERE actor = $1 ORDER BY at DESC LIMIT 5", [actor]);
      await owner.query("UPDATE events SET kind = 'x' WHERE ref = $1", [-1]);
    }
    await owner.query("SELECT pg_stat_force_next_flush()");
    const { code, report } = await doctor(["--stack", stack]);
    const missing = findingsOf(report, "missing-index");
    expect(missing.map(({ subject, evidence }) => [subject, evidence["proven"]]).sort()).toEqual([
      ["public.events (actor, at DESC)", true],
      ["public.events (ref)", true],
    ]);
    expect(findingsOf(report, "sequence")).toMatchObject([{ subject: "public.events.id", severity: "critical" }]);
    expect(code).toBe(2);
    for (const { fix } of missing) for (const statement of fix) await owner.query(statement);
    expect(findingsOf((await doctor(["--stack", stack])).report, "missing-index")).toEqual([]);
    await owner.query("DROP TABLE events");
  });

  it("is told that a replica is behind or not there, and that pools do not fit", async () => {
    const { primary, replica } = await servers();
    // Replay waits for a reader on the replica, behind a lock that the primary has taken.
    const reader = "BEGIN; SELECT FROM settings; SELECT pg_sleep(60)";
    const reading = superuserSql(replica, reader, DATABASE).catch(() => undefined);
    const sleeper = "FROM pg_stat_activity WHERE query LIKE '%pg_sleep(60)' AND pid <> pg_backend_pid()";
    await eventually("a reader", async () => (await superuserSql(replica, `SELECT count(*) ${sleeper}`)) === "1");
    await owner.query("BEGIN; LOCK TABLE settings IN ACCESS EXCLUSIVE MODE; COMMIT");
    await superuserSql(primary, "SELECT pg_logical_emit_message(true, 'test', repeat('x', 3000000))");
    const { code, report } = await doctor(["--stack", stack]);
    await superuserSql(replica, `SELECT pg_terminate_backend(pid) ${sleeper}`);
    await reading;
    expect(findingsOf(report, "replication-lag")).toMatchObject([{ severity: "warning", subject: "pg1" }]);
    expect(code).toBe(1);
    const other = await examined((place) => ({
      ...place,
      stackFacts: (server) => {
        const facts = place.stackFacts?.(server);
        if (!facts) throw new Error("no stack");
        return {
          ...facts,
          followers: [...facts.followers, "pg7"],
          pool: { instances: 1, poolSize: 500, reserveSize: 5 },
          verification: { lastVerifiedAt: undefined, since: new Date(0), damaged: undefined },
        };
      },
    }));
    expect(other.findings.map(({ check, subject }) => `${check} ${subject}`)).toEqual(
      expect.arrayContaining(["replication-lag pg7", "pool-sum pools", "backup-verification backups"]),
    );
  });

  it("has no index called unused that a replica uses, nor any while a replica is silent", async () => {
    const { primary, replica } = await servers();
    const options = { limits: { statisticsDays: 0, indexBytes: 0 } };
    const index = "public.idx_messages_content_search";
    const unused = async (): Promise<string[]> =>
      findingsOf(await examined((place) => place, options), "unused-index").map(({ subject }) => subject);
    expect(await unused()).toContain(index);
    await eventually("the rows on the replica", async () => {
      return (await superuserSql(replica, "SELECT count(*) > 0 FROM messages", DATABASE)) === "t";
    });
    const search = "to_tsvector('english', content) @@ to_tsquery('english', 'hello')";
    await superuserSql(replica, `SET enable_seqscan = off; SELECT count(*) FROM messages WHERE ${search}`, DATABASE);
    expect(await unused()).not.toContain(index);
    const silent = { name: "pg9", ask: () => Promise.reject(new Error("no answer")) };
    const report = await examined((place) => ({ ...place, replicas: [...place.replicas, silent] }), options);
    expect(findingsOf(report, "unused-index")).toEqual([]);
    const reasons = report.notChecked.filter(({ check }) => check === "unused-index").map(({ reason }) => reason);
    expect(reasons.join()).toContain("pg9: no answer");
    const left = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'cgraph-db doctor'";
    expect(await superuserSql(primary, left)).toBe("0");
  });
});
