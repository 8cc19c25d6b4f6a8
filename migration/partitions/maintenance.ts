/** Keeping partitions: new months made ahead, old ones put away, statistics of the whole, the guide's autovacuum factors. */
import type { Client } from "pg";
import { patiently, untilUnlocked } from "./locks.ts";
import { type PartitionedTable, SCHEMA } from "./sql.ts";

/** What becomes of months older than the retention. */
export interface Retention {
  /** Whole months beside the current one; undefined: all are kept. */
  readonly months: number | undefined;
  /** Moved to the schema `archive`, or dropped. */
  readonly action: "archive" | "drop";
}

export interface MaintenanceOptions {
  readonly premakeMonths: number;
  readonly retention: Retention;
  /** For the leaves: a partitioned parent refuses them. */
  readonly vacuumScaleFactor: number;
  readonly analyzeScaleFactor: number;
}

export const ARCHIVE_SCHEMA = "archive";

/** Rows of referring tables that go (or are archived) with a month, so many at a time. */
const BATCH_ROWS = 5000;

/**
 * A procedure that pg_cron calls every hour: partitions ahead (pg_partman), referring rows of months that go, the months
 * themselves (pg_partman), and the autovacuum factors of new leaves.
 */
function procedureSql(table: PartitionedTable, options: MaintenanceOptions): string {
  const { months, action } = options.retention;
  const month = (offset: number): string =>
    `'${table.name}_p' || to_char(date_trunc('month', now() AT TIME ZONE 'UTC') + interval '${offset} months', 'YYYYMMDD')`;
  const isLeaf = `inhparent = 'public.${table.name}'::regclass`;
  const reactions =
    months === undefined
      ? ""
      : `
  cutoff := date_trunc('month', now() AT TIME ZONE 'UTC') - interval '${months} months';
  LOOP
    WITH old AS (
      DELETE FROM reactions WHERE ctid = ANY (ARRAY(SELECT ctid FROM reactions WHERE message_inserted_at < cutoff LIMIT ${BATCH_ROWS}))
      RETURNING *)
    ${action === "archive" ? `INSERT INTO ${ARCHIVE_SCHEMA}.reactions SELECT * FROM old` : "SELECT count(*) INTO moved FROM old"};
    ${action === "archive" ? "GET DIAGNOSTICS moved = ROW_COUNT;" : ""}
    COMMIT;
    EXIT WHEN moved = 0;
  END LOOP;`;
  return `
CREATE OR REPLACE PROCEDURE ${SCHEMA}.maintain_${table.name}() LANGUAGE plpgsql AS $$
DECLARE
  cutoff timestamp;
  moved bigint;
  leaf regclass;
BEGIN
  -- A new partition locks the default one: rather an hour later than writers kept waiting.
  PERFORM set_config('lock_timeout', '500ms', false);${reactions}
  IF to_regclass('public.' || ${month(options.premakeMonths)}) IS NULL${
    months === undefined
      ? ""
      : `
    OR EXISTS (SELECT FROM pg_inherits JOIN pg_class c ON c.oid = inhrelid
               WHERE ${isLeaf} AND c.relname ~ '_p[0-9]{8}$' AND c.relname < ${month(-months)})`
  } THEN
    -- The whole before its parts, as writers do it: pg_partman would lock the default partition first, in a circle.
    LOCK TABLE public.${table.name} IN ACCESS EXCLUSIVE MODE;
    PERFORM partman.run_maintenance('public.${table.name}');
    COMMIT;
  END IF;
  FOR leaf IN
    SELECT inhrelid FROM pg_inherits JOIN pg_class c ON c.oid = inhrelid
    WHERE ${isLeaf} AND NOT coalesce(c.reloptions, '{}') @> ARRAY['autovacuum_vacuum_scale_factor=${options.vacuumScaleFactor}']
  LOOP
    EXECUTE format('ALTER TABLE %s SET (autovacuum_vacuum_scale_factor = ${options.vacuumScaleFactor}, autovacuum_analyze_scale_factor = ${options.analyzeScaleFactor})', leaf);
    COMMIT;
  END LOOP;
END $$;`;
}

/** Sets up, or changes, how a partitioned table is kept. Can be repeated. Needs pg_partman and pg_cron. */
export async function setMaintenance(
  client: Client,
  table: PartitionedTable,
  options: MaintenanceOptions,
): Promise<void> {
  const { retention, premakeMonths } = options;
  const parent = `public.${table.name}`;
  const { rowCount } = await client.query("SELECT FROM partman.part_config WHERE parent_table = $1", [parent]);
  if (rowCount === 0) {
    await patiently(
      client,
      `SELECT partman.create_parent(p_parent_table := '${parent}', p_control := '${table.control}', p_interval := '1 month',
         p_premake := ${premakeMonths}, p_default_table := false, p_automatic_maintenance := 'on')`,
    );
  }
  if (retention.months !== undefined && retention.action === "archive") {
    await client.query(
      `CREATE SCHEMA IF NOT EXISTS ${ARCHIVE_SCHEMA}; CREATE TABLE IF NOT EXISTS ${ARCHIVE_SCHEMA}.reactions (LIKE reactions)`,
    );
  }
  await client.query(
    `UPDATE partman.part_config SET premake = $2, infinite_time_partitions = true, retention = $3,
       retention_keep_table = $4, retention_keep_index = true, retention_schema = $5 WHERE parent_table = $1`,
    [
      parent,
      premakeMonths,
      retention.months === undefined ? null : `${retention.months} months`,
      retention.action === "archive",
      retention.months !== undefined && retention.action === "archive" ? ARCHIVE_SCHEMA : null,
    ],
  );
  await client.query(procedureSql(table, options));
  await client.query("SELECT cron.schedule($1, '7 * * * *', $2)", [
    `cgraph_maintain_${table.name}`,
    `CALL ${SCHEMA}.maintain_${table.name}()`,
  ]);
  // Autovacuum never analyses a partitioned parent itself: the planner would know nothing of the whole.
  await client.query("SELECT cron.schedule($1, '37 3 * * *', $2)", [
    `cgraph_analyze_${table.name}`,
    `ANALYZE ${parent}`,
  ]);
  await untilUnlocked(() => client.query(`CALL ${SCHEMA}.maintain_${table.name}()`));
}

/** One partition, as `partitions status` shows it. */
export interface PartitionState {
  readonly name: string;
  readonly bounds: string;
  readonly bytes: number;
  /** The planner's estimate. */
  readonly rows: number;
}

/** Every partition of a table; empty where it is not partitioned. */
export async function partitionStates(client: Client, table: PartitionedTable): Promise<PartitionState[]> {
  const { rows } = await client.query<{ name: string; bounds: string; bytes: string; rows: number }>(
    `SELECT c.relname AS name, pg_get_expr(c.relpartbound, c.oid) AS bounds, pg_total_relation_size(c.oid) AS bytes,
            greatest(c.reltuples, 0)::float8 AS rows
     FROM pg_inherits JOIN pg_class c ON c.oid = inhrelid WHERE inhparent = to_regclass($1) ORDER BY c.relname`,
    [`public.${table.name}`],
  );
  return rows.map((row) => ({ ...row, bytes: Number(row.bytes) }));
}
