import pg from "pg";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type CheckId, type Finding, CHECK_IDS } from "../../doctor/finding.ts";
import type { DoctorReport } from "../../doctor/report.ts";
import type { Thresholds } from "../../doctor/thresholds.ts";
import { examine } from "../../scripts/doctor/examine.ts";
import { withUrls } from "../../scripts/doctor/place.ts";
import { cgraph, freePort } from "../support/cli.ts";
import { doctor } from "../support/doctor.ts";
import { eventually } from "../support/eventually.ts";
import { SOURCE_DATABASE, type SourceServer, startSource } from "../support/sourceServer.ts";

const PASSWORD = "monitor-secret";
const WATCHERS = `CREATE ROLE watcher LOGIN PASSWORD '${PASSWORD}' IN ROLE pg_monitor;
  CREATE ROLE stranger LOGIN PASSWORD '${PASSWORD}'`;
const urlOf = ({ port }: SourceServer, role: string): string =>
  `postgresql://${role}@127.0.0.1:${port}/${SOURCE_DATABASE}`;
const asRole = { env: { ...process.env, PGPASSWORD: PASSWORD } };

const examined = (...args: string[]) => doctor(args, asRole.env);
const reasons = ({ notChecked }: DoctorReport, check: CheckId): string[] =>
  notChecked.filter((one) => one.check === check).map(({ reason }) => reason);
const serious = ({ findings }: DoctorReport): Finding[] => findings.filter(({ severity }) => severity !== "info");

describe("a database that is not ours, of a thousand tables", () => {
  let server: SourceServer;

  beforeAll(async () => {
    server = await startSource(await freePort(), { fsync: "on", autovacuum_naptime: "1h" });
    await server.query(WATCHERS);
    await server.query(`CREATE TABLE pgbench_branches (bid int PRIMARY KEY, bbalance int, filler char(88));
      CREATE TABLE pgbench_tellers (tid int PRIMARY KEY, bid int, tbalance int, filler char(84));
      CREATE TABLE pgbench_accounts (aid int PRIMARY KEY, bid int, abalance int, filler char(84));
      CREATE TABLE pgbench_history (id bigserial PRIMARY KEY, tid int, bid int, aid int, delta int, mtime timestamp);
      INSERT INTO pgbench_accounts SELECT i, 1, 0, '' FROM generate_series(1, 20000) i`);
    await server.query(`DO $$ BEGIN FOR i IN 1..1000 LOOP
      EXECUTE format('CREATE TABLE "Table %s" (id bigserial PRIMARY KEY, a int, b text, c timestamp)', i);
      EXECUTE format('CREATE INDEX ON "Table %s" (a, c)', i);
    END LOOP; END $$`);
    await server.query("VACUUM ANALYZE");
  });
  afterAll(() => server.stop());

  it("is examined in seconds by a role that has pg_monitor and nothing else", async () => {
    const { code, report } = await examined("--url", urlOf(server, "watcher"));
    expect(serious(report)).toEqual([]);
    expect(code).toBe(0);
    console.log(`a thousand tables: ${report.seconds} s`);
    expect(report.seconds).toBeLessThan(10);
    expect(report).toMatchObject({ database: SOURCE_DATABASE, role: "primary", stack: null });
  });

  it("is told what was not checked, and why", async () => {
    const { report } = await examined("--url", urlOf(server, "watcher"));
    for (const check of ["slow-query", "n-plus-one", "missing-index"] as const) {
      expect(reasons(report, check).join(), check).toContain("pg_stat_statements is not loaded");
    }
    expect(reasons(report, "sequence").join()).toContain("and 998 more: the role may not read them");
    const { report: stranger } = await examined("--url", urlOf(server, "stranger"));
    for (const check of ["slow-query", "connections", "lock-wait", "long-transaction", "replication-lag"] as const) {
      expect(reasons(stranger, check).join(), check).toContain("GRANT pg_monitor TO stranger");
    }
  });

  it("is neither written to nor waited for", async () => {
    const client = new pg.Client({ connectionString: server.url() });
    await client.connect();
    // Whoever writes takes a transaction id.
    const nextId = () => server.query("SELECT pg_snapshot_xmax(pg_current_snapshot())::text AS id");
    await client.query('BEGIN; LOCK TABLE "Table 1" IN ACCESS EXCLUSIVE MODE');
    const before = await nextId();
    const { report } = await examined("--url", urlOf(server, "watcher"));
    expect(report.notChecked.filter(({ reason }) => /lock timeout/.test(reason))).toEqual([]);
    expect(await nextId()).toEqual(before);
    await client.query("ROLLBACK");
    await client.end();
  });

  it("that cannot be reached, or does not let the role in, gives one message and exit code 1", async () => {
    const fails = async (url: string, words: string, env: NodeJS.ProcessEnv = asRole.env) => {
      const { code, stdout, stderr } = await cgraph(["doctor", "--url", url], { env });
      expect(stderr).toContain(words);
      expect(stderr).not.toMatch(/^\s+at .*:\d+:\d+/m);
      expect([code, stdout]).toEqual([1, ""]);
    };
    const url = urlOf(server, "watcher");
    await fails(url.replace(String(server.port), String(await freePort())), "cannot be reached");
    await fails(url, "refuses watcher: wrong or missing password", { ...asRole.env, PGPASSWORD: "wrong" });
    await fails(url.replace(SOURCE_DATABASE, "nowhere"), 'database "nowhere" does not exist');
    await fails(`${url}?sslmode=require`, "does not support SSL");
    const wrong = await cgraph(["doctor", "--url", "https://x"]);
    expect([wrong.code, wrong.stderr]).toEqual([2, expect.stringContaining("--url begins with https:")]);
  });
});

