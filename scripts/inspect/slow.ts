/** `inspect slow`: the statements that take the server's time (pg_stat_statements). */
import type { Client } from "pg";
import { EXIT, UserError } from "../../tuning/errors.ts";
import { valueOf } from "../lib/databaseClient.ts";
import { table } from "../lib/print.ts";
import { clip, percent, rowsAsJson } from "./sql.ts";

/** What to sort by: time in all, of one call, the slowest call, number of calls. */
export const SLOW_ORDERS = {
  total: "total_exec_time",
  mean: "mean_exec_time",
  max: "max_exec_time",
  calls: "calls",
} as const;
export type SlowOrder = keyof typeof SLOW_ORDERS;

export interface SlowStatement {
  /** A text: it does not fit JSON's numbers. */
  readonly id: string | null;
  readonly user: string;
  readonly calls: number;
  readonly totalMs: number;
  readonly meanMs: number;
  readonly maxMs: number;
  readonly deviationMs: number;
  readonly rows: number;
  /** Of all statements' time. */
  readonly shareOfTime: number | null;
  /** Pages found in shared buffers. */
  readonly hitRatio: number | null;
  /** Pages written to temporary files, as sorts do for which work_mem is too small. */
  readonly temporaryPages: number;
  readonly query: string;
}

interface Extension {
  readonly schema: string;
  readonly version: string;
}

/** As of this version the columns are called as they are now (PostgreSQL 13). */
const OLDEST = [1, 8] as const;

/** Where the extension is. Throws a UserError where it is not, or is too old. */
async function extension(client: Client): Promise<Extension> {
  const found = await valueOf<Extension | null>(
    client,
    `SELECT (SELECT json_build_object('schema', quote_ident(n.nspname), 'version', e.extversion) FROM pg_extension e
       JOIN pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = 'pg_stat_statements') AS value`,
  );
  if (!found) {
    throw new UserError(
      "the database has no pg_stat_statements: nobody has counted its statements",
      "put it into shared_preload_libraries, restart, then CREATE EXTENSION pg_stat_statements",
      EXIT.failed,
    );
  }
  const [major = 0, minor = 0] = found.version.split(".").map(Number);
  if (major < OLDEST[0] || (major === OLDEST[0] && minor < OLDEST[1])) {
    throw new UserError(
      `pg_stat_statements is of version ${found.version}, from before an upgrade`,
      "ALTER EXTENSION pg_stat_statements UPDATE",
      EXIT.failed,
    );
  }
  return found;
}

export async function readSlow(client: Client, order: SlowOrder, limit: number): Promise<SlowStatement[]> {
  const { schema } = await extension(client);
  const statements = `${schema}.pg_stat_statements s JOIN pg_database d ON d.oid = s.dbid AND d.datname = current_database()`;
  try {
    return await valueOf<SlowStatement[]>(
      client,
      `SELECT ${rowsAsJson(`SELECT s.queryid::text AS id, pg_get_userbyid(s.userid) AS user, s.calls, s.total_exec_time AS "totalMs",
           s.mean_exec_time AS "meanMs", s.max_exec_time AS "maxMs", s.stddev_exec_time AS "deviationMs", s.rows,
           s.total_exec_time / nullif(sum(s.total_exec_time) OVER (), 0) AS "shareOfTime",
           (s.shared_blks_hit / nullif(s.shared_blks_hit + s.shared_blks_read, 0)::numeric)::float8 AS "hitRatio",
           s.temp_blks_written AS "temporaryPages", coalesce(s.query, '') AS query
         FROM ${statements} ORDER BY s.${SLOW_ORDERS[order]} DESC LIMIT $1::int`)} AS value`,
      [limit],
    );
  } catch (error) {
    if ((error as { code?: string }).code !== "55000") throw error;
    throw new UserError(
      "pg_stat_statements is not in shared_preload_libraries: nobody has counted the statements",
      "put it there and restart the server",
      EXIT.failed,
    );
  }
}

const ms = (value: number): string => (value < 10 ? value.toFixed(2) : value.toFixed(0));

export function showSlow(statements: readonly SlowStatement[]): string {
  if (statements.length === 0) return "No statement has been counted yet.";
  return [
    table([
      ["time", "calls", "mean ms", "max ms", "deviation", "rows", "in buffers", "statement"],
      ...statements.map((one) => [
        percent(one.shareOfTime),
        String(one.calls),
        ms(one.meanMs),
        ms(one.maxMs),
        ms(one.deviationMs),
        String(one.rows),
        percent(one.hitRatio),
        clip(one.query),
      ]),
    ]),
    "time: of all statements of this database. There are no percentiles in pg_stat_statements; the log has slow ones.",
  ].join("\n");
}
