/** Runs the conversion: online, in small batches, from wherever an interrupted one stopped. */
import type { Client } from "pg";
import { UserError } from "../../tuning/errors.ts";
import { NO_TIMEOUTS, isLockConflict, patiently, sleep } from "./locks.ts";
import {
  JOURNAL_SQL,
  type PartitionedTable,
  type Publication,
  SCHEMA,
  applyTombstonesSql,
  captureSql,
  checksumSql,
  copySql,
  createSql,
  indexFor,
  monthsBetween,
  newConstraintName,
  newIndexName,
  newName,
  oldName,
  swapSql,
} from "./sql.ts";

/** What is done, in this order. */
export const PHASES = ["create", "capture", "copy", "index", "constrain", "verify", "swap", "swapped"] as const;
export type Phase = (typeof PHASES)[number];

export interface ConvertOptions {
  /** Months of partitions made ahead. */
  readonly premakeMonths: number;
  /** The first month to have a partition, where rows of it are to come; default: the oldest row's. */
  readonly since?: Date;
  readonly onProgress: (text: string) => void;
}

export interface Conversion {
  readonly rows: number;
  readonly copySeconds: number;
  /** How long the swap held its locks, milliseconds. */
  readonly swapMs: number;
}

/** Milliseconds of one batch: a writer that changes a row of it waits so long. */
const BATCH_MS = 150;
/** A batch gives way to writers rather than making them wait for it in a circle (deadlock_timeout is a second). */
const COPY_LOCK_TIMEOUT = "100ms";
async function columnsOf(client: Client, table: string): Promise<string[]> {
  const { rows } = await client.query<{ name: string }>(
    `SELECT quote_ident(attname) AS name FROM pg_attribute
     WHERE attrelid = $1::regclass AND attnum > 0 AND NOT attisdropped AND attgenerated = '' ORDER BY attnum`,
    [table],
  );
  return rows.map(({ name }) => name);
}

interface Journal {
  readonly phase: Phase;
  readonly next_page: string;
  readonly end_page: string;
  readonly copied: string;
  readonly copy_seconds: number;
}

async function journal(client: Client, table: PartitionedTable): Promise<Journal> {
  await client.query(JOURNAL_SQL);
  await client.query(`INSERT INTO ${SCHEMA}.journal (table_name, phase) VALUES ($1, 'create') ON CONFLICT DO NOTHING`, [
    table.name,
  ]);
  const { rows } = await client.query<Journal>(`SELECT * FROM ${SCHEMA}.journal WHERE table_name = $1`, [table.name]);
  if (!rows[0]) throw new Error("the journal has no row");
  return rows[0];
}

async function create(
  client: Client,
  table: PartitionedTable,
  { premakeMonths, since }: ConvertOptions,
): Promise<void> {
  const { rows } = await client.query<{ first: Date | null }>(
    `SELECT min(${table.control}) AT TIME ZONE 'UTC' AS first FROM ${table.name}`,
  );
  const now = new Date();
  // pg_partman expects as many months behind as ahead, and would make them later, when the table is in use.
  const [behind, ahead] = [-premakeMonths, premakeMonths].map(
    (months) => new Date(Date.UTC(now.getUTCFullYear(), now.getUTCMonth() + months, 1)),
  ) as [Date, Date];
  const oldest = [rows[0]?.first ?? now, behind, since ?? now].reduce((a, b) => (a < b ? a : b));
  await patiently(client, createSql(table, monthsBetween(oldest, ahead)));
  // While it is empty they cost nothing; each needs locks of its own on the table it refers to.
  for (const { name, definition } of await foreignKeys(client, "conrelid", table.name)) {
    if (await hasConstraint(client, newName(table), name)) continue;
    await patiently(client, `ALTER TABLE ${newName(table)} ADD CONSTRAINT ${name} ${definition}`);
  }
}