/** Thresholds that a test reaches in seconds; all others are the real ones. */
const LIMITS: Partial<Thresholds> = {
  ...{ transactionIds: 10, archiveSeconds: 0, lockWaitSeconds: 0.2, transactionSeconds: 0.3, slowQueryMs: 30 },
  ...{ statisticsDays: 0, bloatBytes: 1024 ** 2, cacheBlocks: 1, cacheHitPercent: 100.1, scannedRows: 1e6 },
};

describe("a database with every fault", () => {
  let server: SourceServer;
  const clients: pg.Client[] = [];
  const open = async (): Promise<pg.Client> => {
    const client = new pg.Client({ connectionString: server.url() });
    client.on("error", () => undefined);
    await client.connect();
    clients.push(client);
    return client;
  };
  const examined = (limits = LIMITS): Promise<DoctorReport> => {
    process.env["PGPASSWORD"] = PASSWORD;
    return withUrls(urlOf(server, "watcher"), [], (place) =>
      examine(place, { limits, hardware: { cpus: 2, memoryMiB: 65_536 } }),
    );
  };

  beforeAll(async () => {
    server = await startSource(await freePort(), {
      ...{ max_connections: "20", shared_preload_libraries: "pg_stat_statements", "pg_stat_statements.track": "all" },
      ...{ archive_mode: "on", archive_command: "false", autovacuum: "off" },
    });
    await server.query(`${WATCHERS}; CREATE EXTENSION pg_stat_statements`);
    await server.query(`
      CREATE TABLE accounts (id int PRIMARY KEY, owner uuid, "Kind" int, spare int);
      INSERT INTO accounts SELECT i, gen_random_uuid(), i % 5, i FROM generate_series(1, 100000) i;
      CREATE INDEX unused ON accounts (spare);
      CREATE INDEX "Twin 1" ON accounts (id, spare); CREATE INDEX "Twin 2" ON accounts (id, spare);
      CREATE TABLE bloated (id int PRIMARY KEY, a uuid);
      INSERT INTO bloated SELECT i, gen_random_uuid() FROM generate_series(1, 100000) i;
      DELETE FROM bloated WHERE id % 10 <> 0;
      CREATE TABLE deleted (id int PRIMARY KEY);
      INSERT INTO deleted SELECT generate_series(1, 20000);
      CREATE TABLE keyless (a int); INSERT INTO keyless SELECT generate_series(1, 2000);
      CREATE TABLE numbered (id serial PRIMARY KEY, a int);
      INSERT INTO numbered (a) VALUES (1), (1);
      GRANT SELECT ON SEQUENCE numbered_id_seq TO watcher;
      SELECT setval('numbered_id_seq', 2000000000);
      CREATE TABLE monthly (at timestamp NOT NULL, a int, PRIMARY KEY (at, a)) PARTITION BY RANGE (at);
      CREATE TABLE monthly_default PARTITION OF monthly DEFAULT;
      INSERT INTO monthly VALUES ('2001-01-01', 1);
      SELECT pg_create_physical_replication_slot('left_behind', true), pg_switch_wal()`);
    const [month] = await server.query<{ month: string; next: string }>(
      "SELECT date_trunc('month', now())::date::text AS month, (date_trunc('month', now()) + interval '1 month')::date::text AS next",
    );
    await server.query(
      `CREATE TABLE monthly_now PARTITION OF monthly FOR VALUES FROM ('${month?.month}') TO ('${month?.next}')`,
    );
    for (const table of ["accounts", "bloated", "keyless", "monthly"]) await server.query(`VACUUM (ANALYZE) ${table}`);
    await server.query("ANALYZE deleted");
    await server.query("DELETE FROM deleted WHERE id <= 15000");
    await expect(server.query("CREATE UNIQUE INDEX CONCURRENTLY broken ON numbered (a)")).rejects.toThrow(
      "could not create unique index",
    );
    // Statements as an application sends them, but without its round trips.
    await server.query(`DO $$ DECLARE r accounts; BEGIN
      FOR i IN 1..12000 LOOP EXECUTE 'SELECT * FROM accounts WHERE id = $1' INTO r USING i; END LOOP;
      FOR i IN 1..120 LOOP EXECUTE 'SELECT * FROM accounts WHERE owner = $1 AND "Kind" = $2' INTO r USING gen_random_uuid(), 1; END LOOP;
      FOR i IN 1..6 LOOP EXECUTE 'SELECT pg_sleep($1)' USING 0.05; END LOOP;
    END $$`);
    const [idle, waiting, long] = [await open(), await open(), await open()];
    await idle.query("BEGIN; UPDATE numbered SET a = 2");
    waiting.query("UPDATE numbered SET a = 3").catch(() => undefined);
    long.query("SELECT pg_sleep(600)").catch(() => undefined);
    for (let number = 0; number < 12; number++) await open();
    await eventually("the lock is waited for", async () => {
      const rows = await server.query(
        "SELECT FROM pg_locks WHERE NOT granted AND waitstart < now() - interval '1 second'",
      );
      return rows.length > 0;
    });
  });
  afterAll(async () => {
    await Promise.all(clients.map((client) => client.end().catch(() => undefined)));
    await server.stop();
  });

  /** Of a stack's servers or a Citus cluster only, and tested there. */
  const ELSEWHERE: readonly CheckId[] = [
    ...(["replication-lag", "pool-sum", "every-shard", "shard-join", "shard-skew", "hot-tenant"] as const),
    ...(["citus-table", "citus-node", "citus-transaction", "backup-verification", "disk"] as const),
  ];

  it("is told each of them", async () => {
    const report = await examined();
    const found = new Set(report.findings.map(({ check }) => check));
    expect(CHECK_IDS.filter((check) => !found.has(check))).toEqual(ELSEWHERE);
    expect(report.seconds).toBeLessThan(10);
  });

  it("is mended by the statements that are named", async () => {
    const { findings } = await examined();
    const isWhole = ({ fix }: Finding): boolean => !fix.join().includes("…");
    const run = async (checks: readonly CheckId[]) => {
      for (const check of checks) {
        const whole = findings.filter((one) => one.check === check && isWhole(one));
        for (const statement of whole.flatMap(({ fix }) => fix)) await server.query(statement);
      }
    };
    await run(["lock-wait", "idle-in-transaction"]);
    // What waited has come to its end meanwhile, and what its duplicates stood against can be built.
    const sleeping = findings.filter(({ check, says }) => check === "long-transaction" && says.includes("pg_sleep"));
    for (const { fix } of sleeping) await server.query(fix.join(""));
    await server.query("UPDATE numbered SET a = id");
    const mended: CheckId[] = [
      ...(["replication-slot", "slow-query", "missing-index", "unused-index", "duplicate-index"] as const),
      ...([
        "invalid-index",
        "table-bloat",
        "index-bloat",
        "dead-tuples",
        "sequence",
        "primary-key",
        "partition",
      ] as const),
    ];
    await run(mended);
    const name = ({ check, subject }: Finding): string => `${check} ${subject}`;
    const before = findings.filter((one) => mended.includes(one.check) && isWhole(one)).map(name);
    expect(before.length).toBeGreaterThan(12);
    const after = new Set((await examined()).findings.map(name));
    // A statement that was slow stays on record.
    expect(before.filter((one) => after.has(one) && !one.startsWith("slow-query"))).toEqual([]);
  });
});
