import { readFileSync } from "node:fs";
import pg from "pg";
import { createClient } from "redis";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ChatLoad, type ChatReport, NO_DIFFERENCE } from "../../bench/chatLoad.ts";
import { Cache } from "../../cache/Cache.ts";
import { KEYS, messagesChannel, unreadKey } from "../../cache/rules.ts";
import { clusterMembers, isLeader } from "../../scripts/lib/cluster.ts";
import { containerStates } from "../../scripts/lib/docker.ts";
import { run } from "../../scripts/lib/run.ts";
import { openStack, stackValues } from "../../scripts/lib/stack.ts";
import type { StackValues } from "../../stacks/outputs.ts";
import { cgraph, cgraphOk, freePort, removeStack, setConfig, uniqueStack } from "../support/cli.ts";
import { eventually } from "../support/eventually.ts";

/** One stack at stage 3 from nothing. */
const stack = uniqueStack();
let env: Record<string, string>;
let values: StackValues;
/** As the owner, on a connection of its own each time: some tests break them. */
const owner = {
  async query<T extends pg.QueryResultRow>(sql: string): Promise<pg.QueryResult<T>> {
    const client = new pg.Client({ connectionString: env["DATABASE_OWNER_URL"] });
    client.on("error", () => undefined);
    await client.connect();
    try {
      return await client.query<T>(sql);
    } finally {
      await client.end();
    }
  },
};

const redisClient = () =>
  createClient({
    url: env["REDIS_URL"] ?? "",
    socket: { tls: true, ca: readFileSync(env["PGSSLROOTCERT"] ?? ""), reconnectStrategy: 100, connectTimeout: 2000 },
    disableOfflineQueue: true,
  }).on("error", () => undefined);
let redis: ReturnType<typeof redisClient>;

const container = (name: string): string =>
  [...values.nodes, ...values.services].find((one) => one.name === name)?.container ?? "";
/** Kills what runs in a container from outside: `docker kill` would keep Docker from starting it again. */
const crash = async (name: string): Promise<void> => {
  const { stdout } = await run("docker", ["inspect", "--format", "{{.State.Pid}}", container(name)]);
  process.kill(Number(stdout), "SIGKILL");
};

beforeAll(async () => {
  await setConfig(stack, { maxConnections: "150", cacheMemoryMiB: "64", monitoring: "false" });
  await cgraphOk("up", "--stack", stack, "--stage", "3", "--port", String(await freePort()), "--no-install");
  env = JSON.parse(await cgraphOk("env", "--stack", stack, "--json")) as Record<string, string>;
  values = await stackValues(await openStack(stack));
  await cgraphOk("schema", "apply", "--stack", stack);
  redis = redisClient();
  await redis.connect();
});
afterAll(async () => {
  redis.destroy();
  await removeStack(stack);
});

describe("stage 3 from nothing", () => {
  it("shows no change in a preview", async () => {
    expect(JSON.parse(await cgraphOk("preview", "--stack", stack, "--json"))).toMatchObject({ changes: [] });
  });

  it("is well, and tells roles, lags, pools and cache", async () => {
    const status = JSON.parse(await cgraphOk("status", "--stack", stack, "--json")) as {
      nodes: { role: string; state: string; lagBytes: number | null }[];
      cache: { maxBytes: number };
    };
    expect(status.nodes.map(({ role }) => role).sort()).toEqual(["primary", "replica", "replica", "replica"]);
    expect(status.nodes.filter(({ lagBytes }) => lagBytes !== null)).toHaveLength(3);
    expect(status.cache.maxBytes).toBe(48 * 1024 * 1024);
  });

  it("prints the guide's Ecto configuration", async () => {
    const exs = await cgraphOk("env", "--stack", stack, "--format", "exs");
    expect(exs).toContain("config :cgraph, CGraph.Repo,");
    expect(exs).toMatch(/CGraph\.Repo,[^]*pool_size: 20,\n {2}queue_target: 50,\n {2}queue_interval: 1000\n/);
    expect(exs).toMatch(/CGraph\.RepoReplica,[^]*pool_size: 30,[^]*read_only: true/);
  });
});

