/** Users and messages by the time at which they came in, counted cheaply: statistics, partitions, or a sample of pages. */
import type { Client } from "pg";
import { type Bin, binsOf, latestRate, partitionBounds, ratesOf, sizesOf, totalsOf } from "../../assess/history.ts";
import { UserError } from "../../tuning/errors.ts";
import { qualified, rowsAsJson } from "../inspect/sql.ts";
import { looking, valueOf } from "../lib/databaseClient.ts";
import type { Findings } from "./findings.ts";

interface TablePart {
  readonly name: string;
  /** Rows by the planner's own reckoning: as dense as at the last ANALYZE, as many pages as now. null: never analysed. */
  readonly rows: number | null;
  readonly pages: number;
  readonly bytes: number;
  /** Bounds, where it is a partition. */
  readonly bounds: string | null;
}

interface TableFacts {
  readonly there: boolean;
  readonly dated: boolean;
  readonly readable: boolean;
  readonly parts: readonly TablePart[];
}

/** Pages of a table that are read at the most: 64 MiB. Larger ones are sampled. */
const PAGES = 8192;
const BOUNDS = { statementSeconds: 20, lockSeconds: 2 } as const;

const partsSql = (table: string): string => `SELECT ${qualified("n.nspname", "c.relname")} AS name,
    CASE WHEN c.reltuples < 0 THEN NULL WHEN c.relpages = 0 THEN c.reltuples::float8
      ELSE c.reltuples::float8 / c.relpages * (pg_relation_size(c.oid) / current_setting('block_size')::int) END AS rows,
    (pg_relation_size(c.oid) / current_setting('block_size')::int)::float8 AS pages, pg_total_relation_size(c.oid) AS bytes,
    pg_get_expr(c.relpartbound, c.oid) AS bounds
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
  WHERE c.relkind = 'r' AND (c.oid = to_regclass('${table}')
    OR c.oid IN (SELECT relid FROM pg_partition_tree(to_regclass('${table}'))))`;

const factsOf = (client: Client, table: string): Promise<TableFacts> =>
  valueOf(
    client,
    `SELECT json_build_object('there', to_regclass('${table}') IS NOT NULL,
       'dated', EXISTS (SELECT FROM pg_attribute WHERE attrelid = to_regclass('${table}') AND attname = 'inserted_at' AND NOT attisdropped),
       'readable', coalesce(has_table_privilege(to_regclass('${table}'), 'SELECT'), false),
       'parts', ${rowsAsJson(partsSql(table))}) AS value`,
  );

export interface Counted {
  readonly bins: readonly Bin[];
  readonly total: number;
  readonly how: string;
}

interface CountedTable extends Counted {
  readonly bytes: number;
}

/** Rows by day from a sample of the table's pages; the whole of a small table. */
async function sampled(
  client: Client,
  table: string,
  facts: TableFacts,
): Promise<Omit<Counted, "bins"> & { days: { at: number; rows: number }[] }> {
  const [part] = facts.parts;
  const pages = part?.pages ?? 0;
  const percent = Math.min(100, (100 * PAGES) / Math.max(1, pages));
  const days = await valueOf<{ day: number; rows: number }[]>(
    client,
    `SELECT ${rowsAsJson(`SELECT extract(epoch FROM date_trunc('day', inserted_at))::float8 AS day, count(*) AS rows
       FROM ${table} TABLESAMPLE SYSTEM ($1::float8) REPEATABLE (1) WHERE inserted_at IS NOT NULL GROUP BY 1`)} AS value`,
    [percent],
  );
  const read = days.reduce((sum, { rows }) => sum + rows, 0);
  const whole = percent === 100;
  const total = whole || part?.rows === null || part?.rows === undefined ? (read * 100) / percent : part.rows;
  const scale = read === 0 ? 0 : total / read;
  return {
    days: days.map(({ day, rows }) => ({ at: day * 1000, rows: rows * scale })),
    total,
    how: whole ? "counted" : `estimated from a sample of ${PAGES} of ${Math.round(pages)} pages`,
  };
}

/** Rows by month from the statistics of partitions; undefined where they are not partitions by time. */
export function fromPartitions(parts: readonly TablePart[], now: number): Counted | undefined {
  const dated = parts.flatMap(({ rows, bounds }) => {
    const found = bounds === null ? undefined : partitionBounds(bounds);
    return found ? [{ ...found, rows: rows ?? 0 }] : [];
  });
  if (dated.length === 0) return undefined;
  const filled = dated.sort((a, b) => a.from - b.from);
  const first = filled.findIndex(({ rows }) => rows > 0);
  return {
    bins: first < 0 ? [] : filled.slice(first).filter(({ to }) => to <= now),
    total: parts.reduce((sum, { rows }) => sum + (rows ?? 0), 0),
    how: `estimated from the statistics of ${dated.length} partitions`,
  };
}

async function count(client: Client, table: string, now: number): Promise<CountedTable | string> {
  const facts = await factsOf(client, table);
  if (!facts.there) return `there is no table ${table}`;
  if (!facts.dated) return `${table} has no column inserted_at`;
  const bytes = facts.parts.reduce((sum, part) => sum + part.bytes, 0);
  const partitioned = fromPartitions(facts.parts, now);
  if (partitioned) return { ...partitioned, bytes };
  if (!facts.readable) return `the user may not read ${table} (GRANT SELECT)`;
  const { days, ...rest } = await sampled(client, table, facts);
  return { ...rest, bins: binsOf(days, now), bytes };
}

/** The same within bounds of time; what cannot be counted within them stays uncounted, with the reason. */
const counted = (client: Client, table: string, now: number): Promise<CountedTable | string> =>
  looking(client, (looker) => count(looker, table, now), BOUNDS).catch((error: unknown) => {
    if (error instanceof UserError) return error.message;
    throw error;
  });

/** Whether it is CGraph's database: it has messages. */
export const hasMessages = (client: Client): Promise<boolean> =>
  looking(client, (looker) => valueOf(looker, "SELECT to_regclass('public.messages') IS NOT NULL AS value"));

/** Users and messages, and how both have grown. `databaseBytes`: to tell from messages how the database has grown. */
export async function readTables(
  client: Client,
  databaseBytes: number,
  now: number,
  findings: Findings,
): Promise<void> {
  const users = await counted(client, "public.users", now);
  if (typeof users === "string") findings.lacks("users", users);
  else {
    findings.measured("users", Math.round(users.total), `public.users, ${users.how}`);
    const samples = totalsOf(users.bins, users.total, now);
    findings.history({ metric: "users", source: "public.users by inserted_at", samples });
  }
  const messages = await counted(client, "public.messages", now);
  if (typeof messages === "string") {
    findings.lacks("messagesPerMonth", messages);
    return;
  }
  const rate = latestRate(messages.bins);
  if (rate === undefined) findings.lacks("messagesPerMonth", "no week of messages is over yet");
  else
    findings.measured("messagesPerMonth", Math.round(rate), `the last whole month of public.messages, ${messages.how}`);
  findings.history({
    ...{ metric: "messagesPerMonth", source: "public.messages by inserted_at" },
    samples: ratesOf(messages.bins),
  });
  findings.history({
    ...{ metric: "databaseBytes", source: "reckoned from messages by inserted_at", estimated: true },
    samples: sizesOf(messages.bins, messages, databaseBytes, now),
  });
}
