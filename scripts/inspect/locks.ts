/** `inspect locks`: who waits for whom. */
import type { Client } from "pg";
import { valueOf } from "../lib/databaseClient.ts";
import { table } from "../lib/print.ts";
import { duration } from "../report/words.ts";
import { clip, rowsAsJson, secondsSince } from "./sql.ts";

/** A session that waits for a lock. */
export interface Wait {
  readonly pid: number;
  /** Who holds it or stands before it; 0: a prepared transaction. */
  readonly blockedBy: readonly number[];
  /** relation, transactionid, tuple, advisory, … */
  readonly lockType: string;
  readonly mode: string;
  /** null where it is no lock of a table, or of one in another database. */
  readonly relation: string | null;
  readonly waitSeconds: number | null;
}

export interface LockSession {
  readonly pid: number;
  readonly user: string | null;
  readonly database: string | null;
  readonly application: string | null;
  readonly client: string | null;
  readonly state: string | null;
  /** Since its transaction began, and since it is in this state. */
  readonly transactionSeconds: number | null;
  readonly stateSeconds: number | null;
  readonly query: string;
}

export interface Locks {
  readonly waits: readonly Wait[];
  /** Everybody who waits or is waited for. */
  readonly sessions: readonly LockSession[];
  /** Prepared transactions, which hold their locks until somebody ends them. */
  readonly prepared: readonly { readonly name: string; readonly owner: string; readonly seconds: number }[];
}

const WAITS = `SELECT DISTINCT ON (l.pid) l.pid, pg_blocking_pids(l.pid) AS "blockedBy", l.locktype AS "lockType", l.mode,
    CASE WHEN l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
      THEN l.relation::regclass::text END AS relation,
    ${secondsSince("l.waitstart")} AS "waitSeconds"
  FROM pg_locks l WHERE NOT l.granted ORDER BY l.pid`;

const LOCKS_SQL = `WITH waits AS MATERIALIZED (${WAITS}),
  involved AS (SELECT pid FROM waits UNION SELECT unnest("blockedBy") FROM waits)
SELECT json_build_object(
  'waits', ${rowsAsJson("SELECT * FROM waits")},
  'sessions', ${rowsAsJson(`SELECT pid, usename AS "user", datname AS database, application_name AS application,
      host(client_addr) AS client, state, ${secondsSince("xact_start")} AS "transactionSeconds",
      ${secondsSince("state_change")} AS "stateSeconds", coalesce(query, '') AS query
    FROM pg_stat_activity WHERE pid IN (SELECT pid FROM involved)`)},
  'prepared', ${rowsAsJson(`SELECT gid AS name, owner::text AS owner, ${secondsSince("prepared")} AS seconds FROM pg_prepared_xacts
    ORDER BY prepared`)}) AS value`;

export const readLocks = (client: Client): Promise<Locks> => valueOf(client, LOCKS_SQL);

/** A session in the tree of waiting: below it those whom it blocks. */
export interface LockNode {
  readonly pid: number;
  readonly wait: Wait | undefined;
  readonly blocks: readonly LockNode[];
}

/**
 * Who blocks whom, as trees: at each root somebody who waits for nobody. One who waits for several stands below each of
 * them. Sessions that wait for each other in a ring (a deadlock that PostgreSQL has not found yet) begin with one of them.
 */
export function lockTrees(waits: readonly Wait[]): LockNode[] {
  const waitOf = new Map(waits.map((wait) => [wait.pid, wait]));
  const shown = new Set<number>();
  const node = (pid: number, above: readonly number[]): LockNode => {
    shown.add(pid);
    const below = waits.filter((wait) => wait.blockedBy.includes(pid) && ![...above, pid].includes(wait.pid));
    return { pid, wait: waitOf.get(pid), blocks: below.map((wait) => node(wait.pid, [...above, pid])) };
  };
  const roots = [...new Set(waits.flatMap(({ blockedBy }) => blockedBy))].filter((pid) => !waitOf.has(pid));
  const trees = roots.map((pid) => node(pid, []));
  for (const { pid } of waits) if (!shown.has(pid)) trees.push(node(pid, []));
  return trees;
}

const seconds = (value: number | null): string => (value === null ? "" : duration(value));

export function showLocks({ waits, sessions, prepared }: Locks): string {
  const held = prepared.map(
    ({ name, owner, seconds: age }) =>
      `prepared transaction '${name}' of ${owner}, ${duration(age)} old: COMMIT PREPARED or ROLLBACK PREPARED ends it`,
  );
  if (waits.length === 0) return ["Nobody waits for a lock.", ...held].join("\n");
  const rows = (node: LockNode, depth: number): string[][] => {
    const session = sessions.find(({ pid }) => pid === node.pid);
    const { wait } = node;
    return [
      [
        `${"  ".repeat(depth)}${depth > 0 ? "└ " : ""}${node.pid === 0 ? "prepared" : node.pid}`,
        session?.user ?? "",
        session?.application ?? "",
        session?.state ?? "",
        seconds(session?.transactionSeconds ?? null),
        wait ? `${wait.mode} on ${wait.relation ?? wait.lockType}` : "",
        seconds(wait?.waitSeconds ?? null),
        clip(session?.query ?? ""),
      ],
      ...node.blocks.flatMap((below) => rows(below, depth + 1)),
    ];
  };
  return [
    table([
      ["process", "user", "application", "state", "transaction", "waits for", "since", "statement"],
      ...lockTrees(waits).flatMap((tree) => rows(tree, 0)),
    ]),
    ...held,
    "each waits for the one above it; ./cgraph-db terminate PID ends a session",
  ].join("\n");
}
