/** Indexes that are used by nothing, held by another, or broken. */
import { bytes, count, duration } from "../../tuning/words.ts";
import type { Check, Query } from "../check.ts";
import { type Finding, finding } from "../finding.ts";
import { ofApplication, qualified, rootOf } from "../sql.ts";

export interface UsageRow {
  /** Quoted, with its schema; of a partitioned index, the one on the whole. */
  readonly index: string;
  readonly table: string;
  readonly partitioned: boolean;
  /** Over all partitions. */
  readonly scans: number;
  readonly bytes: number;
  /** Rows written to the table since statistics began. */
  readonly writes: number;
  /** Whether its first column refers to another table. */
  readonly foreignKey: boolean;
}

/** Adds what replicas have used: the same index has the same name there. */
export function addScans<T extends { readonly scans: number }>(
  own: readonly T[],
  others: readonly T[],
  key: (row: T) => string,
): T[] {
  const scans = new Map<string, number>();
  for (const row of others) scans.set(key(row), (scans.get(key(row)) ?? 0) + row.scans);
  return own.map((row) => ({ ...row, scans: row.scans + (scans.get(key(row)) ?? 0) }));
}

const usage: Query<UsageRow> = {
  name: "index-usage",
  asked: "monitor",
  needs: [],
  sql: (
    facts,
  ) => `SELECT ${qualified("rn", "r")} AS index, ${qualified("tn", "t")} AS table, r.relkind = 'I' AS partitioned,
      sum(i.scans)::float8 AS scans, sum(i.pages)::float8 * ${facts.blockBytes} AS bytes, sum(i.writes)::float8 AS writes,
      EXISTS (SELECT FROM pg_constraint k JOIN pg_index x ON x.indexrelid = r.oid
        WHERE k.contype = 'f' AND k.conrelid = x.indrelid AND k.conkey[1] = x.indkey[0]) AS "foreignKey"
    FROM (SELECT ${rootOf("x.indexrelid")} AS root, ${rootOf("x.indrelid")} AS root_table, c.relpages AS pages,
        pg_stat_get_numscans(x.indexrelid) AS scans, pg_stat_get_tuples_inserted(x.indrelid)
          + pg_stat_get_tuples_updated(x.indrelid) + pg_stat_get_tuples_deleted(x.indrelid) AS writes
      FROM pg_index x JOIN pg_class c ON c.oid = x.indexrelid JOIN pg_namespace n ON n.oid = c.relnamespace
      WHERE c.relkind = 'i' AND ${ofApplication(facts)} AND x.indisvalid
        AND NOT (x.indisunique OR x.indisprimary OR x.indisexclusion OR x.indisreplident OR x.indisclustered)
        AND NOT EXISTS (SELECT FROM pg_constraint k WHERE k.conindid = x.indexrelid)) i
      JOIN pg_class r ON r.oid = i.root JOIN pg_namespace rn ON rn.oid = r.relnamespace
      JOIN pg_class t ON t.oid = i.root_table JOIN pg_namespace tn ON tn.oid = t.relnamespace
    GROUP BY rn.nspname, r.relname, r.relkind, r.oid, tn.nspname, t.relname
    HAVING sum(i.pages) * ${facts.blockBytes} > ${facts.thresholds.indexBytes}`,
  add: (own, others) => addScans(own, others, ({ index }) => index),
};

/** Indexes that no server has scanned since statistics began, where that is long enough ago. */
export const unusedIndexCheck: Check<UsageRow> = {
  id: "unused-index",
  query: usage,
  judge(rows, facts) {
    const { thresholds, replicasSilent, inRecovery, now, countingSince } = facts;
    const seconds = (now - countingSince) / 1000;
    const not = (reason: string) => ({ findings: [], notChecked: reason });
    if (inRecovery)
      return not("a replica counts its own use of indexes only: ask the primary, with --replica-url for it");
    if (replicasSilent.length > 0)
      return not(`replicas may use what the primary does not: ${replicasSilent.join("; ")}`);
    if (facts.standbys > facts.replicasAsked.length) {
      return not(`${facts.standbys} replicas stream from it and may use what it does not: give their --replica-url`);
    }
    if (seconds < thresholds.statisticsDays * 86_400) {
      return not(
        `statistics are only ${duration(seconds)} old: an index that nothing has used in ${thresholds.statisticsDays} days is called unused`,
      );
    }
    const findings = rows
      .filter(({ scans }) => scans === 0)
      .map((row): Finding =>
        finding({
          check: "unused-index",
          severity: !row.foreignKey && row.bytes > thresholds.unusedIndexBytes ? "warning" : "info",
          subject: row.index,
          says: `${bytes(row.bytes)}, never used in ${duration(seconds)}${facts.replicasAsked.length > 0 ? ", on no server" : ""}; each of ${count(row.writes)} writes to ${row.table} may have kept it up to date`,
          evidence: { table: row.table, bytes: row.bytes, writes: row.writes, days: Math.floor(seconds / 86_400) },
          fix: [`DROP INDEX ${row.partitioned ? "" : "CONCURRENTLY "}${row.index};`],
          note: row.foreignKey
            ? "its first column refers to another table: deleting there reads this one from start to end without it"
            : row.partitioned
              ? "a partitioned index cannot be dropped concurrently: writes wait for a moment"
              : "one that was made within this time may not have had its turn",
        }),
      );
    return { findings };
  },
};

