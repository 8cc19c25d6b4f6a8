import pg from "pg";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { DATABASE } from "../../components/roles.ts";
import { ROOT } from "../../scripts/lib/paths.ts";
import { run } from "../../scripts/lib/run.ts";
import { pulumiEnvironment } from "../../scripts/lib/stackFiles.ts";
import { findPulumi } from "../../scripts/setup/pulumi.ts";
import { startLanguageHost } from "../support/languageHost.ts";
import { openStack, stackValues } from "../../scripts/lib/stack.ts";
import { readConfig } from "../../stacks/config.ts";
import { planTopology } from "../../stacks/topology.ts";
import { dockerHost } from "../../components/docker/engine.ts";
import { pgSettingsText } from "../../tuning/setting.ts";
import { cgraph, cgraphOk, freePort, removeStack, uniqueStack } from "../support/cli.ts";
import { ask } from "../support/client.ts";
import { expectNothingToMend } from "../support/doctor.ts";
import { schemaErrors } from "../support/previewSchema.ts";

const stack = uniqueStack();
let env: Record<string, string>;

const refreshEnv = async (): Promise<void> => {
  env = JSON.parse(await cgraphOk("env", "--stack", stack, "--json")) as Record<string, string>;
};

const query = <T extends pg.QueryResultRow>(sql: string, url = "DATABASE_OWNER_URL"): Promise<T[]> =>
  ask<T>(env[url], sql);

beforeAll(async () => {
  await cgraphOk("up", "--stack", stack, "--port", String(await freePort()), "--no-install");
  await refreshEnv();
});
afterAll(() => removeStack(stack));

describe("a new stage 1", () => {
  it("has exactly the settings that tuning derives, and knows which need a restart", async () => {
    const topology = planTopology(
      readConfig(() => undefined),
      await dockerHost(),
    );
    const rows = await query<{
      name: string;
      setting: string;
      unit: string | null;
      context: string;
      pending_restart: boolean;
    }>("SELECT name, setting, unit, context, pending_restart FROM pg_settings", "DATABASE_MONITOR_URL");
    const settings = topology.nodes[0]?.settings ?? {};
    expect(Object.keys(settings).length).toBeGreaterThan(40);
    for (const [name, setting] of Object.entries(settings)) {
      const row = rows.find((one) => one.name === name);
      expect(row?.setting, name).toBe(pgSettingsText(setting, row?.unit ?? null));
      expect(row?.context === "postmaster", `${name} needs a restart`).toBe(setting.restart);
    }
    expect(rows.filter((row) => row.pending_restart)).toEqual([]);
    expect(rows.find((row) => row.name === "data_checksums")?.setting).toBe("on");
  });

  it("shows no change in a preview, nor after a refresh", async () => {
    const preview = JSON.parse(await cgraphOk("preview", "--stack", stack, "--json")) as unknown;
    expect(preview).toMatchObject({ from: 1, to: 1, changes: [], verdict: "none", steps: [], cost: null, drift: [] });
    expect(schemaErrors(preview)).toEqual([]);
    const opened = await openStack(stack);
    const { changeSummary } = await opened.previewRefresh();
    expect(Object.keys(changeSummary)).toEqual(["same"]);
  });

  it("is what plain `pulumi up` would make: index.ts under Pulumi's own runner shows no change", async () => {
    const cli = await findPulumi();
    const host = await startLanguageHost();
    try {
      const { code, stdout, stderr } = await run(
        cli?.command ?? "pulumi",
        ["preview", "--stack", stack, "--client", host.address, "--json", "--non-interactive"],
        { cwd: ROOT, timeoutMs: 60_000, env: { ...process.env, ...pulumiEnvironment(stack) } },
      );
      expect(code, stderr).toBe(0);
      const preview = JSON.parse(stdout) as { changeSummary: Record<string, number> };
      expect(Object.keys(preview.changeSummary)).toEqual(["same"]);
      expect(preview.changeSummary["same"]).toBeGreaterThan(15);
    } finally {
      host.stop();
    }
  });

  it("tells what runs", async () => {
    const status = JSON.parse(await cgraphOk("status", "--stack", stack, "--json")) as Record<string, unknown>;
    expect(status).toMatchObject({
      stack,
      stage: 1,
      target: "docker",
      nodes: [{ name: "pg0", role: "primary", host: "localhost", state: "healthy" }],
    });
    expect(Object.keys((status["nodes"] as object[])[0] ?? {})).toEqual(
      expect.arrayContaining(["name", "role", "host", "port", "cpus", "memoryMiB", "image", "settings"]),
    );
  });

  it("prints the same keys as dotenv and as JSON", async () => {
    const dotenv = await cgraphOk("env", "--stack", stack);
    const keys = dotenv
      .trim()
      .split("\n")
      .map((line) => line.split("=")[0]);
    expect(keys).toEqual(Object.keys(env));
    expect(keys).toEqual(expect.arrayContaining(["DATABASE_URL", "DATABASE_DIRECT_URL"]));
  });

  it("refuses clients without TLS, with a wrong password, and the superuser over the network", async () => {
    const url = new URL(env["DATABASE_URL"] ?? "");
    const fails = (change: (u: URL) => void): Promise<unknown> => {
      const other = new URL(url);
      change(other);
      const client = new pg.Client({ connectionString: other.toString() });
      return client.connect().then(
        () => client.end().then(() => undefined),
        (error: unknown) => error,
      );
    };
    expect(String(await fails((u) => (u.search = "?sslmode=disable")))).toContain("no encryption");
    expect(String(await fails((u) => (u.password = "wrong")))).toContain("password authentication failed");
    expect(String(await fails((u) => (u.username = "postgres")))).toContain("no pg_hba.conf entry");
    expect(String(await fails((u) => (u.username = "replicator")))).toContain("no pg_hba.conf entry");
    expect(String(await fails((u) => (u.pathname = "/postgres")))).toContain("no pg_hba.conf entry");
  });

  it("listens on 127.0.0.1 only", async () => {
    const { stdout } = await run("docker", ["port", `cgraph-${stack}-pg0`]);
    expect(stdout.trim()).toMatch(/^5432\/tcp -> 127\.0\.0\.1:\d+$/);
  });
});

