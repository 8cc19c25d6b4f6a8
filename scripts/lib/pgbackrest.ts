import { REPOSITORY_DIRECTORY, STANZA } from "../../components/docker/pgbackrestFiles.ts";
import { EXIT, UserError } from "../../tuning/errors.ts";
import { docker } from "./docker.ts";
import type { RunOptions } from "./run.ts";
import { type Timeline, parseHistory, timelineOfWal } from "./restoreTarget.ts";

/** One backup, as `pgbackrest info` tells it. */
export interface Backup {
  /** Its label, such as 20261122-030000F. */
  readonly name: string;
  readonly type: "full" | "diff" | "incr";
  /** ISO 8601, UTC. */
  readonly startedAt: string;
  readonly endedAt: string;
  /** Bytes of the database when it was taken, and bytes that this backup added to the repository. */
  readonly databaseBytes: number;
  readonly storedBytes: number;
  readonly walStart: string;
  readonly walEnd: string;
  /** Positions in WAL at which it begins and from which on it is consistent. */
  readonly lsnStart: string;
  readonly lsnEnd: string;
  /** Whether pages were found damaged while it was taken. */
  readonly error: boolean;
}

interface Info {
  readonly repo: readonly { readonly status: { readonly code: number; readonly message: string } }[];
  /** Oldest first: each has the WAL of one cluster. */
  readonly archive: readonly { readonly id: string }[];
  readonly backup: readonly {
    readonly label: string;
    readonly type: Backup["type"];
    readonly timestamp: { readonly start: number; readonly stop: number };
    readonly archive: { readonly start: string; readonly stop: string };
    readonly lsn: { readonly start: string; readonly stop: string };
    readonly info: { readonly size: number; readonly repository: { readonly delta: number } };
    readonly error?: boolean;
  }[];
}

const iso = (seconds: number): string => new Date(seconds * 1000).toISOString();

/** What pgBackRest says of a repository that it cannot use, in a person's words; undefined: something else is wrong. */
export function explainRepository(words: string): UserError | undefined {
  // Opened with another key, its files are noise: no section, no header.
  if (
    /CryptoError|cipher header|repo encrypted|key\/value found outside of section|invalid section|no valid format/.test(
      words,
    )
  ) {
    return new UserError(
      "the backup key does not open the repository: its backups were encrypted with another one",
      "find the key that they were made with (secrets export of the stack that made them)",
      EXIT.failed,
    );
  }
  if (/No space left on device|no room left/.test(words)) {
    return new UserError(
      "there is no room left for backups and WAL",
      "see docs/runbooks/disk-full.md; the database goes on meanwhile",
      EXIT.failed,
    );
  }
  const http = /HTTP request failed with (\d+[^:\n]*)|\[ServiceError\] (\[\d+\] [^\n]*)/
    .exec(words)
    ?.slice(1)
    .find(Boolean);
  const host = /HostConnectError: (.*)|unable to (?:connect|get address)[^\n]*|\[049\]: ([^\n]*)/.exec(words)?.[0];
  const reason = http ?? host;
  if (reason === undefined) return undefined;
  const code = /<Code>(\w+)<\/Code>/.exec(words)?.[1];
  return new UserError(
    `the bucket of the backups does not answer as it should: ${reason}${code === undefined ? "" : ` (${code})`}`,
    "see cgraph:backupS3… in ./cgraph-db config show, and docs/backups.md",
    EXIT.failed,
  );
}

/** Runs pgBackRest in the backup container, as the user that owns the repository. */
async function inBackups(container: string, command: readonly string[], options: RunOptions = {}): Promise<string> {
  try {
    return await docker(["exec", "--user", "postgres", container, ...command], options);
  } catch (error) {
    throw (error instanceof UserError ? explainRepository(error.message) : undefined) ?? error;
  }
}

/** Control characters of what it could not decipher would be no JSON, and nothing for a terminal either. */
const pgbackrest = async (container: string, args: readonly string[]): Promise<string> =>
  (await inBackups(container, ["pgbackrest", "--log-level-console=error", ...args])).replace(NO_TEXT, "");

/** Control characters but tabs and line ends. */
// eslint-disable-next-line no-control-regex -- they are what is looked for
const NO_TEXT = /[\x00-\x08\x0b-\x1f\x7f]/g;

/** Backs up the server that takes writes, after any backup that is running already; tells what it is at. */
export const backupNow = (container: string, type: string, onDetail: (text: string) => void): Promise<string> =>
  inBackups(container, ["cgraph-backup-now", `--type=${type}`, "--log-level-stderr=error"], {
    onLine(line) {
      const text = /P00\s+INFO: (.*)|cgraph: (another backup .*)/.exec(line)?.slice(1).find(Boolean);
      if (text) onDetail(text.slice(0, 100));
    },
  });

/** `info` ends well even where it could read nothing. */
const UNREADABLE = 99;

async function info(container: string): Promise<Info | undefined> {
  const [found] = JSON.parse(await pgbackrest(container, ["info", "--output=json"])) as readonly Info[];
  const broken = found?.repo.find(({ status }) => status.code === UNREADABLE)?.status.message;
  if (broken === undefined) return found;
  throw (
    explainRepository(broken) ??
    new UserError(`the backups cannot be read: ${broken.split("\n")[0]}`, "see ./cgraph-db logs backup", EXIT.failed)
  );
}

