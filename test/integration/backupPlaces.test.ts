import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { docker } from "../../scripts/lib/docker.ts";
import type { Backup, Verification } from "../../scripts/lib/pgbackrest.ts";
import { SMALL, cgraph, cgraphOk, freePort, removeStack, setConfig, uniqueStack } from "../support/cli.ts";
import { eventually } from "../support/eventually.ts";
import { installMoto } from "../support/moto.ts";
import { type S3Server, startS3 } from "../support/s3.ts";

const reason = await installMoto();
const WHY_NOT = reason === undefined ? "" : `: ${reason}`;
const stack = uniqueStack();
vi.setConfig({ testTimeout: 600_000, hookTimeout: 600_000 });
const BUCKET = "cgraph-test-backups";
const SECRET = "a-secret-that-is-nobodys";
let s3: S3Server;

const json = async <T>(...args: string[]): Promise<T> =>
  JSON.parse(await cgraphOk(...args, "--stack", stack, "--json")) as T;
const sql = (text: string, name = stack): Promise<string> =>
  cgraphOk("psql", "--stack", name, "--role", "postgres", "--", "-XAtqc", text).then((out) => out.trim());

async function setSecret(key: string, value: string, name = stack): Promise<void> {
  const { code, stderr } = await cgraph(["config", "set", key, "--secret", "--stack", name], { input: value });
  if (code !== 0) throw new Error(stderr);
}

async function configureBucket(name: string): Promise<void> {
  await setConfig(name, {
    ...{ ...SMALL, port: String(await freePort()) },
    ...{ backupS3Bucket: BUCKET, backupS3Endpoint: s3.endpoint, backupS3UriStyle: "path", backupS3Ca: s3.ca },
  });
  await setSecret("backupS3KeyId", "a-key", name);
  await setSecret("backupS3KeySecret", SECRET, name);
}

beforeAll(async () => {
  if (reason !== undefined) return;
  s3 = await startS3([BUCKET]);
  await configureBucket(stack);
  await cgraphOk("up", "--stack", stack, "--no-install");
});
afterAll(async () => {
  await removeStack(stack);
  if (reason === undefined) await s3.stop();
});

describe.skipIf(reason !== undefined)(`backups in a bucket${WHY_NOT}`, () => {
  it("are there and nowhere else, encrypted, under the stack's name", async () => {
    await sql("CREATE TABLE kept AS SELECT i, 'kept as it is' AS text FROM generate_series(1, 1000) i");
    const backup = await json<Backup>("backup", "--type", "full");
    expect((await json<Backup[]>("backups")).map(({ name }) => name)).toContain(backup.name);
    const keys = await s3.keys(BUCKET);
    expect(keys.filter((key) => !key.startsWith(`${stack}/`))).toEqual([]);
    expect(keys).toContain(`${stack}/backup/cgraph/${backup.name}/backup.manifest`);
    expect(keys.filter((key) => key.startsWith(`${stack}/archive/cgraph/17-1/`)).length).toBeGreaterThan(1);
    const files = await docker(["exec", `cgraph-${stack}-backup`, "find", "/var/lib/pgbackrest", "-type", "f"]);
    expect(files).not.toContain("backup.manifest");
    const preview = await json<{ verdict: string }>("preview");
    expect(preview.verdict).toBe("none");
  });

  it("are verified and restored from there", async () => {
    expect(await json<Verification>("backup", "verify", "--all")).toMatchObject({ ok: true, problems: [] });
    await json("backup", "point", "before");
    await sql("DROP TABLE kept");
    await cgraphOk("restore", "--stack", stack, "--to", "before", "--yes");
    expect(await sql("SELECT count(*) FROM kept")).toBe("1000");
  });

  it("whose keys stand in no container's environment, command, or log", async () => {
    const seen: string[] = [];
    for (const container of [`cgraph-${stack}-pg0`, `cgraph-${stack}-backup`]) {
      seen.push(await docker(["inspect", container]), await docker(["logs", container]));
      seen.push(await docker(["top", container, "-eo", "pid,args"]));
    }
    expect(seen.join("").length).toBeGreaterThan(1000);
    expect(seen.join("")).not.toContain(SECRET);
  });

  it("cannot be read with another key, which is said", async () => {
    const conf = (expression: string) =>
      docker(["exec", `cgraph-${stack}-backup`, "sed", "-i", expression, "/etc/cgraph/pgbackrest.conf"]);
    await conf("s/^repo1-cipher-pass=/&another/");
    try {
      for (const command of [["backups"], ["backup"], ["backup", "verify"], ["restore", "--to", "latest", "--yes"]]) {
        const { code, stderr } = await cgraph([...command, "--stack", stack]);
        expect(code, command.join(" ")).toBe(1);
        expect(stderr).toContain("the backup key does not open the repository");
      }
    } finally {
      await conf("s/^repo1-cipher-pass=another/repo1-cipher-pass=/");
    }
    expect((await json<Backup[]>("backups")).length).toBeGreaterThan(0);
  });

  it("of a bucket that does not answer say so, and the database goes on", async () => {
    s3.fail(true);
    const { code, stderr } = await cgraph(["backups", "--stack", stack]);
    expect(code).toBe(1);
    expect(stderr).toMatch(/the bucket of the backups does not answer as it should: .*503/);
    await sql("INSERT INTO kept VALUES (1001, 'meanwhile')");
    s3.fail(false);
    await cgraphOk("backup", "--stack", stack);
  });
});

