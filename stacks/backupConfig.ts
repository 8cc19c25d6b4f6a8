/** What of a stack's configuration concerns its backups. */
import { UserError } from "../tuning/errors.ts";
import { type ConfigSource, matching, oneOf, wholeNumber } from "./configValues.ts";
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

/** Throws a UserError that names the key, the value and what is allowed. */
export const readBackupConfig = (source: ConfigSource): BackupConfig => ({
  intervalHours: wholeNumber(source, "backupIntervalHours", 1, 168, BACKUPS.intervalHours.value),
  fullDays: wholeNumber(source, "backupFullDays", 1, 365, 7),
  retentionDays: wholeNumber(source, "backupRetentionDays", 1, 3650, BACKUPS.retentionDays.value),
  s3: readS3(source),
});
