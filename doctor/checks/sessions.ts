/** Transactions that stay open, and sessions that wait for each other's locks. */
import { literal } from "../../components/sqlText.ts";
import { duration } from "../../tuning/words.ts";
import type { Check, Query } from "../check.ts";
import { type Finding, finding } from "../finding.ts";
import { RECOVER, RECOVER_NOTE, isCitusTransaction } from "./citusNodes.ts";
import { asJson } from "../sql.ts";
import { redacted } from "../statements/redact.ts";

export interface TransactionRow {
  /** null for a prepared transaction. */
  readonly pid: number | null;
  /** Of a prepared transaction. */
  readonly gid: string | null;
  readonly user: string;
  readonly application: string;
  readonly state: string;
  readonly seconds: number;
  /** Since it last did anything. */
  readonly stateSeconds: number;
  readonly statement: string;
  /** Transactions for which vacuum keeps dead rows on its account. */
  readonly horizonAge: number | null;
}

/** Connections of tools that read a whole database from one snapshot: long by nature. */
const COPIERS = /^(pg_dump|pg_dumpall|pgcopydb|pg_restore)/;

const transactions: Query<TransactionRow> = {
  name: "transactions",
  asked: "monitor",
  needs: ["pg_monitor"],
  sql: ({ thresholds: { transactionSeconds } }) => {
    const since = (time: string): string => `extract(epoch FROM clock_timestamp() - ${time})`;
    return `SELECT pid, NULL AS gid, usename AS "user", application_name AS application, state,
        ${since("xact_start")} AS seconds, ${since("state_change")} AS "stateSeconds", query AS statement,
        greatest(age(backend_xmin), age(backend_xid)) AS "horizonAge"
      FROM pg_stat_activity
      WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()
        AND ${since("xact_start")} > ${transactionSeconds}
      UNION ALL
      SELECT NULL, gid, owner, '', 'prepared', ${since("prepared")}, ${since("prepared")}, '', age(transaction)
      FROM pg_prepared_xacts WHERE database = current_database() AND ${since("prepared")} > ${transactionSeconds}`;
  },
};

const isIdle = ({ state }: TransactionRow): boolean => state.startsWith("idle in transaction");

function transactionFinding(
  check: "long-transaction" | "idle-in-transaction",
  row: TransactionRow,
  severity: Finding["severity"],
): Finding {
  const who = `${row.user}${row.application === "" ? "" : ` (${row.application})`}`;
  const statement = redacted(row.statement);
  const ofCitus = row.gid !== null && isCitusTransaction(row.gid);
  const idle = isIdle(row) ? `, idle for ${duration(row.stateSeconds)} of it after` : "";
  return finding({
    check,
    severity,
    subject: row.gid === null ? `pid ${row.pid}` : `prepared transaction ${row.gid}`,
    says: `${who}: open for ${duration(row.seconds)}${idle}${statement === "" ? "" : `${idle === "" ? ":" : ""} ${statement}`}`,
    evidence: {
      user: row.user,
      application: row.application,
      state: row.state,
      seconds: Math.round(row.seconds),
      stateSeconds: Math.round(row.stateSeconds),
      horizonAge: row.horizonAge,
      statement,
    },
    fix: [
      ofCitus
        ? RECOVER
        : row.gid === null
          ? `SELECT pg_terminate_backend(${row.pid});`
          : `ROLLBACK PREPARED ${literal(row.gid)};`,
    ],
    note: ofCitus
      ? RECOVER_NOTE
      : severity === "info"
        ? "it copies the database from one snapshot: let it end"
        : "vacuum removes no row that was deleted after it began; what it has written is rolled back",
  });
}

const severityOf = (row: TransactionRow, { transactionCriticalSeconds }: { transactionCriticalSeconds: number }) =>
  COPIERS.test(row.application) ? "info" : row.seconds > transactionCriticalSeconds ? "critical" : "warning";

/** Transactions at work, or prepared, for longer than the guide's five minutes. */
export const longTransactionCheck: Check<TransactionRow> = {
  id: "long-transaction",
  query: transactions,
  each: true,
  judge: (rows, { thresholds }) => ({
    findings: rows
      .filter((row) => !isIdle(row))
      .map((row) => transactionFinding("long-transaction", row, severityOf(row, thresholds))),
  }),
};

