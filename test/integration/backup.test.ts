import { spawn } from "node:child_process";
import { join } from "node:path";
import type pg from "pg";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { listLabelled } from "../../scripts/lib/docker.ts";
import { ROOT } from "../../scripts/lib/paths.ts";
import type { Backup, Verification } from "../../scripts/lib/pgbackrest.ts";
import { run } from "../../scripts/lib/run.ts";
import { SMALL, cgraph, cgraphOk, freePort, removeStack, setConfig, uniqueStack } from "../support/cli.ts";
import { ask } from "../support/client.ts";
import { doctor, findingsOf } from "../support/doctor.ts";
import { eventually } from "../support/eventually.ts";

/** One stack at stage 1 and then at stage 2: each part stands on the one before. */
const stack = uniqueStack();
// Several restores each: seconds, and minutes where two other files have the processors.
vi.setConfig({ testTimeout: 600_000 });
let url: string;

const query = <T extends pg.QueryResultRow>(sql: string): Promise<T[]> => ask<T>(url, sql);

const json = async <T>(...args: string[]): Promise<T> =>
  JSON.parse(await cgraphOk(...args, "--stack", stack, "--json")) as T;
const fullBackup = (): Promise<Backup> => json<Backup>("backup", "--type", "full");

/** Runs a program in one of the stack's containers, as postgres. */
async function inside(server: string, ...command: string[]): Promise<string> {
  const args = ["exec", "--user", "postgres", `cgraph-${stack}-${server}`, ...command];
  const { code, stdout, stderr } = await run("docker", args);
  if (code !== 0) throw new Error(`${command.join(" ")} in ${server}: ${stderr}`);
  return stdout.trim();
}

const sql = (text: string, database = "cgraph_production"): Promise<string> =>
  inside("pg0", "psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-d", database, "-c", text);

/** Turns one bit of the middle of a file around; once more puts it right again. */
const flipBit = (server: string, file: string): Promise<string> =>
  inside(
    server,
    ...["python3", "-c"],
    `f = open("${file}", "r+b"); f.seek(0, 2); f.seek(f.tell() // 2); b = f.read(1); f.seek(-1, 1); f.write(bytes([b[0] ^ 1]))`,
  );

async function verify(...args: string[]): Promise<{ code: number; found: Verification }> {
  const { code, stdout, stderr } = await cgraph(["backup", "verify", "--stack", stack, "--json", ...args]);
  if (stdout === "") throw new Error(stderr);
  return { code, found: JSON.parse(stdout) as Verification };
}

const figures = async (): Promise<Record<string, number>> => {
  const lines = (await inside("backup", "cat", "/var/lib/cgraph-figures/backups.prom")).split("\n");
  return Object.fromEntries(lines.map((line) => line.split(" ")).map(([name = "", value]) => [name, Number(value)]));
};

const trialsLeft = async (): Promise<string[]> =>
  [...(await listLabelled("container", stack)), ...(await listLabelled("volume", stack))]
    .map(({ name }) => name)
    .filter((name) => name.includes("verify"));

beforeAll(async () => {
  await setConfig(stack, { ...SMALL, maxConnections: "60", port: String(await freePort()) });
  await cgraphOk("up", "--stack", stack, "--no-install");
  await cgraphOk("schema", "apply", "--stack", stack);
  url =
    (JSON.parse(await cgraphOk("env", "--stack", stack, "--json")) as Record<string, string>)["DATABASE_OWNER_URL"] ??
    "";
  await query(
    "INSERT INTO users (username, email) SELECT 'u' || i, 'u' || i || '@example.com' FROM generate_series(1, 2000) i",
  );
});
afterAll(() => removeStack(stack));

