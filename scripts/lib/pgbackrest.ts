import { docker } from "./docker.ts";

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
  readonly error: boolean;
}

interface Info {
  readonly backup: readonly {
    readonly label: string;
    readonly type: Backup["type"];
    readonly timestamp: { readonly start: number; readonly stop: number };
    readonly archive: { readonly start: string; readonly stop: string };
    readonly info: { readonly size: number; readonly repository: { readonly delta: number } };
    readonly error?: boolean;
  }[];
}

const iso = (seconds: number): string => new Date(seconds * 1000).toISOString();

/** Runs pgBackRest in the backup container, as the user that owns the repository. */
const pgbackrest = (container: string, args: readonly string[]): Promise<string> =>
  docker(["exec", "--user", "postgres", container, "pgbackrest", ...args]);

/** Backs up the server that takes writes. */
export const backupNow = (container: string, type: string, onLine: (line: string) => void): Promise<string> =>
  docker(["exec", "--user", "postgres", container, "cgraph-backup-now", `--type=${type}`], { onLine });

/** Every backup in the repository, oldest first. */
export async function listBackups(container: string): Promise<Backup[]> {
  const info = JSON.parse(await pgbackrest(container, ["info", "--output=json"])) as readonly Info[];
  return (info[0]?.backup ?? []).map((backup) => ({
    name: backup.label,
    type: backup.type,
    startedAt: iso(backup.timestamp.start),
    endedAt: iso(backup.timestamp.stop),
    databaseBytes: backup.info.size,
    storedBytes: backup.info.repository.delta,
    walStart: backup.archive.start,
    walEnd: backup.archive.stop,
    error: backup.error ?? false,
  }));
}
