import pg from "pg";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { WriteLoad } from "../../bench/load.ts";
import { clusterMembers, currentPrimary, isLeader, settle, superuserSql } from "../../scripts/lib/cluster.ts";
import { run } from "../../scripts/lib/run.ts";
import { openStack, stackValues } from "../../scripts/lib/stack.ts";
import type { StackValues } from "../../stacks/outputs.ts";
import { cgraph, cgraphOk, freePort, removeStack, setConfig, uniqueStack } from "../support/cli.ts";
import { ask } from "../support/client.ts";
import { eventually } from "../support/eventually.ts";

/** One stack's life from stage 1 to stage 3, in order: each part stands on the one before. */
const stack = uniqueStack();
let env: Record<string, string>;
let values: StackValues;

const refresh = async (): Promise<void> => {
  env = JSON.parse(await cgraphOk("env", "--stack", stack, "--json")) as Record<string, string>;
  values = await stackValues(await openStack(stack));
};

const query = <T extends pg.QueryResultRow>(sql: string, url = "DATABASE_OWNER_URL"): Promise<T[]> =>
  ask<T>(env[url], sql);

const up = (...args: string[]): Promise<string> => cgraphOk("up", "--stack", stack, "--no-install", ...args);
const preview = async (): Promise<unknown> => JSON.parse(await cgraphOk("preview", "--stack", stack, "--json"));
const docker = (...args: string[]) => run("docker", args);
const primaryName = async (): Promise<string> => (await currentPrimary(values)).name;
const containerOf = (name: string): string => values.nodes.find((node) => node.name === name)?.container ?? "";

/** Writes go on all the while; gives the longest pause and what went wrong. */
async function underLoad(event: () => Promise<unknown>, withinMs = 40_000) {
  await query(WriteLoad.tableSql("probe"));
  await query("TRUNCATE probe");
  const load = new WriteLoad(env["DATABASE_URL"] ?? "", { clients: 4, table: "probe" }).start();
  expect(await load.progress(50, 15_000), "writes before the event").toBe(true);
  load.mark();
  await event();
  const again = await load.progress(50, withinMs);
  const report = await load.stop();
  expect(again, `writes after the event; errors: ${report.messages.join("; ")}`).toBe(true);
  const owner = new pg.Client({ connectionString: env["DATABASE_OWNER_URL"] });
  await owner.connect();
  try {
    return { ...report, lost: await load.lost(owner) };
  } finally {
    await owner.end();
  }
}

beforeAll(async () => {
  await setConfig(stack, { maxConnections: "100", monitoring: "false" });
  await up("--port", String(await freePort()));
  await refresh();
  await cgraphOk("schema", "apply", "--stack", stack);
  await query(
    "INSERT INTO users (username, email) SELECT 'u' || i, 'u' || i || '@example.com' FROM generate_series(1, 100) i",
  );
});
afterAll(() => removeStack(stack));

describe("a setting of a single server", () => {
  it("is applied without replacing or restarting the container", async () => {
    const [node] = values.nodes;
    const started = async () =>
      (await docker("inspect", "--format", "{{.Id}} {{.State.StartedAt}}", node?.container ?? "")).stdout;
    const before = await started();
    await setConfig(stack, { settings: '{"work_mem": "5MB"}' });
    expect(await preview()).toMatchObject({ verdict: "safe" });
    const { stdout, stderr } = await cgraph(["config", "apply", "--stack", stack, "--json"]);
    expect((JSON.parse(stdout) as { restarted: string[] }).restarted, stderr).toEqual([]);
    expect(await query("SHOW work_mem")).toEqual([{ work_mem: "5MB" }]);
    expect(await started()).toBe(before);
  });
});

describe("a single server", () => {
  it("has nobody to hand over to", async () => {
    for (const command of ["switchover", "failover"]) {
      const { code, stderr } = await cgraph([command, "--stack", stack]);
      expect(code).toBe(3);
      expect(stderr).toContain("is a single server");
    }
  });
});

