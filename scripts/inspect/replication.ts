/** `inspect replication`: who follows this server, how far behind, and what slots hold back. */
import type { Client } from "pg";
import { valueOf } from "../lib/databaseClient.ts";
import { bytes, table } from "../lib/print.ts";
import { duration } from "../report/words.ts";
import { rowsAsJson, secondsSince } from "./sql.ts";

export interface Follower {
  readonly pid: number;
  readonly name: string;
  readonly user: string;
  readonly client: string | null;
  readonly state: string;
  readonly sync: string;
  /** Bytes of WAL that it has not been sent, has not on its disk, and has not replayed yet. */
  readonly unsentBytes: number | null;
  readonly unflushedBytes: number | null;
  readonly unreplayedBytes: number | null;
  readonly replaySeconds: number | null;
}

export interface Slot {
  readonly name: string;
  readonly kind: string;
  readonly database: string | null;
  readonly active: boolean;
  /** WAL that the server keeps for it. */
  readonly retainedBytes: number | null;
  /** reserved, extended, unreserved, lost. */
  readonly walStatus: string | null;
  /** What may still be written before it is lost; null: without bound. */
  readonly safeBytes: number | null;
  /** Why it can no longer be used (PostgreSQL 17). */
  readonly invalid: string | null;
}

export interface Replication {
  /** Whether this server follows another one itself. */
  readonly isReplica: boolean;
  readonly position: string | null;
  readonly followers: readonly Follower[];
  readonly slots: readonly Slot[];
  readonly receiver: {
    readonly state: string;
    readonly from: string | null;
    /** Since the last transaction that was replayed; large where nobody writes. */
    readonly replayedSeconds: number | null;
  } | null;
}

// A replica has no current position of its own to write at: how far it has received counts there.
const POSITION = "CASE WHEN pg_is_in_recovery() THEN pg_last_wal_receive_lsn() ELSE pg_current_wal_lsn() END";
const behind = (lsn: string): string => `pg_wal_lsn_diff(here.lsn, ${lsn})::float8`;

const REPLICATION_SQL = `WITH here AS MATERIALIZED (SELECT ${POSITION} AS lsn)
SELECT json_build_object(
  'isReplica', pg_is_in_recovery(),
  'position', (SELECT lsn::text FROM here),
  'followers', ${rowsAsJson(`SELECT pid, application_name AS name, usename AS "user", host(client_addr) AS client, state,
      sync_state AS sync, ${behind("sent_lsn")} AS "unsentBytes", ${behind("flush_lsn")} AS "unflushedBytes",
      ${behind("replay_lsn")} AS "unreplayedBytes", extract(epoch FROM replay_lag)::float8 AS "replaySeconds"
    FROM pg_stat_replication, here ORDER BY application_name, pid`)},
  'slots', ${rowsAsJson(`SELECT slot_name AS name, concat_ws(' ', slot_type, plugin) AS kind, database, active,
      ${behind("restart_lsn")} AS "retainedBytes", wal_status AS "walStatus", safe_wal_size AS "safeBytes",
      to_jsonb(s) ->> 'invalidation_reason' AS invalid
    FROM pg_replication_slots s, here ORDER BY slot_name`)},
  'receiver', (SELECT row_to_json(r) FROM (SELECT status AS state, sender_host AS "from",
      ${secondsSince("pg_last_xact_replay_timestamp()")} AS "replayedSeconds" FROM pg_stat_wal_receiver) r)) AS value`;

export const readReplication = (client: Client): Promise<Replication> => valueOf(client, REPLICATION_SQL);

const size = (value: number | null): string => (value === null ? "" : bytes(Math.max(0, value)));

export function showReplication({ isReplica, receiver, followers, slots }: Replication): string {
  const own = isReplica
    ? receiver
      ? `This server is a replica: ${receiver.state} from ${receiver.from ?? "its primary"}${receiver.replayedSeconds === null ? "" : `, last replayed transaction ${duration(receiver.replayedSeconds)} ago`}.`
      : "This server is a replica and receives nothing now."
    : undefined;
  return [
    ...(own === undefined ? [] : [own]),
    followers.length === 0
      ? "Nobody follows this server."
      : table([
          ["follower", "process", "user", "state", "sync", "unsent", "not on its disk", "not replayed", "delay"],
          ...followers.map((one) => [
            one.name,
            String(one.pid),
            one.user,
            one.state,
            one.sync,
            size(one.unsentBytes),
            size(one.unflushedBytes),
            size(one.unreplayedBytes),
            one.replaySeconds === null ? "" : duration(one.replaySeconds),
          ]),
        ]),
    ...(slots.length === 0
      ? []
      : [
          table([
            ["slot", "kind", "database", "in use", "keeps", "state", "may still grow"],
            ...slots.map((slot) => [
              slot.name,
              slot.kind,
              slot.database ?? "",
              slot.active ? "yes" : "NO",
              size(slot.retainedBytes),
              [slot.walStatus, slot.invalid].filter((text) => text !== null).join(", "),
              slot.safeBytes === null ? "without bound" : size(slot.safeBytes),
            ]),
          ]),
        ]),
  ].join("\n\n");
}
