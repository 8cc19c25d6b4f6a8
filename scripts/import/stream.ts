/**
 * Following the source's changes, by PostgreSQL's own logical replication: pgcopydb's way to follow (0.17, with
 * test_decoding) doubles quotes in arrays and JSON, and writes "unchanged-toast-datum" over long values.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { literal } from "../../components/sqlText.ts";
import { EXIT, UserError } from "../../tuning/errors.ts";
import type { Progress } from "../migrate/runner.ts";
import { bytes } from "../lib/print.ts";
import { QUALIFIED, TABLES } from "./inspect.ts";
import { relayedConninfo } from "./source.ts";
import { lastLines } from "./session.ts";
import { isKept } from "./snapshots.ts";
import { differences, structureSql } from "./structure.ts";
import { RELAY, type Tools, WORK } from "./tools.ts";

/** Nearly there: what a busy chat writes in well under a second. */
const NEAR_BYTES = 1024 * 1024;
const SNAPSHOT_JOB = "snapshot";

/** A publication of all tables by name: FOR ALL TABLES would take a superuser. */
async function publish(tools: Tools): Promise<void> {
  await tools.onSource(`SELECT format('CREATE PUBLICATION ${tools.name} FOR TABLE %s', string_agg(${QUALIFIED}, ', ')) FROM ${TABLES}
    HAVING count(*) > 0 AND NOT EXISTS (SELECT FROM pg_publication WHERE pubname = '${tools.name}') \\gexec`);
}

/** Makes publication and slot, and gives the id of the snapshot at which the slot begins; a job keeps it. */
export async function beginStream(tools: Tools): Promise<string> {
  await publish(tools);
  const url = tools.sourceUrl;
  const replication = `${url}${url.includes("?") ? "&" : "?"}replication=database`;
  // Idle for as long as the copy takes: a network that forgets connections is to see it live.
  const kept = `${replication}&keepalives_idle=60`;
  const slot = `CREATE_REPLICATION_SLOT "${tools.name}" LOGICAL pgoutput EXPORT_SNAPSHOT;`;
  await tools.startJob(SNAPSHOT_JOB, "cgraph-copy", "snapshot", SNAPSHOT_JOB, kept, slot);
  // A slot begins when all transactions of that moment have ended.
  for (let tries = 0; ; tries++) {
    const id = (await tools.exec("cat", `${WORK}/${SNAPSHOT_JOB}.id`)).stdout.trim();
    if (id !== "") return id;
    const { running } = await tools.jobState(SNAPSHOT_JOB);
    const words = lastLines((await tools.exec("cat", `${WORK}/${SNAPSHOT_JOB}.log`)).stdout);
    if (!running && tries > 20) {
      throw new UserError(
        `the source makes no replication slot: ${words}`,
        "mend what it says, then ./cgraph-db import --resume",
        EXIT.failed,
      );
    }
    if (/ERROR|FATAL/.test(words)) {
      throw new UserError(
        `the source makes no replication slot: ${words}`,
        "mend what it says, then ./cgraph-db import --resume",
        EXIT.failed,
      );
    }
    await sleep(250);
  }
}

/** The id of the snapshot of which the copy was made; undefined where its session has ended. */
export async function copiedSnapshot(tools: Tools): Promise<string | undefined> {
  const id = (await tools.exec("cat", `${WORK}/${SNAPSHOT_JOB}.id`)).stdout.trim();
  return id !== "" && (await isKept((sql) => tools.onSource(sql), id)) ? id : undefined;
}

/** Lets the snapshot go: nothing reads from it any more. */
export const endSnapshot = (tools: Tools): Promise<unknown> => tools.shell(`touch ${WORK}/${SNAPSHOT_JOB}.id.stop`);

/** Makes the target receive what the slot has kept, where it does not yet. */
export async function subscribe(tools: Tools): Promise<void> {
  await tools.relay();
  const conninfo = literal(relayedConninfo(tools.source, RELAY));
  if ((await tools.onTarget(`SELECT count(*) FROM pg_subscription WHERE subname = '${tools.name}'`)) !== "0") {
    // The source may have been given by another name than at first.
    await tools.onTarget(`ALTER SUBSCRIPTION ${tools.name} CONNECTION ${conninfo}`);
    return;
  }
  await tools.onTarget(`CREATE SUBSCRIPTION ${tools.name} CONNECTION ${conninfo} PUBLICATION ${tools.name}
    WITH (create_slot = false, slot_name = '${tools.name}', copy_data = false, synchronous_commit = off, run_as_owner = true,
      enabled = true)`);
}

interface Lag {
  readonly bytes: number;
  /** Place in the source's WAL up to which the target has everything. */
  readonly confirmed: string;
  readonly active: boolean;
  readonly lost: boolean;
}

const lag = async (tools: Tools, until = "pg_current_wal_lsn()"): Promise<Lag> => {
  const text =
    await tools.onSource(`SELECT json_build_object('bytes', greatest(pg_wal_lsn_diff(${until}, confirmed_flush_lsn), 0),
    'confirmed', confirmed_flush_lsn, 'active', active, 'lost', coalesce(to_jsonb(s) ->> 'wal_status' = 'lost', false)) FROM pg_replication_slots s WHERE slot_name = '${tools.name}'`);
  if (text === "") return { bytes: 0, confirmed: "", active: false, lost: true };
  return JSON.parse(text) as Lag;
};

