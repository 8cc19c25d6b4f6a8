/**
 * SQL by which buckets go from shard to shard over PostgreSQL's own logical replication: publications with row filters,
 * subscriptions, checksums. Pure text.
 */
import { checksumSql as sumOf, literal } from "../components/sqlText.ts";
import { type Pair, coverOf } from "./pairs.ts";
import { bucketSql } from "./placement.ts";
import { SCHEMA, classFilterSql } from "./shardSql.ts";
import { type ShardedTable, TABLES, type TablePlacement, shardedTables } from "./tables.ts";

/**
 * One way in which rows stream. `forward`: from the shard that has the buckets to the one that is to have them. `back`: the
 * other way, for what is written after the hand-over, so that it can be taken back.
 */
export interface Stream {
  readonly direction: "forward" | "back";
  readonly publisher: number;
  readonly subscriber: number;
  readonly buckets: readonly number[];
}

export const forwardOf = ({ from, to, buckets }: Pair): Stream => ({
  ...{ direction: "forward", publisher: from, subscriber: to, buckets },
});
export const backOf = ({ from, to, buckets }: Pair): Stream => ({
  ...{ direction: "back", publisher: to, subscriber: from, buckets },
});

/** How names of all publications, subscriptions and slots of moves begin. */
export const STREAM_PREFIX = "cgraph_move_";

/** The name of a stream's publication, subscription and slot. */
export const streamName = ({ direction, publisher, subscriber }: Stream): string =>
  `${STREAM_PREFIX}${direction}_${publisher}_${subscriber}`;

/** The condition on a shard key's column of rows that are in these buckets; fit for a publication's row filter. */
export const bucketsFilterSql = (column: string, buckets: readonly number[], bucketCount: number): string =>
  coverOf(buckets, bucketCount)
    .map((one) => `(${classFilterSql(column, one)})`)
    .join(" OR ");

/**
 * Makes a stream's publication in place of an earlier one. Truncating is not published: it would empty the other shard's
 * table of rows that are none of this stream's.
 */
export function publicationSql(
  stream: Stream,
  bucketCount: number,
  tables: readonly TablePlacement[] = TABLES,
): string {
  const filtered = shardedTables(tables).map(
    ({ name, shardKey }) => `public.${name} WHERE (${bucketsFilterSql(shardKey, stream.buckets, bucketCount)})`,
  );
  return `DROP PUBLICATION IF EXISTS ${streamName(stream)};
CREATE PUBLICATION ${streamName(stream)} FOR TABLE ${SCHEMA}.marks WHERE (stream = '${streamName(stream)}'), ${filtered.join(", ")}
  WITH (publish = 'insert, update, delete', publish_via_partition_root = true);`;
}

/** What the publisher's stream role must be allowed to read for the first copy. */
export const readableSql = (role: string, tables: readonly TablePlacement[] = TABLES): string =>
  `GRANT USAGE ON SCHEMA public, ${SCHEMA} TO ${role};
GRANT SELECT ON ${SCHEMA}.marks, ${shardedTables(tables)
    .map(({ name }) => `public.${name}`)
    .join(", ")} TO ${role};`;

/** The stream's slot at the publisher: made first, by itself, so that a subscription within one server can use it too. */
export const slotSql = (stream: Stream): string =>
  `SELECT pg_create_logical_replication_slot('${streamName(stream)}', 'pgoutput')
   WHERE NOT EXISTS (SELECT FROM pg_replication_slots WHERE slot_name = '${streamName(stream)}')`;

/**
 * The subscription at the other shard. It passes on only what was written at the publisher itself (`origin = none`), so
 * that two streams between the same shards do not answer each other.
 */
export const subscriptionSql = (stream: Stream, conninfo: string): string =>
  `CREATE SUBSCRIPTION ${streamName(stream)} CONNECTION ${literal(conninfo)} PUBLICATION ${streamName(stream)}
   WITH (create_slot = false, slot_name = '${streamName(stream)}', origin = none, copy_data = ${stream.direction === "forward"})`;

