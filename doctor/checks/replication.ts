/** Replicas that are behind, and slots that keep WAL for whoever does not come. */
import { literal } from "../../components/sqlText.ts";
import { bytes, duration } from "../../tuning/words.ts";
import type { Check, Query } from "../check.ts";
import { type Finding, above, finding } from "../finding.ts";

export interface LagRow {
  readonly name: string;
  /** null on the replica itself. */
  readonly state: string | null;
  readonly bytes: number | null;
  readonly seconds: number | null;
}

/** On a primary its standbys and subscribers, on a replica itself. */
const lag: Query<LagRow> = {
  name: "lag",
  asked: "monitor",
  needs: ["pg_monitor"],
  sql: ({ inRecovery }) =>
    inRecovery
      ? `SELECT 'this replica' AS name, (SELECT status FROM pg_stat_wal_receiver) AS state,
          pg_wal_lsn_diff(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn()) AS bytes,
          extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp()) AS seconds`
      : `SELECT coalesce(nullif(application_name, ''), client_addr::text, pid::text) AS name, state,
          greatest(pg_wal_lsn_diff(pg_current_wal_lsn(), coalesce(replay_lsn, sent_lsn)), 0) AS bytes,
          extract(epoch FROM replay_lag) AS seconds
        FROM pg_stat_replication WHERE state IS DISTINCT FROM 'backup' AND application_name <> 'pg_basebackup'`,
};

/** Standbys and subscribers that are behind; of a stack also those that should be there. */
export const replicationLagCheck: Check<LagRow> = {
  id: "replication-lag",
  query: lag,
  momentary: true,
  judge(rows, { thresholds, stack, inRecovery }) {
    const inquire = (name: string): string[] =>
      stack?.target === "docker"
        ? [stack.command("status"), stack.command(`logs ${stack.followers.includes(name) ? name : "pg0"}`)]
        : ["SELECT * FROM pg_stat_wal_receiver;"];
    const behind = rows.flatMap((row): Finding[] => {
      const severity = above(row.bytes ?? 0, thresholds.lagBytes, thresholds.lagCriticalBytes);
      if (!severity) return [];
      return [
        finding({
          check: "replication-lag",
          severity,
          subject: row.name,
          says: `${bytes(row.bytes ?? 0)} of WAL behind${row.seconds === null ? "" : `, ${duration(row.seconds)}`}`,
          evidence: { lagBytes: row.bytes, lagSeconds: row.seconds, state: row.state },
          fix: inquire(row.name),
          note: stack?.target === "docker" ? null : "asked on the replica, it says whether WAL arrives there",
        }),
      ];
    });
    const missing = inRecovery ? [] : (stack?.followers ?? []).filter((name) => !rows.some((row) => row.name === name));
    // On AWS replicas go by names of RDS's own.
    const gone = stack?.target === "docker" ? missing : [];
    return {
      findings: [
        ...behind,
        ...gone.map((name) =>
          finding({
            check: "replication-lag",
            severity: "critical",
            subject: name,
            says: "does not stream from the primary",
            evidence: { streaming: rows.map((row) => row.name) },
            fix: inquire(name),
          }),
        ),
      ],
    };
  },
};

export interface SlotRow {
  readonly name: string;
  readonly type: "physical" | "logical";
  readonly active: boolean;
  /** reserved, extended, unreserved, lost; null: it has kept nothing yet. */
  readonly status: string | null;
  readonly keptBytes: number | null;
  /** Seconds since somebody read it; null before PostgreSQL 17. */
  readonly idleSeconds: number | null;
  /** Transactions for which vacuum keeps dead rows on its account. */
  readonly horizonAge: number | null;
}

const slots: Query<SlotRow> = {
  name: "slots",
  asked: "monitor",
  needs: ["primary"],
  sql: () => `SELECT slot_name AS name, slot_type AS type, active, wal_status AS status,
      pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn) AS "keptBytes",
      extract(epoch FROM clock_timestamp() - (to_jsonb(s) ->> 'inactive_since')::timestamptz) AS "idleSeconds",
      greatest(age(xmin), age(catalog_xmin)) AS "horizonAge"
    FROM pg_replication_slots s WHERE NOT temporary`,
};

/** Slots that keep much WAL, have lost it, or are read by nobody. */
export const replicationSlotCheck: Check<SlotRow> = {
  id: "replication-slot",
  query: slots,
  judge(rows, { thresholds }) {
    const findings = rows.flatMap((row): Finding[] => {
      const kept = row.keptBytes ?? 0;
      const lost = row.status === "lost" || row.status === "unreserved";
      const idle =
        !row.active &&
        (kept > thresholds.idleSlotBytes || (row.idleSeconds ?? 0) > thresholds.idleSlotSeconds) &&
        "warning";
      const severity = lost
        ? "critical"
        : (above(kept, thresholds.slotBytes, thresholds.slotCriticalBytes) ??
          (idle || (row.active ? undefined : "info")));
      if (!severity) return [];
      const since = row.idleSeconds === null ? "" : ` for ${duration(row.idleSeconds)}`;
      const state =
        row.status === "lost" ? "has lost WAL that its consumer still needed" : `keeps ${bytes(kept)} of WAL`;
      return [
        finding({
          check: "replication-slot",
          severity,
          subject: row.name,
          says: `${row.type}, ${row.active ? "in use" : `read by nobody${since}`}, ${state}`,
          evidence: {
            active: row.active,
            walStatus: row.status,
            keptBytes: row.keptBytes,
            idleSeconds: row.idleSeconds,
            horizonAge: row.horizonAge,
          },
          fix: [
            ...(row.active
              ? [
                  `SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = ${literal(row.name)};`,
                ]
              : []),
            `SELECT pg_drop_replication_slot(${literal(row.name)});`,
          ],
          note: "only where its consumer does not come back: it would have to begin anew",
        }),
      ];
    });
    return { findings };
  },
};