/** Copies page by page; a batch grows and shrinks so as to take BATCH_MS. */
async function copy(
  client: Client,
  table: PartitionedTable,
  columns: readonly string[],
  options: ConvertOptions,
): Promise<void> {
  const start = await journal(client, table);
  let next = Number(start.next_page);
  let end = Number(start.end_page);
  if (end === 0) {
    const { rows } = await client.query<{ pages: string }>(
      `SELECT pg_relation_size($1::regclass) / current_setting('block_size')::int + 1 AS pages`,
      [table.name],
    );
    end = Number(rows[0]?.pages ?? 1);
    await client.query(`UPDATE ${SCHEMA}.journal SET end_page = $2 WHERE table_name = $1`, [table.name, end]);
  }
  let copied = Number(start.copied);
  let seconds = start.copy_seconds;
  const before = { copied, seconds };
  let pages = 64;
  const sql = copySql(table, columns);
  // The rows satisfy the old table's foreign keys: checking each again would take as long as copying it. A table without a
  // page has none, and asks for no right that its owner may lack (on RDS).
  const unchecked = end > 1;
  await client.query(`SET lock_timeout = '${COPY_LOCK_TIMEOUT}'`);
  if (unchecked) await client.query("SET session_replication_role = replica");
  while (next < end) {
    const batchEnd = Math.min(next + pages, end);
    const began = performance.now();
    try {
      await client.query("BEGIN");
      const { rowCount } = await client.query(sql, [next, batchEnd]);
      copied += rowCount ?? 0;
      const took = (performance.now() - began) / 1000;
      await client.query(
        `UPDATE ${SCHEMA}.journal SET next_page = $2, copied = $3, copy_seconds = copy_seconds + $4 WHERE table_name = $1`,
        [table.name, batchEnd, copied, took],
      );
      await client.query("COMMIT");
    } catch (error) {
      await client.query("ROLLBACK");
      if (!isLockConflict(error)) throw error;
      copied = Number((await journal(client, table)).copied);
      pages = Math.max(8, Math.floor(pages / 2));
      await sleep(20);
      continue;
    }
    const tookMs = performance.now() - began;
    seconds += tookMs / 1000;
    next = batchEnd;
    pages = Math.max(8, Math.min(Math.round(pages * Math.min(2, BATCH_MS / tookMs)), 8192));
    const rate = (copied - before.copied) / Math.max(seconds - before.seconds, 0.001);
    const left = ((end - next) / end) * (copied / Math.max(next / end, 1e-9) / Math.max(rate, 1));
    options.onProgress(
      `${copied} rows copied (${Math.round((next / end) * 100)} %), ${Math.round(rate)} a second, ${Math.round(left)} s left`,
    );
  }
  await client.query(NO_TIMEOUTS);
  if (unchecked) await client.query("RESET session_replication_role");
}

interface IndexRow {
  readonly name: string;
  readonly definition: string;
}

const indexesOf = async (client: Client, table: string): Promise<IndexRow[]> =>
  (
    await client.query<IndexRow>(
      `SELECT quote_ident(c.relname) AS name, pg_get_indexdef(i.indexrelid) AS definition
       FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
       WHERE i.indrelid = $1::regclass AND NOT i.indisprimary AND i.indisvalid ORDER BY c.relname`,
      [table],
    )
  ).rows;

const leavesOf = async (client: Client, table: string): Promise<string[]> =>
  (
    await client.query<{ leaf: string }>(
      `SELECT inhrelid::regclass::text AS leaf FROM pg_inherits WHERE inhparent = $1::regclass ORDER BY 1`,
      [table],
    )
  ).rows.map(({ leaf }) => leaf);

/** Indexes leaf by leaf, beside the writers; then one on the parent for each, to which the leaves' belong. */
async function index(client: Client, table: PartitionedTable, options: ConvertOptions): Promise<void> {
  const leaves = await leavesOf(client, newName(table));
  for (const { name, definition } of await indexesOf(client, table.name)) {
    for (const [position, leaf] of leaves.entries()) {
      options.onProgress(`${name} on ${leaf} (${position + 1} of ${leaves.length})`);
      const leafIndex = `${leaf}_${name}`.slice(0, 63);
      const { rows } = await client.query<{ valid: boolean }>(
        "SELECT indisvalid AS valid FROM pg_index WHERE indexrelid = to_regclass($1)",
        [leafIndex],
      );
      // What an interruption has left half-made.
      if (rows[0] && !rows[0].valid) await client.query(`DROP INDEX CONCURRENTLY ${leafIndex}`);
      await client.query(indexFor(definition, leafIndex, leaf, true));
    }
    const parent = newIndexName(name);
    await patiently(
      client,
      [
        indexFor(definition, parent, newName(table), false),
        ...leaves.map((leaf) => `ALTER INDEX ${parent} ATTACH PARTITION ${`${leaf}_${name}`.slice(0, 63)}`),
      ].join("; "),
    );
  }
}

interface ConstraintRow {
  readonly table: string;
  readonly name: string;
  readonly definition: string;
}

const foreignKeys = async (client: Client, where: string, table: string): Promise<ConstraintRow[]> =>
  (
    await client.query<ConstraintRow>(
      `SELECT conrelid::regclass::text AS table, quote_ident(conname) AS name, pg_get_constraintdef(oid) AS definition
       FROM pg_constraint WHERE contype = 'f' AND ${where} = $1::regclass AND conparentid = 0 ORDER BY conname`,
      [table],
    )
  ).rows;