interface Twin {
  /** Quoted, with its schema. */
  readonly name: string;
  readonly unique: boolean;
  readonly primary: boolean;
  /** The constraint that it carries out, quoted; null: none. */
  readonly constraint: string | null;
  /** Whether a foreign key rests on it, or the replica identity. */
  readonly needed: boolean;
  readonly bytes: number;
}

export interface TwinsRow {
  readonly table: string;
  readonly partitioned: boolean;
  readonly a: Twin;
  readonly b: Twin;
  /** Whether both have the same columns; else a's are b's first ones. */
  readonly same: boolean;
}

const twin = (x: string): string => `json_build_object(
  'name', ${qualified(`${x}n`, `${x}c`)}, 'unique', ${x}.indisunique, 'primary', ${x}.indisprimary,
  'constraint', (SELECT quote_ident(k.conname) FROM pg_constraint k WHERE k.conindid = ${x}.indexrelid AND k.conrelid = ${x}.indrelid
     AND k.contype IN ('p', 'u', 'x')),
  'needed', ${x}.indisreplident OR EXISTS (SELECT FROM pg_constraint k WHERE k.conindid = ${x}.indexrelid AND k.contype = 'f'),
  'bytes', ${x}c.relpages::float8 * current_setting('block_size')::int)`;

/** Key columns of an index, with operator classes, collations and order; the columns beside them. */
const KEYS = { indkey: "int2[]", indclass: "oid[]", indcollation: "oid[]", indoption: "int2[]" } as const;
const sameTo = (end: string): string =>
  Object.entries(KEYS)
    .map(([part, type]) => `(a.${part}::${type})[0:${end}] = (b.${part}::${type})[0:${end}]`)
    .join(" AND ");

const twins: Query<TwinsRow> = {
  name: "index-twins",
  asked: "monitor",
  needs: ["primary"],
  sql: (
    facts,
  ) => `SELECT ${qualified("n", "c")} AS table, c.relkind = 'p' AS partitioned, p.same, ${twin("a")} AS a, ${twin("b")} AS b
    FROM (SELECT a.indexrelid AS a, b.indexrelid AS b, a.indnkeyatts = b.indnkeyatts AS same
      FROM pg_index a JOIN pg_index b ON b.indrelid = a.indrelid AND a.indexrelid <> b.indexrelid
        AND a.indnkeyatts <= b.indnkeyatts AND (a.indnkeyatts < b.indnkeyatts OR a.indexrelid < b.indexrelid)
        AND a.indkey[0] = b.indkey[0]
      WHERE a.indisvalid AND b.indisvalid AND ${sameTo("a.indnkeyatts - 1")}
        AND pg_get_expr(a.indpred, a.indrelid) IS NOT DISTINCT FROM pg_get_expr(b.indpred, b.indrelid)
        AND CASE WHEN a.indnkeyatts = b.indnkeyatts
          THEN pg_get_expr(a.indexprs, a.indrelid) IS NOT DISTINCT FROM pg_get_expr(b.indexprs, b.indrelid)
            AND (a.indkey::int2[])[a.indnkeyatts:] = (b.indkey::int2[])[b.indnkeyatts:]
          ELSE a.indexprs IS NULL AND b.indexprs IS NULL AND a.indnatts = a.indnkeyatts END) p
      JOIN pg_index a ON a.indexrelid = p.a JOIN pg_class ac ON ac.oid = p.a JOIN pg_namespace an ON an.oid = ac.relnamespace
      JOIN pg_index b ON b.indexrelid = p.b JOIN pg_class bc ON bc.oid = p.b JOIN pg_namespace bn ON bn.oid = bc.relnamespace
      JOIN pg_class c ON c.oid = a.indrelid JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE ac.relam = bc.relam AND NOT ac.relispartition AND NOT bc.relispartition AND ${ofApplication(facts)}
      AND (p.same OR ac.relam = (SELECT oid FROM pg_am WHERE amname = 'btree'))`,
};

