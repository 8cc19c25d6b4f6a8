import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ShardRouter } from "../../sharding/ShardRouter.ts";
import { uuidv7 } from "../../sharding/uuid.ts";
import { clusterViews } from "../../scripts/lib/clusters.ts";
import { clusterMembers, currentPrimary, isLeader } from "../../scripts/lib/cluster.ts";
import { docker } from "../../scripts/lib/docker.ts";
import { openJournal } from "../../scripts/migrate/journal.ts";
import { currentValues } from "../support/chat.ts";
import { cgraph, cgraphOk, freePort, removeStack, setConfig, uniqueStack } from "../support/cli.ts";
import { ask } from "../support/client.ts";
import { eventually } from "../support/eventually.ts";
import { FULL, LONG } from "../support/longDrills.ts";
import { ShardedChat } from "../support/shardedChat.ts";

const stack = uniqueStack();

/** Kills the container of a cluster's primary, and starts it again when another server leads. */
async function killPrimary(cluster: string): Promise<void> {
  const view = clusterViews(await currentValues(stack)).find(({ name }) => name === cluster);
  if (!view) throw new Error(`no cluster ${cluster}`);
  const { name, container } = await currentPrimary(view.values);
  await docker(["kill", container]);
  try {
    await eventually("another primary", async () => {
      const leader = (await clusterMembers(view.values)).find(isLeader);
      return leader !== undefined && leader.name !== name;
    });
  } finally {
    await docker(["start", container]);
  }
  console.log(`${cluster}: ${name} killed, another server has taken over`);
}

/** Waits until a step of the move is under way. */
const begun = (id: string): Promise<unknown> =>
  eventually(
    `step ${id}`,
    async () => openJournal(stack)?.steps.find((step) => step.id === id)?.state === "running",
    300_000,
  );

describe.runIf(FULL)(`a move of buckets whose shards lose their primaries${LONG}`, () => {
  let router: ShardRouter;
  let chat: ShardedChat;
  let env: Record<string, string>;

  /** Goes on with the move until it is through: a command may give up while a cluster is without a primary. */
  const finish = async (first: Promise<{ code: number | null; stderr: string }>): Promise<void> => {
    let { code, stderr } = await first;
    for (let tries = 0; code !== 0 && tries < 4; tries++) {
      console.log(`the move ended with ${code}: ${stderr.trim().split("\n").slice(-3).join(" / ")}`);
      ({ code, stderr } = await cgraph(["reshard", "--stack", stack, "--resume", "--yes"]));
    }
    expect(code, stderr).toBe(0);
  };
  const reshard = (...args: string[]) => cgraph(["reshard", "--stack", stack, "--yes", ...args]);

  beforeAll(async () => {
    // What was acknowledged must outlive its server: else a failover's own loss would look like the move's.
    const more = { replicas: "1", synchronous: "on", maxConnections: "100", cacheMemoryMiB: "64", monitoring: "false" };
    await setConfig(stack, { ...more, shards: "2" });
    await cgraphOk("up", "--stack", stack, "--stage", "4", "--port", String(await freePort()), "--no-install");
    await cgraphOk("schema", "apply", "--stack", stack);
    const first = await reshard("--shards", "3", "--pause-after", "freeze");
    expect(first.code, first.stderr).toBe(0);
    env = JSON.parse(await cgraphOk("env", "--stack", stack, "--json")) as Record<string, string>;
    router = ShardRouter.fromEnvironment(env);
    chat = new ShardedChat(router, { clients: 5, users: 200 });
    await chat.seed(100_000);
    chat.start();
  }, 1_200_000);
  afterAll(async () => {
    await router.close();
    await removeStack(stack);
  });

  it(
    "survives it at the giver during the copy, and at the taker during the comparison",
    { timeout: 1_800_000 },
    async () => {
      const going = reshard("--resume", "--pause-after", "verify");
      await begun("copy");
      await killPrimary("shard0");
      await begun("verify");
      await killPrimary("shard2");
      await finish(going);
    },
  );

  it("survives it at the giver and at the taker while buckets are handed over", { timeout: 1_800_000 }, async () => {
    const going = reshard("--resume", "--pause-after", "handover");
    await begun("handover");
    await killPrimary("shard1");
    await finish(going);
    const again = reshard("--resume");
    await begun("clear");
    await killPrimary("shard2");
    await finish(again);
  });

  it("has lost nothing, doubled nothing, and every shard has its share", async () => {
    const report = await chat.stop();
    console.log(
      `${report.writes} writes, longest pause ${Math.round(report.longestPauseMs)} ms; clients saw:`,
      report.errors,
    );
    expect(await chat.difference()).toEqual({ lost: 0, doubled: 0, wrong: 0 });
    const { shards } = await router.map();
    expect([0, 1, 2].map((shard) => shards.filter((of) => of === shard).length)).toEqual([86, 85, 85]);
    for (const shard of [0, 1, 2]) {
      const stray = "SELECT count(*)::int AS n FROM messages WHERE NOT sharding.owns(sender_id)";
      expect(await ask(env[`SHARD_${shard}_URL`], stray)).toEqual([{ n: 0 }]);
    }
    await eventually("no change to make", async () => {
      const { stdout } = await cgraph(["preview", "--stack", stack, "--json"]);
      return (JSON.parse(stdout) as { verdict: string }).verdict === "none";
    });
  });

  it("goes back with all its clusters to a restore point, and works on", { timeout: 1_800_000 }, async () => {
    const user = (name: string) =>
      ask(env["DATABASE_URL"], "INSERT INTO users (id, username, email) VALUES ($1, $2, $2 || '@example.org')", [
        uuidv7(),
        name,
      ]);
    const setting = (url: string | undefined) => ask(url, "SELECT key FROM settings WHERE key = 'kept'");
    const names = () =>
      ask<{ username: string }>(
        env["DATABASE_URL"],
        "SELECT username FROM users WHERE username ~ '^(early|late)' ORDER BY 1",
      );
    for (const cluster of ["shard0", "global", "shard1", "shard2"]) {
      await cgraphOk("backup", "--cluster", cluster, "--stack", stack);
    }
    await ask(env["DATABASE_GLOBAL_URL"], "INSERT INTO settings (key, value) VALUES ('kept', '1')");
    for (let n = 0; n < 12; n++) await user(`early${n}`);
    await cgraphOk("backup", "point", "noon", "--stack", stack);
    for (let n = 0; n < 12; n++) await user(`late${n}`);
    await ask(env["DATABASE_GLOBAL_URL"], "DELETE FROM settings");
    await cgraphOk("restore", "--to", "noon", "--stack", stack, "--yes");
    expect((await names()).map(({ username }) => username).filter((name) => name.startsWith("late"))).toEqual([]);
    expect(await names()).toHaveLength(12);
    for (const url of ["DATABASE_GLOBAL_URL", "SHARD_0_URL", "SHARD_1_URL", "SHARD_2_URL"]) {
      expect(await setting(env[url]), url).toEqual([{ key: "kept" }]);
    }
    // Names that were claimed since are free again, and global tables are followed.
    await user("late0");
    await ask(env["DATABASE_GLOBAL_URL"], "UPDATE settings SET value = '2' WHERE key = 'kept'");
    await eventually("shard 2 follows", async () => {
      const rows = await ask(env["SHARD_2_URL"], "SELECT FROM settings WHERE key = 'kept' AND value = '2'");
      return rows.length === 1;
    });
    const { stdout } = await cgraph(["preview", "--stack", stack, "--json"]);
    expect(JSON.parse(stdout)).toMatchObject({ verdict: "none" });
  });
});