describe("stage 2", () => {
  it("takes over stage 1's data as it is, behind the same URL", async () => {
    const url = env["DATABASE_DIRECT_URL"];
    await up("--stage", "2");
    await refresh();
    expect(env["DATABASE_DIRECT_URL"]).toBe(url);
    expect(await query("SELECT count(*) FROM users")).toEqual([{ count: "100" }]);
    expect(values.nodes.map(({ name }) => name)).toEqual(["pg0", "pg1"]);
  });

  it("shows no change in a preview", async () => {
    expect(await preview()).toMatchObject({ changes: [], verdict: "none" });
  });

  it("has each server's settings as tuning derives them", async () => {
    for (const node of values.nodes) {
      const rows = await superuserSql(node.container, "SELECT json_object_agg(name, setting) FROM pg_settings");
      const settings = JSON.parse(rows) as Record<string, string>;
      expect(settings["wal_keep_size"], node.name).toBe("1024");
      expect(settings["hot_standby_feedback"], node.name).toBe("on");
      expect(settings["max_connections"], node.name).toBe(node.settings["max_connections"]);
      expect(settings["shared_preload_libraries"], node.name).toBe("pg_stat_statements,pg_cron");
      expect(settings["data_checksums"], node.name).toBe("on");
    }
  });

  it("replicates, and reads go to the replica", async () => {
    await query("INSERT INTO users (username, email) VALUES ('late', 'late@example.com')", "DATABASE_URL");
    await eventually("the row on the replica", async () => {
      const [row] = await query<{ n: string; replica: boolean }>(
        "SELECT count(*) FILTER (WHERE username = 'late') AS n, pg_is_in_recovery() AS replica FROM users",
        "DATABASE_REPLICA_URL",
      );
      return row?.replica === true && row.n === "1";
    });
  });

  it("refuses writes through the reading pool, strangers and clients without TLS through the pool", async () => {
    await expect(query("DELETE FROM users", "DATABASE_REPLICA_URL")).rejects.toThrow("read-only transaction");
    const connect = async (change: (url: URL) => void): Promise<void> => {
      const url = new URL(env["DATABASE_URL"] ?? "");
      change(url);
      const client = new pg.Client({ connectionString: url.toString() });
      try {
        await client.connect();
      } finally {
        await client.end().catch(() => undefined);
      }
    };
    await expect(connect((url) => (url.password = "wrong"))).rejects.toThrow(/authentication failed/);
    await expect(connect((url) => (url.username = "postgres"))).rejects.toThrow(/authentication failed|no such user/);
    await expect(connect((url) => (url.username = "cgraph_pooler"))).rejects.toThrow();
    await expect(connect((url) => (url.search = "?sslmode=disable"))).rejects.toThrow(/SSL required/);
  });

  it("keeps the server connections of many clients within the pool", async () => {
    const clients = Array.from({ length: 200 }, () => {
      const client = new pg.Client({ connectionString: env["DATABASE_URL"] });
      // Those that are in when another one is refused stay until the stack goes.
      return client.on("error", () => undefined);
    });
    try {
      await Promise.all(clients.map((client) => client.connect()));
      await Promise.all(clients.map((client) => client.query("SELECT pg_sleep(0.02)")));
      const primary = await currentPrimary(values);
      const open = await superuserSql(
        primary.container,
        "SELECT count(*) FROM pg_stat_activity WHERE usename = 'cgraph'",
      );
      const { poolSize = 0, reserveSize = 0 } = values.pool ?? {};
      expect(Number(open)).toBeGreaterThan(0);
      expect(Number(open)).toBeLessThanOrEqual(poolSize + reserveSize);
    } finally {
      await Promise.allSettled(clients.map((client) => client.end()));
    }
  });

  it("switches over without an error for clients of the pool, and shows no change afterwards", async () => {
    const from = await primaryName();
    const { errors, messages, lost, longestPauseMs } = await underLoad(() => cgraphOk("switchover", "--stack", stack));
    console.log(`switchover: clients waited ${longestPauseMs} ms`);
    expect(messages).toEqual([]);
    expect({ errors, lost }).toEqual({ errors: 0, lost: 0 });
    expect(await primaryName()).not.toBe(from);
    expect(await preview()).toMatchObject({ changes: [], verdict: "none" });
  });

  it("refuses a switchover to nobody, to itself, and a failover from a healthy primary", async () => {
    const refused = async (...args: string[]) => {
      const { code, stderr } = await cgraph([...args, "--stack", stack]);
      expect(code, stderr).toBe(3);
      return stderr;
    };
    expect(await refused("switchover", "--to", "pg7")).toContain("there is no server pg7");
    expect(await refused("switchover", "--to", await primaryName())).toContain("primary already");
    expect(await refused("failover", "--yes")).toContain("healthy");
  });

  it("fails over when the primary's container is killed; the old primary comes back as a replica", async () => {
    const from = await primaryName();
    let refusal = "";
    const { longestPauseMs, lost } = await underLoad(async () => {
      await docker("kill", containerOf(from));
      const { code, stderr } = await cgraph(["down", "--stack", stack]);
      refusal = `${code} ${stderr}`;
    }, 60_000);
    expect(refusal).toMatch(/^3 .*a failover is under way/);
    console.log(`primary's container killed: writes paused for ${longestPauseMs} ms, ${lost} rows lost (asynchronous)`);
    expect(await primaryName()).not.toBe(from);
    await docker("start", containerOf(from));
    await settle(values);
    const members = await clusterMembers(values);
    expect(members.find(({ name }) => name === from)).toMatchObject({ role: "replica", state: "streaming" });
    expect(await preview()).toMatchObject({ changes: [], verdict: "none" });
  });

  it("fails over when the postgres process is killed", async () => {
    const from = await primaryName();
    const kill = () =>
      docker("exec", containerOf(from), "sh", "-c", "kill -9 $(head -n 1 /var/lib/postgresql/*/data/postmaster.pid)");
    const { longestPauseMs } = await underLoad(kill);
    console.log(`postgres killed: writes paused for ${longestPauseMs} ms`);
    await settle(values);
  });

  it("rebuilds a replica whose data is gone", async () => {
    const replica = (await clusterMembers(values)).find((member) => !isLeader(member))?.name ?? "";
    await docker("exec", containerOf(replica), "sh", "-c", "rm -rf /var/lib/postgresql/*/data/*");
    await docker("kill", containerOf(replica));
    await docker("start", containerOf(replica));
    await eventually("the replica's copy", async () => {
      const members = await clusterMembers(values);
      return members.find(({ name }) => name === replica)?.state === "streaming";
    });
  });

  it("restarts replicas first for a setting that needs it, and nothing for one that does not", async () => {
    await setConfig(stack, { settings: '{"work_mem": "6MB"}' });
    const { stdout, stderr } = await cgraph(["config", "apply", "--stack", stack, "--json"]);
    expect((JSON.parse(stdout) as { restarted: string[] }).restarted, stderr).toEqual([]);
    await eventually("the setting", async () => (await query("SHOW work_mem"))[0]?.["work_mem"] === "6MB");
    const [primary, replica] = [await primaryName(), (await clusterMembers(values)).find((m) => !isLeader(m))?.name];
    await setConfig(stack, { settings: '{"max_locks_per_transaction": "100"}' });
    const applied = JSON.parse(await cgraphOk("config", "apply", "--stack", stack, "--json")) as {
      restarted: string[];
    };
    expect(applied.restarted).toEqual([replica, primary]);
    expect(await query("SHOW max_locks_per_transaction")).toEqual([{ max_locks_per_transaction: "100" }]);
  });

  it("loses no acknowledged write with synchronous on", async () => {
    await setConfig(stack, { synchronous: "on" });
    await cgraphOk("config", "apply", "--stack", stack);
    await eventually("a synchronous replica", async () =>
      (await clusterMembers(values)).some(({ role }) => role === "sync_standby"),
    );
    const from = await primaryName();
    const { lost } = await underLoad(() => docker("kill", containerOf(from)), 60_000);
    expect(lost).toBe(0);
    await docker("start", containerOf(from));
    await settle(values);
    await setConfig(stack, { synchronous: "off" });
    await cgraphOk("config", "apply", "--stack", stack);
  });

  it("goes down and comes back with its data, whoever was primary", async () => {
    const [{ count } = { count: "" }] = await query<{ count: string }>("SELECT count(*) FROM users");
    await cgraphOk("down", "--stack", stack);
    await up();
    await refresh();
    expect(await query("SELECT count(*) FROM users")).toEqual([{ count }]);
  });
});

describe("stage 3", () => {
  it("adds replicas, a second pooler and a cache to what runs", async () => {
    await up("--stage", "3");
    await refresh();
    expect(values.nodes).toHaveLength(4);
    expect(values.services.map(({ name }) => name)).toEqual([
      "etcd0",
      "haproxy",
      "pgbouncer0",
      "pgbouncer1",
      "redis",
      "cache-sync",
    ]);
    expect(await preview()).toMatchObject({ changes: [], verdict: "none" });
    // A replica that was copied a moment ago may still read the archive.
    const status = await eventually("all being well", async () => {
      const { code, stdout } = await cgraph(["status", "--stack", stack, "--json"]);
      return code === 0 && (JSON.parse(stdout) as Record<string, unknown[]>);
    });
    expect(status["nodes"]).toHaveLength(4);
  });
});