describe("the schema", () => {
  it("applies, and again without a change", async () => {
    await cgraphOk("schema", "apply", "--stack", stack);
    const shape = () =>
      query(
        "SELECT indexrelid::regclass::text AS index, indisvalid FROM pg_index JOIN pg_class ON oid = indrelid WHERE relnamespace = 'public'::regnamespace ORDER BY 1",
      );
    const before = await shape();
    await cgraphOk("schema", "apply", "--stack", stack);
    expect(await shape()).toEqual(before);
  });

  it("gives the doctor nothing to mend", async () => {
    await expectNothingToMend(stack);
  });

  it("has the guide's indexes, used by the guide's query", async () => {
    const rows = await query<{ indexname: string }>("SELECT indexname FROM pg_indexes WHERE schemaname = 'public'");
    expect(rows.map((row) => row.indexname)).toEqual(
      expect.arrayContaining([
        "idx_users_username",
        "idx_users_email",
        "idx_users_wallet_address",
        "idx_messages_conversation",
        "idx_messages_sender",
        "idx_messages_content_search",
        "idx_messages_unread",
      ]),
    );
    await query(`
      INSERT INTO users (username, email) SELECT 'u' || i, 'u' || i || '@example.com' FROM generate_series(1, 50) i;
      INSERT INTO conversations (title) SELECT 'c' || i FROM generate_series(1, 20) i;
      INSERT INTO messages (conversation_id, sender_id, content)
        SELECT c.id, u.id, 'hello ' || n FROM conversations c, users u, generate_series(1, 10) n;
      ANALYZE`);
    const plan = await query(
      "EXPLAIN (FORMAT JSON) SELECT * FROM messages WHERE conversation_id = (SELECT id FROM conversations LIMIT 1) ORDER BY inserted_at DESC LIMIT 50",
      "DATABASE_URL",
    );
    expect(JSON.stringify(plan)).toContain("idx_messages_conversation");
  });

  it("gives each role what it needs and no more", async () => {
    const denied = (sql: string, url: string) =>
      query(sql, url).then(
        () => "allowed",
        (error: unknown) => String(error),
      );
    expect(await query("SELECT count(*) FROM messages", "DATABASE_READONLY_URL")).toEqual([{ count: "10000" }]);
    expect(await denied("UPDATE messages SET read_at = now()", "DATABASE_READONLY_URL")).toContain(
      "read-only transaction",
    );
    expect(await denied("BEGIN READ WRITE; DELETE FROM messages", "DATABASE_READONLY_URL")).toContain(
      "permission denied",
    );
    expect(await denied("CREATE TABLE t (a int)", "DATABASE_URL")).toContain("permission denied for schema public");
    expect(await denied("DROP TABLE messages", "DATABASE_URL")).toContain("must be owner");
    expect(await denied("SELECT * FROM messages", "DATABASE_MONITOR_URL")).toContain("permission denied");
    expect(await query("SELECT count(*) > 0 AS seen FROM pg_stat_statements", "DATABASE_MONITOR_URL")).toEqual([
      { seen: true },
    ]);
    const timeouts = await query<{ statement_timeout: string }>("SHOW statement_timeout", "DATABASE_URL");
    expect(timeouts).toEqual([{ statement_timeout: "30s" }]);
  });
});

