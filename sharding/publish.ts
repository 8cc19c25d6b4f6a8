/** Writing the shard map: what each shard owns, and what clients read. */
import type { ClientBase, Pool } from "pg";
import type { ShardMap } from "./shardMap.ts";

/** Tells a shard which buckets are its own; waits for transactions that rely on what it was told before. */
export async function setOwned(shardClient: ClientBase, shard: number, { version, shards }: ShardMap): Promise<void> {
  const own = shards.flatMap((of, bucket) => (of === shard ? [bucket] : []));
  await shardClient.query("SELECT sharding.set_owned($1, $2, $3, $4)", [shard, version, own, shards.length]);
}

/** What a shard says it owns; undefined where it was told nothing yet. */
export async function readOwned(
  shardClient: ClientBase,
): Promise<{ shard: number; buckets: number[]; mapVersion: number } | undefined> {
  const { rows } = await shardClient.query<{ shard: number; owned: string; version: string }>(
    "SELECT shard, owned::text, map_version AS version FROM sharding.this_shard",
  );
  const [row] = rows;
  if (!row) return undefined;
  const bits = Array.from({ length: row.owned.length }, (_, bucket) => bucket);
  const buckets = bits.filter((bucket) => row.owned.charAt(bucket) === "1");
  return { shard: row.shard, buckets, mapVersion: Number(row.version) };
}

/** Publishes the next version of the map in the global database. Fails where somebody else has published it meanwhile. */
export async function publishMap(globalClient: ClientBase, { version, shards }: ShardMap): Promise<void> {
  await globalClient.query("INSERT INTO sharding.maps (version, shards) VALUES ($1, $2)", [version, shards]);
}

/** The newest map; undefined where there is none. */
export async function readMap(client: Pick<ClientBase, "query"> | Pool): Promise<ShardMap | undefined> {
  const { rows } = await client.query<{ version: string; shards: number[] }>(
    "SELECT version, shards FROM sharding.current_map",
  );
  const [row] = rows;
  return row && { version: Number(row.version), shards: row.shards };
}
