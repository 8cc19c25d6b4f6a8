import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ChatLoad, NO_DIFFERENCE } from "../../bench/chatLoad.ts";
import { distribution } from "../../bench/pauses.ts";
import type { JournalStep } from "../../scripts/migrate/journal.ts";
import { checksumSql, columnsSql } from "../../sharding/moveSql.ts";
import { DEFAULT_BUCKETS } from "../../sharding/placement.ts";
import { shardedTables } from "../../sharding/tables.ts";
import { asOwner } from "../support/chat.ts";
import { cgraphOk, freePort, removeStack, setConfig, uniqueStack } from "../support/cli.ts";
import { ask, withUrl } from "../support/client.ts";
import { FULL, LONG } from "../support/longDrills.ts";

const MESSAGES = 2_000_000;
/** The clients change and delete some of these, the oldest; the rest must come through as they are. */
const TOUCHED = 200_000;
const SHARDS = 2;
const BUCKETS = Array.from({ length: DEFAULT_BUCKETS }, (_, bucket) => bucket);
const stack = uniqueStack();

interface BucketSum {
  readonly bucket: number;
  readonly rows: string;
  readonly sum: string;
}

/** Rows and sum of each bucket's messages that no client touches. */
async function sums(url: string): Promise<BucketSum[]> {
  const messages = shardedTables().find(({ name }) => name === "messages");
  if (!messages) throw new Error("messages are not sharded");
  const [found] = await ask<{ columns: string[] }>(url, columnsSql(messages.name));
  const sql = checksumSql(messages, found?.columns ?? [], BUCKETS, DEFAULT_BUCKETS);
  const untouched = `substring(content FROM '^old message ([0-9]+)')::int > ${TOUCHED}`;
  return ask(url, sql.replace(" WHERE ", ` WHERE ${untouched} AND `));
}

describe.runIf(FULL)(`two million messages that become shards in use${LONG}`, () => {
  let env: Record<string, string>;
  let before: BucketSum[];

  const environment = async () =>
    JSON.parse(await cgraphOk("env", "--stack", stack, "--json")) as Record<string, string>;

  beforeAll(async () => {
    const config = { shards: String(SHARDS), maxConnections: "100", cacheMemoryMiB: "64", monitoring: "false" };
    await setConfig(stack, config);
    await cgraphOk("up", "--stack", stack, "--stage", "3", "--port", String(await freePort()), "--no-install");
    await cgraphOk("schema", "apply", "--stack", stack);
    await asOwner(stack, (client) => client.query(ChatLoad.seedSql(MESSAGES)));
    await cgraphOk("partitions", "convert", "--drop-old", "--yes", "--stack", stack);
    env = await environment();
    before = await sums(env["DATABASE_OWNER_URL"] ?? "");
  }, 1_800_000);
  afterAll(() => removeStack(stack));

  it("loses and doubles nothing, and no client sees an error", { timeout: 3_600_000 }, async () => {
    const load = new ChatLoad(env["DATABASE_URL"] ?? "", { clients: 20, oldMessages: TOUCHED, perSecond: 100 }).start();
    expect(await load.progress(300, 60_000)).toBe(true);
    load.mark();
    const moved = await cgraphOk("migrate", "--stack", stack, "--stage", "4", "--yes", "--json");
    expect(await load.progress(100, 60_000)).toBe(true);
    const report = await load.stop();
    const { steps } = JSON.parse(moved) as { steps: JournalStep[] };
    for (const { id, startedAt, endedAt } of steps) {
      if (!startedAt || !endedAt) continue;
      console.log(`${id}: ${(Date.parse(endedAt) - Date.parse(startedAt)) / 1000} s`);
    }
    const pauses = report.pauses.map(({ startedAt, ms }) => {
      const step = steps.filter((one) => one.startedAt && Date.parse(one.startedAt) <= startedAt).at(-1)?.id;
      return `${step}: ${ms} ms`;
    });
    console.log(`${report.inserted} writes, pauses ${distribution(report.pauses)}: ${pauses.join(", ")}`);
    expect({ errors: report.errors, messages: report.messages }).toEqual({ errors: 0, messages: [] });
    expect(await withUrl(env["DATABASE_URL"], (client) => load.difference(client))).toEqual(NO_DIFFERENCE);
  });

  it("has in every bucket what was there", async () => {
    env = await environment();
    const shards = await Promise.all(BUCKETS.slice(0, SHARDS).map((shard) => sums(env[`SHARD_${shard}_URL`] ?? "")));
    const after = shards.flat().sort((a, b) => a.bucket - b.bucket);
    expect(after).toEqual(before);
    const rows = shards.map((of) => of.reduce((sum, one) => sum + Number(one.rows), 0));
    console.log(`untouched rows on each shard: ${rows.join(", ")}`);
  });
});
