/** A shard gives buckets to another one: off, the last changes applied, on, published. Clients wait for a moment. */
import { randomBytes } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import type { Client } from "pg";
import { isLockConflict } from "../../migration/partitions/locks.ts";
import type { Stream } from "../../sharding/moveSql.ts";
import { publishMap, readMap, readOwned, setOwned } from "../../sharding/publish.ts";
import { classViewsSql, dropPreviousRouterSql, prepareRouterSql, swapRouterSql } from "../../sharding/routerSql.ts";
import type { ShardMap } from "../../sharding/shardMap.ts";
import { EXIT, UserError } from "../../tuning/errors.ts";
import { lockedBriefly } from "../shards/briefly.ts";
import { type Places, shardPlace } from "./places.ts";
import { type StreamLife, awaitMark, hasMark, lifeOn, putMark } from "./streams.ts";

/** For how long clients may have to wait for one try beside the lock: for old snapshots to end, for the stream. */
const SNAPSHOT_MS = 300;
const ARRIVAL_MS = 1000;
/** How long a copy of the last commit is waited for before the next step believes in it. */
const REPLICA_MS = 2000;
const ROUTER_LOCK_MS = 3000;
const TRIES = 60;

/** What a shard is told: the map as it will be, with only those buckets of it that are its own. */
const withBuckets = (map: ShardMap, buckets: readonly number[], shard: number): ShardMap => {
  const inside = new Set(buckets);
  return { version: map.version + 1, shards: map.shards.map((of, bucket) => (inside.has(bucket) ? shard : of)) };
};

/** Waits until a replica has what was just committed: a server that takes over then has it too. */
async function awaitReplica(client: Client): Promise<void> {
  const { rows } = await client.query<{ lsn: string }>("SELECT pg_current_wal_lsn()::text AS lsn");
  for (const until = Date.now() + REPLICA_MS; Date.now() < until; await sleep(5)) {
    const { rows: found } = await client.query<{ behind: boolean | null }>(
      `SELECT bool_and(coalesce(flush_lsn < $1::pg_lsn, true)) AS behind FROM pg_stat_replication r
       JOIN pg_replication_slots s ON s.active_pid = r.pid AND slot_type = 'physical'`,
      [rows[0]?.lsn],
    );
    if (found[0]?.behind !== true) return;
  }
}

/** Whether nobody is left who still sees what was before a transaction. Such a one could write what is not its shard's any more. */
async function nobodySeesBefore(client: Client, xid: string): Promise<boolean> {
  for (const until = Date.now() + SNAPSHOT_MS; Date.now() < until; await sleep(5)) {
    const { rows } = await client.query<{ old: number }>(
      `SELECT count(*)::int AS old FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()
       AND datname = current_database() AND backend_xmin IS NOT NULL AND age(backend_xmin) > age($1::xid8::xid)`,
      [xid],
    );
    if (rows[0]?.old === 0) return true;
  }
  return false;
}

/** Tells the giver that it has these buckets no longer; gives the transaction. Undefined where others do not let it. */
const takeAway = async (giver: Client, shard: number, next: ShardMap): Promise<string | undefined> =>
  (
    await lockedBriefly(giver, "COMMIT", async () => {
      await setOwned(giver, shard, next);
      const { rows } = await giver.query<{ xid: string }>("SELECT pg_current_xact_id()::text AS xid");
      return rows[0]?.xid ?? "";
    })
  )?.value;

/** Gives the buckets to the taker, if it has all that went before the mark: a taker that was replaced may not. */
async function giveIfArrived(taker: Client, shard: number, next: ShardMap, mark: string): Promise<boolean> {
  if (!(await awaitMark(taker, mark, ARRIVAL_MS))) return false;
  await taker.query("BEGIN");
  try {
    const arrived = await hasMark(taker, mark);
    if (arrived) await setOwned(taker, shard, next);
    await taker.query(arrived ? "COMMIT" : "ROLLBACK");
    return arrived;
  } catch (error) {
    await taker.query("ROLLBACK").catch(() => undefined);
    throw error;
  }
}

/** Which of the two shards has the buckets; where an interrupted hand-over has left them to nobody: its giver, again. */
async function holderOf(publisher: Client, subscriber: Client, stream: Stream, map: ShardMap): Promise<number> {
  const owned = [await readOwned(publisher), await readOwned(subscriber)];
  const { buckets } = stream;
  const holder = owned.find((one) => buckets.every((bucket) => one?.buckets.includes(bucket)));
  if (holder) return holder.shard;
  // Who gave last was told of a version that nobody else knows, and has everything.
  const [a, b] = owned.map((one) => one?.mapVersion ?? 0);
  const [giver, shard] = (a ?? 0) >= (b ?? 0) ? [publisher, stream.publisher] : [subscriber, stream.subscriber];
  await setOwned(giver, shard, withBuckets(map, buckets, shard));
  return shard;
}

