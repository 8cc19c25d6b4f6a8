import { describe, expect, it } from "vitest";
import { isAtLeast, whyNot } from "../../doctor/check.ts";
import { ALL_CHECKS } from "../../doctor/checks/all.ts";
import { type ArchiverRow, archiverCheck } from "../../doctor/checks/archiver.ts";
import { backupVerificationCheck, diskCheck, verificationFindings } from "../../doctor/checks/backups.ts";
import { type CacheRow, cacheHitCheck } from "../../doctor/checks/cache.ts";
import { type ConnectionsRow, connectionsCheck, poolSumCheck } from "../../doctor/checks/connections.ts";
import { type SlotRow, replicationLagCheck, replicationSlotCheck } from "../../doctor/checks/replication.ts";
import {
  type TransactionRow,
  type WaitRow,
  idleInTransactionCheck,
  lockWaitCheck,
  longTransactionCheck,
} from "../../doctor/checks/sessions.ts";
import { type ServerSettingRow, settingCheck } from "../../doctor/checks/settings.ts";
import { transactionIdCheck } from "../../doctor/checks/transactionId.ts";
import { otherSchemas } from "../../doctor/facts.ts";
import { CHECK_IDS, countsOf, exitCodeOf, finding, sorted } from "../../doctor/finding.ts";
import { DAY_MS, NOW, brief, facts, fixes, judged, stackFacts } from "../support/doctorFacts.ts";

describe("what a check needs", () => {
  it("is said where it is not there", () => {
    expect(whyNot([], facts({ seesAll: false }))).toBeUndefined();
    expect(whyNot(["pg_monitor"], facts({ seesAll: false, role: "Odd" }))).toContain('GRANT pg_monitor TO "Odd"');
    expect(whyNot(["primary"], facts({ inRecovery: true }))).toContain("replica");
    expect(whyNot(["pg_stat_statements"], facts({ statementsMax: null }))).toContain("shared_preload_libraries");
    expect(whyNot(["pg_stat_statements"], facts({ extensions: [] }))).toContain("CREATE EXTENSION");
    const old = [{ name: "pg_stat_statements", schema: "public", version: "1.7" }];
    expect(whyNot(["pg_stat_statements"], facts({ extensions: old }))).toContain("UPDATE");
    expect(whyNot(["pg_monitor", "pg_stat_statements", "primary"], facts())).toBeUndefined();
    expect([isAtLeast("1.10", "1.8"), isAtLeast("1.8", "1.8"), isAtLeast("1.7", "1.8"), isAtLeast("2", "1.8")]).toEqual(
      [true, true, false, true],
    );
  });
  it("every id has its check", () => {
    const planned = ["missing-index", "every-shard", "shard-join"];
    expect([...ALL_CHECKS.map(({ id }) => id), ...planned].sort()).toEqual([...CHECK_IDS].sort());
  });
});

describe("findings", () => {
  const one = (severity: "info" | "warning" | "critical", check: (typeof CHECK_IDS)[number]) =>
    finding({ check, severity, subject: "x", says: "" });
  it("come worst first, and only warnings and worse count for the exit code", () => {
    const found = [
      one("info", "archiver"),
      one("warning", "disk"),
      one("critical", "disk"),
      one("critical", "archiver"),
    ];
    expect(sorted(found).map(({ severity, check }) => `${severity} ${check}`)).toEqual([
      "critical archiver",
      "critical disk",
      "warning disk",
      "info archiver",
    ]);
    expect(exitCodeOf(countsOf(found))).toBe(2);
    expect(exitCodeOf(countsOf(found.slice(0, 2)))).toBe(1);
    expect(exitCodeOf(countsOf(found.slice(0, 1)))).toBe(0);
    expect(exitCodeOf(countsOf([]))).toBe(0);
  });
});