describe("the cache", () => {
  const user = "00000000-0000-4000-8000-000000000001";
  const other = "00000000-0000-4000-8000-000000000002";
  const conversation = "00000000-0000-4000-8000-00000000000c";

  beforeAll(async () => {
    await owner.query(
      `INSERT INTO users (id, username, email) VALUES ('${user}', 'ann', 'a@example.com'), ('${other}', 'bob', 'b@example.com')`,
    );
    await owner.query(`INSERT INTO conversations (id, title) VALUES ('${conversation}', 'c')`);
    await eventually("the stream of changes", async () => {
      const { rows } = await owner.query<{ active: boolean }>(
        "SELECT active FROM pg_replication_slots WHERE slot_name LIKE 'cgraph_cache_%'",
      );
      return rows[0]?.active;
    });
  });

  it("asks for a password and TLS", async () => {
    const url = new URL(env["REDIS_URL"] ?? "");
    url.password = "wrong";
    const stranger = createClient({
      url: url.toString(),
      socket: { tls: true, ca: readFileSync(env["PGSSLROOTCERT"] ?? ""), reconnectStrategy: false },
    });
    stranger.on("error", () => undefined);
    await expect(stranger.connect()).rejects.toThrow(/WRONGPASS|invalid username-password/);
  });

  it("loads once for a stampede, over several processes, and then not at all", async () => {
    let loads = 0;
    const load = async () => {
      loads++;
      await new Promise((resolve) => setTimeout(resolve, 100));
      return { name: "ann" };
    };
    const caches = Array.from({ length: 5 }, () => new Cache(redis));
    const found = await Promise.all(
      Array.from({ length: 100 }, (_, i) => (caches[i % 5] as Cache).getOrLoad("user_profiles", [user], load)),
    );
    expect(found).toEqual(Array(100).fill({ name: "ann" }));
    expect(loads).toBe(1);
    const ttl = await redis.ttl(KEYS.user_profiles(user));
    expect(ttl).toBeGreaterThanOrEqual(265);
    expect(ttl).toBeLessThanOrEqual(300);
  });

  it("does not load again what has come between looking and leasing", async () => {
    const key = KEYS.group_details(other);
    await redis.del(key);
    const late = new Cache({
      get: async (name) => {
        const found = await redis.get(name);
        // What another process would do just then.
        if (found === null) await redis.set(key, JSON.stringify({ name: "theirs" }));
        return found;
      },
      hGet: (name, field) => redis.hGet(name, field),
      del: (names) => redis.del(names),
      eval: (script, options) => redis.eval(script, options),
    });
    expect(await late.getOrLoad("group_details", [other], async () => ({ name: "ours" }))).toEqual({ name: "theirs" });
    await redis.del(key);
  });

  it("drops an entry when its row changes, also one that is being loaded", async () => {
    const cache = new Cache(redis);
    const read = async () =>
      (await owner.query<{ display_name: string }>(`SELECT display_name FROM users WHERE id = '${user}'`)).rows[0] ??
      null;
    await redis.del(KEYS.user_profiles(user));
    await cache.getOrLoad("user_profiles", [user], read);
    await owner.query(`UPDATE users SET display_name = 'Ann' WHERE id = '${user}'`);
    await eventually("the entry's end", async () => (await redis.exists(KEYS.user_profiles(user))) === 0, 5000);
    // A slow loader read the row before it changed: what it read must not be kept.
    const slow = cache.getOrLoad("user_profiles", [user], async () => {
      const row = await read();
      await owner.query(`UPDATE users SET display_name = 'Anna' WHERE id = '${user}'`);
      await eventually(
        "the lease's end",
        async () => (await redis.exists(`lease:${KEYS.user_profiles(user)}`)) === 0,
        5000,
      );
      return row;
    });
    expect(await slow).toEqual({ display_name: "Ann" });
    expect(await cache.getOrLoad("user_profiles", [user], read)).toEqual({ display_name: "Anna" });
  });

  it("keeps unread counts in step and announces messages", async () => {
    const cache = new Cache(redis);
    const count = async () =>
      Number(
        (
          await owner.query<{ n: string }>(
            `SELECT count(*) AS n FROM messages WHERE conversation_id = '${conversation}' AND read_at IS NULL AND sender_id <> '${user}'`,
          )
        ).rows[0]?.n,
      );
    const listener = redis.duplicate();
    await listener.connect();
    const heard: string[] = [];
    await listener.subscribe(messagesChannel(conversation), (message) => heard.push(message));
    expect(await cache.unreadCount(conversation, user, count)).toBe(0);
    for (let n = 0; n < 3; n++) {
      await owner.query(
        `INSERT INTO messages (conversation_id, sender_id, content) VALUES ('${conversation}', '${other}', 'hi')`,
      );
    }
    await owner.query(
      `INSERT INTO messages (conversation_id, sender_id, content) VALUES ('${conversation}', '${user}', 'ho')`,
    );
    await eventually("the count", async () => (await redis.hGet(unreadKey(conversation), user)) === "3", 5000);
    await eventually("four announcements", async () => heard.length === 4, 5000);
    await owner.query(`UPDATE messages SET read_at = now() WHERE conversation_id = '${conversation}'`);
    await eventually("a recount", async () => (await cache.unreadCount(conversation, user, count)) === 0, 5000);
    listener.destroy();
  });

  it("does without Redis when it is gone, and with it again when it is back", async () => {
    const errors: unknown[] = [];
    const cache = new Cache(redis, { onError: (error) => errors.push(error) });
    await crash("redis");
    expect(await cache.getOrLoad("group_details", [other], async () => ({ name: "g" }))).toEqual({ name: "g" });
    expect(errors.length).toBeGreaterThan(0);
    await eventually("Redis", async () => (await redis.ping()) === "PONG", 30_000);
  });

  it("stays within its memory when it is full, and the database still serves", async () => {
    const value = "x".repeat(100_000);
    for (let i = 0; i < 800; i++) await redis.set(`filler:${i}`, value);
    const info = await redis.info("stats");
    expect(Number(/evicted_keys:(\d+)/.exec(info)?.[1])).toBeGreaterThan(0);
    expect((await owner.query("SELECT 1")).rowCount).toBe(1);
  });
});

