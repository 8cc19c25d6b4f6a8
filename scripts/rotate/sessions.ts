/** Who is still connected by a name of the generation before. */
import { setTimeout as sleep } from "node:timers/promises";
import { literal } from "../../components/sqlText.ts";
import type { Generations } from "../../components/logins.ts";
import type { StackValues } from "../../stacks/outputs.ts";
import { superuserSql } from "../lib/cluster.ts";
import { generationsOf } from "../lib/login.ts";
import { consoleRows, reconnectPool } from "../lib/pooler.ts";
import { table } from "../lib/print.ts";
import { type Phase, CLIENT_ROLES, olderNames, phaseOf } from "./plan.ts";

/** Sessions that have a name, an application and an address in common. */
export interface OlderSessions {
  /** The server or the pooler. */
  readonly where: string;
  readonly user: string;
  readonly application: string;
  readonly address: string;
  readonly count: number;
}

export const listOf = (names: readonly string[]): string => names.map(literal).join(", ");

/** A client's sessions, as pg_stat_activity has them: one row for those of the same client. */
export const sessionsSql = (names: readonly string[]): string =>
  `SELECT coalesce(json_agg(row_to_json(t)), '[]') AS sessions FROM (
     SELECT usename AS "user", application_name AS application, coalesce(host(client_addr), 'socket') AS address, count(*)
     FROM pg_stat_activity WHERE usename IN (${listOf(names)}) AND pid <> pg_backend_pid() GROUP BY 1, 2, 3 ORDER BY 4 DESC
   ) t`;

function grouped(rows: readonly Omit<OlderSessions, "count">[]): OlderSessions[] {
  const groups = new Map<string, OlderSessions>();
  for (const row of rows) {
    const key = JSON.stringify(row);
    groups.set(key, { ...row, count: (groups.get(key)?.count ?? 0) + 1 });
  }
  return [...groups.values()];
}

/** Clients of the pools. With `letGo` a pool that nobody uses by such a name lets go of its connections to servers. */
async function pooled(values: StackValues, names: readonly string[], letGo: boolean): Promise<OlderSessions[]> {
  const poolers = values.services.filter(({ kind }) => kind === "pgbouncer");
  const found = await Promise.all(
    poolers.map(async ({ name, container }) => {
      const clients = (await consoleRows(container, "SHOW CLIENTS")).filter(({ user = "" }) => names.includes(user));
      if (clients.length === 0 && letGo) await reconnectPool(container);
      return clients.map(({ user = "", application_name: application = "", addr: address = "" }) => ({
        ...{ where: name, user, application, address },
      }));
    }),
  );
  return grouped(found.flat());
}

/** How long a pool may take to let go of connections to servers that no client has. */
const LET_GO_MS = 2_000;

/**
 * Who is connected by one of these names, on any server or pooler. Without `letGo` connections count that a pool keeps
 * although their client is gone.
 */
export async function olderSessions(
  values: StackValues,
  names: readonly string[],
  { letGo }: { readonly letGo: boolean },
): Promise<OlderSessions[]> {
  const clients = await pooled(values, names, letGo);
  if (clients.length > 0) return clients;
  for (const until = Date.now() + LET_GO_MS; ; await sleep(200)) {
    const found = await onServers(values, names);
    if (!letGo || found.length === 0 || Date.now() > until) return found;
  }
}

async function onServers(values: StackValues, names: readonly string[]): Promise<OlderSessions[]> {
  const found = await Promise.all(
    values.nodes.map(async ({ name, container }) => {
      const rows = JSON.parse(await superuserSql(container, sessionsSql(names))) as Omit<OlderSessions, "where">[];
      return rows.map((row) => ({ where: name, ...row }));
    }),
  );
  return found.flat();
}

/** Ends the sessions of these names on a server; gives their count. */
export const endSessionsSql = (names: readonly string[]): string =>
  `SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename IN (${listOf(names)})`;

/** Ends the sessions of these names on every server. Gives how many there were. */
export async function endSessions(values: StackValues, names: readonly string[]): Promise<number> {
  const counts = await Promise.all(values.nodes.map(({ container }) => superuserSql(container, endSessionsSql(names))));
  return counts.reduce((sum, count) => sum + Number(count), 0);
}

export const olderTable = (sessions: readonly OlderSessions[]): string =>
  table([
    ["at", "old user", "application", "from", "sessions"],
    ...sessions.map((one) => [one.where, one.user, one.application, one.address, String(one.count)]),
  ]);

export interface RotationState {
  readonly phase: Phase;
  readonly passwordGenerations: Generations;
  readonly olderSessions: readonly OlderSessions[];
}

/** Who still uses the old passwords, while they are accepted beside the new; null between rotations. */
export async function rotationState(values: StackValues): Promise<RotationState | null> {
  const generations = generationsOf(values);
  const phase = phaseOf(generations);
  if (phase === "settled") return null;
  const older = olderNames(generations, CLIENT_ROLES);
  return {
    phase,
    passwordGenerations: generations,
    olderSessions: await olderSessions(values, older, { letGo: false }),
  };
}