describe("backup verify", () => {
  it("restores the newest backup, reads all of it, and leaves nothing behind", async () => {
    const backup = await fullBackup();
    const { code, found } = await verify();
    expect(found).toMatchObject({ backup: backup.name, ok: true, problems: [], problemCount: 0, lastGoodAt: found.at });
    expect(code).toBe(0);
    expect(found.rows).toBeGreaterThanOrEqual(2000);
    expect(found.tables).toBeGreaterThan(5);
    expect(await trialsLeft()).toEqual([]);
    const told = await figures();
    expect(told["cgraph_backup_damaged"]).toBe(0);
    expect(told["cgraph_backup_verified_timestamp_seconds"]).toBe(Math.floor(Date.parse(found.at) / 1000));
    const { report } = await doctor(["--stack", stack]);
    expect(findingsOf(report, "backup-verification")).toEqual([]);
    expect(report.notChecked.map(({ check }) => check)).not.toContain("backup-verification");
  });

  it("says so when a byte of the backup is not what it was; figures and doctor tell", async () => {
    const { name } = (await json<Backup[]>("backups")).at(-1) ?? { name: "" };
    const files = await inside("backup", "sh", "-c", `ls -S $(find /var/lib/pgbackrest/backup/cgraph/${name} -type f)`);
    const [largest = ""] = files.split("\n").filter((file) => !file.includes("manifest"));
    await flipBit("backup", largest);
    const { code, found } = await verify();
    expect({ code, ok: found.ok }).toEqual({ code: 1, ok: false });
    expect(found.problems.join()).toMatch(/^cannot be restored: /);
    expect(found.lastGoodAt).not.toBeNull();
    expect(await trialsLeft()).toEqual([]);
    expect((await figures())["cgraph_backup_damaged"]).toBe(1);
    const { code: doctorCode, report } = await doctor(["--stack", stack]);
    expect(doctorCode).toBe(2);
    expect(findingsOf(report, "backup-verification")).toMatchObject([{ severity: "critical", subject: name }]);
    await flipBit("backup", largest);
    expect((await verify("--all")).code).toBe(0);
    expect((await figures())["cgraph_backup_damaged"]).toBe(0);
  });

  it("says so when a byte of the database is not what it was, by the table's name", async () => {
    await sql("CREATE TABLE broken AS SELECT i, repeat('x', 500) AS text FROM generate_series(1, 1000) i");
    // Frozen and written: nobody touches its pages any more, who would write them anew.
    await sql("VACUUM (FREEZE) broken");
    await sql("CHECKPOINT");
    await flipBit("pg0", `/var/lib/postgresql/17/data/${await sql("SELECT pg_relation_filepath('broken')")}`);
    const taken = await cgraph(["backup", "--type", "full", "--stack", stack]);
    expect(taken.code).toBe(1);
    expect(taken.stderr).toContain("The database has damaged pages");
    const { code, stdout } = await cgraph(["backup", "verify", "--stack", stack]);
    expect(code).toBe(1);
    expect(stdout).toMatch(/is NOT good:\n/);
    expect(stdout).toMatch(/cgraph_production\.(public\.)?broken: the checksum of block \d+ of \S+ is wrong/);
    await sql("DROP TABLE broken");
    await fullBackup();
    expect((await verify()).code).toBe(0);
  });

  it("that is interrupted removes what it made", async () => {
    const child = spawn(join(ROOT, "cgraph-db"), ["backup", "verify", "--stack", stack], { stdio: "ignore" });
    const ended = new Promise<number | null>((resolve) => child.on("exit", resolve));
    await eventually("the trial", async () => (await trialsLeft()).length === 2);
    child.kill("SIGINT");
    expect(await ended).not.toBe(0);
    await eventually("nothing left", async () => (await trialsLeft()).length === 0);
  });

  it("refuses a backup that there is none of", async () => {
    const { code, stderr } = await cgraph(["backup", "verify", "--stack", stack, "--set", "20200101-000000F"]);
    expect(code).toBe(2);
    expect(stderr).toContain("there is no backup 20200101-000000F");
  });
});

const restore = (to: string, ...args: string[]): Promise<string> =>
  cgraphOk("restore", "--stack", stack, "--to", to, "--yes", ...args);
const kept = async (): Promise<string> =>
  (await query<{ v: string }>("SELECT string_agg(v, ' ' ORDER BY n) AS v FROM story"))[0]?.v ?? "";

