/** What of a stack's configuration concerns its backups. */
import { UserError } from "../tuning/errors.ts";
import { type ConfigSource, matching, oneOf, wholeNumber, wrong } from "./configValues.ts";
import { BACKUPS } from "./guide.ts";

/** A bucket of any server that speaks S3's API over TLS. */
export interface S3Repository {
  readonly bucket: string;
  /** `cgraph:backupS3Region`, default us-east-1. */
  readonly region: string;
  /** `cgraph:backupS3Endpoint`: HOST or HOST:PORT; default Amazon's of the region. */
  readonly endpoint: string;
  /** `cgraph:backupS3UriStyle`: whether the bucket stands in the host's name (default, Amazon) or in the path (MinIO, Ceph). */
  readonly uriStyle: "host" | "path";
  /** `cgraph:backupS3Path`: the folder in the bucket; default: the stack's name. */
  readonly path: string | undefined;
  /** `cgraph:backupS3Ca`: certificates, as PEM, of the authorities that sign the server's; default: the system's. */
  readonly ca: string | undefined;
}

export interface BackupConfig {
  /** `cgraph:backupIntervalHours`, default 24 (guide: daily). */
  readonly intervalHours: number;
  /** `cgraph:backupFullDays`: days between full backups, the others holding what changed since; default 7. */
  readonly fullDays: number;
  /** `cgraph:backupRetentionDays`, default 7 (guide). */
  readonly retentionDays: number;
  /** Where backups and WAL go instead of a volume; with the secrets `backupS3KeyId` and `backupS3KeySecret`. Docker. */
  readonly s3: S3Repository | undefined;
  /**
   * `cgraph:restoreFirst`: a stack that has no data yet begins with what its repository has, up to `latest`, a time (ISO
   * 8601 with a zone) or the end of a backup by its name; as arguments of `pgbackrest restore`. Docker, stages 1 to 3.
   */
  readonly restoreFirst: readonly string[] | undefined;
}

/** A point in a repository, as arguments of `pgbackrest restore`; undefined where the text names none. */
export function restoreFirstArguments(to: string): readonly string[] | undefined {
  if (to === "latest") return ["--type=default"];
  // Along its own timeline, as in a restore.
  if (/^\d{8}-\d{6}F(_\d{8}-\d{6}[DI])?$/.test(to))
    return [`--set=${to}`, "--type=immediate", "--recovery-option=recovery_target_timeline=current"];
  // Only with a time zone: anything vaguer would be read in one that the person did not mean.
  if (!/^\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d)?(Z|[+-]\d\d:\d\d)$/.test(to)) return undefined;
  const time = new Date(to.replace(" ", "T"));
  if (Number.isNaN(time.getTime())) return undefined;
  return ["--type=time", `--target=${time.toISOString().slice(0, 19).replace("T", " ")}+00`];
}

export const BACKUP_KEYS = [
  "backupIntervalHours",
  "backupFullDays",
  "backupRetentionDays",
  "backupS3Bucket",
  "backupS3Endpoint",
  "backupS3Region",
  "backupS3UriStyle",
  "backupS3Path",
  "backupS3Ca",
  "backupS3KeyId",
  "backupS3KeySecret",
  "backupKey",
  "restoreFirst",
] as const;

const NOT_SECRET = BACKUP_KEYS.filter((key) => /^backupS3(?!Bucket|Key)/.test(key));

function readS3(source: ConfigSource): S3Repository | undefined {
  const bucket = matching(source, "backupS3Bucket", /^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/, "the name of a bucket");
  if (bucket === undefined) {
    const lonely = NOT_SECRET.find((key) => source(key) !== undefined);
    if (lonely === undefined) return undefined;
    throw new UserError(`cgraph:${lonely} is set, but no bucket`, "set it: ./cgraph-db config set backupS3Bucket NAME");
  }
  const region = matching(source, "backupS3Region", /^[a-z0-9-]+$/, "a region such as eu-central-1") ?? "us-east-1";
  const host = /^[A-Za-z0-9.-]+(:\d{1,5})?$/;
  return {
    bucket,
    region,
    endpoint:
      matching(source, "backupS3Endpoint", host, "HOST or HOST:PORT, reached over TLS") ?? `s3.${region}.amazonaws.com`,
    uriStyle: oneOf(source, "backupS3UriStyle", ["host", "path"] as const, "host"),
    path: matching(source, "backupS3Path", /^\/[\w./-]*$/, "a path that begins with /"),
    ca: matching(source, "backupS3Ca", /-----BEGIN CERTIFICATE-----/, "certificates in PEM"),
  };
}

function readRestoreFirst(source: ConfigSource): readonly string[] | undefined {
  const to = source("restoreFirst");
  if (to === undefined) return undefined;
  const found = restoreFirstArguments(to);
  if (!found) throw wrong("restoreFirst", to, "latest, a time such as 2026-11-22T14:05:00Z, or a backup's name");
  if (Number(source("stage") ?? 1) <= 3) return found;
  throw new UserError(
    "cgraph:restoreFirst is for stages 1 to 3: shards have a repository each",
    "unset it: ./cgraph-db config unset restoreFirst",
  );
}

/** Throws a UserError that names the key, the value and what is allowed. */
export const readBackupConfig = (source: ConfigSource): BackupConfig => ({
  intervalHours: wholeNumber(source, "backupIntervalHours", 1, 168, BACKUPS.intervalHours.value),
  fullDays: wholeNumber(source, "backupFullDays", 1, 365, 7),
  retentionDays: wholeNumber(source, "backupRetentionDays", 1, 3650, BACKUPS.retentionDays.value),
  s3: readS3(source),
  restoreFirst: readRestoreFirst(source),
});
