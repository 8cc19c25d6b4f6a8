/** The global database gets what is to be its own from the database that was whole, and is kept alike until it takes over. */
import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import type { Client } from "pg";
import { patiently as untilLocked } from "../../migration/partitions/locks.ts";
import {
  JOIN,
  directoryDiffersSql,
  emptyGlobalSql,
  enterUsersSql,
  followUsersSql,
  isFollowedSql,
  joinPublicationSql,
  joinSlotSql,
  joinSubscriptionSql,
  joinSumsSql,
  keepDirectorySql,
  unfollowUsersSql,
} from "../../sharding/joinSql.ts";
import { dropSubscriptionSql } from "../../sharding/moveSql.ts";
import { EXIT, UserError } from "../../tuning/errors.ts";
import { type AsOwner, type ShardPlace, patiently } from "../reshard/places.ts";
import { awaitMark, lifeOn } from "../reshard/streams.ts";

/** The two databases. */
export interface JoinPlaces {
  /** What was whole: shard 0. */
  readonly first: ShardPlace;
  readonly global: AsOwner;
  /** Runs statements one by one in the global database as the superuser. */
  readonly globalSuperuser: (statements: readonly string[]) => Promise<string>;
  /** As whom subscriptions log in. */
  readonly streamRole: string;
}

/** In which lives of the two servers the stream began: one that was replaced may lack what it had brought. */
export interface JoinLife {
  readonly first: string;
  readonly global: string;
}

type Detail = (text: string) => void;

const BATCH = 5000;
const COPY_MS = 1_800_000;
const CATCH_UP_MS = 120_000;

const lifeNow = async ({ first, global }: JoinPlaces): Promise<JoinLife> => ({
  first: await patiently(() => first.owner(lifeOn)),
  global: await patiently(() => global(lifeOn)),
});

const subscribed = ({ global }: JoinPlaces): Promise<boolean> =>
  patiently(() =>
    global(
      async (client) =>
        ((await client.query("SELECT FROM pg_subscription WHERE subname = $1", [JOIN])).rowCount ?? 0) > 0,
    ),
  );

/** Whether the stream is there, and still the one that began in these lives. */
export async function isJoined(places: JoinPlaces, began: JoinLife | undefined): Promise<boolean> {
  if (!began) return false;
  const now = await lifeNow(places);
  return now.first === began.first && now.global === began.global && (await subscribed(places));
}

/** Whether the directory has been kept all along: an interrupted try may have let go of it, and users have come since. */
const isKept = ({ first }: JoinPlaces): Promise<boolean> =>
  first.owner(async (client) => {
    const { rows } = await client.query<{ followed: boolean }>(isFollowedSql);
    if (rows[0]?.followed !== true) return false;
    return (await client.query<{ wrong: number }>(directoryDiffersSql)).rows[0]?.wrong === 0;
  });

/** Enters all users in the directory, and has triggers keep it. */
async function makeDirectory({ first }: JoinPlaces, detail: Detail): Promise<void> {
  await first.owner(async (client) => {
    await client.query("SET statement_timeout = 0");
    await client.query(keepDirectorySql);
    await untilLocked(client, followUsersSql);
    let last = "00000000-0000-0000-0000-000000000000";
    for (let entered = 0; ; entered += BATCH) {
      const { rows } = await client.query<{ last: string | null }>(enterUsersSql(BATCH), [last]);
      const reached = rows[0]?.last ?? null;
      if (reached === null) break;
      last = reached;
      detail(`directory of names: ${entered + BATCH} users`);
    }
    const { rows } = await client.query<{ wrong: number }>(directoryDiffersSql);
    if (rows[0]?.wrong === 0) return;
    throw new UserError(
      `the directory of names differs from ${rows[0]?.wrong} users`,
      "--resume tries again; --rollback takes the move back",
      EXIT.failed,
    );
  });
}