describe("secrets", () => {
  it("stand in no container's environment, command, labels, process list or log, and in no command's output", async () => {
    const values = await stackValues(await openStack(stack));
    const secrets = [...Object.values(values.passwords), values.backupKey];
    const seen: string[] = [];
    for (const container of [`cgraph-${stack}-pg0`, `cgraph-${stack}-backup`]) {
      for (const args of [
        ["inspect", container],
        ["top", container, "-eo", "pid,args"],
        ["logs", container],
      ]) {
        const { stdout, stderr } = await run("docker", args);
        seen.push(stdout, stderr);
      }
    }
    const { stdout: processes } = await run("ps", ["-eo", "args"]);
    const outputs = await Promise.all([
      cgraph(["up", "--stack", stack, "--no-install"]),
      cgraph(["status", "--stack", stack, "--json"]),
    ]);
    seen.push(processes, ...outputs.flatMap(({ stdout, stderr }) => [stdout, stderr]));
    expect(seen.join("").length).toBeGreaterThan(1000);
    for (const secret of secrets) expect(seen.some((text) => text.includes(secret))).toBe(false);
  });

  it("are in the state only encrypted", async () => {
    const { readFileSync } = await import("node:fs");
    const { localStateFile } = await import("../../scripts/lib/stackFiles.ts");
    const state = readFileSync(localStateFile(stack), "utf8");
    const values = await stackValues(await openStack(stack));
    for (const secret of [...Object.values(values.passwords), values.backupKey]) expect(state).not.toContain(secret);
  });
});

