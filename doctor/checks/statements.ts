/** Statements, as pg_stat_statements has them: slow ones, and lookups of single rows that come in masses. */
import { count, milliseconds } from "../../tuning/words.ts";
import type { Check, Query } from "../check.ts";
import { type Facts, extensionOf } from "../facts.ts";
import { type Finding, above, finding } from "../finding.ts";
import { identifier } from "../../components/sqlText.ts";
import { MARK } from "../sql.ts";
import { type TableRead, readsOf } from "../statements/reads.ts";
import { redacted } from "../statements/redact.ts";
import { tokenize } from "../statements/tokens.ts";
import { sum } from "../whole.ts";

export interface Statement {
  /** Of the normalised statement; the same on every server of a stack. */
  readonly id: string;
  /** With `$1` for each literal. */
  readonly text: string;
  readonly calls: number;
  /** Milliseconds, of all calls. */
  readonly total: number;
  readonly longest: number;
  readonly deviation: number;
  readonly rows: number;
}

/** What a server counts. */
export interface StatementsRow {
  /** Of all statements about rows, those that are not listed too. */
  readonly calls: number;
  readonly total: number;
  readonly statements: readonly Statement[];
}

/** How many of the most expensive, and of the most frequent, are looked at. */
const LISTED = 50;
const ABOUT_ROWS =
  "^[\\s(]*(/\\*.*?\\*/\\s*|--[^\\n]*\\n\\s*)*(select|insert|update|delete|with|merge|values|table)\\M";

/** Who runs a Citus cluster, not its application: nodes, shards and their moves. */
const MANAGES_CITUS =
  "^\\s*select\\s+((\\*|bytes)\\s+from\\s+)?(pg_catalog\\.)?(citus_\\w+|create_(distributed|reference)_table\\w*|(un)?distribute_table|alter_distributed_table|isolate_tenant\\w*|rebalance_table\\w*|fetch_intermediate_results|get_rebalance\\w*|run_command_on_\\w+|recover_prepared_transactions|(master|worker|start_metadata)_\\w+)\\s*\\(";
const pattern = (text: string): string => `E'${text.replaceAll("\\", "\\\\")}'`;

export const statements: Query<StatementsRow> = {
  name: "statements",
  asked: "monitor",
  needs: ["pg_monitor", "pg_stat_statements"],
  sql: (facts) => `SELECT coalesce(sum(calls), 0) AS calls, coalesce(sum(total), 0) AS total,
      coalesce(json_agg(json_build_object('id', id::text, 'text', text, 'calls', calls, 'total', total, 'longest', longest,
        'deviation', deviation, 'rows', rows)) FILTER (WHERE by_time <= ${LISTED} OR by_calls <= ${LISTED}), '[]') AS statements
    FROM (SELECT *, row_number() OVER (ORDER BY total DESC) AS by_time, row_number() OVER (ORDER BY calls DESC) AS by_calls
      FROM (SELECT queryid AS id, min(query) AS text, sum(calls)::float8 AS calls, sum(total_exec_time) AS total,
          max(max_exec_time) AS longest, max(stddev_exec_time) AS deviation, sum(rows)::float8 AS rows
        FROM ${identifier(extensionOf(facts, "pg_stat_statements")?.schema ?? "public")}.pg_stat_statements
        WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database()) AND queryid IS NOT NULL
          AND query ~* ${pattern(ABOUT_ROWS)} AND query !~* ${pattern(MANAGES_CITUS)} AND strpos(query, '${MARK}') = 0
        GROUP BY queryid) s) s`,
  add: (own, others) => [addStatements([...own, ...others])],
};

/** What several servers count, the same statement of each as one. */
export function addStatements(servers: readonly StatementsRow[]): StatementsRow {
  const found = new Map<string, Statement>();
  for (const one of servers.flatMap((server) => server.statements)) {
    const before = found.get(one.id);
    const together = before && {
      ...before,
      calls: before.calls + one.calls,
      total: before.total + one.total,
      rows: before.rows + one.rows,
      longest: Math.max(before.longest, one.longest),
      deviation: Math.max(before.deviation, one.deviation),
    };
    found.set(one.id, together ?? one);
  }
  return {
    calls: sum(servers.map(({ calls }) => calls)),
    total: sum(servers.map(({ total }) => total)),
    statements: [...found.values()],
  };
}

/** How far above the mean 99 of 100 calls end, in standard deviations, if they are spread normally. */
const P99_DEVIATIONS = 2.33;

/** The 99th percentile as mean and deviation let it be guessed; never more than the longest. */
export const guessedP99 = ({ calls, total, longest, deviation }: Statement): number =>
  Math.min(longest, total / calls + P99_DEVIATIONS * deviation);

/** The whole statement, to be run: pg_stat_statements has put parameters in the place of its literals. */
const whole = (text: string): string => `${redacted(text, Number.POSITIVE_INFINITY)};`;
const SHOWN_CHARACTERS = 600;

