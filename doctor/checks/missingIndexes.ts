/** Large tables that are read from start to end, and the indexes that would spare it. */
import { literal } from "../../components/sqlText.ts";
import { count } from "../../tuning/words.ts";
import { type Advice, scannedTables } from "../advice/advice.ts";
import { createStatements, definition } from "../advice/candidates.ts";
import type { TableScanRow } from "../advice/tables.ts";
import { type Facts, extensionOf } from "../facts.ts";
import { type Finding, finding } from "../finding.ts";
import { identifier } from "../../components/sqlText.ts";
import { redacted } from "../statements/redact.ts";

const evidenceOf = ({ rows, bytes, scans, scannedRows, indexScans }: TableScanRow) => ({
  rows: Math.round(rows),
  bytes,
  scans,
  scannedRows,
  indexScans,
});

const scansText = ({ rows, scans, scannedRows, indexScans }: TableScanRow): string =>
  `${count(rows)} rows, read from start to end ${count(scans)} times (${count(scannedRows)} rows in all), by index ${count(indexScans)} times`;

function adviceFinding({ candidate, statements, proof, unproven }: Advice, facts: Facts): Finding {
  const { table } = candidate;
  const isHeavy = table.scannedRows >= facts.thresholds.scannedRows;
  const proven = proof
    ? `the planner takes it, at ${count(proof.costAfter)} instead of ${count(proof.costBefore)}`
    : `not proven: ${unproven ?? ""}`;
  const [first] = statements;
  const more = statements.length > 1 ? ` and ${statements.length - 1} more` : "";
  return finding({
    check: "missing-index",
    severity: isHeavy ? "warning" : "info",
    subject: `${table.table} ${definition(candidate)}`,
    says: `${scansText(table)}; ${proven}; for ${redacted(first?.text ?? "", 300)}${more}`,
    evidence: {
      ...evidenceOf(table),
      proven: proof !== undefined,
      costBefore: proof?.costBefore ?? null,
      costAfter: proof?.costAfter ?? null,
      statements: statements.map(({ id }) => id),
    },
    fix: createStatements(candidate),
    note:
      table.partitions !== null && table.partitions.length > 0
        ? "partitions that come later get theirs by themselves"
        : table.partitions === null
          ? "partitions of partitions: writes wait while it is built"
          : null,
  });
}

function tableFinding(table: TableScanRow, facts: Facts): Finding {
  const statements = extensionOf(facts, "pg_stat_statements");
  return finding({
    check: "missing-index",
    severity: table.scannedRows >= facts.thresholds.scannedRows ? "warning" : "info",
    subject: table.table,
    says: `${scansText(table)}; no statement was found that says which index is missing`,
    evidence: evidenceOf(table),
    fix: statements
      ? [
          `SELECT query, calls, total_exec_time FROM ${identifier(statements.schema)}.pg_stat_statements WHERE query ILIKE ${literal(`%${table.name}%`)} ORDER BY total_exec_time DESC LIMIT 10;`,
        ]
      : ["CREATE EXTENSION pg_stat_statements;"],
    note: "reports and exports read whole tables too, and rightly",
  });
}

/**
 * One finding for each index that is worth it, and one for each table that asks for one in no way that is understood.
 * `served`: tables whose statements have their indexes by now.
 */
export function missingIndexFindings(
  rows: readonly TableScanRow[],
  advice: readonly Advice[],
  served: readonly string[],
  facts: Facts,
): Finding[] {
  const rest = scannedTables(rows, facts).filter(
    ({ table, scans, indexScans }) =>
      scans > indexScans && !served.includes(table) && !advice.some((one) => one.candidate.table.table === table),
  );
  return [...advice.map((one) => adviceFinding(one, facts)), ...rest.map((table) => tableFinding(table, facts))];
}
