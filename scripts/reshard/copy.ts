/** The first copy of buckets to the shard that is to have them, and the streams that keep it up to date. */
import { setTimeout as sleep } from "node:timers/promises";
import {
  anyRowSql,
  backOf,
  copyProgressSql,
  deleteBucketsSql,
  forwardOf,
  plainIndexesSql,
} from "../../sharding/moveSql.ts";
import type { Pair } from "../../sharding/pairs.ts";
import { readOwned } from "../../sharding/publish.ts";
import { EXIT, UserError } from "../../tuning/errors.ts";
import { applyParts, shardSchema } from "../lib/schemaParts.ts";
import { type Places, patiently, shardPlace } from "./places.ts";
import { type StreamLife, catchUp, isWhole, removeStream, startStream, streamLife } from "./streams.ts";

/** The lives in which a pair's streams began, as the journal keeps them. */
export interface PairLives {
  readonly forward: StreamLife;
  readonly back: StreamLife;
}

const POLL_MS = 500;
/** The first of these may be a server that has just failed over. */
const ERRORS = 20;
/** What was written while indexes were made is behind by then. */
const CATCH_UP_MS = 600_000;

/** Whether a pair's copy is there, kept up to date, and its way back open. */
const pairIsWhole = async (places: Places, pair: Pair, lives: PairLives | undefined): Promise<boolean> =>
  (await isWhole(places, forwardOf(pair), lives?.forward)) && (await isWhole(places, backOf(pair), lives?.back));

/** Deletes a shard's rows of buckets that are another's. Throws where they are its own: nothing else stands before that. */
export async function deleteForeign(
  places: Places,
  shard: number,
  buckets: readonly number[],
  bucketCount: number,
): Promise<void> {
  const { owner, superuser } = shardPlace(places, shard);
  const own = new Set((await patiently(() => owner(readOwned)))?.buckets);
  const wrong = buckets.find((bucket) => own.has(bucket));
  if (wrong !== undefined) throw new Error(`bucket ${wrong} is shard ${shard}'s own: its rows are not deleted`);
  await patiently(() => superuser(deleteBucketsSql(buckets, bucketCount)));
}

/** Removes a pair's streams, and at the taker the rows that they have brought. Only while the giver has the buckets. */
export async function clearPair(places: Places, pair: Pair, bucketCount: number): Promise<void> {
  await removeStream(places, forwardOf(pair));
  await removeStream(places, backOf(pair));
  await deleteForeign(places, pair.to, pair.buckets, bucketCount);
}

/** Drops what an empty shard has of indexes; gives whether it was one. */
async function dropIndexesOfEmpty(places: Places, shard: number): Promise<boolean> {
  return shardPlace(places, shard).owner(async (client) => {
    if (((await readOwned(client))?.buckets.length ?? 0) > 0) return false;
    if ((await client.query<{ rows: boolean }>(anyRowSql())).rows[0]?.rows !== false) return false;
    const { rows } = await client.query<{ name: string }>(plainIndexesSql());
    if (rows.length > 0) await client.query(`DROP INDEX ${rows.map(({ name }) => name).join(", ")}`);
    return true;
  });
}

/** Makes the indexes that the schema names, where they are missing. */
const makeIndexes = (places: Places, shard: number, detail: (text: string) => void): Promise<void> =>
  shardPlace(places, shard).owner(async (client) => {
    await applyParts(client, shardSchema(), (part) => detail(`indexes: ${part}`));
    await client.query("ANALYZE");
  });

/** Waits for the first copy of all tables. */
async function awaitCopy(places: Places, pair: Pair, detail: (text: string) => void): Promise<void> {
  const stream = forwardOf(pair);
  for (;;) {
    const progress = await patiently(() =>
      shardPlace(places, pair.to).owner(
        async (client) =>
          (
            await client.query<{ tables: number; copied: number; copying: string; errors: number }>(
              copyProgressSql(stream),
            )
          ).rows[0],
      ),
    );
    if ((progress?.errors ?? 0) >= ERRORS) {
      throw new UserError(
        `the copy from shard ${pair.from} to ${pair.to} fails again and again`,
        `see the log of shard ${pair.to} (./cgraph-db logs), mend what it says, then --resume, or --rollback`,
        EXIT.failed,
      );
    }
    if (progress && progress.tables > 0 && progress.copied === progress.tables) return;
    detail(
      `shard ${pair.from} to ${pair.to}: ${progress?.copied ?? 0} of ${progress?.tables ?? 0} tables, ${progress?.copying ?? 0} rows of the next`,
    );
    await sleep(POLL_MS);
  }
}

/**
 * Copies a pair's buckets while they are in use, and leaves both streams running. Begins anew where an earlier try has left
 * less than the whole; `lives`: of that try.
 */
export async function copyPair(
  places: Places,
  pair: Pair,
  bucketCount: number,
  lives: PairLives | undefined,
  detail: (text: string) => void,
): Promise<PairLives> {
  if (lives && (await pairIsWhole(places, pair, lives))) {
    await catchUp(places, forwardOf(pair), CATCH_UP_MS);
    return lives;
  }
  const between = `shard ${pair.from} to ${pair.to}`;
  detail(`${between}: clear`);
  await clearPair(places, pair, bucketCount);
  const empty = await dropIndexesOfEmpty(places, pair.to);
  // Before the streams begin: what changes from here on is noticed.
  const began: PairLives = {
    forward: await streamLife(places, forwardOf(pair)),
    back: await streamLife(places, backOf(pair)),
  };
  await startStream(places, forwardOf(pair), bucketCount);
  await awaitCopy(places, pair, detail);
  if (empty) await makeIndexes(places, pair.to, (text) => detail(`${between}: ${text}`));
  await startStream(places, backOf(pair), bucketCount);
  detail(`${between}: catch up`);
  await catchUp(places, forwardOf(pair), CATCH_UP_MS);
  return began;
}