describe("two failures at once", () => {
  const writes = async (): Promise<boolean> => {
    const client = new pg.Client({
      connectionString: env["DATABASE_URL"],
      connectionTimeoutMillis: 3000,
      query_timeout: 3000,
    });
    try {
      await client.connect();
      await client.query("UPDATE conversations SET title = title");
      return true;
    } finally {
      await client.end().catch(() => undefined);
    }
  };

  it("a pooler and a replica: writes go on, both come back by themselves", async () => {
    const replica = (await clusterMembers(values)).find((member) => !isLeader(member))?.name ?? "";
    await Promise.all([crash("pgbouncer0"), crash(replica)]);
    await eventually("a write", writes, 10_000);
    const healthy = async (name: string) =>
      (await containerStates([container(name)])).some(({ health }) => health === "healthy");
    await eventually("the pooler", () => healthy("pgbouncer0"));
    await eventually("four servers", async () => {
      const members = await clusterMembers(values);
      return members.length === 4 && members.every((member) => isLeader(member) || member.state === "streaming");
    });
  });

  it("a replica that was cut off catches up", async () => {
    const replica = (await clusterMembers(values)).find((member) => !isLeader(member))?.name ?? "";
    const network = `cgraph-${stack}`;
    await run("docker", ["network", "disconnect", network, container(replica)]);
    try {
      // Until its own lease has run out: the others no longer count on it.
      await eventually("the others alone", async () => (await writes()) && (await clusterMembers(values)).length === 3);
    } finally {
      await run("docker", ["network", "connect", "--alias", replica, network, container(replica)]);
    }
    await eventually("the replica's stream", async () => {
      const members = await clusterMembers(values);
      const member = members.find(({ name }) => name === replica);
      return members.length === 4 && member?.state === "streaming" && member.lag === 0;
    });
  });

  it("the router comes back by itself", async () => {
    await crash("haproxy");
    await eventually("a write", writes, 20_000);
  });

  it("without etcd the primary goes on, as failsafe mode says, and all is well when it is back", async () => {
    await run("docker", ["stop", container("etcd0")]);
    try {
      // Longer than the lease.
      await new Promise((resolve) => setTimeout(resolve, 25_000));
      await eventually("a write", writes, 10_000);
    } finally {
      await run("docker", ["start", container("etcd0")]);
    }
    await eventually("a leader", async () => (await clusterMembers(values)).some(isLeader));
    await eventually("a write", writes, 10_000);
  });
});

