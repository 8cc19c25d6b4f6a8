/** Tables: dead rows that vacuum has not removed, and rows that nothing tells apart. */
import { count, duration } from "../../tuning/words.ts";
import type { Check, Query } from "../check.ts";
import { type Finding, above, finding } from "../finding.ts";
import { ofApplication, qualified, rootOf } from "../sql.ts";
import { byWhole, sum } from "../whole.ts";

export interface DeadRow {
  /** Quoted, with its schema. */
  readonly table: string;
  /** The partitioned table that it is a part of; itself, where it is of none. */
  readonly whole: string;
  readonly live: number;
  readonly dead: number;
  /** Dead rows from which on autovacuum comes. */
  readonly due: number;
  /** Whether autovacuum is switched off for it. */
  readonly off: boolean;
  /** Seconds since it was vacuumed; null: never, since statistics began. */
  readonly vacuumedSeconds: number | null;
  readonly underWay: boolean;
}

const option = (name: string): string =>
  `coalesce((SELECT option_value FROM pg_options_to_table(c.reloptions) WHERE option_name = '${name}'), current_setting('${name}'))`;

const dead: Query<DeadRow> = {
  name: "dead-tuples",
  asked: "monitor",
  needs: ["primary"],
  sql: (facts) => `SELECT ${qualified("n", "c")} AS table, ${qualified("rn", "r")} AS whole,
      pg_stat_get_live_tuples(c.oid) AS live, pg_stat_get_dead_tuples(c.oid) AS dead,
      ${option("autovacuum_vacuum_threshold")}::float8
        + ${option("autovacuum_vacuum_scale_factor")}::float8 * greatest(c.reltuples, 0) AS due,
      EXISTS (SELECT FROM pg_options_to_table(c.reloptions)
        WHERE option_name = 'autovacuum_enabled' AND NOT option_value::boolean) AS off,
      extract(epoch FROM clock_timestamp()
        - greatest(pg_stat_get_last_vacuum_time(c.oid), pg_stat_get_last_autovacuum_time(c.oid))) AS "vacuumedSeconds",
      EXISTS (SELECT FROM pg_stat_progress_vacuum p WHERE p.relid = c.oid) AS "underWay"
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
      JOIN pg_class r ON r.oid = ${rootOf("c.oid")} JOIN pg_namespace rn ON rn.oid = r.relnamespace
    WHERE c.relkind IN ('r', 'm') AND ${ofApplication(facts)} AND pg_stat_get_dead_tuples(c.oid) > 0`,
};

/** The guide's sum over all tables, and single tables with which autovacuum does not keep up. */
export const deadTuplesCheck: Check<DeadRow> = {
  id: "dead-tuples",
  query: dead,
  judge(rows, { thresholds, database }) {
    const overdue = rows.filter(
      (row) =>
        !row.underWay && row.dead > thresholds.deadTuplesOfTable && row.dead > thresholds.deadTuplesOverdue * row.due,
    );
    const tables = byWhole(overdue).map(([table, parts]): Finding => {
      const deadRows = sum(parts.map((row) => row.dead));
      const live = sum(parts.map((row) => row.live));
      const last = parts.map((row) => row.vacuumedSeconds);
      const never = last.some((one) => one === null);
      const off = parts.filter((row) => row.off).map((row) => row.table);
      return finding({
        check: "dead-tuples",
        severity: "warning",
        subject: table,
        says: `${count(deadRows)} dead rows beside ${count(live)} live ones; vacuumed ${never ? "never since statistics began" : `${duration(Math.max(...last.map(Number)))} ago`}${off.length > 0 ? "; autovacuum is switched off for it" : ""}`,
        evidence: { dead: deadRows, live, due: Math.round(sum(parts.map((row) => row.due))), autovacuumOff: off },
        fix: [
          ...parts.map((row) => `VACUUM (ANALYZE) ${row.table};`),
          ...off.map((one) => `ALTER TABLE ${one} RESET (autovacuum_enabled);`),
        ],
        note: "old transactions and slots keep dead rows from being removed: see whether one is told here",
      });
    });
    const all = sum(rows.map((row) => row.dead));
    const severity = above(all, thresholds.deadTuples, thresholds.deadTuplesCritical);
    if (!severity) return { findings: tables };
    const worst = [...rows].sort((a, b) => b.dead - a.dead).slice(0, 3);
    return {
      findings: [
        ...tables,
        finding({
          check: "dead-tuples",
          severity,
          subject: `database ${database}`,
          says: `${count(all)} dead rows in all tables, most in ${worst.map((row) => `${row.table} (${count(row.dead)})`).join(", ")}`,
          evidence: { dead: all, tables: worst.map((row) => row.table) },
          fix: worst.map((row) => `VACUUM (ANALYZE) ${row.table};`),
        }),
      ],
    };
  },
};