/** Removes a subscription whose slot may be gone or not; the slot is dropped where it is. Statements to be run one by one. */
export const dropSubscriptionSql = (name: string): string[] => [
  `ALTER SUBSCRIPTION ${name} DISABLE`,
  `ALTER SUBSCRIPTION ${name} SET (slot_name = NONE)`,
  `DROP SUBSCRIPTION ${name}`,
];

/** Forgets a stream's marks; to be run at both ends when it is gone. */
export const dropMarksSql = (stream: Stream): string =>
  `DELETE FROM ${SCHEMA}.marks WHERE stream = '${streamName(stream)}'`;

/** One row: how many tables of a subscription there are, how many are copied, rows copied so far, and how often it failed. */
export const copyProgressSql = (stream: Stream): string =>
  `SELECT count(*)::int AS tables, count(*) FILTER (WHERE srsubstate IN ('s', 'r'))::int AS copied,
     (SELECT coalesce(sum(tuples_processed), 0)::bigint::text FROM pg_stat_progress_copy WHERE command = 'COPY FROM') AS copying,
     (SELECT coalesce(sum(apply_error_count + sync_error_count), 0)::int FROM pg_stat_subscription_stats
      WHERE subname = '${streamName(stream)}') AS errors
   FROM pg_subscription_rel JOIN pg_subscription s ON s.oid = srsubid WHERE subname = '${streamName(stream)}'`;

/** Names of indexes that are neither a key nor a constraint: they are faster made after the copy than with it. */
export const plainIndexesSql = (tables: readonly TablePlacement[] = TABLES): string =>
  `SELECT indexrelid::regclass::text AS name FROM pg_index i JOIN pg_class c ON c.oid = indexrelid
   WHERE indrelid = ANY ('{${shardedTables(tables)
     .map(({ name }) => `public.${name}`)
     .join(",")}}'::regclass[])
     AND NOT indisprimary AND NOT indisreplident AND NOT relispartition
     AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = indexrelid)`;

/** Whether a shard holds any row at all: one row, `rows`. */
export const anyRowSql = (tables: readonly TablePlacement[] = TABLES): string =>
  `SELECT ${shardedTables(tables)
    .map(({ name }) => `EXISTS (SELECT FROM public.${name})`)
    .join(" OR ")} AS rows`;

/**
 * Deletes rows of buckets that are another shard's, without telling anybody who refuses rows or follows deletions. To be
 * run by the superuser.
 */
export const deleteBucketsSql = (
  buckets: readonly number[],
  bucketCount: number,
  tables: readonly TablePlacement[] = TABLES,
): string[] => [
  "SET session_replication_role = replica",
  ...[...shardedTables(tables)]
    .reverse()
    .map(
      ({ name, shardKey }) => `DELETE FROM public.${name} WHERE ${bucketsFilterSql(shardKey, buckets, bucketCount)}`,
    ),
  "RESET session_replication_role",
];

/** A table's columns in the order of their names: shards may have got them in different orders. */
export const columnsSql = (table: string): string =>
  `SELECT array_agg(quote_ident(attname) ORDER BY attname) AS columns FROM pg_attribute
   WHERE attrelid = 'public.${table}'::regclass AND attnum > 0 AND NOT attisdropped`;

/** One row for each of the buckets that has rows: `bucket`, `rows`, and a sum of hashes that does not depend on order. */
export const checksumSql = (
  { name, shardKey }: ShardedTable,
  columns: readonly string[],
  buckets: readonly number[],
  bucketCount: number,
): string =>
  `SELECT ${bucketSql(shardKey, bucketCount)}::int AS bucket, count(*)::text AS rows,
     ${sumOf(columns)}::text AS sum
   FROM public.${name} WHERE ${bucketsFilterSql(shardKey, buckets, bucketCount)} GROUP BY 1 ORDER BY 1`;
