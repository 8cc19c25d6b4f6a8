/** Streams between shards as they are: made, watched, marked, removed. Everything here can be repeated. */
import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import type { Client } from "pg";
import {
  type Stream,
  dropMarksSql,
  dropSubscriptionSql,
  publicationSql,
  readableSql,
  slotSql,
  streamName,
  subscriptionSql,
} from "../../sharding/moveSql.ts";
import { EXIT, UserError } from "../../tuning/errors.ts";
import { type Places, patiently, shardPlace } from "./places.ts";

/**
 * Which life of each server a stream began in: the timeline and the system's identity. A server that another one has
 * replaced may not have everything that the stream has brought, and does not have the stream's slot.
 */
export interface StreamLife {
  readonly publisher: string;
  readonly subscriber: string;
}

const LIFE_SQL = `SELECT format('%s/%s', (SELECT system_identifier FROM pg_control_system()),
  left(pg_walfile_name(pg_current_wal_lsn()), 8)) AS life`;

/** The life of the server that this connection is to; it stays the same for as long as the connection does. */
export const lifeOn = async (client: Client): Promise<string> =>
  (await client.query<{ life: string }>(LIFE_SQL)).rows[0]?.life ?? "";

const lifeOf = (places: Places, shard: number): Promise<string> =>
  patiently(() => shardPlace(places, shard).owner(lifeOn));

export const streamLife = async (places: Places, { publisher, subscriber }: Stream): Promise<StreamLife> => ({
  publisher: await lifeOf(places, publisher),
  subscriber: await lifeOf(places, subscriber),
});

const exists = async (client: Client, sql: string, name: string): Promise<boolean> =>
  ((await client.query(sql, [name])).rowCount ?? 0) > 0;

const hasSubscription = (places: Places, stream: Stream): Promise<boolean> =>
  patiently(() =>
    shardPlace(places, stream.subscriber).owner((client) =>
      exists(client, "SELECT FROM pg_subscription WHERE subname = $1", streamName(stream)),
    ),
  );

const hasSlot = (places: Places, stream: Stream): Promise<boolean> =>
  patiently(() =>
    shardPlace(places, stream.publisher).owner((client) =>
      exists(client, "SELECT FROM pg_replication_slots WHERE slot_name = $1", streamName(stream)),
    ),
  );

/** Whether a stream is there and still the one that began in this life of its servers. */
export async function isWhole(places: Places, stream: Stream, began: StreamLife | undefined): Promise<boolean> {
  if (!began) return false;
  const now = await streamLife(places, stream);
  if (now.publisher !== began.publisher || now.subscriber !== began.subscriber) return false;
  return (await hasSlot(places, stream)) && (await hasSubscription(places, stream));
}

/** Makes it, whatever of it is there already. */
export async function startStream(places: Places, stream: Stream, bucketCount: number): Promise<void> {
  const publisher = shardPlace(places, stream.publisher);
  const subscriber = shardPlace(places, stream.subscriber);
  await publisher.owner(async (client) => {
    await client.query(readableSql(places.streamRole));
    await client.query(publicationSql(stream, bucketCount));
  });
  await publisher.superuser([slotSql(stream)]);
  await subscriber.superuser([subscriptionSql(stream, publisher.conninfo)]);
}

/** Removes what there is of it, at both ends. */
export async function removeStream(places: Places, stream: Stream): Promise<void> {
  const publisher = shardPlace(places, stream.publisher);
  const subscriber = shardPlace(places, stream.subscriber);
  // What copies a table has a slot of its own, which nobody drops where the subscription cannot reach it.
  const copySlots = await patiently(() =>
    subscriber.owner(async (client) => {
      const { rows } = await client.query<{ oid: number }>("SELECT oid FROM pg_subscription WHERE subname = $1", [
        streamName(stream),
      ]);
      return rows.map(({ oid }) => `pg_${oid}_sync_`);
    }),
  );
  if (copySlots.length > 0) await patiently(() => subscriber.superuser(dropSubscriptionSql(streamName(stream))));
  const names = [
    `slot_name = '${streamName(stream)}'`,
    ...copySlots.map((name) => `starts_with(slot_name, '${name}')`),
  ];
  await patiently(() =>
    publisher.superuser([
      // Its reader has gone and the server does not know yet.
      `SELECT pg_terminate_backend(active_pid, 5000) FROM pg_replication_slots WHERE active AND (${names.join(" OR ")})`,
      ...names.map((name) => `SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE ${name}`),
    ]),
  );
  for (const { owner } of [publisher, subscriber]) {
    await patiently(() => owner((client) => client.query(dropMarksSql(stream))));
  }
  await patiently(() => publisher.owner((client) => client.query(`DROP PUBLICATION IF EXISTS ${streamName(stream)}`)));
}

/** Puts a mark into what a shard publishes; gives its id. Whatever was committed there before goes ahead of it. */
export async function putMark(client: Client, stream: Stream): Promise<string> {
  const id = randomUUID();
  await client.query("INSERT INTO sharding.marks (stream, id) VALUES ($1, $2)", [streamName(stream), id]);
  return id;
}

export const hasMark = (client: Client, id: string): Promise<boolean> =>
  exists(client, "SELECT FROM sharding.marks WHERE id = $1", id);

/** Waits until a mark has come through to the other end; gives whether it has, in this time. */
export async function awaitMark(client: Client, id: string, withinMs: number): Promise<boolean> {
  for (const until = Date.now() + withinMs; Date.now() < until; await sleep(5)) {
    if (await hasMark(client, id)) return true;
  }
  return false;
}

/** Waits until the subscriber has what the publisher has committed until now. Throws where it does not come through. */
export async function catchUp(places: Places, stream: Stream, withinMs: number): Promise<void> {
  const mark = await patiently(() => shardPlace(places, stream.publisher).owner((client) => putMark(client, stream)));
  const there = await patiently(() =>
    shardPlace(places, stream.subscriber).owner((client) => awaitMark(client, mark, withinMs)),
  );
  if (there) return;
  throw new UserError(
    `shard ${stream.subscriber} does not catch up with shard ${stream.publisher}: ${withinMs / 1000} s were not enough`,
    "see ./cgraph-db logs for errors of its subscription; --resume tries again, --rollback takes the move back",
    EXIT.failed,
  );
}