describe.skipIf(reason !== undefined)(`a machine that is lost${WHY_NOT}`, () => {
  const stages = process.env["CGRAPH_TEST_FULL"] === "1" ? ["1", "2"] : ["1"];
  let key: string;

  beforeAll(async () => {
    key = (await json<{ backupKey: string }>("secrets", "export")).backupKey;
    await sql("CREATE TABLE last AS SELECT 'written last' AS text");
    const segment = await sql("SELECT pg_walfile_name(pg_switch_wal())");
    await eventually(
      "the last WAL in the archive",
      async () => (await sql("SELECT last_archived_wal FROM pg_stat_archiver")) >= segment,
    );
    await removeStack(stack);
  });

  it.for(stages)("is replaced by another one with what is in the bucket, at stage %s", async (stage) => {
    const name = uniqueStack();
    try {
      await configureBucket(name);
      const place = { backupS3Path: `/${stack}`, restoreFirst: "latest" };
      await setConfig(name, { ...place, stage, maxConnections: "40" });
      await setSecret("backupKey", key, name);
      await cgraphOk("up", "--stack", name, "--no-install");
      expect(await sql("SELECT text FROM last", name)).toBe("written last");
      await cgraphOk("backup", "--stack", name);
      const exported = JSON.parse(await cgraphOk("secrets", "export", "--stack", name, "--json")) as object;
      expect(exported).toMatchObject({ backupKey: key });
      // What it has begun with is no longer asked for.
      await sql("DROP TABLE last", name);
      await cgraphOk("config", "unset", "restoreFirst", "--stack", name);
      await cgraphOk("up", "--stack", name, "--no-install");
      await expect(sql("SELECT FROM last", name)).rejects.toThrow("does not exist");
    } finally {
      await removeStack(name);
    }
  });

  it("is not replaced where the key is another one", async () => {
    const name = uniqueStack();
    try {
      await configureBucket(name);
      await setConfig(name, { backupS3Path: `/${stack}`, restoreFirst: "latest" });
      const { code, stderr } = await cgraph(["up", "--stack", name, "--no-install"]);
      expect(code).toBe(1);
      expect(stderr).toContain("pgbackrest could not restore");
    } finally {
      await removeStack(name);
    }
  });
});

describe("a backup volume that is full", () => {
  const small = uniqueStack();
  const inBackup = (script: string): Promise<string> =>
    docker(["exec", "--user", "postgres", `cgraph-${small}-backup`, "sh", "-c", script]);
  const list = async (): Promise<Backup[]> =>
    JSON.parse(await cgraphOk("backups", "--stack", small, "--json")) as Backup[];
  beforeAll(async () => {
    await setConfig(small, {
      ...{ ...SMALL, port: String(await freePort()) },
      backupVolumeOptions: '{"type": "tmpfs", "device": "tmpfs", "o": "size=200m,mode=0777"}',
    });
    await cgraphOk("up", "--stack", small, "--no-install");
    await eventually("the first backup", async () => (await list()).length > 0);
  });
  afterAll(() => removeStack(small));

  it("fails the next backup in plain words; the database, the backups before and the verification go on", async () => {
    const before = await list();
    await inBackup("dd if=/dev/zero of=/var/lib/pgbackrest/filler bs=1M count=400 2>/dev/null; true");
    await inBackup("truncate -s -1M /var/lib/pgbackrest/filler");
    const { code, stderr } = await cgraph(["backup", "--type", "full", "--stack", small]);
    expect(code).toBe(1);
    expect(stderr).toContain("there is no room left for backups and WAL");
    // What the backup had begun is gone again: WAL finds its room.
    expect(await inBackup("ls -d /var/lib/pgbackrest/backup/cgraph/[0-9]*/ | wc -l")).toBe(`${before.length}\n`);
    await sql("CREATE TABLE meanwhile AS SELECT generate_series(1, 1000) i", small);
    expect((await list()).map(({ name }) => name)).toEqual(before.map(({ name }) => name));
    await cgraphOk("backup", "verify", "--stack", small);
    await inBackup("rm /var/lib/pgbackrest/filler");
    await cgraphOk("backup", "--type", "full", "--stack", small);
    expect(await list()).toHaveLength(before.length + 1);
  });
});
