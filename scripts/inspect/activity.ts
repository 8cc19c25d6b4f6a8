/** `inspect activity`: how many connections there are, and who has been at work the longest. */
import type { Client } from "pg";
import { guideThreshold } from "../../stacks/guide.ts";
import { valueOf } from "../lib/databaseClient.ts";
import { table } from "../lib/print.ts";
import { duration } from "../report/words.ts";
import { clip, rowsAsJson, secondsSince } from "./sql.ts";

export interface ActiveSession {
  readonly pid: number;
  readonly user: string | null;
  readonly database: string | null;
  readonly application: string | null;
  readonly client: string | null;
  readonly state: string | null;
  /** What it waits for: `Lock relation`, `IO DataFileRead`; null: it computes, or waits for its client. */
  readonly waitsFor: string | null;
  readonly transactionSeconds: number | null;
  readonly querySeconds: number | null;
  readonly query: string;
}

export interface Activity {
  readonly maxConnections: number;
  /** Of them for superusers and other privileged ones. */
  readonly reserved: number;
  /** Client backends: what max_connections bounds. Processes of the server's own are none. */
  readonly connections: number;
  readonly states: Readonly<Record<string, number>>;
  /** Of all databases: pages found in shared buffers; null where none was read. */
  readonly cacheHitRatio: number | null;
  /** Those within a transaction or a statement, the oldest first; not this command's own. */
  readonly sessions: readonly ActiveSession[];
}

const ACTIVITY_SQL = `SELECT json_build_object(
  'maxConnections', current_setting('max_connections')::int,
  'reserved', current_setting('superuser_reserved_connections')::int + coalesce(current_setting('reserved_connections', true)::int, 0),
  'connections', (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'),
  'states', (SELECT coalesce(json_object_agg(state, n), '{}') FROM (SELECT coalesce(state, 'unknown') AS state, count(*) AS n
     FROM pg_stat_activity WHERE backend_type = 'client backend' GROUP BY 1 ORDER BY 2 DESC) s),
  'cacheHitRatio', (SELECT (sum(blks_hit) / nullif(sum(blks_hit) + sum(blks_read), 0))::float8 FROM pg_stat_database),
  'sessions', ${rowsAsJson(`SELECT pid, usename AS "user", datname AS database, application_name AS application,
      host(client_addr) AS client, state, wait_event_type || ' ' || wait_event AS "waitsFor",
      ${secondsSince("xact_start")} AS "transactionSeconds",
      CASE WHEN state = 'active' THEN ${secondsSince("query_start")} END AS "querySeconds", coalesce(query, '') AS query
    FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid() AND state <> 'idle'
    ORDER BY xact_start NULLS LAST, pid LIMIT $1::int`)}) AS value`;

export const readActivity = (client: Client, limit: number): Promise<Activity> =>
  valueOf(client, ACTIVITY_SQL, [limit]);

const LIMITS = guideThreshold("connection_utilization");

export function showActivity(activity: Activity): string {
  const { connections, maxConnections, reserved, states, cacheHitRatio, sessions } = activity;
  const use = (100 * connections) / maxConnections;
  const alarm = use > LIMITS.critical ? " (critical)" : use > LIMITS.warning ? " (warning)" : "";
  const counted = Object.entries(states).map(([state, n]) => `${n} ${state}`);
  const head = [
    `connections: ${connections} of ${maxConnections}, ${use.toFixed(0)} %${alarm}; ${reserved} are kept for administrators`,
    `  ${counted.join(", ")}`,
    `pages found in shared buffers: ${cacheHitRatio === null ? "none was read yet" : `${(100 * cacheHitRatio).toFixed(2)} %`}`,
  ];
  if (sessions.length === 0) return [...head, "Nobody else is at work."].join("\n");
  const seconds = (value: number | null): string => (value === null ? "" : duration(value));
  return [
    ...head,
    "",
    table([
      ["process", "user", "application", "client", "state", "transaction", "statement", "waits for", ""],
      ...sessions.map((one) => [
        String(one.pid),
        one.user ?? "",
        one.application ?? "",
        one.client ?? "",
        one.state ?? "",
        seconds(one.transactionSeconds),
        seconds(one.querySeconds),
        one.waitsFor === "Client ClientRead" ? "" : (one.waitsFor ?? ""),
        clip(one.query),
      ]),
    ]),
  ].join("\n");
}