/** So many errors of the target's worker without a step forward are no broken connection, after which it goes on by itself. */
const MOST_ERRORS = 3;

const errorCount = async (tools: Tools): Promise<number> =>
  Number(
    await tools.onTarget(
      `SELECT coalesce(sum(apply_error_count), 0) FROM pg_stat_subscription_stats WHERE subname = '${tools.name}'`,
    ),
  );

/** Waits until the target has all changes up to a place in the source's WAL (default: nearly up to now). */
export async function awaitStream(
  tools: Tools,
  progress: Progress,
  words: () => Promise<string>,
  until?: string,
): Promise<void> {
  let quiet = Date.now();
  let last = { at: Date.now(), bytes: -1 };
  let stuck = { confirmed: "", errors: 0 };
  for (let round = 0; ; round++) {
    const now = await lag(tools, until === undefined ? undefined : `'${until}'::pg_lsn`);
    if (now.lost) {
      throw new UserError(
        "the source no longer has the WAL that has to be followed",
        "raise its max_slot_wal_keep_size, take the import back (./cgraph-db import --rollback) and begin anew",
        EXIT.failed,
      );
    }
    if (now.bytes <= (until === undefined ? NEAR_BYTES : 0) && (now.active || until !== undefined)) return;
    const seconds = (Date.now() - last.at) / 1000;
    const rate = last.bytes < 0 ? 0 : (last.bytes - now.bytes) / seconds;
    progress.detail(`${bytes(now.bytes)} behind${rate > 0 ? `, ${Math.ceil(now.bytes / rate)} s left` : ""}`);
    if (now.active) quiet = Date.now();
    if (round % 10 === 9) {
      const errors = await errorCount(tools);
      if (now.confirmed !== stuck.confirmed) stuck = { confirmed: now.confirmed, errors };
      // The server's own words say which change it was.
      if (errors - stuck.errors >= MOST_ERRORS) {
        throw new UserError(
          `the stack's server cannot apply a change of the source: ${await words()}`,
          "was a table changed on the source? Take the import back (./cgraph-db import --rollback) and begin anew",
          EXIT.failed,
        );
      }
    }
    // The server may have started anew: the relay was in its old network.
    if (Date.now() - quiet > 10_000) {
      await tools.relay();
      quiet = Date.now();
    }
    if (seconds > 2) last = { at: Date.now(), bytes: now.bytes };
    await sleep(until === undefined ? 500 : 30);
  }
}

/** A place in the source's WAL behind everything that has been committed, flushed to its disk. */
export async function barrier(tools: Tools): Promise<string> {
  // A commit of our own flushes those before it, also the asynchronous ones; another moves the stream past it.
  return tools.onSource(`BEGIN; SET LOCAL synchronous_commit = on; SELECT '' FROM (SELECT txid_current()) t WHERE false; COMMIT;
    SELECT pg_current_wal_flush_lsn();
    BEGIN; SET LOCAL synchronous_commit = on; SELECT '' FROM (SELECT txid_current()) t WHERE false; COMMIT;`);
}

/** Refuses where the source's tables, with their indexes, constraints and triggers, are no longer those that were copied. */
export async function refuseChangedTables(tools: Tools): Promise<void> {
  const [there, here] = await Promise.all([tools.onSource(structureSql), tools.onTarget(structureSql)]);
  const changed = differences(there, here);
  if (changed.length === 0) return;
  throw new UserError(
    `tables were changed on the source after they had been copied: ${changed.slice(0, 5).join(", ")}`,
    "undo that on the source, or take the import back (./cgraph-db import --rollback) and begin anew",
    EXIT.refused,
  );
}

/** Ends the subscription on the target; the slot on the source stays. */
export async function unsubscribe(tools: Tools): Promise<void> {
  // One call: clients wait meanwhile.
  await tools.onTarget(`SELECT format(statement, subname) FROM pg_subscription, unnest(ARRAY['ALTER SUBSCRIPTION %I DISABLE',
      'ALTER SUBSCRIPTION %I SET (slot_name = NONE)', 'DROP SUBSCRIPTION %I']) statement
    WHERE subname = '${tools.name}' \\gexec`);
}

/** Leaves nothing of the stream on the source. */
export async function unpublish(tools: Tools): Promise<void> {
  const name = literal(tools.name);
  for (let tries = 0; ; tries++) {
    // A session that waits to make the slot would make it later.
    const active = await tools.onSource(`SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
      WHERE pid IN (SELECT active_pid FROM pg_replication_slots WHERE slot_name = ${name})
        OR backend_type = 'walsender' AND query LIKE 'CREATE_REPLICATION_SLOT "${tools.name}"%'`);
    if (active === "0" || tries > 50) break;
    await sleep(100);
  }
  await tools.onSource(`SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = ${name};
    DROP PUBLICATION IF EXISTS ${tools.name}`);
}