function slowFinding(one: Statement, severity: Finding["severity"], allTotal: number, facts: Facts): Finding {
  // Citus plans no distributed statement whose parameters have no values.
  const generic = facts.version >= 160_000 && facts.citusGroup === null;
  const [mean, p99] = [one.total / one.calls, guessedP99(one)];
  const percent = Math.round((100 * one.total) / allTotal);
  return finding({
    check: "slow-query",
    severity,
    subject: `statement ${one.id}`,
    says: `${milliseconds(mean)} on average of ${count(one.calls)} calls, some ${milliseconds(p99)} at the 99th percentile, ${milliseconds(one.longest)} at the longest; ${percent} % of all time: ${redacted(one.text, SHOWN_CHARACTERS)}`,
    evidence: {
      calls: one.calls,
      meanMs: Number(mean.toPrecision(4)),
      p99Ms: Number(p99.toPrecision(4)),
      longestMs: Number(one.longest.toPrecision(4)),
      totalMs: Math.round(one.total),
      timePercent: percent,
      rowsPerCall: Number((one.rows / one.calls).toPrecision(4)),
      statement: redacted(one.text, Number.POSITIVE_INFINITY),
    },
    fix: [`EXPLAIN ${generic ? "(GENERIC_PLAN) " : ""}${whole(one.text)}`],
    note: `see whether missing-index has an index for it${generic ? "" : "; put values in the place of $1 and the others"}`,
  });
}

/** Statements whose mean, or guessed 99th percentile, is above the guide's threshold for the latter. */
export const slowQueryCheck: Check<StatementsRow> = {
  id: "slow-query",
  query: statements,
  judge([row], facts) {
    const { thresholds } = facts;
    const findings = (row?.statements ?? []).flatMap((one): Finding[] => {
      if (one.calls < thresholds.slowQueryCalls) return [];
      const severity = above(one.total / one.calls, thresholds.slowQueryMs, thresholds.slowQueryCriticalMs);
      const tail = one.calls >= thresholds.slowQueryTailCalls && guessedP99(one) > thresholds.slowQueryMs;
      return severity || tail ? [slowFinding(one, severity ?? "info", row?.total ?? 0, facts)] : [];
    });
    return { findings };
  },
};

/** The one table of which a statement looks up single rows by equality; undefined where it does anything else. */
export function lookupOf(text: string): TableRead | undefined {
  const tokens = tokenize(text);
  const [read, ...others] = readsOf(tokens);
  if (!read || others.length > 0 || read.sources !== 1 || read.aggregates) return undefined;
  if (tokens.tokens[0]?.value !== "select") return undefined;
  const kinds = read.predicates.map(({ kind }) => kind);
  return kinds.includes("equal") && kinds.every((kind) => kind === "equal" || kind === "null") ? read : undefined;
}

/** The same lookup for many rows at once: `= $1` becomes `= ANY ($1)`. undefined where several values are compared. */
export function batched(text: string): string | undefined {
  const { tokens } = tokenize(text);
  const places = tokens.flatMap((token, index) =>
    token.value === "=" && tokens[index + 1]?.kind === "parameter" ? [index] : [],
  );
  const [place] = places;
  const value = place === undefined ? undefined : tokens[place + 1];
  const equals = place === undefined ? undefined : tokens[place];
  if (places.length !== 1 || !value || !equals) return undefined;
  const limit = tokens.find(({ kind, value: word }) => kind === "word" && word === "limit");
  const end = limit?.start ?? text.length;
  return `${text.slice(0, equals.start)}= ANY (${value.text})${text.slice(value.end, Math.max(end, value.end))}`.trimEnd();
}

/** Cheap lookups of single rows that come far more often than everything else together. */
export const nPlusOneCheck: Check<StatementsRow> = {
  id: "n-plus-one",
  query: statements,
  judge([row], { thresholds }) {
    if (!row) return { findings: [] };
    const lookups = row.statements.filter(
      (one) =>
        one.calls >= thresholds.lookupCalls &&
        one.total / one.calls <= thresholds.lookupMs &&
        one.rows / one.calls <= thresholds.lookupRows &&
        lookupOf(one.text) !== undefined,
    );
    const others = row.calls - sum(lookups.map(({ calls }) => calls));
    if (others < thresholds.lookupOthers) return { findings: [] };
    const findings = lookups
      .filter(({ calls }) => calls > thresholds.lookupRatio * others)
      .map((one): Finding => {
        const percent = (100 * one.total) / row.total;
        const batch = batched(one.text);
        return finding({
          check: "n-plus-one",
          severity: percent >= thresholds.lookupTimeShare ? "warning" : "info",
          subject: `statement ${one.id}`,
          says: `${count(one.calls)} calls, ${Math.round(one.calls / others)} for each other statement, ${milliseconds(one.total)} (${Math.round(percent)} % of all time): ${redacted(one.text, SHOWN_CHARACTERS)}`,
          evidence: {
            calls: one.calls,
            otherCalls: others,
            meanMs: Number((one.total / one.calls).toPrecision(3)),
            rowsPerCall: Number((one.rows / one.calls).toPrecision(3)),
            timePercent: Math.round(percent),
            statement: redacted(one.text, Number.POSITIVE_INFINITY),
          },
          fix: batch === undefined ? [] : [whole(batch)],
          note: "a candidate: look for a loop that calls it once a row; preload the rows (Ecto: preload), or join",
        });
      });
    return { findings };
  },
};
