import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import pg from "pg";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ROOT } from "../../scripts/lib/paths.ts";
import type { AssessReport } from "../../assess/report.ts";
import { keptFile } from "../../scripts/assess/kept.ts";
import { currentPrimary, settle } from "../../scripts/lib/cluster.ts";
import type { RunResult } from "../../scripts/lib/run.ts";
import type { IndexReport } from "../../scripts/inspect/indexes.ts";
import type { Locks } from "../../scripts/inspect/locks.ts";
import type { Replication } from "../../scripts/inspect/replication.ts";
import type { TableReport } from "../../scripts/inspect/tables.ts";
import { currentValues } from "../support/chat.ts";
import { cgraph, cgraphOk, freePort, removeStack, setConfig, uniqueStack } from "../support/cli.ts";
import { eventually } from "../support/eventually.ts";
import { type SourceServer, startSource } from "../support/sourceServer.ts";

const folder = mkdtempSync(join(tmpdir(), "cgraph-inspect-"));
const file = (name: string, content: string): string => {
  const path = join(folder, name);
  writeFileSync(path, content);
  return path;
};
afterAll(() => rmSync(folder, { recursive: true }));

describe("any PostgreSQL, by its URL", () => {
  let server: SourceServer;
  let owner: string;
  /** Has pg_monitor and nothing else. */
  let monitor: string;
  const sessions: pg.Client[] = [];

  /** A client that stays, in a transaction or out of it. */
  async function session(name: string): Promise<pg.Client> {
    const client = new pg.Client({ connectionString: owner, application_name: name });
    client.on("error", () => undefined);
    await client.connect();
    sessions.push(client);
    return client;
  }
  const at = (url: string, ...args: string[]): Promise<RunResult> => cgraph([...args, "--url", url]);
  async function json<T>(url: string, ...args: string[]): Promise<T> {
    const { code, stdout, stderr } = await at(url, ...args, "--json");
    if (code !== 0) throw new Error(stderr);
    return JSON.parse(stdout) as T;
  }

  beforeAll(async () => {
    server = await startSource(await freePort());
    owner = server.url();
    await server.query(`
      CREATE ROLE monitor LOGIN PASSWORD 'm'; GRANT pg_monitor TO monitor;
      CREATE TABLE half (id int, filler text); CREATE TABLE whole (LIKE half); CREATE TABLE "Other Name" (id int);
      INSERT INTO half SELECT i, repeat('x', 90) FROM generate_series(1, 20000) i;
      INSERT INTO whole SELECT * FROM half;
      CREATE INDEX half_id ON half (id); CREATE INDEX half_id_again ON half (id);
      CREATE TABLE parts (id int, at date) PARTITION BY RANGE (at);
      CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
      CREATE TABLE parts_2 PARTITION OF parts FOR VALUES FROM ('2026-02-01') TO ('2026-03-01');
      CREATE INDEX parts_id ON parts (id);
      INSERT INTO parts SELECT i, '2026-01-01'::date + i % 59 FROM generate_series(1, 5000) i;
      CREATE TABLE audited (id int); CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$;
      CREATE TRIGGER tell AFTER INSERT ON audited FOR EACH ROW EXECUTE FUNCTION note();
      CREATE TABLE refused (id int); CREATE ROLE stranger LOGIN PASSWORD 's'; GRANT CREATE ON SCHEMA public TO stranger;`);
    await server.query("DELETE FROM half WHERE id % 2 = 0");
    monitor = owner.replace(/\/\/[^@]*@/, "//monitor:m@");
  });
  afterAll(async () => {
    await Promise.all(sessions.map((client) => client.end().catch(() => undefined)));
    await server.stop();
  });

  it("is looked into by a user who has pg_monitor and nothing else", async () => {
    for (const what of ["size", "tables", "indexes", "locks", "replication", "activity"]) {
      const { code, stderr } = await at(monitor, "inspect", what);
      expect({ what, code, stderr }).toEqual({ what, code: 0, stderr: "" });
    }
    const size = await json<Record<string, number>>(monitor, "inspect", "size");
    expect(size["walBytes"]).toBeGreaterThan(0);
    expect(size["tableBytes"]).toBeGreaterThan(4_000_000);
    expect(size["databaseBytes"]).toBeGreaterThan(size["tableBytes"] ?? 0);
  });

  it("says how to have statements counted, where nobody does", async () => {
    const { code, stderr } = await at(monitor, "inspect", "slow");
    expect(code).toBe(1);
    expect(stderr).toContain("CREATE EXTENSION pg_stat_statements");
  });

  it("shows dead rows, and VACUUM takes them away", async () => {
    const half = async (): Promise<TableReport | undefined> =>
      (await json<TableReport[]>(owner, "inspect", "tables")).find(({ name }) => name === "public.half");
    await eventually("the dead rows", async () => (await half())?.deadRows === 10_000);
    const { code, stderr, stdout } = await at(owner, "vacuum", "half");
    expect(code, stderr).toBe(0);
    expect(stderr).toContain("tuples: 10000 removed, 10000 remain");
    expect(stdout).toMatch(/dead rows +10000 +0/);
    const after = await half();
    expect(after).toMatchObject({ deadRows: 0, rows: 10_000 });
    // Every second row is gone from every page: half of the pages would do.
    expect(after?.bloatShare).toBeGreaterThan(0.4);
    expect(after?.bloatShare).toBeLessThan(0.6);
    await at(owner, "vacuum", "whole");
    const whole = (await json<TableReport[]>(owner, "inspect", "tables")).find(({ name }) => name === "public.whole");
    expect(whole?.bloatShare).toBeLessThan(0.05);
  });

  it("hides bloat from those who may not read the tables, and says so", async () => {
    const reports = await json<TableReport[]>(monitor, "inspect", "tables");
    expect(reports.find(({ name }) => name === "public.half")).toMatchObject({ bloatBytes: null, rows: 10_000 });
    expect((await at(monitor, "inspect", "tables")).stdout).toContain("a table's statistics are its readers'");
  });

  it("vacuums all partitions of a table, and analyses the whole", async () => {
    const result = await json<{ parts: string[]; messages: string[] }>(owner, "vacuum", "public.parts");
    expect(result.parts).toEqual(["public.parts_1", "public.parts_2"]);
    expect(result.messages.join("\n")).toContain('analyzing "public.parts" inheritance tree');
    const [parts] = (await json<TableReport[]>(owner, "inspect", "tables")).filter(
      ({ name }) => name === "public.parts",
    );
    expect(parts).toMatchObject({ partitions: 2, rows: 5000 });
    expect(parts?.lastVacuum).not.toBeNull();
  });

  it("vacuums tables by odd names, and refuses what it cannot", async () => {
    expect((await at(owner, "vacuum", "Other Name")).code).toBe(0);
    expect((await at(owner, "vacuum", '"Other Name"')).code).toBe(0);
    expect(await at(owner, "vacuum", "nothing")).toMatchObject({ code: 2 });
    expect(await at(owner, "vacuum", "half; DROP TABLE half")).toMatchObject({ code: 2 });
    expect(await at(owner, "vacuum", "half_id")).toMatchObject({ code: 2 });
    const stranger = owner.replace(/\/\/[^@]*@/, "//stranger:s@");
    const { code, stderr } = await at(stranger, "vacuum", "refused");
    expect(code).toBe(1);
    expect(stderr).toContain("skipping it");
  });

  it("does not wait for ever for a table that is being maintained", async () => {
    const holder = await session("holder");
    await holder.query("BEGIN; LOCK TABLE whole IN SHARE UPDATE EXCLUSIVE MODE");
    const { code, stderr } = await at(owner, "vacuum", "whole");
    expect(code).toBe(1);
    expect(stderr).toContain("at work with another VACUUM");
    await holder.query("ROLLBACK");
  });

  it("cancels its VACUUM on the server when it is interrupted", async () => {
    // One that takes its time: it pauses after every page.
    await server.query("ALTER SYSTEM SET vacuum_cost_delay = '100ms'");
    await server.query("ALTER SYSTEM SET vacuum_cost_limit = 1");
    await server.query("SELECT pg_reload_conf()");
    await server.query("UPDATE whole SET id = id");
    const running = async (): Promise<number> =>
      (await server.query("SELECT FROM pg_stat_activity WHERE state = 'active' AND query LIKE 'VACUUM (%'")).length;
    const child = spawn(join(ROOT, "cgraph-db"), ["vacuum", "whole", "--url", owner], {
      stdio: ["ignore", "ignore", "pipe"],
    });
    let said = "";
    child.stderr.on("data", (data: Buffer) => (said += data.toString()));
    const ended = new Promise((resolve) => child.on("exit", resolve));
    await eventually("progress is shown", async () => /public\.whole: .*heap/.test(said));
    expect(await running()).toBe(1);
    child.kill("SIGINT");
    expect(await ended).toBe(1);
    expect(said).toContain("was cancelled");
    await eventually("it has ended on the server too", async () => (await running()) === 0);
    await server.query("ALTER SYSTEM RESET ALL");
    await server.query("SELECT pg_reload_conf()");
  });

  it("says which indexes are unused, and which are there twice", async () => {
    await server.query("SET enable_seqscan = off; SELECT * FROM half WHERE id = 77");
    const indexes = await eventually("a scan", async () => {
      const found = await json<{ indexes: IndexReport[] }>(monitor, "inspect", "indexes");
      return found.indexes.some(({ scans }) => scans > 0) && found.indexes;
    });
    const of = (name: string): IndexReport | undefined => indexes.find((one) => one.name === name);
    const twins = [of("public.half_id"), of("public.half_id_again")];
    expect(twins[0]?.findings.join()).toContain("the same as public.half_id_again");
    expect(twins.filter((one) => one?.findings.includes("unused"))).toHaveLength(1);
    expect(of("public.parts_id")).toMatchObject({ partitions: 2, table: "public.parts", findings: ["unused"] });
  });

  it("shows who waits for whom, and ends the one that all wait for", async () => {
    const [first, second, third] = [await session("first"), await session("second"), await session("third")];
    const pid = async (client: pg.Client): Promise<number> =>
      (await client.query<{ pid: number }>("SELECT pg_backend_pid() AS pid")).rows[0]?.pid ?? 0;
    const [one, two, three] = [await pid(first), await pid(second), await pid(third)];
    await first.query("BEGIN; LOCK TABLE whole IN ACCESS EXCLUSIVE MODE");
    const reading = second.query("SELECT count(*) FROM whole").catch(() => undefined);
    const locks = await eventually("the reader waits", async () => {
      const found = await json<Locks>(monitor, "inspect", "locks");
      return found.waits.length === 1 && found;
    });
    const changing = third.query("ALTER TABLE whole ADD COLUMN more int").catch(() => undefined);
    expect(locks.waits[0]).toMatchObject({
      pid: two,
      blockedBy: [one],
      relation: "public.whole",
      mode: "AccessShareLock",
    });
    const { waits } = await eventually("the change waits too", async () => {
      const found = await json<Locks>(monitor, "inspect", "locks");
      return found.waits.length === 2 && found;
    });
    expect(waits.find((wait) => wait.pid === three)?.blockedBy.toSorted()).toEqual([one, two].toSorted());
    const { stdout } = await at(monitor, "inspect", "locks");
    expect(stdout).toMatch(new RegExp(`^${one} .*first[^]*\n +└ ${two} .*second`, "m"));
    // What is locked so cannot be measured: said after a moment, not waited for.
    const { code, stderr } = await at(monitor, "inspect", "tables");
    expect({ code, stderr }).toMatchObject({ code: 1, stderr: expect.stringContaining("inspect locks") as string });

    const refused = await at(owner, "terminate", String(one));
    expect(refused.code).toBe(3);
    expect(refused.stderr).toMatch(/LOCK TABLE whole/);
    expect((await at(monitor, "terminate", String(one), "--yes")).stderr).toContain("pg_signal_backend");
    // Idle in its transaction, it has no statement to cancel.
    expect(await json(owner, "terminate", String(one), "--cancel", "--yes")).toMatchObject({
      ...{ action: "terminated", application: "first", blocks: 2 },
    });
    await Promise.all([reading, changing]);
    expect(await json<Locks>(monitor, "inspect", "locks")).toMatchObject({ waits: [] });
  });

  it("cancels a statement and leaves its session, where that is enough", async () => {
    const client = await session("sleeper");
    const { rows } = await client.query<{ pid: number }>("SELECT pg_backend_pid() AS pid");
    const sleeping = client.query("SELECT pg_sleep(60)");
    const failure = expect(sleeping).rejects.toThrow("canceling statement due to user request");
    await eventually("the statement", async () =>
      (await at(monitor, "inspect", "activity")).stdout.includes("pg_sleep(60)"),
    );
    const { stdout, code } = await at(owner, "terminate", String(rows[0]?.pid), "--cancel", "--yes");
    expect({ code, stdout }).toMatchObject({ code: 0, stdout: expect.stringContaining("was cancelled") as string });
    await failure;
    expect((await client.query("SELECT 1 AS one")).rows).toEqual([{ one: 1 }]);
  });

  it("ends no process that is the server's own, and none that is not there", async () => {
    const [checkpointer] = await server.query<{ pid: number }>(
      "SELECT pid FROM pg_stat_activity WHERE backend_type = 'checkpointer'",
    );
    const refused = await at(owner, "terminate", String(checkpointer?.pid), "--yes");
    expect(refused.code).toBe(3);
    expect(refused.stderr).toContain("the server itself");
    expect((await at(owner, "terminate", "4194304", "--yes")).code).toBe(1);
    expect((await at(owner, "terminate", "many", "--yes")).code).toBe(2);
  });

  it("explains a reading statement by running it", async () => {
    const { code, stdout, stderr } = await at(
      owner,
      "explain",
      file("read.sql", "EXPLAIN SELECT * FROM half WHERE id = 5;"),
    );
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(stdout).toMatch(/actual time=.*rows=1[^]*Buffers: shared/);
  });

  it("explains a writing statement only with --write, and rolls it back", async () => {
    const path = file("write.sql", "INSERT INTO audited SELECT generate_series(1, 10)");
    const refused = await at(owner, "explain", path);
    expect(refused.code).toBe(3);
    expect(refused.stderr).toContain("Insert of public.audited");
    const { code, stdout, stderr } = await at(owner, "explain", path, "--write");
    expect({ code, stderr }).toMatchObject({
      code: 0,
      stderr: expect.stringContaining("triggers fire: tell") as string,
    });
    expect(stdout).toContain("Trigger tell: ");
    expect(await server.query("SELECT count(*)::int AS n FROM audited")).toEqual([{ n: 0 }]);
  });

  it("lets nothing out of its transaction", async () => {
    await server.query("CREATE SEQUENCE numbers");
    for (const sql of [
      "SELECT 1; COMMIT; DROP TABLE half",
      "COMMIT",
      "DROP TABLE half",
      "SELECT 1; INSERT INTO audited VALUES (1)",
    ]) {
      const { code } = await at(owner, "explain", file("escape.sql", sql), "--write");
      expect({ sql, code }).toEqual({ sql, code: 2 });
    }
    // Written by a function, where the plan shows no write.
    await server.query(
      "CREATE FUNCTION sneak() RETURNS int LANGUAGE sql AS 'INSERT INTO audited VALUES (1) RETURNING 1'",
    );
    const { code, stderr } = await at(owner, "explain", file("sneak.sql", "SELECT sneak()"));
    expect(code).toBe(3);
    expect(stderr).toContain("it calls sneak");
    expect((await at(owner, "explain", file("next.sql", "SELECT nextval('numbers')"))).code).toBe(3);
    expect(await server.query("SELECT count(*)::int AS n FROM audited")).toEqual([{ n: 0 }]);
    expect((await at(owner, "explain", file("long.sql", "SELECT pg_sleep(9)"), "--timeout", "1")).code).toBe(1);
  });

  it("says why it cannot be reached", async () => {
    const wrong = await at(owner.replace(/:[^:@]*@/, ":wrong@"), "inspect", "size");
    expect(wrong).toMatchObject({ code: 1, stderr: expect.stringContaining("refuses the login") as string });
    const nobody = await at("postgresql://me:x@127.0.0.1:1/db", "inspect", "size");
    expect(nobody).toMatchObject({ code: 1, stderr: expect.stringContaining("does not answer") as string });
    expect((await at(`${owner}?sslmode=require`, "inspect", "size")).stderr).toContain("does not support SSL");
  });
});

