/** What a runbook's page is about, brought about: a lost primary, a forgotten slot, deleted rows. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import pg from "pg";
import { expect } from "vitest";
import { DATABASE } from "../../components/roles.ts";
import { clusterMembers, currentPrimary, isLeader, settle, superuserSql } from "../../scripts/lib/cluster.ts";
import { environment } from "../../scripts/lib/connection.ts";
import { docker } from "../../scripts/lib/docker.ts";
import { currentValues } from "./chat.ts";
import { cgraphOk, setConfig } from "./cli.ts";
import { eventually } from "./eventually.ts";

export interface Situation {
  /** What the page's words stand for. */
  readonly words?: Readonly<Record<string, string>>;
  /** By the page's command: must match what it prints. */
  readonly prints?: Readonly<Record<string, RegExp>>;
  /** By the page's command: what must be so after it. */
  readonly after?: Readonly<Record<string, () => Promise<unknown>>>;
  /** After the page: what it has brought about, and then everything as before. */
  readonly end?: () => Promise<unknown>;
}

export type Prepare = (stack: string) => Promise<Situation>;

/** Whose turn comes when: those that bring the stack up to stage 3, and those that shake it. The rest is in between. */
export const ORDER = {
  first: ["backup-now.md", "restore.md", "stop-and-start.md", "move-a-stage.md"],
  last: [
    "add-replicas.md",
    "rebuild-replica.md",
    "switchover.md",
    "rolling-restart.md",
    "cluster-paused.md",
    "failover.md",
  ],
} as const;

/** A client that stays, as the schema's owner; it may be ended at any time. */
export async function session(stack: string): Promise<{ client: pg.Client; pid: number }> {
  const { DATABASE_OWNER_URL } = await environment(stack, await currentValues(stack));
  const client = new pg.Client({ connectionString: DATABASE_OWNER_URL, application_name: "cgraph-runbook" });
  client.on("error", () => undefined);
  await client.connect();
  // However slow the machine is: it stays until a page ends it.
  await client.query("SET idle_in_transaction_session_timeout = 0; SET lock_timeout = 0");
  const { rows } = await client.query<{ pid: number }>("SELECT pg_backend_pid() AS pid");
  return { client, pid: rows[0]?.pid ?? 0 };
}

/** The newest backup. */
async function newestBackup(stack: string): Promise<string> {
  const backups = JSON.parse(await cgraphOk("backups", "--stack", stack, "--json")) as { name: string }[];
  return backups.at(-1)?.name ?? "";
}

/** Somebody who has begun a transaction and gone for lunch: PID; a statement to explain: FILE; the newest BACKUP. */
export async function usualWords(
  stack: string,
  folder: string,
  words: readonly string[],
): Promise<{ words: Record<string, string>; end: () => Promise<unknown> }> {
  const found: Record<string, string> = { STACK: stack };
  let idle: pg.Client | undefined;
  if (words.includes("PID")) {
    const { client, pid } = await session(stack);
    await client.query("BEGIN");
    [idle, found["PID"]] = [client, String(pid)];
  }
  if (words.includes("BACKUP")) found["BACKUP"] = await newestBackup(stack);
  if (words.includes("FILE")) {
    found["FILE"] = join(folder, "slow.sql");
    writeFileSync(found["FILE"], "SELECT count(*) FROM users WHERE email = 'nobody@example.com'");
  }
  return { words: found, end: async () => idle?.end().catch(() => undefined) };
}

const superuser = async (stack: string, sql: string): Promise<string> =>
  superuserSql((await currentPrimary(await currentValues(stack))).container, sql, DATABASE);

const users = async (stack: string): Promise<number> =>
  Number(await superuser(stack, "SELECT count(*)::text FROM public.users"));

/** pg0 leads, as the pages have it. */
async function pg0Leads(stack: string): Promise<void> {
  const values = await currentValues(stack);
  if ((await currentPrimary(values)).name !== "pg0") await cgraphOk("switchover", "--to", "pg0", "--stack", stack);
  await settle(values);
}

