/** Where a restore ends, and the backup that leads there. Pure. */
import { EXIT, UserError } from "../../tuning/errors.ts";
import type { Backup, RestorePoint } from "./pgbackrest.ts";

/** A timeline and how it came about: each restore and each failover leaves one and begins the next. */
export interface Timeline {
  readonly id: number;
  /** Those before it, and the position in WAL at which each was left. */
  readonly history: readonly { readonly id: number; readonly leftAt: bigint }[];
}

/** A position in WAL as a number: `0/3000148`. */
export function lsnValue(text: string): bigint {
  const [high = "0", low = "0"] = text.split("/");
  return (BigInt(`0x${high}`) << 32n) | BigInt(`0x${low}`);
}

/** The timeline in the name of a segment of WAL. */
export const timelineOfWal = (segment: string): number => Number.parseInt(segment.slice(0, 8), 16);

/** Reads a timeline's history file, in PostgreSQL's format: timeline, position, reason. */
export const parseHistory = (text: string): Timeline["history"] =>
  text.split("\n").flatMap((line) => {
    const [, id, left] = /^\s*(\d+)\s+([0-9A-F]+\/[0-9A-F]+)/i.exec(line) ?? [];
    return id === undefined || left === undefined ? [] : [{ id: Number(id), leftAt: lsnValue(left) }];
  });

/** Whether the timeline has in it what the backup holds. */
function leadsTo(backup: Backup, timeline: Timeline): boolean {
  const own = timelineOfWal(backup.walEnd);
  const left = timeline.history.find(({ id }) => id === own);
  return own === timeline.id || (left !== undefined && lsnValue(backup.lsnEnd) <= left.leftAt);
}

export interface RestoreSources {
  readonly backups: readonly Backup[];
  readonly points: readonly RestorePoint[];
  /** The timeline to end on. */
  readonly timeline: Timeline;
  /** Where the server that takes writes is; undefined: none answers. */
  readonly currentLsn: string | undefined;
  /** Milliseconds since 1970. */
  readonly now: number;
}

export const LATEST = "latest";
const LSN = /^[0-9A-F]{1,8}\/[0-9A-F]{1,8}$/i;

/** A complete date in PostgreSQL's own words, in UTC, microseconds kept where they were given. */
function parseTime(to: string): { time: number; text: string } | undefined {
  // Only with a time zone: anything vaguer would be read in one that the person did not mean.
  const match = /^\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d(:?\d\d)?)$/.exec(to);
  const time = match ? new Date(to.replace(" ", "T").replace(/([+-]\d\d)$/, "$1:00")) : undefined;
  if (!time || Number.isNaN(time.getTime())) return undefined;
  const fraction = /(\.\d+)/.exec(to)?.[1] ?? "";
  return { time: time.getTime(), text: `${time.toISOString().slice(0, 19).replace("T", " ")}${fraction}+00` };
}

/**
 * The timeline that a target lies on: a restore point's own; at a time, the one that was the newest then, so that the
 * database comes back as it was at that moment, whatever was restored since; otherwise the newest.
 */
export function timelineFor(
  to: string,
  points: readonly RestorePoint[],
  timelines: readonly { readonly id: number; readonly since: number }[],
): number {
  const point = points.find(({ name }) => name === to);
  if (point) return point.timeline;
  const time = parseTime(to)?.time ?? Number.POSITIVE_INFINITY;
  return timelines.filter(({ since }) => since <= time).at(-1)?.id ?? 1;
}

/** Until which a restore replays, for `pgbackrest restore`, and which backups it can begin with. */
interface Target {
  readonly args: readonly string[];
  readonly after: (backup: Backup) => boolean;
  readonly isPast: boolean;
}

function targetOf(to: string, { points, currentLsn, now }: RestoreSources): Target {
  if (to === LATEST) return { args: ["--type=default"], after: () => true, isPast: true };
  const point = points.find(({ name }) => name === to);
  const lsn = point?.lsn ?? (LSN.test(to) ? to.toUpperCase() : undefined);
  if (lsn !== undefined) {
    return {
      args: point ? ["--type=name", `--target=${point.name}`] : ["--type=lsn", `--target=${lsn}`],
      after: (backup) => lsnValue(backup.lsnEnd) <= lsnValue(lsn),
      isPast: currentLsn === undefined || lsnValue(lsn) <= lsnValue(currentLsn),
    };
  }
  const time = parseTime(to);
  if (!time) {
    throw new UserError(
      `"${to}" is neither a backup's name, nor a restore point's, nor a position in WAL, nor a time with its zone`,
      `use a name from ./cgraph-db backups, a position such as 0/3000148, a time such as 2026-11-22T14:05:00Z, or ${LATEST}`,
    );
  }
  return {
    args: ["--type=time", `--target=${time.text}`],
    after: (backup) => Date.parse(backup.endedAt) <= time.time,
    isPast: time.time <= now,
  };
}

/**
 * What `pgbackrest restore` has to be told for a target: `latest`, a backup's name, a restore point's, a position in WAL
 * or a time. Throws a UserError where no backup leads there; it names the range that there is.
 */
export function restoreArguments(to: string, sources: RestoreSources): string[] {
  const { backups, timeline, currentLsn, now } = sources;
  const named = backups.find((backup) => backup.name === to);
  // Along the backup's own timeline: a later one may have been begun before the backup was taken.
  if (named) return [`--set=${named.name}`, "--type=immediate", "--recovery-option=recovery_target_timeline=current"];
  const { args, after, isPast } = targetOf(to, sources);
  const leading = backups.filter((backup) => !backup.error && leadsTo(backup, timeline));
  const begin = isPast ? leading.filter(after).at(-1) : undefined;
  if (!begin) {
    const [first] = leading;
    const until = `${new Date(now).toISOString()}${currentLsn === undefined ? "" : ` (${currentLsn})`}`;
    throw new UserError(
      `${to} lies outside of what can be restored`,
      first
        ? `on timeline ${timeline.id} that is from ${first.endedAt} (${first.lsnEnd}) until ${until}`
        : `no backup leads to timeline ${timeline.id}; see ./cgraph-db backups`,
      EXIT.failed,
    );
  }
  return [`--set=${begin.name}`, ...args, `--target-timeline=${timeline.id}`];
}
