/** Messages by month on shards that are new. */
import type { Client } from "pg";
import { setMaintenance } from "../../migration/partitions/maintenance.ts";
import { convert, dropOld } from "../../migration/partitions/run.ts";
import { MESSAGES } from "../../migration/partitions/sql.ts";
import type { MessagesConfig } from "../../stacks/config.ts";
import { AUTOVACUUM_FACTORS } from "../../stacks/guide.ts";

/** The first month that messages has a partition for; null where it is not partitioned. */
export async function firstMonth(client: Client): Promise<Date | null> {
  const { rows } = await client.query<{ since: string | null }>(
    `SELECT min(substring(pg_get_expr(c.relpartbound, c.oid) FROM 'FROM \\(''([0-9-]+)')) AS since
     FROM pg_inherits JOIN pg_class c ON c.oid = inhrelid WHERE inhparent = to_regclass('public.messages')`,
  );
  const since = rows[0]?.since ?? null;
  return since === null ? null : new Date(`${since}T00:00:00Z`);
}

/**
 * Partitions messages from this month on, where the table is empty, not partitioned, and not a shard's yet: views and triggers
 * of a shard would stay with the table from before.
 */
export async function partitionEmpty(
  client: Client,
  since: Date,
  { premakeMonths, retention }: MessagesConfig,
): Promise<void> {
  const { rows } = await client.query<{ plain: boolean }>(
    `SELECT relkind = 'r' AND to_regclass('sharding.this_shard') IS NULL AS plain
     FROM pg_class WHERE oid = 'public.messages'::regclass`,
  );
  // Apart: Citus plans no query on its own tables and on PostgreSQL's together.
  if (rows[0]?.plain !== true || (await client.query("SELECT 1 FROM messages LIMIT 1")).rowCount !== 0) return;
  await convert(client, MESSAGES, { premakeMonths, since, onProgress: () => undefined });
  await dropOld(client, MESSAGES);
  await setMaintenance(client, MESSAGES, { premakeMonths, retention, ...AUTOVACUUM_FACTORS.value });
}
