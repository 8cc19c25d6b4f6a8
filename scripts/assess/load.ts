/** What a server bears at this moment, looked at for some seconds. */
import type { Client } from "pg";
import { readActivity } from "../inspect/activity.ts";
import { looking, valueOf } from "../lib/databaseClient.ts";
import type { Findings } from "./findings.ts";

interface Counters {
  readonly at: number;
  readonly transactions: number;
  /** null: nobody counts statements, or the user may not see them. */
  readonly calls: number | null;
  readonly milliseconds: number | null;
}

const STATEMENTS = `SELECT quote_ident(n.nspname) AS value FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace
  WHERE e.extname = 'pg_stat_statements'`;

async function counters(client: Client): Promise<Counters> {
  const transactions = await looking(client, (looker) =>
    valueOf<number>(
      looker,
      "SELECT (xact_commit + xact_rollback)::float8 AS value FROM pg_stat_database WHERE datname = current_database()",
    ),
  );
  // Where it is not loaded its view fails: in a transaction of its own.
  const statements = await looking(client, async (looker) => {
    const { rows } = await looker.query<{ value: string }>(STATEMENTS);
    const [schema] = rows;
    if (!schema) return { calls: null, milliseconds: null };
    return valueOf<Pick<Counters, "calls" | "milliseconds">>(
      looker,
      `SELECT json_build_object('calls', coalesce(sum(s.calls), 0), 'milliseconds', coalesce(sum(s.total_exec_time), 0)) AS value
       FROM ${schema.value}.pg_stat_statements(false) s JOIN pg_database d ON d.oid = s.dbid WHERE d.datname = current_database()`,
    );
  }).catch(() => ({ calls: null, milliseconds: null }));
  return { at: performance.now(), transactions, ...statements };
}

interface Waiting {
  readonly active: number;
  readonly onDisk: number;
}

const WAITING_SQL = `SELECT json_build_object('active', count(*), 'onDisk', count(*) FILTER (WHERE wait_event_type = 'IO')) AS value
  FROM pg_stat_activity WHERE backend_type = 'client backend' AND state = 'active' AND pid <> pg_backend_pid()`;

const LOOK_EVERY_MS = 200;
/** Of fewer active sessions seen, no share is told. */
const LEAST_SEEN = 20;

/** What the watching itself adds, beside two statements for each look. */
const [OWN_STATEMENTS, OWN_TRANSACTIONS] = [18, 10];

/** Watches for some seconds: queries, their mean time, waiting for the disk. */
async function watch(client: Client, seconds: number, findings: Findings): Promise<void> {
  const before = await counters(client);
  let [active, onDisk, looks] = [0, 0, 0];
  await looking(client, async (looker) => {
    while (performance.now() - before.at < seconds * 1000) {
      // Within a transaction the first look would be shown again and again.
      await looker.query("SELECT pg_stat_clear_snapshot()");
      const seen = await valueOf<Waiting>(looker, WAITING_SQL);
      active += seen.active;
      onDisk += seen.onDisk;
      looks++;
      await new Promise((resolve) => setTimeout(resolve, LOOK_EVERY_MS));
    }
  });
  const after = await counters(client);
  const passed = (after.at - before.at) / 1000;
  const over = `over ${Math.round(passed)} s just now, on the primary`;
  const own = 2 * looks + OWN_STATEMENTS;
  const calls = before.calls === null || after.calls === null ? null : Math.max(0, after.calls - before.calls - own);
  if (calls === null) {
    const transactions = Math.max(0, after.transactions - before.transactions - OWN_TRANSACTIONS);
    findings.measured("queriesPerSecond", transactions / passed, `transactions, ${over}`);
    findings.assumed.push("queries a second are transactions: pg_stat_statements is not there");
    findings.lacks("meanMs", "pg_stat_statements is not there");
  } else {
    findings.measured("queriesPerSecond", calls / passed, `pg_stat_statements, ${over}`);
    const time = (after.milliseconds ?? 0) - (before.milliseconds ?? 0);
    if (calls > 0) findings.measured("meanMs", Math.max(0, time) / calls, `pg_stat_statements, ${over}`);
    else findings.lacks("meanMs", "nobody has asked anything meanwhile");
  }
  if (active >= LEAST_SEEN) findings.measured("ioWaitShare", onDisk / active, `active sessions at the disk, ${over}`);
  else findings.lacks("ioWaitShare", `only ${active} active sessions were seen ${over}`);
}

/** Connections, pages found in memory, dead rows, and what a few seconds show. */
export async function readLoad(client: Client, seconds: number, findings: Findings): Promise<void> {
  const { connections, maxConnections, cacheHitRatio } = await looking(client, (looker) => readActivity(looker, 1));
  findings.measured(
    "connectionShare",
    connections / maxConnections,
    `${connections} of ${maxConnections} client connections`,
  );
  if (cacheHitRatio !== null) {
    findings.measured("cacheHitRatio", cacheHitRatio, "pg_stat_database, since its statistics began");
  }
  const deadRows = await looking(client, (looker) =>
    valueOf<number>(looker, "SELECT coalesce(sum(n_dead_tup), 0)::float8 AS value FROM pg_stat_user_tables"),
  );
  findings.measured("deadRows", deadRows, "pg_stat_user_tables");
  await watch(client, seconds, findings);
}
