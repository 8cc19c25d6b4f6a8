import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Finding } from "../../migration/drift.ts";
import { DATABASE } from "../../components/roles.ts";
import { PATRONI_CURL, superuserSql } from "../../scripts/lib/cluster.ts";
import { docker } from "../../scripts/lib/docker.ts";
import { ROOT } from "../../scripts/lib/paths.ts";
import { run } from "../../scripts/lib/run.ts";
import { SMALL, cgraph, cgraphOk, freePort, removeStack, setConfig, uniqueStack } from "../support/cli.ts";
import { eventually } from "../support/eventually.ts";

interface Shown {
  readonly verdict: string;
  readonly changes: readonly unknown[];
  readonly drift: readonly Finding[];
}

const preview = async (stack: string): Promise<Shown> =>
  JSON.parse(await cgraphOk("preview", "--stack", stack, "--json")) as Shown;

/** Findings without their commands. */
const brief = ({ drift }: Shown): string[] =>
  drift.map(({ where, what, expected, found }) => `${where} ${what}: ${expected} -> ${found}`).sort();

/** Runs the commands that the findings name, as a person would, those of Docker and SQL before `cgraph-db`'s own. */
async function mend({ drift }: Shown): Promise<void> {
  const commands = [...new Set(drift.map(({ remedy }) => remedy))];
  const last = (command: string): number => Number(command.includes("./cgraph-db"));
  for (const command of commands.sort((a, b) => last(a) - last(b))) {
    const { code, stderr } = await run("sh", ["-c", command], { cwd: ROOT });
    expect(code, `${command}: ${stderr}`).toBe(0);
  }
}

/** A stack is as it should be: at once where nothing has to be read anew, else soon. */
const isClean = (stack: string): Promise<unknown> =>
  eventually("a preview without drift", async () => {
    const { drift, changes } = await preview(stack);
    if (drift.length > 0) throw new Error(JSON.stringify(drift));
    return changes.length === 0;
  });

const sql = (container: string, ...statements: string[]): Promise<string> =>
  statements.reduce<Promise<string>>(
    (before, statement) => before.then(() => superuserSql(container, statement)),
    Promise.resolve(""),
  );