export interface KeylessRow {
  readonly table: string;
  /** The planner's estimate; -1: never analysed. */
  readonly rows: number;
  /** An index, quoted, that could be the key: unique, of columns that are never null. */
  readonly candidate: string | null;
  /** Whether a publication has it, and nothing tells its rows apart for a subscriber. */
  readonly published: boolean;
  /** Whether a column is called id. */
  readonly hasId: boolean;
}

const keyless: Query<KeylessRow> = {
  name: "keyless-tables",
  asked: "monitor",
  needs: [],
  sql: (facts) => `SELECT ${qualified("n", "c")} AS table,
      CASE WHEN c.relkind = 'p' THEN (SELECT sum(greatest(l.reltuples, 0)) FROM pg_inherits i JOIN pg_class l ON l.oid = i.inhrelid
        WHERE i.inhparent = c.oid) ELSE c.reltuples END::float8 AS rows,
      (SELECT quote_ident(u.relname) FROM pg_index x JOIN pg_class u ON u.oid = x.indexrelid
        WHERE x.indrelid = c.oid AND c.relkind = 'r' AND x.indisunique AND x.indisvalid AND x.indimmediate
          AND x.indpred IS NULL AND x.indexprs IS NULL
          AND NOT EXISTS (SELECT FROM unnest((x.indkey::int2[])[0:x.indnkeyatts - 1]) k JOIN pg_attribute a
            ON a.attrelid = c.oid AND a.attnum = k WHERE NOT a.attnotnull)
        ORDER BY x.indnkeyatts, u.relname LIMIT 1) AS candidate,
      c.relreplident = 'd' AND (EXISTS (SELECT FROM pg_publication_rel p WHERE p.prrelid = c.oid)
        OR EXISTS (SELECT FROM pg_publication WHERE puballtables)) AS published,
      EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'id') AS "hasId"
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND ${ofApplication(facts)}
      AND NOT EXISTS (SELECT FROM pg_index x WHERE x.indrelid = c.oid AND x.indisprimary)`,
};

/** Tables without a primary key. */
export const primaryKeyCheck: Check<KeylessRow> = {
  id: "primary-key",
  query: keyless,
  judge: (rows, { thresholds }) => ({
    findings: rows.map((row): Finding => {
      const known = row.rows >= 0;
      const published = row.published ? "; a publication has it: UPDATE and DELETE fail there" : "";
      return finding({
        check: "primary-key",
        severity: row.published || row.rows > thresholds.keylessRows ? "warning" : "info",
        subject: row.table,
        says: `no primary key, ${known ? `about ${count(row.rows)} rows` : "never analysed"}${published}`,
        evidence: { rows: known ? row.rows : null, published: row.published, candidate: row.candidate },
        fix: [
          row.candidate === null
            ? `ALTER TABLE ${row.table} ADD COLUMN ${row.hasId ? "row_id" : "id"} bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY;`
            : `ALTER TABLE ${row.table} ADD PRIMARY KEY USING INDEX ${row.candidate};`,
        ],
        note:
          row.candidate === null
            ? "rewrites the table, nobody reads or writes it meanwhile; where columns of its own tell its rows apart, rather take those"
            : null,
      });
    }),
  }),
};