describe("a stack of stage 2", () => {
  const stack = uniqueStack();
  const json = async <T>(...args: string[]): Promise<T> =>
    JSON.parse(await cgraphOk(...args, "--stack", stack, "--json")) as T;

  beforeAll(async () => {
    await setConfig(stack, { stage: "2", maxConnections: "60" });
    await cgraphOk("up", "--stack", stack, "--no-install", "--port", String(await freePort()));
    await cgraphOk("schema", "apply", "--stack", stack);
    await settle(await currentValues(stack));
  });
  afterAll(() => removeStack(stack));

  it("shows its sizes, its tables, its statements", async () => {
    expect(await json("inspect", "size")).toMatchObject({ database: "cgraph_production" });
    const tables = await json<TableReport[]>("inspect", "tables");
    expect(tables.map(({ name }) => name)).toContain("public.messages");
    // cgraph_readonly may read them, so their statistics are known.
    await cgraphOk("vacuum", "users", "--stack", stack);
    const users = (await json<TableReport[]>("inspect", "tables")).find(({ name }) => name === "public.users");
    expect(users?.bloatBytes).toBe(0);
    expect((await json<unknown[]>("inspect", "slow")).length).toBeGreaterThan(0);
    expect(await json("inspect", "activity")).toMatchObject({ maxConnections: 60 });
  });

  it("counts scans of the primary and of its replicas together", async () => {
    const env = await json<Record<string, string>>("env");
    await cgraphOk(
      "psql",
      "--stack",
      stack,
      "--role",
      "cgraph_owner",
      "--",
      "-c",
      "INSERT INTO users (username, email) SELECT 'u' || i, i FROM generate_series(1, 2000) i",
    );
    const reader = new pg.Client({ connectionString: env["DATABASE_REPLICA_URL"] });
    await reader.connect();
    await eventually("the rows on the replica", async () => {
      await reader.query("BEGIN; SET LOCAL enable_seqscan = off");
      const { rows } = await reader.query("SELECT pg_is_in_recovery() AS replica, * FROM users WHERE username = 'u77'");
      await reader.query("COMMIT");
      return (rows[0] as { replica?: boolean } | undefined)?.replica === true;
    });
    await reader.end();
    await eventually("the replica's scans", async () => {
      const { indexes, replicasAsked } = await json<{ indexes: IndexReport[]; replicasAsked: number }>(
        "inspect",
        "indexes",
      );
      const index = indexes.find(({ name }) => name === "public.idx_users_username");
      return replicasAsked === 1 && (index?.scans ?? 0) > 0;
    });
  });

  it("shows its replica and the slot that keeps WAL for it", async () => {
    const { followers, slots, isReplica } = await json<Replication>("inspect", "replication");
    expect(isReplica).toBe(false);
    expect(followers).toMatchObject([{ name: "pg1", user: "replicator", state: "streaming" }]);
    expect(slots).toMatchObject([{ name: "pg1", active: true, kind: "physical" }]);
  });

  it("refuses to end its replication and Patroni, unless it is forced to; ends a client as the superuser", async () => {
    const { followers } = await json<Replication>("inspect", "replication");
    const pid = String(followers[0]?.pid);
    expect(await cgraph(["terminate", pid, "--stack", stack, "--yes"])).toMatchObject({ code: 3 });
    await cgraphOk("terminate", pid, "--stack", stack, "--yes", "--force");
    await eventually("the replica is back", async () => {
      const [back] = (await json<Replication>("inspect", "replication")).followers;
      return back?.state === "streaming" && String(back.pid) !== pid;
    });
    const env = await json<Record<string, string>>("env");
    const client = new pg.Client({ connectionString: env["DATABASE_DIRECT_URL"] });
    const gone = new Promise((resolve) => client.on("error", resolve));
    await client.connect();
    const { rows } = await client.query<{ pid: number }>("SELECT pg_backend_pid() AS pid");
    await cgraphOk("terminate", String(rows[0]?.pid), "--stack", stack, "--yes");
    await gone;
    const replica = (await currentValues(stack)).nodes.find(({ name }) => name !== "pg0")?.name;
    expect((await currentPrimary(await currentValues(stack))).name).toBe("pg0");
    expect(await cgraph(["terminate", "4194304", "--stack", stack, "--yes", "--server", replica ?? ""])).toMatchObject({
      code: 1,
    });
  });

  it("is assessed with what Docker and the pools say, and remembers it", async () => {
    const valuesOf = (told: AssessReport) =>
      Object.fromEntries(told.values.map(({ metric, value }) => [metric, value]));
    // Prometheus counts what it saw when it last looked.
    const report = await eventually("Prometheus has seen the users", async () => {
      const told = await json<AssessReport>("assess", "--seconds", "1");
      return valuesOf(told)["users"] === 2000 && told;
    });
    expect(report).toMatchObject({ target: "docker", isCGraph: true, verdict: { stage: 1, presentStage: 2 } });
    const values = valuesOf(report);
    for (const metric of ["cpuShare", "memoryShare", "diskShare", "connectionShare", "poolShare"]) {
      expect(values[metric], metric).toBeGreaterThanOrEqual(0);
      expect(values[metric], metric).toBeLessThan(2);
    }
    expect(values["users"]).toBe(2000);
    expect(report.next?.stage).toBe(3);
    // Its own Prometheus has answered, and understood every expression.
    expect(report.notes).toEqual([]);
    expect(report.values.find(({ metric }) => metric === "databaseBytes")?.how).toBe("Prometheus");
    expect(readFileSync(keptFile({ stack }), "utf8")).toContain('"users":2000');
  });

  it("explains as the application, whose rights count", async () => {
    const read = file("stack.sql", "SELECT count(*) FROM users");
    expect(await cgraphOk("explain", read, "--stack", stack)).toContain("actual time");
    const drop = file("stack-write.sql", "DELETE FROM users");
    expect(await cgraph(["explain", drop, "--stack", stack, "--write", "--role", "cgraph_readonly"])).toMatchObject({
      code: 1,
    });
    await cgraphOk("explain", drop, "--stack", stack, "--write");
    const env = await json<Record<string, string>>("env");
    const client = new pg.Client({ connectionString: env["DATABASE_URL"] });
    await client.connect();
    expect((await client.query("SELECT count(*)::int AS n FROM users")).rows).toEqual([{ n: 2000 }]);
    await client.end();
  });
});