describe("schemas that hold nothing of the application's", () => {
  const extensions = (schema: string) => [{ name: "pg_partman", schema, version: "5" }];
  it("are the keepers' own, wherever they are, but not one that tables share", () => {
    expect(otherSchemas({ extensions: extensions("maintenance") }, false)).toEqual(["partman", "maintenance"]);
    expect(otherSchemas({ extensions: extensions("public") }, false)).toEqual(["partman"]);
    expect(otherSchemas({ extensions: [] }, false)).toEqual([]);
    expect(otherSchemas({ extensions: [] }, true)).toContain("cgraph_partitions");
  });
});

describe("transaction ids", () => {
  const row = (age: number, own = true, multixacts = 0) => ({
    databases: [{ name: "app", own, transactions: age, multixacts }],
    tables: [{ name: 'public."Odd"', transactions: age, multixacts }],
    oldestSeconds: 10,
  });
  it("warn at a quarter, are critical at half", () => {
    expect(brief(judged(transactionIdCheck, [row(200e6)]))).toEqual([]);
    expect(brief(judged(transactionIdCheck, [row(600e6)]))).toEqual(["warning database app"]);
    expect(brief(judged(transactionIdCheck, [row(0, true, 1.2e9)]))).toEqual(["critical database app"]);
  });
  it("are mended in this database by table, in another one as a whole", () => {
    expect(fixes(judged(transactionIdCheck, [row(600e6)]))).toEqual(['VACUUM (FREEZE, ANALYZE) public."Odd";']);
    expect(fixes(judged(transactionIdCheck, [row(600e6, false)]))).toEqual([
      "\\connect app",
      "VACUUM (FREEZE, ANALYZE);",
    ]);
  });
});

describe("archiving", () => {
  const row = (changes: Partial<ArchiverRow> = {}): ArchiverRow => ({
    mode: "on",
    command: "cp %p /a/%f",
    failures: 0,
    failedAt: null,
    archivedAt: NOW - 60_000,
    failedSegment: null,
    waiting: 0,
    waitingSince: null,
    segmentBytes: 16 * 1024 ** 2,
    ...changes,
  });
  const failing = { failures: 9, failedAt: NOW - 1000, failedSegment: "0001", waiting: 3 };
  it("is well while nothing waits for long, whatever failed before", () => {
    expect(judged(archiverCheck, [row({ failures: 3, failedAt: NOW - 3_600_000 })]).findings).toEqual([]);
    expect(judged(archiverCheck, [row({ ...failing, waitingSince: NOW - 100_000 })]).findings).toEqual([]);
  });
  it("warns from three missed minutes, is critical from fifteen", () => {
    expect(brief(judged(archiverCheck, [row({ ...failing, waitingSince: NOW - 200_000 })]))).toEqual([
      "warning WAL from 0001 on",
    ]);
    expect(brief(judged(archiverCheck, [row({ waiting: 3, waitingSince: NOW - 1_000_000 })]))).toEqual([
      "critical WAL",
    ]);
  });
  it("is not checked where it is off", () => {
    expect(judged(archiverCheck, [row({ mode: "off" })]).notChecked).toContain("archive_mode is off");
  });
});

describe("slots", () => {
  const GiB = 1024 ** 3;
  const row = (changes: Partial<SlotRow>): SlotRow => ({
    ...{
      name: "s",
      type: "physical",
      active: true,
      status: "reserved",
      keptBytes: 0,
      idleSeconds: null,
      horizonAge: null,
    },
    ...changes,
  });
  it.each<[Partial<SlotRow>, string[]]>([
    [{}, []],
    [{ keptBytes: 2 * GiB }, ["warning s"]],
    [{ keptBytes: 20 * GiB }, ["critical s"]],
    [{ status: "lost", keptBytes: null }, ["critical s"]],
    [{ active: false }, ["info s"]],
    [{ active: false, keptBytes: 128 * 1024 ** 2 }, ["warning s"]],
    [{ active: false, idleSeconds: 7200 }, ["warning s"]],
  ])("%o", (changes, expected) => {
    expect(brief(judged(replicationSlotCheck, [row(changes)]))).toEqual(expected);
  });
  it("are dropped by name, quoted as text", () => {
    expect(fixes(judged(replicationSlotCheck, [row({ active: false })]))).toEqual([
      "SELECT pg_drop_replication_slot('s');",
    ]);
  });
});

