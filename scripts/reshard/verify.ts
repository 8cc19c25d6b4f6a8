/** Compares what two shards have of a pair's buckets, as of one moment, while they are in use. */
import { setTimeout as sleep } from "node:timers/promises";
import type { Client } from "pg";
import { checksumSql, columnsSql, forwardOf } from "../../sharding/moveSql.ts";
import type { Pair } from "../../sharding/pairs.ts";
import { type ShardedTable, shardedTables } from "../../sharding/tables.ts";
import { EXIT, UserError } from "../../tuning/errors.ts";
import { lockedBriefly } from "../shards/briefly.ts";
import { type Places, shardPlace } from "./places.ts";
import { awaitMark, putMark } from "./streams.ts";

interface BucketSum {
  readonly bucket: number;
  readonly rows: string;
  readonly sum: string;
}

/** For how long clients of the giver may have to wait for the stream in one try. */
const ARRIVAL_MS = 500;
const TRIES = 40;

/**
 * Fixes one moment in both shards: nobody writes at the giver, and all that was written has arrived. Clients wait for it, some
 * hundredths of a second; a try that takes longer is given up.
 */
async function fixMoment(places: Places, pair: Pair, giver: Client, taker: Client): Promise<boolean> {
  return shardPlace(places, pair.from).owner(async (gate) => {
    const fixed = await lockedBriefly(gate, "ROLLBACK", async () => {
      await gate.query("LOCK TABLE sharding.this_shard IN ACCESS EXCLUSIVE MODE");
      const mark = await putMark(giver, forwardOf(pair));
      if (!(await awaitMark(taker, mark, ARRIVAL_MS))) return false;
      // A transaction of this level sees what there is at its first question.
      for (const client of [giver, taker]) {
        await client.query("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SELECT FROM sharding.marks LIMIT 1");
      }
      return true;
    });
    return fixed?.value ?? false;
  });
}

async function sumsOf(
  client: Client,
  table: ShardedTable,
  columns: readonly string[],
  pair: Pair,
  bucketCount: number,
) {
  const { rows } = await client.query<BucketSum>(checksumSql(table, columns, pair.buckets, bucketCount));
  return new Map(rows.map((row) => [row.bucket, `${row.rows} rows, ${row.sum}`]));
}

/** Where the two differ, in words; nothing: an empty list. */
async function differences(
  giver: Client,
  taker: Client,
  pair: Pair,
  bucketCount: number,
  detail: (text: string) => void,
): Promise<string[]> {
  const found: string[] = [];
  for (const table of shardedTables()) {
    detail(`shard ${pair.from} and ${pair.to}: ${table.name}`);
    const { rows } = await giver.query<{ columns: string[] }>(columnsSql(table.name));
    const columns = rows[0]?.columns ?? [];
    const [here, there] = await Promise.all(
      [giver, taker].map((client) => sumsOf(client, table, columns, pair, bucketCount)),
    );
    for (const bucket of pair.buckets) {
      const [a, b] = [here?.get(bucket) ?? "no rows", there?.get(bucket) ?? "no rows"];
      if (a !== b) found.push(`${table.name}, bucket ${bucket}: ${a} on shard ${pair.from}, ${b} on shard ${pair.to}`);
    }
  }
  return found;
}

/** Compares all tables' rows bucket by bucket; gives the differences in words. */
export async function comparePair(
  places: Places,
  pair: Pair,
  bucketCount: number,
  detail: (text: string) => void,
): Promise<string[]> {
  return shardPlace(places, pair.from).owner((giver) =>
    shardPlace(places, pair.to).owner(async (taker) => {
      for (let tries = 0; tries < TRIES; tries++) {
        if (await fixMoment(places, pair, giver, taker)) {
          return differences(giver, taker, pair, bucketCount, detail);
        }
        detail(`shard ${pair.from} and ${pair.to}: waiting for transactions that are open`);
        await sleep(1000);
      }
      throw new UserError(
        `transactions on shard ${pair.from} leave no moment in which it and shard ${pair.to} can be compared`,
        "end those that are open for long (./cgraph-db inspect activity), then --resume",
        EXIT.refused,
      );
    }),
  );
}