/** The same, whose client does nothing. */
export const idleInTransactionCheck: Check<TransactionRow> = {
  id: "idle-in-transaction",
  query: transactions,
  each: true,
  judge: (rows, { thresholds }) => ({
    findings: rows
      .filter(isIdle)
      .map((row) => transactionFinding("idle-in-transaction", row, severityOf(row, thresholds))),
  }),
};

interface Session {
  readonly pid: number;
  readonly user: string | null;
  readonly application: string;
  readonly state: string | null;
  readonly statement: string;
}

export interface WaitRow extends Session {
  readonly mode: string;
  /** The table, quoted; null where the lock is on something else. */
  readonly relation: string | null;
  readonly lockType: string;
  readonly seconds: number;
  /** Process ids; 0 for a prepared transaction. */
  readonly blockers: readonly number[];
  /** Of these, those that are there. */
  readonly blocking: readonly Session[];
}

const session = (a: string): string =>
  `${a}.pid, ${a}.usename AS "user", ${a}.application_name AS application, ${a}.state, ${a}.query AS statement`;

const waits: Query<WaitRow> = {
  name: "waits",
  asked: "monitor",
  needs: ["pg_monitor"],
  // Asking who blocks takes locks of its own for a moment: only where somebody waits for long.
  sql: ({ thresholds: { lockWaitSeconds } }) => `SELECT w.*, ${asJson(
    `SELECT ${session("b")} FROM pg_stat_activity b WHERE b.pid = ANY (w.blockers)`,
  )} AS blocking
    FROM (SELECT ${session("a")}, l.mode, l.locktype AS "lockType",
        CASE WHEN l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
          THEN l.relation::regclass::text END AS relation,
        extract(epoch FROM clock_timestamp() - l.waitstart) AS seconds, pg_blocking_pids(a.pid) AS blockers
      FROM pg_stat_activity a JOIN LATERAL (
        SELECT * FROM pg_locks k WHERE k.pid = a.pid AND NOT k.granted LIMIT 1) l ON true
      WHERE a.wait_event_type = 'Lock' AND clock_timestamp() - l.waitstart > interval '${lockWaitSeconds} s') w`,
};

/** The sessions at the end of a chain of waits: they wait for nobody themselves. */
function rootsOf(pid: number, waiting: ReadonlyMap<number, WaitRow>, seen: ReadonlySet<number> = new Set()): number[] {
  const row = waiting.get(pid);
  if (!row || seen.has(pid)) return [pid];
  return row.blockers.flatMap((blocker) => rootsOf(blocker, waiting, new Set([...seen, pid])));
}

/** Who keeps others waiting, and whom: one finding for each session at the end of a chain. */
export const lockWaitCheck: Check<WaitRow> = {
  id: "lock-wait",
  query: waits,
  each: true,
  judge(rows, { thresholds }) {
    const waiting = new Map(rows.map((row) => [row.pid, row]));
    const sessions = new Map(rows.flatMap(({ blocking }) => blocking).map((one) => [one.pid, one]));
    const behind = new Map<number, WaitRow[]>();
    for (const row of rows) {
      for (const root of new Set(rootsOf(row.pid, waiting))) behind.set(root, [...(behind.get(root) ?? []), row]);
    }
    const findings = [...behind].map(([pid, waits]): Finding => {
      const longest = Math.max(...waits.map(({ seconds }) => seconds));
      const blocker = sessions.get(pid);
      const who = blocker ? `${blocker.user ?? "?"}, ${blocker.state ?? "?"}` : "a prepared transaction";
      const statement = blocker ? redacted(blocker.statement) : "";
      const victims = waits.map(
        (row) =>
          `pid ${row.pid} (${row.user ?? "?"}) waits ${duration(row.seconds)} for ${row.mode} on ${row.relation ?? row.lockType}`,
      );
      return finding({
        check: "lock-wait",
        severity: longest > thresholds.lockWaitCriticalSeconds ? "critical" : "warning",
        subject: pid === 0 ? "prepared transaction" : `pid ${pid}`,
        says: `${who}${statement === "" ? "" : `: ${statement}`}; behind it ${victims.join(", ")}`,
        evidence: { waiting: waits.length, longestSeconds: Math.round(longest), victims, statement },
        fix:
          pid === 0
            ? ["SELECT gid, prepared, owner FROM pg_prepared_xacts ORDER BY prepared;"]
            : [`SELECT pg_terminate_backend(${pid});`],
        note: "what it has written is rolled back",
      });
    });
    return { findings };
  },
};