describe("replication lag", () => {
  const row = { name: "pg1", state: "streaming", bytes: 0, seconds: 0 };
  const stack = stackFacts({ followers: ["pg1"] });
  it("has the guide's thresholds", () => {
    expect(brief(judged(replicationLagCheck, [{ ...row, bytes: 2 * 1024 ** 2 }]))).toEqual(["warning pg1"]);
    expect(brief(judged(replicationLagCheck, [{ ...row, bytes: 200 * 1024 ** 2 }]))).toEqual(["critical pg1"]);
    expect(brief(judged(replicationLagCheck, [row]))).toEqual([]);
  });
  it("is without end for a stack's replica that does not stream", () => {
    expect(brief(judged(replicationLagCheck, [row], { stack }))).toEqual([]);
    expect(brief(judged(replicationLagCheck, [], { stack }))).toEqual(["critical pg1"]);
    expect(brief(judged(replicationLagCheck, [], { stack: stackFacts({ ...stack, target: "aws" }) }))).toEqual([]);
  });
});

describe("connections", () => {
  const row = (used: number): ConnectionsRow => ({
    ...{ max: 100, reserved: 3, used },
    groups: [{ user: "app", application: "it's", count: used, idle: used - 1 }],
  });
  it("have the guide's thresholds, and name whose idle ones to end", () => {
    expect(brief(judged(connectionsCheck, [row(70)]))).toEqual([]);
    expect(brief(judged(connectionsCheck, [row(71)]))).toEqual(["warning max_connections"]);
    const critical = judged(connectionsCheck, [row(95)]);
    expect(brief(critical)).toEqual(["critical max_connections"]);
    expect(fixes(critical)[0]).toContain("usename = 'app' AND application_name = 'it''s'");
  });
  it("must carry a stack's pools, those that read included", () => {
    const pool = { instances: 2, poolSize: 20, reserveSize: 5 };
    expect(brief(judged(poolSumCheck, [row(1)], { stack: stackFacts({ pool }) }))).toEqual(["critical pools"]);
    expect(brief(judged(poolSumCheck, [row(1)], { stack: stackFacts({ pool: { ...pool, poolSize: 19 } }) }))).toEqual(
      [],
    );
    expect(judged(poolSumCheck, [row(1)], { stack: stackFacts() })).toEqual({ findings: [] });
    expect(judged(poolSumCheck, [row(1)]).notChecked).toContain("not known");
    expect(judged(poolSumCheck, [row(1)], { stack: stackFacts({ pool: undefined }) }).notChecked).toContain("AWS");
  });
});

describe("transactions", () => {
  const row = (changes: Partial<TransactionRow>): TransactionRow => ({
    ...{ pid: 7, gid: null, user: "app", application: "web", state: "active", seconds: 400, stateSeconds: 1 },
    ...{ statement: "UPDATE a SET b = 'secret'", horizonAge: 5 },
    ...changes,
  });
  it("at work and idle ones are told apart, by how long they last", () => {
    expect(brief(judged(longTransactionCheck, [row({})]))).toEqual(["warning pid 7"]);
    expect(brief(judged(longTransactionCheck, [row({ seconds: 4000 })]))).toEqual(["critical pid 7"]);
    expect(brief(judged(idleInTransactionCheck, [row({})]))).toEqual([]);
    const idle = row({ state: "idle in transaction (aborted)" });
    expect(brief(judged(longTransactionCheck, [idle]))).toEqual([]);
    expect(brief(judged(idleInTransactionCheck, [idle]))).toEqual(["warning pid 7"]);
    expect(fixes(judged(idleInTransactionCheck, [idle]))).toEqual(["SELECT pg_terminate_backend(7);"]);
  });
  it("prepared ones are rolled back by name; a dump's may take its time", () => {
    const prepared = judged(longTransactionCheck, [row({ pid: null, gid: "it's", state: "prepared", statement: "" })]);
    expect(fixes(prepared)).toEqual(["ROLLBACK PREPARED 'it''s';"]);
    expect(brief(judged(longTransactionCheck, [row({ application: "pg_dump" })]))).toEqual(["info pid 7"]);
  });
  it("do not tell what clients wrote", () => {
    expect(JSON.stringify(judged(longTransactionCheck, [row({})]))).not.toContain("secret");
  });
});

