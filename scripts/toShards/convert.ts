/** The tables of a whole database become those of shard 0 while clients go on, and become what they were again. */
import type { Client } from "pg";
import { NO_TIMEOUTS, patiently } from "../../migration/partitions/locks.ts";
import {
  type KeptForeignKey,
  type Leaf,
  cascades,
  crossingKeysSql,
  deleteOrphansSql,
  dropShardingSql,
  leavesSql,
  nextKeyIndexSql,
  nextKeyName,
  primaryKeySql,
  shardTriggersSql,
  swapKeySql,
} from "../../sharding/convertSql.ts";
import { readOwned, setOwned } from "../../sharding/publish.ts";
import { dropForeignKeysSql, ownedViewSql, tableTriggersSql } from "../../sharding/shardSql.ts";
import { shardedTables } from "../../sharding/tables.ts";
import { shardFunctions } from "../lib/schemaParts.ts";

type Detail = (text: string) => void;

/** A table whose primary key has changed, and what it was. */
interface KeptKey {
  readonly table: string;
  readonly columns: readonly string[];
}

/** What has to be known to take the conversion back. */
export interface Kept {
  readonly foreignKeys: readonly KeptForeignKey[];
  readonly primaryKeys: readonly KeptKey[];
}

const keyOf = async (client: Client, table: string): Promise<{ name: string; columns: string[] } | undefined> =>
  (await client.query<{ name: string; columns: string[] }>(primaryKeySql(table))).rows[0];

/** What is to change of a database; nothing where it is converted already. */
export async function readKept(client: Client): Promise<Kept> {
  const { rows: foreignKeys } = await client.query<KeptForeignKey>(crossingKeysSql());
  const primaryKeys: KeptKey[] = [];
  for (const { name, primaryKey } of shardedTables()) {
    const key = await keyOf(client, name);
    if (key && key.columns.join() !== primaryKey.join()) primaryKeys.push({ table: name, columns: key.columns });
  }
  return { foreignKeys, primaryKeys };
}

/** Gives a table another primary key: indexes beside its writers, then a moment's lock. Can be repeated. */
async function changeKey(client: Client, table: string, columns: readonly string[], detail: Detail): Promise<void> {
  const current = await keyOf(client, table);
  if (!current || current.columns.join() === columns.join()) return;
  const { rows: leaves } = await client.query<Leaf>(leavesSql(table));
  if (leaves.length === 0) throw new Error(`${table} has no partitions`);
  for (const [place, { leaf }] of leaves.entries()) {
    detail(`primary key of ${leaf} (${place + 1} of ${leaves.length})`);
    const { rows } = await client.query<{ valid: boolean }>(
      `SELECT indisvalid AS valid FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid
       WHERE relname = $1 AND indrelid = $2::regclass`,
      [nextKeyName(leaf), leaf],
    );
    // What an interruption has left half-made.
    if (rows[0]?.valid === false) await client.query(`DROP INDEX CONCURRENTLY "${nextKeyName(leaf)}"`);
    if (rows[0]?.valid !== true) await client.query(nextKeyIndexSql(leaf, columns));
  }
  await patiently(client, swapKeySql(table, current.name, columns, leaves));
}

/**
 * Makes a whole database shard 0, which has all buckets. From then on it refuses nothing that it did not refuse before: but
 * foreign keys that would cross shards are gone. Can be repeated.
 */
export async function convert(client: Client, bucketCount: number, detail: Detail): Promise<void> {
  await client.query(NO_TIMEOUTS);
  for (const { name, sql } of shardFunctions()) {
    detail(name);
    await client.query(sql);
  }
  if (!(await readOwned(client))) {
    await setOwned(client, 0, { version: 1, shards: Array<number>(bucketCount).fill(0) });
  }
  for (const sql of dropForeignKeysSql()) {
    detail("foreign keys that would cross shards");
    await patiently(client, sql.replace(/;$/, ""));
  }
  for (const { name, primaryKey } of shardedTables()) await changeKey(client, name, primaryKey, detail);
  for (const table of shardedTables()) {
    detail(`triggers of ${table.name}`);
    await patiently(client, tableTriggersSql(table).replace(/;$/, ""));
    await client.query(ownedViewSql(table));
  }
}

/** Makes a foreign key again: its rows are checked beside writers. A partitioned table's is checked partition by partition. */
async function restoreForeignKey(client: Client, key: KeptForeignKey, detail: Detail): Promise<void> {
  const { table, name, definition } = key;
  /** Whether a table has the key, and whether its rows were checked. */
  const look = async (relation: string): Promise<{ valid: boolean } | undefined> => {
    const sql = "SELECT convalidated AS valid FROM pg_constraint WHERE conrelid = $1::regclass AND conname = $2";
    return (await client.query<{ valid: boolean }>(sql, [relation, name])).rows[0];
  };
  if ((await look(table))?.valid === true) return;
  detail(`foreign key ${name} of ${table}`);
  const { rows: leaves } = await client.query<Leaf>(leavesSql(table));
  const add = (relation: string, how: string): Promise<number> =>
    patiently(client, `ALTER TABLE ${relation} ADD CONSTRAINT "${name}" ${definition}${how}`);
  for (const { leaf } of leaves) {
    if (!(await look(leaf))) await add(leaf, " NOT VALID");
    // What the key would have deleted since, had it been there.
    if (cascades(key)) await client.query(deleteOrphansSql({ ...key, table: leaf }));
    await client.query(`ALTER TABLE ${leaf} VALIDATE CONSTRAINT "${name}"`);
  }
  // The partitions' own are taken over: nothing is checked again.
  if (leaves[0]?.partitioned) await add(table, "");
}

/** Takes the conversion back. Only while the database has all buckets. Can be repeated. */
export async function revert(client: Client, kept: Kept, detail: Detail): Promise<void> {
  await client.query(NO_TIMEOUTS);
  for (const { table, columns } of kept.primaryKeys) await changeKey(client, table, columns, detail);
  const { rows: triggers } = await client.query<{ drops: string }>(shardTriggersSql);
  for (const { drops } of triggers) await patiently(client, drops);
  for (const sql of dropShardingSql) await patiently(client, sql);
  for (const key of kept.foreignKeys) await restoreForeignKey(client, key, detail);
}
