/** pgBackRest's configuration, as pure text. */
import type { S3Repository } from "../../stacks/backupConfig.ts";
import { CONFIG_DIRECTORY } from "./ConfigFiles.ts";

export const REPOSITORY_DIRECTORY = "/var/lib/pgbackrest";
export const STANZA = "cgraph";
/** The backup container's name on its certificate: whom servers give their files to. */
export const BACKUP_CLIENT = "backup";

const TLS_DIRECTORY = "/run/cgraph-tls";

/** Beside pgbackrest.conf: the authorities that sign the bucket's certificate. */
export const CA_FILE = "backup-ca.crt";

/** Beside it: what a server that has no data yet begins with, an argument of `pgbackrest restore` a line. */
export const RESTORE_FIRST_FILE = "restore-first";

export interface RepositoryConf {
  readonly key: string;
  readonly retentionDays: number;
  /** A bucket; undefined: the volume. */
  readonly s3: (S3Repository & { readonly path: string; readonly keys: S3Keys | undefined }) | undefined;
}

interface S3Keys {
  readonly id: string;
  readonly secret: string;
}

function placeConf(s3: RepositoryConf["s3"]): string {
  if (!s3) return `repo1-path=${REPOSITORY_DIRECTORY}\n`;
  return `repo1-type=s3
repo1-path=${s3.path}
repo1-s3-bucket=${s3.bucket}
repo1-s3-endpoint=${s3.endpoint}
repo1-s3-region=${s3.region}
repo1-s3-uri-style=${s3.uriStyle}
${s3.keys ? `repo1-s3-key=${s3.keys.id}\nrepo1-s3-key-secret=${s3.keys.secret}` : "repo1-s3-key-type=auto"}
${s3.ca === undefined ? "" : `repo1-storage-ca-file=${CONFIG_DIRECTORY}/${CA_FILE}\n`}`;
}

/** A replica that restarts as a backup begins answers no more, and pgBackRest would wait for it for half an hour. */
const ANSWER_SECONDS = 600;

/** The repository's part: encrypted, kept for so many days. */
function repositoryConf({ key, retentionDays, s3 }: RepositoryConf): string {
  return `[global]
${placeConf(s3)}repo1-cipher-type=aes-256-cbc
repo1-cipher-pass=${key}
repo1-retention-full-type=time
repo1-retention-full=${retentionDays}
repo1-bundle=y
repo1-block=y
compress-type=lz4
start-fast=y
db-timeout=${ANSWER_SECONDS}
protocol-timeout=${ANSWER_SECONDS + 30}
log-level-file=off
log-level-console=info
process-max=2
`;
}

/** pgbackrest.conf of a server. Of a cluster it also gives the backup container its files, over TLS. */
export function serverBackupConf(args: RepositoryConf & { dataDirectory: string; clustered: boolean }): string {
  const serves = args.clustered
    ? `tls-server-address=*
tls-server-ca-file=${TLS_DIRECTORY}/ca.crt
tls-server-cert-file=${TLS_DIRECTORY}/server.crt
tls-server-key-file=${TLS_DIRECTORY}/server.key
tls-server-auth=${BACKUP_CLIENT}=${STANZA}
`
    : "";
  return `${repositoryConf(args)}${serves}
[global:archive-push]
log-level-console=warn

[global:archive-get]
log-level-console=warn

[${STANZA}]
pg1-path=${args.dataDirectory}
pg1-socket-path=/run/postgresql
`;
}

/**
 * pgbackrest.conf of the backup container. A single server's files it has beside it, on their volume. Those of a cluster
 * it is given by the servers: most by a replica, where one is in step, so that the primary reads little.
 */
export function backupContainerConf(
  args: RepositoryConf & { dataDirectory: string; clusterNodes: readonly string[] },
): string {
  const { dataDirectory, clusterNodes } = args;
  if (clusterNodes.length === 0) return serverBackupConf({ ...args, clustered: false });
  const servers = clusterNodes.map((node, index) => {
    const option = `pg${index + 1}`;
    return `${option}-host=${node}
${option}-host-type=tls
${option}-host-ca-file=${TLS_DIRECTORY}/ca.crt
${option}-host-cert-file=${TLS_DIRECTORY}/server.crt
${option}-host-key-file=${TLS_DIRECTORY}/server.key
${option}-host-config=${CONFIG_DIRECTORY}/pgbackrest.conf
${option}-path=${dataDirectory}
${option}-socket-path=/run/postgresql
`;
  });
  return `${repositoryConf(args)}backup-standby=prefer

[${STANZA}]
${servers.join("")}`;
}
