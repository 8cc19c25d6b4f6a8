import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import pg from "pg";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ADMINISTRATOR, CHECK_ROLE } from "../../components/aws/names.ts";
import { pgbouncerIni, userlist } from "../../components/docker/pgbouncerFiles.ts";
import { DATABASE, READ_DATABASE, ROLE_NAMES, type RoleName } from "../../components/roles.ts";
import { scramVerifier } from "../../components/scram.ts";
import { type CheckedServer, check } from "../../monitoring/check/handler.ts";
import type { Sample } from "../../monitoring/check/figures.ts";
import type { AwsStackValues } from "../../stacks/aws/outputs.ts";
import { docker } from "../../scripts/lib/docker.ts";
import { ROOT } from "../../scripts/lib/paths.ts";
import { run } from "../../scripts/lib/run.ts";
import { findBaseImage } from "../../scripts/setup/baseImage.ts";
import { cgraphOk, freePort, removeStack, setConfig, SMALL, uniqueStack } from "../support/cli.ts";

/** A name that nothing on this machine resolves: the only way to it is through the access host. */
const HOST = "pg0.cgraph-test.internal";
const hasPsql = (await run("psql", ["--version"])).code === 0;
const stack = uniqueStack();
const name = `cgraph-${stack}-rds`;
const folder = mkdtempSync(join(tmpdir(), "cgraph-access-"));
const log = join(folder, "log");
const authorities = join(folder, "rds-ca.pem");
const passwords = Object.fromEntries(ROLE_NAMES.map((role) => [role, `${role.replaceAll("_", "")}Pass1`])) as Record<
  RoleName,
  string
>;
const administratorPassword = "administratorPass1";

/** What a server on RDS is like before we come: an administrator who is no superuser, AWS's roles, an empty database. */
const LIKE_RDS = `
CREATE ROLE rds_iam; CREATE ROLE rds_replication; CREATE ROLE rds_superuser;
GRANT pg_monitor, pg_read_all_data, pg_signal_backend, rds_iam, rds_replication TO rds_superuser WITH ADMIN OPTION;
CREATE ROLE ${ADMINISTRATOR} LOGIN CREATEROLE CREATEDB PASSWORD '${administratorPassword}' IN ROLE rds_superuser;
CREATE DATABASE ${DATABASE} OWNER ${ADMINISTRATOR};
\\connect ${DATABASE}
CREATE EXTENSION pg_stat_statements;`;

let port: number;
let values: AwsStackValues;

