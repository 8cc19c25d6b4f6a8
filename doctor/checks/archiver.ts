/** Archiving: what is not archived is lost with the disk, and keeps the disk filling until then. */
import { bytes, duration } from "../../tuning/words.ts";
import type { Check, Query } from "../check.ts";
import { above, finding } from "../finding.ts";

export interface ArchiverRow {
  /** off, on, always. */
  readonly mode: string;
  /** As the server shows it; null where the role may not see it. */
  readonly command: string | null;
  readonly failures: number;
  /** Milliseconds since 1970. */
  readonly failedAt: number | null;
  readonly archivedAt: number | null;
  readonly failedSegment: string | null;
  /** Segments that wait; null where the role may not look. */
  readonly waiting: number | null;
  readonly waitingSince: number | null;
  readonly segmentBytes: number;
}

const ms = (time: string): string => `extract(epoch FROM ${time}) * 1000`;

const archiver: Query<ArchiverRow> = {
  name: "archiver",
  asked: "monitor",
  needs: ["primary", "pg_monitor"],
  sql: ({ listsArchive }) => `SELECT current_setting('archive_mode') AS mode,
      (SELECT setting FROM pg_settings WHERE name = 'archive_command') AS command,
      a.failed_count AS failures, ${ms("a.last_failed_time")} AS "failedAt", ${ms("a.last_archived_time")} AS "archivedAt",
      a.last_failed_wal AS "failedSegment", w.waiting, w.since AS "waitingSince",
      (SELECT setting::float8 FROM pg_settings WHERE name = 'wal_segment_size') AS "segmentBytes"
    FROM pg_stat_archiver a, ${
      listsArchive
        ? `(SELECT count(*) AS waiting, ${ms("min(modification)")} AS since FROM pg_ls_archive_statusdir()
            WHERE name ~ '\\.ready$') w`
        : "(SELECT NULL::bigint AS waiting, NULL::float8 AS since) w"
    }`,
};

/** Segments that have waited for long, and attempts that fail. */
export const archiverCheck: Check<ArchiverRow> = {
  id: "archiver",
  query: archiver,
  judge(rows, { now, thresholds, stack }) {
    const [row] = rows;
    if (!row || row.mode === "off") return { findings: [], notChecked: "archive_mode is off: nothing is archived" };
    const fails = row.failedAt !== null && row.failedAt > (row.archivedAt ?? 0);
    if (row.waiting === null && !fails) return { findings: [] };
    // Where the waiting segments cannot be seen, a failure says since when at the latest.
    const since = row.waiting === null ? row.failedAt : row.waitingSince;
    const seconds = since === null ? 0 : (now - since) / 1000;
    const severity = above(seconds, thresholds.archiveSeconds, thresholds.archiveCriticalSeconds);
    if (!severity) return { findings: [] };
    const waitingBytes = (row.waiting ?? 1) * row.segmentBytes;
    const amount = row.waiting === null ? "" : `${row.waiting} segments (${bytes(waitingBytes)}) wait, `;
    const state = fails ? `the last attempts failed (${row.failures} in all)` : "archiving is slower than writing";
    return {
      findings: [
        finding({
          check: "archiver",
          severity,
          subject: row.failedSegment !== null && fails ? `WAL from ${row.failedSegment} on` : "WAL",
          says: `${amount}the oldest for ${duration(seconds)}; ${state}`,
          evidence: {
            waitingSegments: row.waiting,
            waitingBytes: row.waiting === null ? null : waitingBytes,
            waitingSeconds: Math.round(seconds),
            failures: row.failures,
          },
          fix:
            stack?.target === "docker"
              ? [stack.command("logs pg0"), stack.command("backups")]
              : row.command === ""
                ? ["ALTER SYSTEM SET archive_command = '…';", "SELECT pg_reload_conf();"]
                : ["SHOW archive_command;"],
          note: "the server's log has what the command says; it is tried again by itself once its cause is mended",
        }),
      ],
    };
  },
};