const patronictl = async (stack: string, server: string, ...args: string[]): Promise<string> => {
  const container = (await currentValues(stack)).nodes.find(({ name }) => name === server)?.container ?? "";
  return docker(["exec", "--user", "postgres", container, "patronictl", "-c", "/etc/cgraph/patroni.yml", ...args]);
};

const settled = async (stack: string): Promise<void> => settle(await currentValues(stack));
/** Its commands suffice: all of them are typed in turn, also those that another page has had. */
const whole: Prepare = async (stack) => ({ end: () => settled(stack) });

export const SITUATIONS: Readonly<Record<string, Prepare>> = {
  "backup-now.md": async () => ({ prints: { "./cgraph-db backups": /F/ } }),

  "restore.md": async (stack) => {
    // The newest, which has the tables; the first is from before there were any.
    const backup = await newestBackup(stack);
    await superuser(
      stack,
      "INSERT INTO users (username, email) VALUES ('ann', 'ann@example.com'), ('bob', 'bob@example.com')",
    );
    await sleep(1100);
    const time = new Date().toISOString();
    await sleep(1100);
    await superuser(stack, "DELETE FROM users");
    return {
      words: { TIME: time, BACKUP: backup },
      after: {
        "./cgraph-db restore --to TIME": async () => expect(await users(stack)).toBe(2),
        "./cgraph-db restore --to BACKUP": async () => expect(await users(stack)).toBe(0),
      },
      prints: { "./cgraph-db prune": /Deleted: .*pg0-data/ },
    };
  },

  "stop-and-start.md": async (stack) => {
    await superuser(stack, "INSERT INTO users (username, email) VALUES ('ann', 'ann@example.com')");
    return { end: async () => expect(await users(stack)).toBe(1) };
  },

  "move-a-stage.md": async (stack) => ({
    after: {
      // Stage 3 with few servers: their number is not what the pages are about.
      "./cgraph-db migrate --stage 2": async () => setConfig(stack, { replicas: "1" }),
    },
    end: async () => {
      expect((await currentValues(stack)).stage).toBe(3);
      expect(await users(stack)).toBe(1);
      await settled(stack);
    },
  }),

  "lock-contention.md": async (stack) => {
    const [root, waiting] = [await session(stack), await session(stack)];
    const sql = "UPDATE users SET username = username";
    await root.client.query(
      "INSERT INTO users (username, email) VALUES ('eve', 'eve@example.com') ON CONFLICT DO NOTHING",
    );
    await root.client.query("BEGIN");
    await root.client.query(sql);
    const done = waiting.client.query(sql);
    return {
      words: { PID: String(root.pid) },
      prints: { "./cgraph-db inspect locks": new RegExp(`\\b${root.pid}\\b[^]*\\b${waiting.pid}\\b`) },
      // It goes on as soon as the root of the tree has let go.
      end: async () => {
        expect((await done).rowCount).toBeGreaterThan(0);
        await waiting.client.end();
      },
    };
  },

  "slot-retained-wal.md": async (stack) => {
    await superuser(stack, "SELECT pg_create_physical_replication_slot('forgotten', true)");
    return {
      words: { SLOT: "forgotten" },
      prints: { "./cgraph-db inspect replication": /forgotten/ },
      end: async () =>
        expect(
          await superuser(stack, "SELECT count(*)::text FROM pg_replication_slots WHERE slot_name = 'forgotten'"),
        ).toBe("0"),
    };
  },

  // How many dead rows are left is not asked: a replica says only every ten seconds what it no longer reads.
  "vacuum.md": async (stack) => {
    const began = await superuser(stack, "SELECT now()::text");
    await superuser(stack, "UPDATE users SET username = username");
    const sql = `SELECT (last_vacuum > '${began}')::text FROM pg_stat_user_tables WHERE relname = 'users'`;
    return {
      words: { TABLE: "users" },
      end: () => eventually("its statistics", async () => (await superuser(stack, sql)) === "true"),
    };
  },

  "add-index.md": async () => ({
    prints: {
      "SELECT indexrelid::regclass AS index, indisvalid AS valid FROM pg_index WHERE indrelid = 'reactions'::regclass;":
        /idx_reactions_message\s*\|\s*t/,
    },
  }),

  "unused-index.md": async (stack) => ({
    end: async () =>
      expect(
        await superuser(stack, "SELECT count(*)::text FROM pg_indexes WHERE indexname = 'idx_users_wallet_address'"),
      ).toBe("1"),
  }),

  "schema-change.md": whole,
  "partitions.md": whole,
  "pool-size.md": whole,

  "change-setting.md": async (stack) => ({
    prints: { './cgraph-db psql -- -c "SHOW log_min_duration_statement"': /500ms/ },
    end: () => settled(stack),
  }),

  "drift.md": async (stack) => {
    await superuser(stack, "ALTER SYSTEM SET work_mem = '7MB'");
    await superuser(stack, "SELECT pg_reload_conf()");
    return {
      words: { SERVER: (await currentPrimary(await currentValues(stack))).name },
      prints: { "./cgraph-db preview": /work_mem/ },
      end: async () => {
        expect(
          await superuser(
            stack,
            "SELECT count(*)::text FROM pg_file_settings WHERE sourcefile LIKE '%auto.conf' AND name = 'work_mem'",
          ),
        ).toBe("0");
      },
    };
  },

  "cache.md": async (stack) => ({ end: () => settled(stack) }),

  "machine-lost.md": async (stack) => ({ words: { IMAGE: (await currentValues(stack)).nodes[0]?.image ?? "" } }),

  // The image that there is, by another name: to build on a new one takes minutes.
  "upgrade.md": async (stack) => {
    const { baseImage } = JSON.parse(await cgraphOk("config", "show", "--stack", stack, "--json")) as {
      baseImage?: string;
    };
    return {
      words: { IMAGE: baseImage ?? "debian:trixie-slim" },
      prints: { "./cgraph-db preview": /pg0/ },
      end: () => docker(["image", "rm", "cgraph-debian:next"]),
    };
  },

  "add-replicas.md": async (stack) => ({
    end: async () => {
      expect((await currentValues(stack)).nodes).toHaveLength(3);
      // The way back was only looked at: the replica stays.
      await setConfig(stack, { replicas: "2" });
      await settled(stack);
    },
  }),

  "rebuild-replica.md": async (stack) => {
    await pg0Leads(stack);
    return {
      words: { SERVER: "pg1" },
      end: () =>
        eventually("pg1 streams", async () => {
          const members = await clusterMembers(await currentValues(stack));
          return members.some(({ name, state }) => name === "pg1" && state === "streaming");
        }),
    };
  },

  "switchover.md": async (stack) => {
    await pg0Leads(stack);
    return {
      prints: { "./cgraph-db switchover": /takes the writes now; pg0 follows/ },
      end: async () => expect((await currentPrimary(await currentValues(stack))).name).toBe("pg0"),
    };
  },

  "rolling-restart.md": whole,

  "cluster-paused.md": async (stack) => {
    await patronictl(stack, "pg0", "pause", "--wait");
    return { end: async () => expect(await patronictl(stack, "pg0", "list")).not.toContain("Maintenance") };
  },

  "failover.md": async (stack) => {
    await pg0Leads(stack);
    const values = await currentValues(stack);
    const lost = await currentPrimary(values);
    await patronictl(stack, "pg0", "pause", "--wait");
    await docker(["kill", lost.container]);
    await eventually("the lease's end", async () => !(await clusterMembers(values)).some(isLeader));
    return {
      words: { SERVER: "pg1" },
      prints: { "./cgraph-db failover": /takes the writes now/ },
      end: async () => {
        expect((await currentPrimary(values)).name).not.toBe("pg0");
        await settle(values);
      },
    };
  },
};