describe("drift of a server on its own", () => {
  const stack = uniqueStack();
  const name = (part: string): string => `cgraph-${stack}-${part}`;
  const pg0 = name("pg0");
  const edit = (script: string): Promise<string> =>
    docker(["run", "--rm", "--network", "none", "--volume", `${name("pg0-config")}:/etc/cgraph`, ...image, script]);
  let image: string[] = [];

  beforeAll(async () => {
    await setConfig(stack, SMALL);
    await cgraphOk("up", "--stack", stack, "--port", String(await freePort()), "--no-install");
    const id = (await docker(["inspect", "--format", "{{.Image}}", pg0])).trim();
    image = ["--entrypoint", "sh", id, "-c"];
  });
  afterAll(() => removeStack(stack));

  it("is none where nothing was touched", async () => {
    expect(await preview(stack)).toMatchObject({ from: 1, to: 1, changes: [], verdict: "none", drift: [] });
    const { stdout } = await cgraph(["preview", "--stack", stack]);
    expect(stdout).not.toContain("drift");
  });

  it("is not looked for where another stage is asked about", async () => {
    await sql(pg0, "ALTER SYSTEM SET work_mem = '7MB'");
    const other = JSON.parse(await cgraphOk("preview", "--stack", stack, "--stage", "1", "--json")) as object;
    expect(other).not.toHaveProperty("drift");
    await sql(pg0, "ALTER SYSTEM RESET work_mem");
  });

  it("in settings is found by server and mended by the named commands", async () => {
    await sql(
      pg0,
      "ALTER SYSTEM SET work_mem = '7MB'",
      "ALTER SYSTEM SET max_locks_per_transaction = 99",
      "SELECT pg_reload_conf()",
    );
    await edit(
      "echo jit_above_cost = 5 >> /etc/cgraph/postgresql.conf; sed -i s/^wal_keep_size.*/wal_keep_size=48MB/ /etc/cgraph/postgresql.conf",
    );
    await docker(["kill", "--signal", "HUP", pg0]);
    const shown = await eventually("all of it", async () => {
      const now = await preview(stack);
      return now.drift.length === 4 && now;
    });
    expect(shown.verdict).toBe("none");
    const line = "/etc/cgraph/postgresql.conf";
    expect(brief(shown)).toEqual([
      expect.stringMatching(`^pg0 jit_above_cost: not set -> 5 \\(${line}:\\d+\\)$`),
      "pg0 max_locks_per_transaction: not set -> 99 (ALTER SYSTEM, waits for a restart)",
      "pg0 wal_keep_size: 0MB -> 48 MB (configuration file)",
      expect.stringMatching(/^pg0 work_mem: \d+MB -> 7MB \(ALTER SYSTEM\)$/),
    ]);
    const { stdout } = await cgraph(["preview", "--stack", stack]);
    expect(stdout).toContain("drift: what runs differs from the stack's state in 4 places");
    await mend(shown);
    await isClean(stack);
  });

  it("in roles, defaults, extensions and rules of access", async () => {
    await sql(
      pg0,
      "ALTER ROLE cgraph SET statement_timeout = '9s'",
      "ALTER ROLE cgraph_readonly CREATEDB",
      "ALTER ROLE cgraph_owner PASSWORD 'another'",
      "ALTER ROLE postgres SET work_mem = '2MB'",
      `ALTER DATABASE ${DATABASE} SET jit = on`,
      "GRANT pg_read_all_data TO cgraph",
      "DROP OWNED BY cgraph_rewind",
      "DROP ROLE cgraph_rewind",
    );
    await superuserSql(pg0, "DROP EXTENSION pg_stat_statements", DATABASE);
    await edit("echo 'host all all all trust' >> /etc/cgraph/pg_hba.conf");
    const shown = await preview(stack);
    expect(brief(shown)).toEqual([
      `pg0 database ${DATABASE}: jit: not set -> on`,
      "pg0 extension pg_stat_statements: there -> missing",
      "pg0 pg_hba.conf: nothing more -> host all all all trust",
      "pg0 role cgraph: not a member of pg_read_all_data -> member",
      "pg0 role cgraph: statement_timeout: 30s -> 9s",
      "pg0 role cgraph_owner: password: the stack's (env) -> another",
      "pg0 role cgraph_readonly: NOCREATEDB -> CREATEDB",
      "pg0 role cgraph_rewind: there -> missing",
      "pg0 role postgres: work_mem: not set -> 2MB",
    ]);
    await mend(shown);
    await isClean(stack);
  });

  it("of a server that does not run is a finding, not an error", async () => {
    await docker(["stop", "--time", "60", pg0]);
    const shown = await preview(stack);
    expect(shown.drift).toEqual([
      {
        kind: "container",
        where: "pg0",
        what: "container",
        expected: "running",
        found: "exited",
        remedy: `docker start ${pg0}`,
      },
    ]);
    await mend(shown);
    await isClean(stack);
  });

  it("is none after down: what is not there is to be made, and the plan says so", async () => {
    await cgraphOk("down", "--stack", stack);
    const { changes, drift } = await preview(stack);
    expect(changes.length).toBeGreaterThan(0);
    expect(drift).toEqual([]);
  });
});

