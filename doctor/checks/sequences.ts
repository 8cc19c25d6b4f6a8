/** Sequences near their end, and integer columns that end before their sequence does. */
import { count } from "../../tuning/words.ts";
import type { Check, Query } from "../check.ts";
import { type Finding, above, finding } from "../finding.ts";
import { ofApplication, qualified } from "../sql.ts";

export interface SequenceRow {
  /** Quoted, with its schema. */
  readonly sequence: string;
  /** smallint, integer, bigint. */
  readonly type: string;
  readonly min: number;
  readonly max: number;
  readonly increment: number;
  /** null where nothing has been taken from it, or the role may not see it. */
  readonly last: number | null;
  readonly readable: boolean;
  /** The table and column behind which it stands, quoted; null: none. */
  readonly table: string | null;
  readonly column: string | null;
  readonly columnType: string | null;
}

const sequences: Query<SequenceRow> = {
  name: "sequences",
  asked: "reader",
  needs: [],
  sql: (
    facts,
  ) => `SELECT ${qualified("n", "c")} AS sequence, q.seqtypid::regtype::text AS type, q.seqmin::float8 AS min,
      q.seqmax::float8 AS max, q.seqincrement::float8 AS increment,
      CASE WHEN has_sequence_privilege(c.oid, 'SELECT, USAGE') THEN pg_sequence_last_value(c.oid)::float8 END AS last,
      has_sequence_privilege(c.oid, 'SELECT, USAGE') AS readable,
      ${qualified("tn", "t")} AS table, quote_ident(a.attname) AS column, a.atttypid::regtype::text AS "columnType"
    FROM pg_sequence q JOIN pg_class c ON c.oid = q.seqrelid JOIN pg_namespace n ON n.oid = c.relnamespace
      LEFT JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype IN ('a', 'i')
        AND d.refclassid = 'pg_class'::regclass AND d.refobjsubid > 0
      LEFT JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
      LEFT JOIN pg_class t ON t.oid = d.refobjid LEFT JOIN pg_namespace tn ON tn.oid = t.relnamespace
    WHERE NOT q.seqcycle AND ${ofApplication(facts)}${facts.inRecovery ? " AND c.relpersistence = 'p'" : ""}`,
};

/** The largest value that a column of a type holds; Infinity for others. */
const LIMITS: Readonly<Record<string, number>> = { smallint: 32_767, integer: 2_147_483_647, bigint: 2 ** 63 };

/** Sequences of which most is used up. */
export const sequenceCheck: Check<SequenceRow> = {
  id: "sequence",
  query: sequences,
  judge(rows, { thresholds }) {
    const findings = rows.flatMap((row): Finding[] => {
      if (row.last === null) return [];
      const columnLimit = LIMITS[row.columnType ?? ""] ?? Number.POSITIVE_INFINITY;
      const rises = row.increment > 0;
      const [start, end] = rises
        ? [Math.max(row.min, -columnLimit), Math.min(row.max, columnLimit)]
        : [Math.min(row.max, columnLimit), Math.max(row.min, -columnLimit - 1)];
      const percent = (100 * (row.last - start)) / (end - start);
      const severity = above(percent, thresholds.sequencePercent, thresholds.sequenceCriticalPercent);
      if (!severity) return [];
      const narrowColumn = row.columnType !== null && row.columnType !== "bigint" && row.columnType in LIMITS;
      const left = Math.max(0, Math.floor(Math.abs((end - row.last) / row.increment)));
      const place = row.table === null ? row.sequence : `${row.table}.${row.column}`;
      const fix = [
        ...(narrowColumn ? [`ALTER TABLE ${row.table} ALTER COLUMN ${row.column} TYPE bigint;`] : []),
        ...(row.type !== "bigint"
          ? [`ALTER SEQUENCE ${row.sequence} AS bigint;`]
          : Math.abs(row.max) < 2 ** 62 && rises
            ? [`ALTER SEQUENCE ${row.sequence} NO MAXVALUE;`]
            : []),
      ];
      return [
        finding({
          check: "sequence",
          severity,
          subject: place,
          says: `${row.columnType ?? row.type}, ${Math.floor(percent)} % used: ${count(left)} values left`,
          evidence: {
            sequence: row.sequence,
            sequenceType: row.type,
            columnType: row.columnType,
            last: row.last,
            end,
            left,
            percent: Math.floor(percent),
          },
          fix,
          note: narrowColumn
            ? "writes the table anew, nobody reads or writes it meanwhile; columns that refer to it have to grow too"
            : null,
        }),
      ];
    });
    const hidden = rows.filter(({ readable }) => !readable).map(({ sequence }) => sequence);
    return {
      findings,
      notChecked:
        hidden.length === 0
          ? undefined
          : `${hidden.slice(0, 3).join(", ")}${hidden.length > 3 ? ` and ${hidden.length - 3} more` : ""}: the role may not read them (GRANT SELECT ON SEQUENCE, or pg_read_all_data)`,
    };
  },
};