describe("messages by month", () => {
  it("refuses a retention that would put this month away", async () => {
    await setConfig(stack, { messagesRetentionMonths: "0" });
    const { code, stderr } = await cgraph(["partitions", "convert", "--stack", stack]);
    expect(code).toBe(2);
    expect(stderr).toContain("messagesRetentionMonths");
    await setConfig(stack, { messagesRetentionMonths: "2" });
  });

  it("are partitioned while twenty writers insert, change, delete and read: nothing lost, nothing twice", async () => {
    await owner.query(ChatLoad.seedSql(60_000));
    await owner.query(
      "INSERT INTO reactions (message_id, message_inserted_at, user_id, emoji) SELECT id, inserted_at, sender_id, '+' FROM messages ORDER BY id LIMIT 500",
    );
    const { rows: before } = await owner.query<{ n: string }>("SELECT count(*) AS n FROM messages");
    let report: ChatReport | undefined;
    const load = new ChatLoad(env["DATABASE_URL"] ?? "", { clients: 20, oldMessages: 60_000 }).start();
    const result = await cgraph(["partitions", "convert", "--stack", stack, "--json"]).finally(
      async () => (report = await load.stop()),
    );
    expect(result.code, result.stderr).toBe(0);
    console.log(`conversion: ${result.stdout}; writers: ${JSON.stringify(report)}`);
    expect(report?.messages).toEqual([]);
    expect(report?.deleted).toBeGreaterThan(0);
    // The two months of retention leave only old messages out.
    const { rows: archived } = await owner.query<{ name: string }>(
      "SELECT oid::regclass::text AS name FROM pg_class WHERE relnamespace = 'archive'::regnamespace AND relname LIKE 'messages%' AND relkind = 'r'",
    );
    expect(archived.length).toBeGreaterThan(0);
    const parts = ["messages", ...archived.map(({ name }) => name)].map((name) => `SELECT id, content FROM ${name}`);
    await owner.query(`CREATE VIEW everything AS ${parts.join(" UNION ALL ")}`);
    const client = new pg.Client({ connectionString: env["DATABASE_OWNER_URL"] });
    await client.connect();
    try {
      const { rows } = await client.query<{ n: string; kind: string }>(
        "SELECT count(*) AS n, (SELECT relkind FROM pg_class WHERE oid = 'messages'::regclass) AS kind FROM everything",
      );
      expect(rows[0]?.kind).toBe("p");
      expect(Number(rows[0]?.n)).toBe(Number(before[0]?.n) + (report?.inserted ?? 0) - (report?.deleted ?? 0));
      expect(await load.difference(client, "everything")).toEqual(NO_DIFFERENCE);
    } finally {
      await client.query("DROP VIEW everything");
      await client.end();
    }
  });

  it("keep the guide's indexes, keys and autovacuum factors, and months ahead", async () => {
    const states = JSON.parse(await cgraphOk("partitions", "status", "--stack", stack, "--json")) as { name: string }[];
    const ahead = new Date();
    ahead.setUTCMonth(ahead.getUTCMonth() + 3, 1);
    expect(states.map(({ name }) => name)).toContain(`messages_p${ahead.toISOString().slice(0, 7).replace("-", "")}01`);
    const { rows: indexes } = await owner.query<{ name: string }>(
      "SELECT indexrelid::regclass::text AS name FROM pg_index WHERE indrelid = 'messages'::regclass AND indisvalid ORDER BY 1",
    );
    expect(indexes.map(({ name }) => name)).toEqual([
      "idx_messages_content_search",
      "idx_messages_conversation",
      "idx_messages_sender",
      "idx_messages_unread",
      "messages_pkey",
    ]);
    const { rows: leaves } = await owner.query(
      "SELECT FROM pg_inherits JOIN pg_class c ON c.oid = inhrelid WHERE inhparent = 'messages'::regclass AND NOT coalesce(reloptions, '{}') @> ARRAY['autovacuum_vacuum_scale_factor=0.05']",
    );
    expect(leaves).toEqual([]);
    const { rows: jobs } = await owner.query("SELECT jobname FROM cron.job ORDER BY 1");
    expect(jobs).toEqual([{ jobname: "cgraph_analyze_messages" }, { jobname: "cgraph_maintain_messages" }]);
    await cgraphOk("schema", "apply", "--stack", stack);
    await expect(
      owner.query(
        "INSERT INTO reactions (message_id, message_inserted_at, user_id, emoji) SELECT gen_random_uuid(), now(), id, '-' FROM users LIMIT 1",
      ),
    ).rejects.toThrow("foreign key");
  });
});