describe("restore", () => {
  it("goes back to a restore point, and from there to a position that the restore has left", async () => {
    await query("CREATE TABLE story (n serial, v text); INSERT INTO story (v) VALUES ('one')");
    const point = await json<{ name: string; lsn: string; timeline: number }>("backup", "point", "before-two");
    expect(point).toMatchObject({ name: "before-two", timeline: 1 });
    await query("INSERT INTO story (v) VALUES ('two')");
    const lsn = await sql("SELECT pg_current_wal_insert_lsn()");
    await query("INSERT INTO story (v) VALUES ('three'); DROP TABLE users CASCADE");
    expect(await cgraphOk("backups", "--stack", stack)).toMatch(/Restore points:\n.*\nbefore-two /);

    await restore("before-two");
    expect(await kept()).toBe("one");
    expect(await query("SELECT count(*) FROM users")).toEqual([{ count: "2000" }]);

    // Two was written after that point, on the timeline that was left there.
    await restore(lsn, "--timeline", "1");
    expect(await kept()).toBe("one two");
    expect(await query("SELECT count(*) FROM users")).toEqual([{ count: "2000" }]);
  });

  it("refuses a name twice, names that are none, and what lies outside of the range, which it tells", async () => {
    const refused = async (...args: string[]): Promise<string> => {
      const { code, stderr } = await cgraph([...args, "--stack", stack]);
      expect(code).not.toBe(0);
      return stderr;
    };
    expect(await refused("backup", "point", "before-two")).toContain("there is a restore point before-two already");
    expect(await refused("backup", "point", "latest")).toContain("is no name for a restore point");
    for (const to of ["0/1", "FFFF/0", "2999-01-01T00:00:00Z"]) {
      const said = await refused("restore", "--to", to, "--yes");
      expect(said).toContain(`${to} lies outside of what can be restored`);
      expect(said).toMatch(/on timeline 3 that is from \S+Z \(0\/[0-9A-F]+\) until \S+Z \(0\/[0-9A-F]+\)/);
    }
    expect(await refused("restore", "--to", "latest", "--timeline", "9", "--yes")).toContain("it has 1, 2, 3");
  });
});

describe("stage 2", () => {
  it("is backed up from its replica", async () => {
    await cgraphOk("up", "--stack", stack, "--stage", "2", "--no-install");
    const said = await inside("backup", "cgraph-backup-now", "--type=full", "--log-level-console=detail");
    expect(said).toContain("replay on the standby reached");
    const copied = [...said.matchAll(/backup file (pg\d):\S+\/base\//g)].map(([, server]) => server);
    expect(copied.length).toBeGreaterThan(100);
    expect(new Set(copied)).toEqual(new Set(["pg1"]));
  });

  it("goes back to a time before a table was dropped: exactly the rows of then, on the replica too", async () => {
    await query("INSERT INTO story (v) VALUES ('noted')");
    const [{ now } = { now: new Date() }] = await query<{ now: Date }>("SELECT clock_timestamp() AS now");
    const rows = await kept();
    await new Promise((resolve) => setTimeout(resolve, 1500));
    await query("INSERT INTO story (v) VALUES ('later'); UPDATE story SET v = v || '!'");
    await query("DROP TABLE story");
    await restore(new Date(now.getTime() + 700).toISOString());
    expect(await kept()).toBe(rows);
    for (const server of ["pg0", "pg1"]) {
      const found = await inside(
        server,
        "psql",
        "-XAtq",
        "-d",
        "cgraph_production",
        "-c",
        "SELECT string_agg(v, ' ' ORDER BY n), pg_is_in_recovery() FROM story",
      );
      expect(found.split("|")[0], server).toBe(rows);
    }
    const status = await json<{ nodes: { role: string; state: string }[] }>("status");
    expect(status.nodes.map(({ role }) => role).sort()).toEqual(["primary", "replica"]);
    const preview = await json<{ verdict: string }>("preview");
    expect(preview.verdict).toBe("none");
  });
});