/** Every backup in the repository, oldest first. */
export async function listBackups(container: string): Promise<Backup[]> {
  return ((await info(container))?.backup ?? []).map((backup) => ({
    name: backup.label,
    type: backup.type,
    startedAt: iso(backup.timestamp.start),
    endedAt: iso(backup.timestamp.stop),
    databaseBytes: backup.info.size,
    storedBytes: backup.info.repository.delta,
    walStart: backup.archive.start,
    walEnd: backup.archive.stop,
    lsnStart: backup.lsn.start,
    lsnEnd: backup.lsn.stop,
    error: backup.error ?? false,
  }));
}

/** A timeline that the archive has WAL of. */
export interface ArchivedTimeline {
  readonly id: number;
  /** When it began, milliseconds since 1970; of the first: always. */
  readonly since: number;
}

interface Archive {
  readonly path: string;
  readonly timelines: readonly ArchivedTimeline[];
}

/** Every timeline in the archive, oldest first. A restore or a failover writes a history file when it begins one. */
export async function archivedTimelines(container: string): Promise<Archive> {
  const path = `archive/${STANZA}/${(await info(container))?.archive.at(-1)?.id ?? "none"}`;
  const listed = JSON.parse(await pgbackrest(container, ["repo-ls", "--output=json", path])) as Readonly<
    Record<string, { readonly time?: number }>
  >;
  const ids = new Set(
    Object.keys(listed)
      .filter((name) => /^[0-9A-F]{8}/.test(name))
      .map(timelineOfWal),
  );
  const timelines = [...ids].map((id) => ({ id, since: (listed[historyFile(id)]?.time ?? 0) * 1000 }));
  return { path, timelines: timelines.sort((one, other) => one.id - other.id) };
}

const historyFile = (id: number): string => `${id.toString(16).toUpperCase().padStart(8, "0")}.history`;

/** One of them with its history. Throws a UserError where the archive has no WAL of it. */
export async function timelineHistory(container: string, { path, timelines }: Archive, id: number): Promise<Timeline> {
  const found = timelines.find((one) => one.id === id);
  if (!found) {
    const there = timelines.map((one) => one.id).join(", ");
    throw new UserError(
      `the archive has no WAL of timeline ${id}`,
      there === "" ? "see ./cgraph-db logs pg0" : `it has ${there}`,
      EXIT.failed,
    );
  }
  // The first one has none.
  const text = found.since === 0 ? "" : await pgbackrest(container, ["repo-get", `${path}/${historyFile(id)}`]);
  return { id, history: parseHistory(text) };
}

/** A moment with a name. */
export interface RestorePoint {
  readonly name: string;
  readonly lsn: string;
  readonly timeline: number;
  /** ISO 8601, UTC. */
  readonly at: string;
}

const RECORDS = `${REPOSITORY_DIRECTORY}/cgraph`;
const POINTS = `${RECORDS}/points.jsonl`;
const VERIFICATION = `${RECORDS}/verified.json`;

/** A file of ours beside the backups; empty where there is none. */
const readRecord = (container: string, path: string): Promise<string> =>
  docker(["exec", "--user", "postgres", container, "sh", "-c", `[ ! -s ${path} ] || cat ${path}`]);

/** Runs a script beside the backups, with text as its standard input. */
const writeRecord = (container: string, script: string, value: unknown): Promise<string> =>
  docker(["exec", "--interactive", "--user", "postgres", container, "sh", "-c", `mkdir -p ${RECORDS} && ${script}`], {
    input: `${JSON.stringify(value)}\n`,
  });

/** Every restore point that was made here, oldest first. */
export const listPoints = async (container: string): Promise<RestorePoint[]> =>
  (await readRecord(container, POINTS))
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line) as RestorePoint);

/** Keeps a restore point's place. */
export const addPoint = async (container: string, point: RestorePoint): Promise<void> => {
  await writeRecord(container, `cat >>${POINTS}`, point);
};

/** What restoring a backup on trial has shown; kept beside the backups, where the figures and the doctor find it. */
export interface Verification {
  /** ISO 8601, UTC. */
  readonly at: string;
  /** The backup's name. */
  readonly backup: string;
  readonly ok: boolean;
  /** What is wrong, one line each; at most twenty of `problemCount`. */
  readonly problems: readonly string[];
  readonly problemCount: number;
  /** Of all databases; absent where it did not come so far. */
  readonly tables?: number;
  readonly rows?: number;
  readonly seconds: number;
  /** When one was last found good; null: never. */
  readonly lastGoodAt: string | null;
}

/** The last verification; undefined where nothing was verified yet. */
export async function readVerification(container: string): Promise<Verification | undefined> {
  const text = await readRecord(container, VERIFICATION);
  return text === "" ? undefined : (JSON.parse(text) as Verification);
}

/** Keeps a verification, and has the figures made anew. */
export async function writeVerification(container: string, verification: Verification): Promise<void> {
  const script = `cat >${VERIFICATION}.new && mv ${VERIFICATION}.new ${VERIFICATION} && cgraph-backup-figures`;
  await writeRecord(container, script, verification);
}
