/** Blocks that were found in shared buffers, of all that were asked for. */
import { count } from "../../tuning/words.ts";
import type { Check, Query } from "../check.ts";
import { finding } from "../finding.ts";
import { asJson, ofApplication, qualified, rootOf } from "../sql.ts";

export interface CacheRow {
  readonly hit: number;
  readonly read: number;
  /** shared_buffers, as the server shows it: `128MB`. */
  readonly sharedBuffers: string;
  /** Tables that were read most from the disk or the system's cache, with the blocks. */
  readonly tables: readonly { readonly name: string; readonly read: number }[];
}

const cache: Query<CacheRow> = {
  name: "cache",
  asked: "monitor",
  needs: [],
  sql: (facts) => `SELECT blks_hit AS hit, blks_read AS read, current_setting('shared_buffers') AS "sharedBuffers",
      ${asJson(`SELECT ${qualified("rn", "r")} AS name,
          sum(pg_stat_get_blocks_fetched(c.oid) - pg_stat_get_blocks_hit(c.oid))::float8 AS read
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
          JOIN pg_class r ON r.oid = ${rootOf("c.oid")} JOIN pg_namespace rn ON rn.oid = r.relnamespace
        WHERE c.relkind IN ('r', 'm') AND ${ofApplication(facts)}
        GROUP BY rn.nspname, r.relname ORDER BY 2 DESC LIMIT 3`)} AS tables
    FROM pg_stat_database WHERE datname = current_database()`,
};

/** The guide's cache hit ratio, once enough blocks were asked for. */
export const cacheHitCheck: Check<CacheRow> = {
  id: "cache-hit",
  query: cache,
  each: true,
  judge(rows, { thresholds, stack }) {
    const [row] = rows;
    if (!row) return { findings: [] };
    const blocks = row.hit + row.read;
    if (blocks < thresholds.cacheBlocks) {
      return {
        findings: [],
        notChecked: `only ${count(blocks)} blocks were asked for so far; a ratio means something from ${count(thresholds.cacheBlocks)} on`,
      };
    }
    const percent = (100 * row.hit) / blocks;
    if (percent >= thresholds.cacheHitPercent) return { findings: [] };
    const tables = row.tables.filter(({ read }) => read > 0).map(({ name, read }) => `${name} ${count(read)}`);
    return {
      findings: [
        finding({
          check: "cache-hit",
          severity: percent < thresholds.cacheHitCriticalPercent ? "critical" : "warning",
          subject: `shared_buffers ${row.sharedBuffers}`,
          says: `${percent.toFixed(1)} % of ${count(blocks)} blocks were found there; most were read of ${tables.join(", ") || "no table of the application's"}`,
          evidence: { percent: Number(percent.toFixed(2)), hit: row.hit, read: row.read, tables },
          fix: stack
            ? [stack.command("preview --stage N")]
            : row.tables
                .slice(0, 1)
                .map(
                  ({ name }) =>
                    `SELECT * FROM pg_statio_user_tables WHERE relid = '${name.replaceAll("'", "''")}'::regclass;`,
                ),
          note: "an index that is missing reads whole tables: mend that first; else the server needs more memory (shared_buffers a quarter of it)",
        }),
      ],
    };
  },
};
