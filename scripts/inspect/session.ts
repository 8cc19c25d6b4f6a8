/** One process of a server: what it does, and whether it is one that must not simply be ended. */
import { rowsAsJson, secondsSince } from "./sql.ts";

export interface ServerProcess {
  readonly pid: number;
  readonly user: string | null;
  readonly database: string | null;
  readonly application: string | null;
  readonly client: string | null;
  /** `client backend`, `walsender`, `autovacuum worker`, … */
  readonly kind: string;
  readonly state: string | null;
  readonly transactionSeconds: number | null;
  readonly stateSeconds: number | null;
  /** Sessions that wait for it. */
  readonly blocks: number;
  readonly query: string;
  /** Tells it from a later process with the same number. */
  readonly startedAt: string;
}

/** The process of a number; an empty list where there is none. */
export const processSql = (pid: number): string =>
  `SELECT ${rowsAsJson(`SELECT pid, usename AS "user", datname AS database, application_name AS application,
     host(client_addr) AS client, coalesce(backend_type, 'unknown') AS kind, state, ${secondsSince("xact_start")} AS "transactionSeconds",
     ${secondsSince("state_change")} AS "stateSeconds", coalesce(query, '') AS query, backend_start::text AS "startedAt",
     (SELECT count(DISTINCT l.pid) FROM pg_locks l WHERE NOT l.granted AND a.pid = ANY (pg_blocking_pids(l.pid))) AS blocks
   FROM pg_stat_activity a WHERE pid = ${pid}`)}::text AS value`;

/** Who of a stack's own services a process works for, by its user, or the beginning of its application's name. */
const OWN_USERS: Readonly<Record<string, string>> = {
  replicator: "replication",
  cgraph_changes: "the cache, which follows the database's changes",
  cgraph_pooler: "PgBouncer, which looks passwords up",
  cgraph_rewind: "pg_rewind, which mends a former primary",
};
const OWN_APPLICATIONS: readonly (readonly [RegExp, string])[] = [
  [/^Patroni/, "Patroni, which would take its server for broken"],
  [/^pgBackRest/, "a backup"],
  [/^pg_cron/, "the scheduler"],
];

const KINDS: Readonly<Record<string, string>> = {
  walsender: "replication: a replica, a backup or a subscriber would be cut off",
  "autovacuum worker": "autovacuum: it gives way to others by itself",
};

/** Why a process should be left alone; undefined for a client's session. */
export function whySystem({
  kind,
  user,
  application,
}: Pick<ServerProcess, "kind" | "user" | "application">): string | undefined {
  // Another login of the same role works for the same.
  const own =
    OWN_USERS[(user ?? "").replace(/_b$/, "")] ?? OWN_APPLICATIONS.find(([name]) => name.test(application ?? ""))?.[1];
  if (own !== undefined) return own;
  return kind === "client backend" ? undefined : (KINDS[kind] ?? `the server itself (${kind})`);
}