/** Connections that are open before anybody has to wait. */
interface Clients {
  readonly giver: Client;
  readonly taker: Client;
  readonly global: Client;
  readonly router: Client;
}

const withClients = <T>(
  places: Places,
  { publisher, subscriber }: Stream,
  work: (clients: Clients) => Promise<T>,
): Promise<T> =>
  shardPlace(places, publisher).owner((giver) =>
    shardPlace(places, subscriber).owner((taker) =>
      places.global((global) => places.router((router) => work({ giver, taker, global, router }))),
    ),
  );

/** Makes what the router will read, beside what it reads now. */
async function prepareRouter({ giver, taker, router }: Clients, stream: Stream, map: ShardMap): Promise<void> {
  await giver.query(classViewsSql(stream.publisher, map.shards));
  await taker.query(classViewsSql(stream.subscriber, map.shards));
  // Several statements in one query run as one transaction.
  await router.query(prepareRouterSql(map.shards, randomBytes(3).toString("hex")));
}

/** Publishes where the buckets are, and leads the router database's clients there: to what was prepared. */
async function announce({ global, router }: Clients, { buckets }: Stream, holder: number): Promise<void> {
  const current = await requireMap(global);
  const known = buckets.every((bucket) => current.shards[bucket] === holder);
  if (!known) await publishMap(global, withBuckets(current, buckets, holder));
  await router.query(`SET lock_timeout = ${ROUTER_LOCK_MS}`);
  try {
    await router.query(swapRouterSql());
  } catch (error) {
    if (!isLockConflict(error)) throw error;
    throw new UserError(
      "somebody who is connected to the router database without a pool has its tables in a transaction",
      "end it, then --resume: until then the router database asks shards for what they have given away",
      EXIT.refused,
    );
  }
}

async function requireMap(global: Client): Promise<ShardMap> {
  const map = await readMap(global);
  if (!map) throw new UserError("there is no shard map", "./cgraph-db schema apply", EXIT.failed);
  return map;
}

export type HandOver =
  /** Done, or done before. */
  | { readonly done: true; readonly heldMs: number }
  /** The stream does not bring what is missing: the giver has the buckets, clients go on as before. */
  | { readonly done: false };

/**
 * Gives a stream's buckets from its publisher to its subscriber. Can be repeated, whatever an interrupted try has left.
 * `began`: the lives in which the stream began.
 */
export async function handOver(
  places: Places,
  stream: Stream,
  began: StreamLife | undefined,
  detail: (text: string) => void,
): Promise<HandOver> {
  return withClients(places, stream, async (clients) => {
    const { publisher, subscriber, buckets } = stream;
    const { giver, taker } = clients;
    const map = await requireMap(clients.global);
    const [back, next] = [withBuckets(map, buckets, publisher), withBuckets(map, buckets, subscriber)];
    if ((await holderOf(giver, taker, stream, map)) === subscriber) {
      const known = buckets.every((bucket) => map.shards[bucket] === subscriber);
      await prepareRouter(clients, stream, known ? map : next);
      await announce(clients, stream, subscriber);
      await clients.router.query(dropPreviousRouterSql());
      return { done: true, heldMs: 0 };
    }
    // What a mark proves it proves of these two servers only.
    if (began?.publisher !== (await lifeOn(giver)) || began.subscriber !== (await lifeOn(taker)))
      return { done: false };
    await prepareRouter(clients, stream, next);
    for (let tries = 0; tries < TRIES; tries++) {
      const { value, heldMs } = await places.holdRouter(async (): Promise<"done" | "busy" | "lost"> => {
        const xid = await takeAway(giver, publisher, next);
        if (xid === undefined) return "busy";
        if (!(await nobodySeesBefore(giver, xid))) {
          await setOwned(giver, publisher, back);
          return "busy";
        }
        const mark = await putMark(giver, stream);
        await awaitReplica(giver);
        // An error leaves open whether the taker has the buckets: then nothing is given back before that is looked at.
        if (!(await giveIfArrived(taker, subscriber, next, mark))) {
          await setOwned(giver, publisher, back);
          return "lost";
        }
        await awaitReplica(taker);
        await announce(clients, stream, subscriber);
        return "done";
      });
      if (value === "done") {
        await clients.router.query(dropPreviousRouterSql());
        return { done: true, heldMs };
      }
      if (value === "lost") return { done: false };
      detail(`shard ${publisher} to ${subscriber}: waiting for transactions that are open`);
      await sleep(1000);
    }
    throw new UserError(
      `transactions on shard ${publisher} are open for too long: its buckets were not taken from it`,
      "end them (./cgraph-db inspect activity), then --resume",
      EXIT.refused,
    );
  });
}
