/** What a check is: a query, and a pure function from its rows to findings. */
import { type Facts, extensionOf } from "./facts.ts";
import type { CheckId, Finding } from "./finding.ts";
import { identifier } from "../components/sqlText.ts";

/** Who is asked: pg_stats and sequences show themselves to whoever may read the table, not to pg_monitor. */
export type Asked = "monitor" | "reader";

/** What a query needs beside a connection. */
export type Need = "pg_monitor" | "pg_stat_statements" | "primary";

/** One query; several checks may judge its rows. */
export interface Query<Row = unknown> {
  readonly name: string;
  readonly asked: Asked;
  readonly needs: readonly Need[];
  /** One SELECT, without a semicolon; it runs with nothing but pg_catalog in its search_path. */
  sql(facts: Facts): string;
  /** Where it is there, replicas are asked too, and what they count is added to the primary's rows. */
  add?(own: readonly Row[], others: readonly Row[]): Row[];
}

/** What a check says: findings, and what it could not look at. */
export interface Judged {
  readonly findings: readonly Finding[];
  /** Undefined: all was looked at. */
  readonly notChecked?: string | undefined;
}

/** A check. `Row` is what its query gives, as JSON. */
export interface Check<Row = unknown> {
  readonly id: CheckId;
  /** null: nothing is asked, and there are no rows. */
  readonly query: Query<Row> | null;
  /** Whether each server of a stack is judged for itself. */
  readonly each?: boolean;
  /** What a moment shows may be gone in the next: the query is asked again, and findings must be in both. */
  readonly momentary?: boolean;
  /** Where there is anything to check, without which nothing is said of it; undefined: everywhere. */
  applies?(facts: Facts): boolean;
  judge(rows: readonly Row[], facts: Facts): Judged;
}

const numbers = (version: string): number[] => version.split(".").map(Number);

/** Whether `1.10` is at least `1.8`. */
export function isAtLeast(version: string, least: string): boolean {
  const [have, want] = [numbers(version), numbers(least)];
  const differs = want.findIndex((part, index) => (have[index] ?? 0) !== part);
  return differs === -1 || (have[differs] ?? 0) > (want[differs] ?? 0);
}

/** Why a need is not met; undefined where it is. */
export function unmet(need: Need, facts: Facts): string | undefined {
  switch (need) {
    case "pg_monitor":
      return facts.seesAll
        ? undefined
        : `${facts.role} does not see other roles' sessions and statements: GRANT pg_monitor TO ${identifier(facts.role)}`;
    case "primary":
      return facts.inRecovery ? "the server is a replica: only its primary knows" : undefined;
    case "pg_stat_statements": {
      const extension = extensionOf(facts, "pg_stat_statements");
      if (facts.statementsMax === null) {
        return "pg_stat_statements is not loaded: add it to shared_preload_libraries and restart";
      }
      if (!extension) return "pg_stat_statements is not in this database: CREATE EXTENSION pg_stat_statements";
      return isAtLeast(extension.version, "1.8")
        ? undefined
        : `pg_stat_statements is of version ${extension.version}: ALTER EXTENSION pg_stat_statements UPDATE`;
    }
  }
}

/** The first need of a query that is not met. */
export function whyNot(needs: readonly Need[], facts: Facts): string | undefined {
  for (const need of needs) {
    const reason = unmet(need, facts);
    if (reason !== undefined) return reason;
  }
  return undefined;
}
