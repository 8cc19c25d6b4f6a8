/** Connections: how many are in use, and whether the pools may open more than there are. */
import { literal } from "../../components/sqlText.ts";
import type { Check, Query } from "../check.ts";
import { above, finding } from "../finding.ts";
import { asJson } from "../sql.ts";

export interface ConnectionsRow {
  readonly max: number;
  /** Kept for superusers and for pg_use_reserved_connections. */
  readonly reserved: number;
  /** Client backends only: the server's own processes take no connection. */
  readonly used: number;
  /** The groups with most connections first. */
  readonly groups: readonly {
    readonly user: string | null;
    readonly application: string;
    readonly count: number;
    readonly idle: number;
  }[];
}

const connections: Query<ConnectionsRow> = {
  name: "connections",
  asked: "monitor",
  needs: ["pg_monitor"],
  sql: () => `SELECT current_setting('max_connections')::int AS max,
      current_setting('superuser_reserved_connections')::int
        + coalesce(current_setting('reserved_connections', true), '0')::int AS reserved,
      (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend') AS used,
      ${asJson(`SELECT usename AS "user", application_name AS application, count(*) AS count,
          count(*) FILTER (WHERE state = 'idle') AS idle
        FROM pg_stat_activity WHERE backend_type = 'client backend' GROUP BY 1, 2 ORDER BY 3 DESC LIMIT 5`)} AS groups`,
};

/** The guide's connection utilisation, and who has them. */
export const connectionsCheck: Check<ConnectionsRow> = {
  id: "connections",
  query: connections,
  each: true,
  judge(rows, { thresholds, stack }) {
    const [row] = rows;
    if (!row) return { findings: [] };
    const percent = (100 * row.used) / row.max;
    const severity = above(percent, thresholds.connectionsPercent, thresholds.connectionsCriticalPercent);
    if (!severity) return { findings: [] };
    const groups = row.groups.map(
      ({ user, application, count, idle }) => `${user ?? "?"}/${application || "?"} ${count} (${idle} idle)`,
    );
    const idlest = [...row.groups].sort((a, b) => b.idle - a.idle)[0];
    const end =
      idlest && idlest.idle > 0 && idlest.user !== null
        ? [
            `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'client backend' AND state = 'idle' AND state_change < now() - interval '10 minutes' AND usename = ${literal(idlest.user)} AND application_name = ${literal(idlest.application)};`,
          ]
        : [];
    return {
      findings: [
        finding({
          check: "connections",
          severity,
          subject: "max_connections",
          says: `${row.used} of ${row.max} in use (${Math.round(percent)} %): ${groups.join(", ")}`,
          evidence: { used: row.used, max: row.max, reserved: row.reserved, percent: Math.round(percent), groups },
          fix: [...end, ...(stack ? [stack.command("config set maxConnections N")] : [])],
          note: !stack?.pool
            ? "a pool (PgBouncer, stage 2) serves a thousand clients by some fifty connections"
            : "make the application's direct pools smaller before you give the server more",
        }),
      ],
    };
  },
};

/** What the stack's pools may open on one server, against what it gives: on the primary, when no replica serves reads. */
export const poolSumCheck: Check<ConnectionsRow> = {
  id: "pool-sum",
  query: connections,
  judge(rows, { stack }) {
    const [row] = rows;
    if (!stack) return { findings: [], notChecked: "the pools of a database that is no stack's are not known" };
    if (stack.pool === undefined) {
      return { findings: [], notChecked: "a stack on AWS does not tell its pools' sizes; `preview` checks their sum" };
    }
    if (!row || stack.pool === null) return { findings: [] };
    const { instances, poolSize, reserveSize } = stack.pool;
    const sum = 2 * instances * (poolSize + reserveSize);
    const available = row.max - row.reserved;
    if (sum <= available) return { findings: [] };
    return {
      findings: [
        finding({
          check: "pool-sum",
          severity: "critical",
          subject: "pools",
          says: `${instances} PgBouncers, each with pools that write and read of ${poolSize} + ${reserveSize}, may open ${sum} connections; the server gives clients ${available}`,
          evidence: { instances, poolSize, reserveSize, sum, available, maxConnections: row.max },
          fix: [stack.command("config apply")],
          note: null,
        }),
      ],
    };
  },
};