const publications = async (client: Client, table: string): Promise<Publication[]> =>
  (
    await client.query<Publication>(
      `SELECT quote_ident(p.pubname) AS name,
         (SELECT string_agg(quote_ident(a.attname), ', ' ORDER BY a.attnum) FROM pg_attribute a
          WHERE a.attrelid = r.prrelid AND a.attnum = ANY (r.prattrs::int2[])) AS columns
       FROM pg_publication_rel r JOIN pg_publication p ON p.oid = r.prpubid WHERE r.prrelid = $1::regclass`,
      [table],
    )
  ).rows;

const hasConstraint = async (client: Client, table: string, name: string): Promise<boolean> =>
  (await client.query("SELECT FROM pg_constraint WHERE conrelid = $1::regclass AND conname = $2", [table, name]))
    .rowCount === 1;

/** Adds a foreign key without holding writers up while its rows are checked. */
async function addForeignKey(client: Client, table: string, name: string, definition: string): Promise<void> {
  if (!(await hasConstraint(client, table, name))) {
    await patiently(client, `ALTER TABLE ${table} ADD CONSTRAINT ${name} ${definition} NOT VALID`);
  }
  await client.query(`ALTER TABLE ${table} VALIDATE CONSTRAINT ${name}`);
}

/** Foreign keys of the tables that refer to it, to the new table too. */
async function constrain(client: Client, table: PartitionedTable, options: ConvertOptions): Promise<void> {
  for (const key of await foreignKeys(client, "confrelid", table.name)) {
    options.onProgress(`${key.name} of ${key.table}`);
    const definition = key.definition.replace(` REFERENCES ${table.name}(`, ` REFERENCES ${newName(table)}(`);
    await addForeignKey(client, key.table, newConstraintName(key.name), definition);
  }
}

/** Compares both tables as of one moment, while writers go on. Throws where they differ: nothing has been swapped then. */
async function verify(client: Client, table: PartitionedTable, columns: readonly string[]): Promise<number> {
  await client.query(applyTombstonesSql(table));
  await client.query("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY");
  try {
    const read = async (name: string) =>
      (await client.query<{ rows: string; checksum: string }>(checksumSql(name, columns))).rows[0];
    const [old, fresh] = [await read(table.name), await read(newName(table))];
    if (!old || old.rows !== fresh?.rows || old.checksum !== fresh.checksum) {
      throw new UserError(
        `the copy of ${table.name} differs: ${old?.rows} rows, copied ${fresh?.rows}; nothing was swapped`,
        "this should not happen: keep both tables and report it",
      );
    }
    return Number(old.rows);
  } finally {
    await client.query("COMMIT");
  }
}

/**
 * Converts a table, going on where an earlier call was interrupted. The old table stays beside the new one under another
 * name. Throws a UserError where locks cannot be had, or the copy differs.
 */
export async function convert(client: Client, table: PartitionedTable, options: ConvertOptions): Promise<Conversion> {
  const columns = await columnsOf(client, table.name);
  let { phase } = await journal(client, table);
  let rows = 0;
  let swapMs = 0;
  const enter = async (next: Phase): Promise<void> => {
    await client.query(`UPDATE ${SCHEMA}.journal SET phase = $2 WHERE table_name = $1`, [table.name, next]);
    phase = next;
  };
  const steps: Record<Phase, () => Promise<void>> = {
    create: async () => {
      await create(client, table, options);
      await enter("capture");
    },
    capture: async () => {
      await patiently(client, captureSql(table, columns));
      await enter("copy");
    },
    copy: async () => {
      await copy(client, table, columns, options);
      await client.query(`ANALYZE ${newName(table)}`);
      await enter("index");
    },
    index: async () => {
      await index(client, table, options);
      await enter("constrain");
    },
    constrain: async () => {
      await constrain(client, table, options);
      await enter("verify");
    },
    verify: async () => {
      options.onProgress("comparing rows and checksums");
      rows = await verify(client, table, columns);
      await enter("swap");
    },
    swap: async () => {
      const indexes = (await indexesOf(client, table.name)).map(({ name }) => name);
      const referencing = await foreignKeys(client, "confrelid", table.name);
      swapMs = await patiently(client, swapSql(table, indexes, referencing, await publications(client, table.name)));
      phase = "swapped";
    },
    swapped: async () => undefined,
  };
  await client.query(NO_TIMEOUTS);
  while (phase !== "swapped") {
    options.onProgress(phase);
    await steps[phase]();
  }
  await client.query(`UPDATE ${SCHEMA}.journal SET finished_at = coalesce(finished_at, now()) WHERE table_name = $1`, [
    table.name,
  ]);
  const { copy_seconds: copySeconds, copied } = await journal(client, table);
  return { rows: rows || Number(copied), copySeconds, swapMs };
}

/** Drops the table from before the conversion. */
export const dropOld = (client: Client, table: PartitionedTable): Promise<unknown> =>
  client.query(`DROP TABLE IF EXISTS ${oldName(table)}`);