describe("lock waits", () => {
  const session = (pid: number) => ({
    pid,
    user: "app",
    application: "",
    state: "idle in transaction",
    statement: "x",
  });
  const wait = (pid: number, blockers: number[], seconds = 10): WaitRow => ({
    ...{ ...session(pid), mode: "ShareLock", relation: null, lockType: "transactionid", seconds },
    ...{ blockers, blocking: blockers.filter((one) => one > 0).map(session) },
  });
  it("lead to whoever waits for nobody, once for a whole chain", () => {
    const found = judged(lockWaitCheck, [wait(2, [1]), wait(3, [2]), wait(4, [3, 1])]);
    expect(brief(found)).toEqual(["warning pid 1"]);
    expect(found.findings[0]?.evidence).toMatchObject({ waiting: 3, longestSeconds: 10 });
    expect(fixes(found)).toEqual(["SELECT pg_terminate_backend(1);"]);
  });
  it("are critical after a minute, name a prepared transaction, and end in a circle", () => {
    expect(brief(judged(lockWaitCheck, [wait(2, [1], 90)]))).toEqual(["critical pid 1"]);
    expect(brief(judged(lockWaitCheck, [wait(2, [0])]))).toEqual(["warning prepared transaction"]);
    expect(judged(lockWaitCheck, [wait(1, [2]), wait(2, [1])]).findings.length).toBeGreaterThan(0);
  });
});

describe("the cache", () => {
  const row = (hit: number, read: number): CacheRow => ({
    ...{ hit, read, sharedBuffers: "1GB", tables: [{ name: "public.a", read }] },
  });
  it("has the guide's thresholds, and no verdict before enough was asked for", () => {
    expect(judged(cacheHitCheck, [row(10, 90)])).toMatchObject({
      findings: [],
      notChecked: expect.stringContaining("only 100 blocks") as string,
    });
    expect(brief(judged(cacheHitCheck, [row(995_000, 5_001)]))).toEqual([]);
    expect(brief(judged(cacheHitCheck, [row(980_000, 20_001)]))).toEqual(["warning shared_buffers 1GB"]);
    expect(brief(judged(cacheHitCheck, [row(900_000, 100_001)]))).toEqual(["critical shared_buffers 1GB"]);
  });
});