describe("drift of a cluster", () => {
  const stack = uniqueStack();
  const name = (part: string): string => `cgraph-${stack}-${part}`;
  const patch = (config: object): Promise<string> =>
    docker([
      ...["exec", "--user", "postgres", name("pg0"), "curl", "--silent", "--fail", ...PATRONI_CURL, "--request"],
      ...["PATCH", "--data", JSON.stringify(config), "https://localhost:8008/config"],
    ]);

  beforeAll(async () => {
    await setConfig(stack, { stage: "2", maxConnections: "40" });
    await cgraphOk("up", "--stack", stack, "--port", String(await freePort()), "--no-install");
  });
  afterAll(() => removeStack(stack));

  it("is none where nothing was touched, whoever leads", async () => {
    const clean = { from: 2, to: 2, changes: [], verdict: "none", drift: [] };
    expect(await preview(stack)).toMatchObject(clean);
    await cgraphOk("switchover", "--stack", stack);
    await isClean(stack);
    await cgraphOk("switchover", "--stack", stack);
    await isClean(stack);
  });

  it("in Docker is found and mended by the named commands", async () => {
    await docker(["update", "--memory", "200m", "--memory-swap", "300m", "--cpus", "0.5", name("haproxy")]);
    await docker(["rm", "--force", name("pgbouncer0")]);
    await docker(["stop", "--time", "1", name("backup")]);
    await docker(["network", "disconnect", name("").slice(0, -1), name("pg1")]);
    const labels = ["--label", `cgraph.stack=${stack}`];
    const image = (await docker(["inspect", "--format", "{{.Image}}", name("haproxy")])).trim();
    await docker(["create", "--name", name("stray"), ...labels, image]);
    await docker(["network", "create", ...labels, name("stray")]);
    await docker(["volume", "create", ...labels, name("stray")]);
    const shown = await preview(stack);
    expect(shown.verdict).toBe("none");
    const stranger = "not there -> labelled as this stack's, made by something else";
    expect(brief(shown).filter((text) => !text.includes("Patroni"))).toEqual([
      "backup container: running -> exited",
      `${name("stray")} unknown container: ${stranger}`,
      `${name("stray")} unknown network: ${stranger}`,
      `${name("stray")} unknown volume: ${stranger}`,
      "haproxy CPU limit: 1 -> 0.5",
      "haproxy memory limit: 512 MiB -> 200 MiB, with swap 300 MiB",
      `pg1 network: cgraph-${stack} -> not connected`,
      "pgbouncer0 container: running -> removed",
    ]);
    await mend(shown);
    await isClean(stack);
  });

  it("in Patroni's configuration is told once, not again of every server", async () => {
    await patch({ ttl: 30, postgresql: { parameters: { maintenance_work_mem: "100MB", enable_hashjoin: "off" } } });
    await eventually("the setting", async () => {
      const value = await superuserSql(name("pg1"), "SHOW maintenance_work_mem");
      return value === "100MB";
    });
    const shown = await preview(stack);
    expect(brief(shown)).toEqual([
      "cluster Patroni's postgresql.parameters.enable_hashjoin: nothing -> off",
      expect.stringMatching(/^cluster Patroni's postgresql.parameters.maintenance_work_mem: \d+MB -> 100MB$/),
      "cluster Patroni's ttl: 20 -> 30",
    ]);
    await mend(shown);
    await isClean(stack);
  });

  it("of one server is told of that server", async () => {
    await sql(name("pg1"), "ALTER SYSTEM SET log_min_duration_statement = '7s'", "SELECT pg_reload_conf()");
    await docker([
      ...["exec", "--user", "postgres", name("pg1"), "sh", "-c"],
      "cd /var/lib/postgresql/*/data; echo 'host all all all trust' >> pg_hba.conf; echo 'work_mem = 3MB' >> postgresql.conf; kill -HUP $(head -n 1 postmaster.pid)",
    ]);
    const shown = await eventually("all of it", async () => {
      const now = await preview(stack);
      return now.drift.length === 3 && now;
    });
    expect(brief(shown)).toEqual([
      "pg1 log_min_duration_statement: 1000ms -> 7s (ALTER SYSTEM)",
      "pg1 pg_hba.conf: nothing more -> host all all all trust",
      expect.stringMatching(/^pg1 work_mem: \d+MB -> 3072 kB \(configuration file\)$/),
    ]);
    await mend(shown);
    await isClean(stack);
  });

  it("of servers that are down leaves the preview to say so", async () => {
    for (const server of ["pg1", "pg0"]) await docker(["stop", "--time", "60", name(server)]);
    const shown = await preview(stack);
    expect(brief(shown)).toEqual(["pg0 container: running -> exited", "pg1 container: running -> exited"]);
    await mend(shown);
    await isClean(stack);
  });
});