describe("backups", () => {
  it("bring back a dropped table as it was at a given time, and leave the old volume as it was", async () => {
    const backup = JSON.parse(await cgraphOk("backup", "--stack", stack, "--type", "full", "--json")) as {
      name: string;
    };
    await query("INSERT INTO settings SELECT 'key' || i, '1' FROM generate_series(1, 500) i");
    const [row] = await query<{ now: Date }>("SELECT now()");
    const before = row?.now ?? new Date();
    await new Promise((resolve) => setTimeout(resolve, 1500));
    const target = new Date(before.getTime() + 700).toISOString();
    await query("DROP TABLE settings");

    const listed = JSON.parse(await cgraphOk("backups", "--stack", stack, "--json")) as { name: string }[];
    expect(listed.map((one) => one.name)).toContain(backup.name);
    const unasked = await cgraph(["restore", "--stack", stack, "--to", target]);
    expect(unasked.code).toBe(3);
    const restored = JSON.parse(await cgraphOk("restore", "--stack", stack, "--to", target, "--yes", "--json")) as {
      keptVolume: string;
      volume: string;
    };
    expect(await query("SELECT count(*) FROM settings")).toEqual([{ count: "500" }]);
    expect(await query("SELECT count(*) FROM messages")).toEqual([{ count: "10000" }]);

    // The old volume still opens, and in it the table is still dropped.
    expect(restored.keptVolume).toBe(`cgraph-${stack}-pg0-data`);
    const image = (await run("docker", ["inspect", "--format", "{{.Image}}", `cgraph-${stack}-pg0`])).stdout.trim();
    const old = await run("docker", [
      "run",
      "--rm",
      "--label",
      `cgraph.stack=${stack}`,
      "--network",
      "none",
      "--user",
      "postgres",
      "--entrypoint",
      "bash",
      "--volume",
      `${restored.keptVolume}:/var/lib/postgresql`,
      image,
      "-c",
      `cp -r /var/lib/postgresql/17/data /tmp/copy && pg_ctl -s -w -D /tmp/copy -l /tmp/log -o "-c listen_addresses= -c unix_socket_directories=/tmp" start && psql -h /tmp -U postgres -XAtc "SELECT to_regclass('settings') IS NULL, (SELECT count(*) FROM messages)" ${DATABASE}`,
    ]);
    expect(old.stdout.trim(), old.stderr).toBe("t|10000");
  });

  it("go on after the restore", async () => {
    const status = JSON.parse(await cgraphOk("backup", "--stack", stack, "--type", "full", "--json")) as {
      error: boolean;
    };
    expect(status.error).toBe(false);
    expect(await query("SELECT failed_count FROM pg_stat_archiver", "DATABASE_MONITOR_URL")).toEqual([
      { failed_count: "0" },
    ]);
  });

  it("restore a backup by its name", async () => {
    const [first] = JSON.parse(await cgraphOk("backups", "--stack", stack, "--json")) as { name: string }[];
    await cgraphOk("restore", "--stack", stack, "--to", first?.name ?? "", "--yes");
    const preview = JSON.parse(await cgraphOk("preview", "--stack", stack, "--json")) as { verdict: string };
    expect(preview.verdict).toBe("none");
  });

  it("leave old volumes until prune deletes them, and only those", async () => {
    const pruned = JSON.parse(await cgraphOk("prune", "--stack", stack, "--yes", "--json")) as { deleted: string[] };
    expect(pruned.deleted).toEqual([`cgraph-${stack}-pg0-data`, `cgraph-${stack}-pg0-data-2`]);
    const volumes = await run("docker", ["volume", "ls", "--quiet", "--filter", `label=cgraph.stack=${stack}`]);
    expect(volumes.stdout).toContain(`cgraph-${stack}-pg0-data-3`);
    expect(volumes.stdout.split("\n").filter((name) => name.includes("pg0-data"))).toHaveLength(1);
    const preview = JSON.parse(await cgraphOk("preview", "--stack", stack, "--json")) as { verdict: string };
    expect(preview.verdict).toBe("none");
  });

  it("refuse a target that no backup leads to", async () => {
    for (const [target, words] of [
      ["2020-01-01T00:00:00Z", "outside of what can be restored"],
      ["yesterday", "is neither a backup's name"],
      ["2026-11-22 10:00", "neither"],
    ] as const) {
      const { code, stderr } = await cgraph(["restore", "--stack", stack, "--to", target, "--yes"]);
      expect(code).not.toBe(0);
      expect(stderr).toContain(words);
    }
  });
});

describe("life goes on", () => {
  it("a restarted server keeps its data", async () => {
    await cgraphOk("schema", "apply", "--stack", stack);
    await query("INSERT INTO feature_flags (name) VALUES ('kept')");
    await run("docker", ["restart", `cgraph-${stack}-pg0`]);
    await cgraphOk("up", "--stack", stack, "--no-install");
    expect(await query("SELECT name FROM feature_flags")).toEqual([{ name: "kept" }]);
  });

  it("a container that somebody removed comes back at the next up", async () => {
    await run("docker", ["rm", "--force", `cgraph-${stack}-pg0`]);
    await cgraphOk("up", "--stack", stack, "--no-install");
    expect(await query("SELECT name FROM feature_flags")).toEqual([{ name: "kept" }]);
  });

  it("down keeps the volumes, and up finds them with the same passwords", async () => {
    const before = env["DATABASE_URL"];
    const down = JSON.parse(await cgraphOk("down", "--stack", stack, "--json")) as { keptVolumes: string[] };
    expect(down.keptVolumes).toContain(`cgraph-${stack}-pg0-data-3`);
    expect((await run("docker", ["ps", "--all", "--quiet", "--filter", `label=cgraph.stack=${stack}`])).stdout).toBe(
      "",
    );
    await cgraphOk("up", "--stack", stack, "--no-install");
    await refreshEnv();
    expect(env["DATABASE_URL"]).toBe(before);
    expect(await query("SELECT name FROM feature_flags")).toEqual([{ name: "kept" }]);
  });

  it("down --delete-data asks first, then leaves nothing", async () => {
    const unasked = await cgraph(["down", "--stack", stack, "--delete-data"]);
    expect(unasked.code).toBe(3);
    await cgraphOk("down", "--stack", stack, "--delete-data", "--yes");
    expect((await run("docker", ["volume", "ls", "--quiet", "--filter", `label=cgraph.stack=${stack}`])).stdout).toBe(
      "",
    );
    const gone = await cgraph(["status", "--stack", stack]);
    expect(gone.code).toBe(2);
    expect(gone.stderr).toContain(`there is no stack "${stack}"`);
  });
});