describe("settings", () => {
  const row = (name: string, setting: string, changes: Partial<ServerSettingRow> = {}): ServerSettingRow => ({
    ...{ name, setting, unit: null, type: "string", source: "configuration file", file: null, pending: false },
    ...changes,
  });
  const memory = { unit: "kB", type: "integer" } as const;
  it("that endanger data are found anywhere", () => {
    const found = judged(settingCheck, [
      row("fsync", "off", { type: "bool" }),
      row("password_encryption", "md5", { type: "enum" }),
    ]);
    expect(brief(found)).toEqual(["critical fsync", "warning password_encryption"]);
    expect(fixes(found)).toEqual([
      ...["ALTER SYSTEM SET fsync = 'on';", "SELECT pg_reload_conf();"],
      ...["ALTER SYSTEM SET password_encryption = 'scram-sha-256';", "SELECT pg_reload_conf();"],
    ]);
    expect(found.notChecked).toContain("--cpus and --memory");
    expect(judged(settingCheck, [row("synchronous_commit", "off", { source: "user" })]).findings).toEqual([]);
  });
  it("of a stack are compared with its configuration, in any unit", () => {
    const stack = stackFacts({ settings: { work_mem: "16MB", jit: "off", wal_buffers: "-1" }, otherwiseSet: [] });
    const rows = [row("work_mem", "16384", memory), row("jit", "off", { type: "bool" }), row("wal_buffers", "2048")];
    expect(judged(settingCheck, rows, { stack })).toEqual({ findings: [], notChecked: undefined });
    const auto = row("work_mem", "8192", { ...memory, file: "/data/postgresql.auto.conf" });
    expect(fixes(judged(settingCheck, [auto], { stack }))).toEqual([
      "ALTER SYSTEM RESET work_mem;",
      "SELECT pg_reload_conf();",
    ]);
    expect(judged(settingCheck, [row("x", "1", { pending: true })], { stack }).findings).toEqual([]);
    const waiting = row("work_mem", "8192", { ...memory, pending: true });
    expect(fixes(judged(settingCheck, [waiting], { stack }))).toEqual(["./cgraph-db config apply"]);
    const elsewhere = stackFacts({ ...stack, otherwiseSet: ["work_mem"] });
    expect(judged(settingCheck, [auto], { stack: elsewhere }).findings).toEqual([]);
  });
  it("of a known server are compared with what tuning derives, within a factor", () => {
    const hardware = { cpus: 2, memoryMiB: 4096 };
    const rows = (sharedBuffers: number) => [
      row("max_connections", "100"),
      row("shared_buffers", String(sharedBuffers), { unit: "8kB", type: "integer" }),
      row("work_mem", "16384", memory),
    ];
    expect(judged(settingCheck, rows(100_000), { hardware }).findings).toEqual([]);
    const found = judged(settingCheck, rows(16_384), { hardware });
    expect(brief(found)).toEqual(["warning shared_buffers"]);
    expect(fixes(found)).toEqual(["ALTER SYSTEM SET shared_buffers = '1024MB';"]);
    expect(brief(judged(settingCheck, [row("max_connections", "1000")], { hardware }))).toEqual([
      "warning max_connections",
    ]);
  });
});

describe("backups", () => {
  const since = new Date(NOW - 100 * DAY_MS);
  const { command } = stackFacts();
  it("that were never tried warn once they could have been, and count anew from each trial", () => {
    const told = (lastVerifiedAt: Date | undefined, from = since) =>
      verificationFindings({ lastVerifiedAt, since: from, damaged: undefined }, NOW, 35, command).map(
        (one) => one.severity,
      );
    expect(told(undefined)).toEqual(["warning"]);
    expect(told(undefined, new Date(NOW - DAY_MS))).toEqual(["info"]);
    expect(told(new Date(NOW - 10 * DAY_MS))).toEqual([]);
    expect(told(new Date(NOW - 40 * DAY_MS))).toEqual(["warning"]);
  });
  it("that were found damaged are critical until one is good again", () => {
    const damaged = { backup: "20261124-030000F", at: new Date(NOW), problems: ["app.messages: a page is wrong"] };
    const trial = { lastVerifiedAt: new Date(NOW - DAY_MS), since, damaged };
    expect(verificationFindings(trial, NOW, 35, command)).toMatchObject([
      {
        severity: "critical",
        subject: "20261124-030000F",
        says: "it is damaged: app.messages: a page is wrong",
        fix: ["./cgraph-db backup --type full", "./cgraph-db backup verify"],
      },
    ]);
  });
  it("are judged where the stack says when, and else not checked", () => {
    const verification = { lastVerifiedAt: undefined, since, damaged: undefined };
    expect(fixes(judged(backupVerificationCheck, [], { stack: stackFacts({ verification }) }))).toEqual([
      "./cgraph-db backup verify",
    ]);
    for (const stack of [undefined, stackFacts(), stackFacts({ target: "aws" })]) {
      expect(judged(backupVerificationCheck, [], { stack })).toMatchObject({
        findings: [],
        notChecked: expect.any(String) as string,
      });
      expect(judged(diskCheck, [], { stack }).notChecked).toContain("does not tell");
    }
  });
});