/** Removes the stream at both ends, and what only it needs. */
export async function unjoin(places: JoinPlaces): Promise<void> {
  const { first, globalSuperuser } = places;
  if (await subscribed(places)) await patiently(() => globalSuperuser(dropSubscriptionSql(JOIN)));
  await patiently(() =>
    first.superuser([
      `SELECT pg_terminate_backend(active_pid, 5000) FROM pg_replication_slots WHERE active AND slot_name = '${JOIN}'`,
      // Slots of a first copy that was broken off have names of their own, and the publication's reader is gone by now.
      `SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots
       WHERE slot_name = '${JOIN}' OR (NOT active AND slot_name ~ '^pg_[0-9]+_sync_')`,
    ]),
  );
  await patiently(() =>
    first.owner(async (client) => {
      await untilLocked(client, unfollowUsersSql);
      await client.query(`DROP PUBLICATION IF EXISTS ${JOIN}; DROP TABLE IF EXISTS public.user_directory;
        DROP FUNCTION IF EXISTS sharding.keep_directory(); DELETE FROM sharding.marks WHERE stream = '${JOIN}'`);
    }),
  );
}

async function awaitCopy({ global }: JoinPlaces, detail: Detail): Promise<void> {
  for (const until = Date.now() + COPY_MS; Date.now() < until; await sleep(500)) {
    const left = await patiently(() =>
      global(async (client) => {
        const { rows } = await client.query<{ left: number; all: number }>(
          `SELECT count(*) FILTER (WHERE srsubstate NOT IN ('s', 'r'))::int AS left, count(*)::int AS all
           FROM pg_subscription_rel JOIN pg_subscription s ON s.oid = srsubid WHERE subname = $1`,
          [JOIN],
        );
        return rows[0];
      }),
    );
    if (left && left.all > 0 && left.left === 0) return;
    detail(`global tables: ${left?.left ?? "?"} of ${left?.all ?? "?"} are being copied`);
  }
  throw new UserError(
    "the global tables do not arrive at the global database",
    "see the log of the global database (./cgraph-db logs), then --resume, or --rollback",
    EXIT.failed,
  );
}

/** Puts a mark into the stream, and waits until it has come through; gives whether it has, in this time. */
async function passMark(first: Client, global: Client, withinMs: number): Promise<boolean> {
  const id = randomUUID();
  await first.query("INSERT INTO sharding.marks (stream, id) VALUES ($1, $2)", [JOIN, id]);
  return awaitMark(global, id, withinMs);
}

/** Copies, and leaves the stream running. Goes on where `began` still holds, begins anew otherwise. */
export async function join(places: JoinPlaces, began: JoinLife | undefined, detail: Detail): Promise<JoinLife> {
  if (began && (await isJoined(places, began)) && (await isKept(places))) return began;
  await unjoin(places);
  await patiently(() => places.globalSuperuser(emptyGlobalSql()));
  await makeDirectory(places, detail);
  const life = await lifeNow(places);
  await places.first.owner((client) => client.query(joinPublicationSql(places.streamRole)));
  await places.first.superuser([joinSlotSql]);
  await places.globalSuperuser([joinSubscriptionSql(places.first.conninfo)]);
  await awaitCopy(places, detail);
  const there = await whileJoined(places, life, ({ first, global }) => passMark(first, global, CATCH_UP_MS));
  if (there) return life;
  throw new UserError(
    "the global database does not catch up",
    "see its log (./cgraph-db logs), then --resume, or --rollback",
    EXIT.failed,
  );
}

/** Clients of the two databases that are there before anybody waits, and know that theirs is the stream of these servers. */
export interface Joined {
  readonly first: Client;
  readonly global: Client;
}

/** Works with clients of both; undefined where a server was replaced since the stream began. */
export const whileJoined = <T>(
  { first, global }: JoinPlaces,
  began: JoinLife,
  work: (clients: Joined) => Promise<T>,
): Promise<T | undefined> =>
  first.owner((one) =>
    global(async (other) => {
      if ((await lifeOn(one)) !== began.first || (await lifeOn(other)) !== began.global) return undefined;
      return work({ first: one, global: other });
    }),
  );

/**
 * What of the global tables the global database does not have as shard 0 does, in words; nothing: an empty list. Only while
 * nobody writes them.
 */
export async function missingOf({ first, global }: Joined, withinMs: number): Promise<string[]> {
  if (!(await passMark(first, global, withinMs))) return ["what was written last has not arrived in time"];
  interface Sum {
    table: string;
    rows: string;
    sum: string | null;
  }
  const [here, there] = await Promise.all([first, global].map((client) => client.query<Sum>(joinSumsSql())));
  return (here?.rows ?? []).flatMap((one) => {
    const other = there?.rows.find(({ table }) => table === one.table);
    return other?.rows === one.rows && other.sum === one.sum
      ? []
      : [`${one.table}: ${one.rows} rows on shard 0, ${other?.rows ?? "none"} in the global database`];
  });
}
