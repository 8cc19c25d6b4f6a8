/** Which indexes are worth proposing: what statements ask for, merged, and judged by what the planner says. */
import type { Statement } from "../checks/statements.ts";
import type { Facts } from "../facts.ts";
import { readsOf, type TableRead } from "../statements/reads.ts";
import { tokenize } from "../statements/tokens.ts";
import { type Candidate, candidateFor, isPrefix } from "./candidates.ts";
import { type Explained, sequentialScans } from "./plan.ts";
import type { TableScanRow } from "./tables.ts";

/** A candidate with the statements that it would serve. */
export interface Wish {
  readonly candidate: Candidate;
  readonly statements: readonly Statement[];
}

/** A wish, and what is known of it. */
export interface Advice extends Wish {
  /** The planner's costs of the statement that gains most; undefined: not proven. */
  readonly proof: { readonly costBefore: number; readonly costAfter: number } | undefined;
  /** Why it was not proven. */
  readonly unproven: string | undefined;
}

/** Tables that are read from start to end so often, and are so large, that an index may be missing. */
export function scannedTables(
  rows: readonly TableScanRow[],
  { thresholds, now, countingSince }: Facts,
): TableScanRow[] {
  const hours = Math.max(1, (now - countingSince) / 3_600_000);
  return rows.filter(
    ({ scans, scannedRows, rows: size, partitions }) =>
      scans >= thresholds.scans &&
      scans / hours >= thresholds.scansPerHour &&
      // Of a partitioned table one scan counts once for each partition.
      (scannedRows / scans) * Math.max(1, partitions?.length ?? 1) >= Math.min(size, thresholds.bigTableRows) / 2,
  );
}

const isOf = (table: TableScanRow, read: TableRead): boolean =>
  table.name === read.table && (read.schema === undefined || read.schema === table.schema);

/** Statements that read one of the tables, the most expensive first. */
export const readersOf = (statements: readonly Statement[], tables: readonly TableScanRow[]): Statement[] =>
  statements
    .filter(({ text }) => readsOf(tokenize(text)).some((read) => tables.some((table) => isOf(table, read))))
    .sort((a, b) => b.total - a.total);

/**
 * What a statement asks for: by its plan, where there is one, of the tables that the plan reads from start to end; else by
 * its text alone.
 */
export function candidatesOf(
  statement: Statement,
  plan: Explained | undefined,
  tables: readonly TableScanRow[],
): Candidate[] {
  const reads = readsOf(tokenize(statement.text));
  const scanned = plan ? sequentialScans(plan, tables) : tables.map((table) => ({ table, predicates: [] }));
  return scanned.flatMap(({ table, predicates }) => {
    const own = reads.filter((read) => isOf(table, read));
    const isOnly = tables.filter((one) => own.some((read) => isOf(one, read))).length === 1;
    // A name without its schema that several tables have says nothing without a plan.
    const known = plan || isOnly ? own : [];
    const seen = known.length > 0 ? known : [{ predicates: [], order: [], limited: false }];
    return seen.flatMap(
      (read) => candidateFor(table, { ...read, predicates: [...predicates, ...read.predicates] }) ?? [],
    );
  });
}

/** Whether a statement does not read the table from start to end any more, by its plan or, without one, by its text. */
function isServed(statement: Statement, plan: Explained | undefined, table: TableScanRow): boolean {
  if (plan) return sequentialScans(plan, [table]).length === 0;
  const reads = readsOf(tokenize(statement.text)).filter((read) => isOf(table, read));
  return reads.every((read) => read.predicates.length > 0 && candidateFor(table, read) === undefined);
}

/** Tables whose statements are all served by now: what was counted before an index was there is no news. */
export const servedTables = (
  statements: readonly Statement[],
  planOf: (statement: Statement) => Explained | undefined,
  tables: readonly TableScanRow[],
): string[] =>
  tables
    .filter((table) => {
      const readers = readersOf(statements, [table]);
      return readers.length > 0 && readers.every((one) => isServed(one, planOf(one), table));
    })
    .map(({ table }) => table);

/** Wishes of all statements: those that a longer index serves too become part of it. */
export function merged(wishes: readonly Wish[]): Wish[] {
  const longestFirst = [...wishes].sort((a, b) => b.candidate.parts.length - a.candidate.parts.length);
  const kept: { candidate: Candidate; statements: Statement[] }[] = [];
  for (const { candidate, statements } of longestFirst) {
    const there = kept.find((one) => isPrefix(candidate, one.candidate));
    if (!there) kept.push({ candidate, statements: [...statements] });
    else there.statements.push(...statements.filter((one) => !there.statements.some(({ id }) => id === one.id)));
  }
  return kept;
}