/** How much would be lost with an index: the one that would cost less goes. */
const weight = ({ needed, primary, constraint, unique }: Twin): number =>
  (needed ? 8 : 0) + (primary ? 4 : 0) + (constraint === null ? 0 : 2) + (unique ? 1 : 0);

/** Indexes with the same columns as another, or with another's first ones. */
export const duplicateIndexCheck: Check<TwinsRow> = {
  id: "duplicate-index",
  query: twins,
  judge(rows, { thresholds }) {
    const gone = new Set<string>();
    const findings = rows.flatMap((row): Finding[] => {
      const bLess = row.same && weight(row.b) <= weight(row.a);
      const [drop, keep] = bLess ? [row.b, row.a] : [row.a, row.b];
      // A shorter unique index says more than the longer one; what another finding drops cannot hold a third.
      const isBound = drop.needed || (!row.same && drop.unique);
      if (isBound || gone.has(drop.name) || gone.has(keep.name)) return [];
      gone.add(drop.name);
      const concurrently = row.partitioned ? "" : "CONCURRENTLY ";
      return [
        finding({
          check: "duplicate-index",
          severity: row.same && drop.bytes > thresholds.indexBytes ? "warning" : "info",
          subject: drop.name,
          says: `${bytes(drop.bytes)}; ${keep.name} has ${row.same ? "the same columns" : "its columns first, and more"}`,
          evidence: { table: row.table, keep: keep.name, bytes: drop.bytes, same: row.same },
          fix: [
            drop.constraint === null
              ? `DROP INDEX ${concurrently}${drop.name};`
              : `ALTER TABLE ${row.table} DROP CONSTRAINT ${drop.constraint};`,
          ],
          note: row.same ? null : "a longer index is slower to scan: keep this one where it is scanned all the time",
        }),
      ];
    });
    return { findings };
  },
};

export interface InvalidRow {
  readonly index: string;
  readonly table: string;
  readonly partitioned: boolean;
  readonly unique: boolean;
  readonly bytes: number;
  /** Partitions without an index of it, quoted. */
  readonly lacking: readonly string[];
}

const invalid: Query<InvalidRow> = {
  name: "invalid-indexes",
  asked: "monitor",
  needs: ["primary"],
  sql: (
    facts,
  ) => `SELECT ${qualified("n", "c")} AS index, x.indrelid::regclass::text AS table, c.relkind = 'I' AS partitioned,
      x.indisunique AS unique, c.relpages::float8 * ${facts.blockBytes} AS bytes,
      (SELECT coalesce(json_agg(l.inhrelid::regclass::text), '[]') FROM pg_inherits l
        WHERE c.relkind = 'I' AND l.inhparent = x.indrelid AND NOT EXISTS (
          SELECT FROM pg_inherits i JOIN pg_index y ON y.indexrelid = i.inhrelid
          WHERE i.inhparent = c.oid AND y.indrelid = l.inhrelid)) AS lacking
    FROM pg_index x JOIN pg_class c ON c.oid = x.indexrelid JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE NOT (x.indisvalid AND x.indisready AND x.indislive) AND ${ofApplication(facts)}
      AND NOT EXISTS (SELECT FROM pg_stat_progress_create_index p WHERE p.index_relid = c.oid OR p.relid = x.indrelid)`,
};

/** What a concurrent rebuild leaves when it is broken off: the index beside it, new or old. */
const LEFTOVER = /_ccnew\d*"?$|_ccold\d*"?$/;

/** Indexes that queries cannot use, while every write keeps them up to date. */
export const invalidIndexCheck: Check<InvalidRow> = {
  id: "invalid-index",
  query: invalid,
  judge: (rows) => ({
    findings: rows.map((row): Finding => {
      const leftover = LEFTOVER.test(row.index);
      const lacks = row.lacking.length > 0 ? `; ${row.lacking.length} partitions have none of it` : "";
      return finding({
        check: "invalid-index",
        severity: "warning",
        subject: row.index,
        says: `on ${row.table}, ${bytes(row.bytes)}: not valid, no query uses it${row.unique ? ", and it lets duplicates in" : ""}${lacks}`,
        evidence: { table: row.table, bytes: row.bytes, unique: row.unique, lacking: row.lacking },
        fix: [
          row.partitioned
            ? `DROP INDEX ${row.index};`
            : leftover
              ? `DROP INDEX CONCURRENTLY ${row.index};`
              : `REINDEX INDEX CONCURRENTLY ${row.index};`,
        ],
        note: row.partitioned
          ? "or make it on the partitions that lack it and ALTER INDEX … ATTACH PARTITION each: it is valid with the last"
          : leftover
            ? "what a rebuild that was broken off has left"
            : "a build that was broken off, or that met duplicates: those have to go first",
      });
    }),
  }),
};