beforeAll(async () => {
  // Builds the images, or finds them.
  const own = await freePort();
  await setConfig(stack, { ...SMALL, port: String(own), baseImage: (await findBaseImage()) ?? "" });
  await cgraphOk("up", "--stack", stack);
  const image = await docker(["inspect", "--format", "{{.Image}}", `cgraph-${stack}-pg0`]);
  port = await freePort();
  const serve = `set -e; cd /tmp; PATH=$PATH:$(echo /usr/lib/postgresql/*/bin)
initdb --auth-host=scram-sha-256 --auth-local=trust -U postgres d >/dev/null
openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj "/CN=${HOST}" -addext "subjectAltName=DNS:${HOST}" -keyout d/server.key -out d/server.crt 2>/dev/null
chmod 600 d/server.key; echo 'hostssl all all all scram-sha-256' >>d/pg_hba.conf
exec postgres -D d -c listen_addresses='*' -c ssl=on -c shared_preload_libraries=pg_stat_statements -c unix_socket_directories=/tmp`;
  await docker([
    ...["run", "--detach", "--name", name, "--label", `cgraph.stack=${stack}`, "--network", `cgraph-${stack}`],
    ...["--network-alias", HOST, "--publish", `127.0.0.1:${port}:5432`, "--user", "postgres"],
    ...["--entrypoint", "sh", image.trim(), "-c", serve],
  ]);
  const inside = (...command: string[]) => run("docker", ["exec", name, ...command]);
  for (let tries = 0; tries < 100; tries++) {
    if ((await inside("pg_isready", "-h", "/tmp")).code === 0) break;
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
  const { code, stderr } = await run(
    "docker",
    ["exec", "-i", name, "psql", "-h", "/tmp", "-U", "postgres", "-v", "ON_ERROR_STOP=1"],
    {
      input: LIKE_RDS,
    },
  );
  if (code !== 0) throw new Error(stderr);
  const certificate = await docker(["exec", name, "cat", "/tmp/d/server.crt"]);
  writeFileSync(authorities, certificate);
  process.env["CGRAPH_RDS_AUTHORITIES"] = authorities;
  writeFileSync(
    join(folder, "aws"),
    `#!/bin/sh\nexec ${process.execPath} ${join(ROOT, "test/support/fakeAws.ts")} "$@"\n`,
  );
  chmodSync(join(folder, "aws"), 0o755);
  process.env["PATH"] = `${folder}${delimiter}${process.env["PATH"] ?? ""}`;
  process.env["FAKE_AWS_PORT"] = String(port);
  process.env["FAKE_AWS_LOG"] = log;
  const write = { host: HOST, port: 5432 };
  values = {
    stage: 1,
    target: "aws",
    region: "eu-west-1",
    postgresVersion: 17,
    nodes: [],
    endpoints: { write, read: [], pool: null, cache: null },
    poolImage: null,
    accessHost: `cgraph-${stack}-access`,
    clientSecurityGroup: "sg-1",
    notes: [],
    cost: [],
    usdPerMonth: 0,
    passwordGenerations: [1],
    passwords,
    otherPasswords: null,
    administratorPassword,
    cachePassword: null,
  };
});
afterAll(async () => {
  await run("docker", ["rm", "--force", name]);
  await removeStack(stack);
  rmSync(folder, { recursive: true });
});

const direct = async (user: string, password: string): Promise<pg.Client> => {
  const ssl = { ca: readFileSync(authorities, "utf8"), servername: HOST };
  const client = new pg.Client({ host: "127.0.0.1", port, user, password, database: DATABASE, ssl });
  client.on("error", () => undefined);
  await client.connect();
  return client;
};

describe("a database without a public address", () => {
  it("gets its roles from an administrator who is no superuser, through the access host, any number of times", async () => {
    const { applyRoles } = await import("../../scripts/aws/roles.ts");
    await applyRoles(values);
    await applyRoles(values);
    expect(readFileSync(log, "utf8")).toContain("AWS-StartPortForwardingSessionToRemoteHost");
    const client = await direct("cgraph_owner", passwords.cgraph_owner);
    const { rows } = await client.query<{ owner: string }>(
      "SELECT pg_get_userbyid(datdba) AS owner FROM pg_database WHERE datname = current_database()",
    );
    expect(rows).toEqual([{ owner: "cgraph_owner" }]);
    await client.end();
  });

  it("takes the schema, and its application's reads and writes, and nobody else's", async () => {
    const { withPrimary } = await import("../../scripts/aws/client.ts");
    const { wholeSchema } = await import("../../scripts/lib/schemaParts.ts");
    await withPrimary(values, { user: "cgraph_owner", password: passwords.cgraph_owner }, "test", async (client) => {
      for (const { sql } of wholeSchema()) await client.query(sql);
    });
    const app = await direct("cgraph", passwords.cgraph);
    await app.query("INSERT INTO users (username, email) VALUES ('a', 'a@example.org')");
    await app.end();
    const reader = await direct("cgraph_readonly", passwords.cgraph_readonly);
    expect((await reader.query("SELECT username FROM users")).rows).toEqual([{ username: "a" }]);
    await expect(reader.query("DELETE FROM users")).rejects.toThrow(/read-only|permission denied/);
    await reader.end();
    await expect(direct("cgraph", "wrong")).rejects.toThrow("password authentication failed");
  });

  it("is examined by the doctor, with nothing to be mended", async () => {
    const { withAwsStack } = await import("../../scripts/doctor/awsPlace.ts");
    const { examine } = await import("../../scripts/doctor/examine.ts");
    const report = await withAwsStack(stack, values, (place) => examine(place));
    expect(report).toMatchObject({ database: DATABASE, address: `${HOST}:5432`, stack, role: "primary" });
    expect(report.findings.filter(({ severity }) => severity !== "info")).toEqual([]);
    expect(report.notChecked.map(({ check }) => check)).toEqual(
      expect.arrayContaining(["backup-verification", "disk"]),
    );
  });

  it.skipIf(!hasPsql)(
    `opens psql, which verifies the server's own name${hasPsql ? "" : " (skipped: no psql)"}`,
    async () => {
      const { psqlAws } = await import("../../scripts/aws/psql.ts");
      const out = join(folder, "out");
      expect(await psqlAws(values, "cgraph_readonly", ["-XAtc", "SELECT count(*) FROM users", "-o", out])).toBe(0);
      expect(readFileSync(out, "utf8").trim()).toBe("1");
      const other = {
        ...values,
        endpoints: { ...values.endpoints, write: { host: "pg9.cgraph-test.internal", port: 5432 } },
      };
      expect(await psqlAws(other, "cgraph_readonly", ["-XAtc", "SELECT 1"])).not.toBe(0);
    },
  );

  it.each([
    ["FAKE_AWS_NO_PLUGIN", "install Session Manager's plugin"],
    ["FAKE_AWS_NO_HOST", "AWS starts another within minutes"],
  ])("says what is missing on the way (%s)", async (variable, remedy) => {
    const { applyRoles } = await import("../../scripts/aws/roles.ts");
    process.env[variable] = "1";
    await expect(applyRoles(values)).rejects.toMatchObject({ remedy: expect.stringContaining(remedy) as unknown });
    // eslint-disable-next-line @typescript-eslint/no-dynamic-delete -- a variable of the environment
    delete process.env[variable];
  });
});

describe("passwords that are rotated", () => {
  const other = Object.fromEntries(ROLE_NAMES.map((role) => [role, `${passwords[role]}New`])) as typeof passwords;

  it("hold side by side for the same role, until the old ones are refused", async () => {
    const { applyRoles } = await import("../../scripts/aws/roles.ts");
    await applyRoles({ ...values, passwordGenerations: [2, 1], passwords: other, otherPasswords: passwords });
    await (await direct("cgraph", passwords.cgraph)).end();
    const client = await direct("cgraph_b", other.cgraph);
    const { rows } = await client.query(
      "SELECT session_user, current_user, current_setting('lock_timeout') AS timeout",
    );
    expect(rows).toEqual([{ session_user: "cgraph_b", current_user: "cgraph", timeout: "10s" }]);
    await client.query("UPDATE users SET email = email");
    await client.end();
    const owner = await direct("cgraph_owner_b", other.cgraph_owner);
    await owner.query("CREATE TABLE made_after (id int)");
    expect((await owner.query("SELECT tableowner FROM pg_tables WHERE tablename = 'made_after'")).rows).toEqual([
      { tableowner: "cgraph_owner" },
    ]);
    await owner.query("DROP TABLE made_after");
    await owner.end();
    await applyRoles({ ...values, passwordGenerations: [2], passwords: other });
    await expect(direct("cgraph", passwords.cgraph)).rejects.toThrow("password authentication failed");
    await (await direct("cgraph_b", other.cgraph)).end();
    // The third generation has the first one's names.
    await applyRoles({ ...values, passwordGenerations: [3] });
    await (await direct("cgraph", passwords.cgraph)).end();
    await expect(direct("cgraph_b", other.cgraph)).rejects.toThrow("password authentication failed");
  });
});

describe("the scheduled check", () => {
  it("reads what CloudWatch cannot see, with pg_monitor's rights only", async () => {
    const root = await run("docker", [
      "exec",
      name,
      "psql",
      "-h",
      "/tmp",
      "-U",
      "postgres",
      "-c",
      `ALTER ROLE ${CHECK_ROLE} PASSWORD 'check'`,
    ]);
    expect(root.code).toBe(0);
    const lines: string[] = [];
    const previous = new Map<string, Sample>();
    const servers: CheckedServer[] = [
      { name: "pg0", host: HOST, port: 5432 },
      { name: "gone", host: "gone", port: 1 },
    ];
    const connect = (server: CheckedServer): Promise<pg.Client> =>
      server.name === "gone" ? Promise.reject(new Error("no answer")) : direct(CHECK_ROLE, "check");
    const once = () =>
      check({ stack, namespace: "CGraph/Database", servers }, connect, previous, (line) => lines.push(line));
    await expect(once()).rejects.toThrow("no figures of gone: no answer");
    const app = await direct("cgraph", passwords.cgraph);
    for (let i = 0; i < 50; i++) await app.query("UPDATE users SET display_name = $1", [String(i)]);
    // The server flushes its counters when the session ends.
    await app.end();
    await expect
      .poll(
        async () => {
          lines.length = 0;
          await once().catch(() => undefined);
          return (JSON.parse(lines[0] ?? "{}") as { dead_tuples?: number }).dead_tuples ?? 0;
        },
        { timeout: 10_000 },
      )
      .toBeGreaterThan(0);
    const figures = JSON.parse(lines[0] ?? "{}") as Record<string, number>;
    expect(figures).toMatchObject({ Stack: stack, Server: "pg0", replication_lag_bytes: 0 });
    expect(figures["statements"]).toBeGreaterThan(0);
    expect(figures["cache_hit_ratio"]).toBeGreaterThan(0);
    expect(figures["cache_hit_ratio"]).toBeLessThanOrEqual(100);
  });
});

describe("the pool's image for AWS", () => {
  const pooler = `cgraph-${stack}-pooler`;
  afterAll(() => run("docker", ["rm", "--force", pooler]));

  it(
    "lets clients in by their verifiers, verifies the server, and tells its figures",
    { timeout: 400_000 },
    async () => {
      const { buildPoolImage } = await import("../../scripts/aws/image.ts");
      const image = `localhost/cgraph-${stack}:test`;
      // The machine's own processors: what is built here runs here.
      await buildPoolImage(image, (await findBaseImage()) ?? "", "");
      const upstream = { hosts: [HOST], port: 5432 };
      const ini = pgbouncerIni({
        ...{ write: upstream, read: upstream, auth: "file" as const },
        ...{ maxClientConnections: 100, poolSize: 10, reserveSize: 0 },
      });
      const users = userlist(
        (["cgraph", "cgraph_readonly"] as const).map((role) => [role, scramVerifier(role, passwords[role])]),
      );
      const poolPort = await freePort();
      const env = { ...process.env, CGRAPH_PGBOUNCER_INI: ini, CGRAPH_USERLIST: users };
      const started = await run(
        "docker",
        [
          ...["run", "--detach", "--name", pooler, "--label", `cgraph.stack=${stack}`, "--network", `cgraph-${stack}`],
          ...["--publish", `127.0.0.1:${poolPort}:6432`, "--env", "CGRAPH_PGBOUNCER_INI", "--env", "CGRAPH_USERLIST"],
          ...[
            "--env",
            "CGRAPH_SERVICE=pgbouncer",
            "--env",
            "CGRAPH_TLS_NAMES=localhost",
            "--env",
            `CGRAPH_FIGURES_STACK=${stack}`,
          ],
          ...[image, "pgbouncer-from-environment"],
        ],
        { env },
      );
      expect(started.code, started.stderr).toBe(0);
      const connect = async (database: string): Promise<pg.Client> => {
        const client = new pg.Client({
          ...{ host: "127.0.0.1", port: poolPort, user: "cgraph", password: passwords.cgraph, database },
          ssl: { rejectUnauthorized: false },
        });
        await client.connect();
        return client;
      };
      let client: pg.Client | undefined;
      await expect
        .poll(async () => (client = await connect(DATABASE).catch(() => undefined)), { timeout: 20_000 })
        .toBeDefined();
      expect((await client?.query("SELECT username FROM users"))?.rows).toEqual([{ username: "a" }]);
      await client?.query("BEGIN");
      await client?.query("SELECT 1");
      const told = await docker(["exec", "--user", "postgres", pooler, "cgraph-pool-figures", "once"]);
      expect(JSON.parse(told)).toMatchObject({ Stack: stack, pool_use: 10, pool_wait_seconds: 0 });
      await client?.query("COMMIT");
      await client?.end();
      const reader = await connect(READ_DATABASE);
      await reader.end();
      await run("docker", ["image", "rm", image]);
    },
  );
});
