/** The copy itself: pgcopydb, at work in its container whether or not anybody watches. */
import { setTimeout as sleep } from "node:timers/promises";
import { DATABASE } from "../../components/roles.ts";
import { EXIT, UserError } from "../../tuning/errors.ts";
import { superuserSql } from "../lib/cluster.ts";
import { docker } from "../lib/docker.ts";
import { bytes } from "../lib/print.ts";
import type { Facts } from "../migrate/journal.ts";
import type { Progress } from "../migrate/runner.ts";
import { TABLES } from "./inspect.ts";
import { beginStream, unpublish, unsubscribe } from "./stream.ts";
import { type Tools, WORK } from "./tools.ts";

const JOB = "copy";
const DIRECTORY = `${WORK}/pgcopydb`;

export interface CopyPlace {
  readonly tools: Tools;
  /** The stack's server. */
  readonly server: string;
  readonly follow: boolean;
  /** Processes that copy tables, and as many that build indexes. */
  readonly jobs: number;
}

/** Nobody writes to the target before it is opened, but for those who fill it: they are the superuser. */
const CLOSED_SQL = `ALTER DATABASE ${DATABASE} SET default_transaction_read_only = on;
  ALTER ROLE postgres IN DATABASE ${DATABASE} SET default_transaction_read_only = off`;

/** Lets clients of the stack write. */
export const openTarget = (server: string): Promise<string> =>
  superuserSql(
    server,
    `ALTER DATABASE ${DATABASE} RESET default_transaction_read_only;
     ALTER ROLE postgres IN DATABASE ${DATABASE} RESET default_transaction_read_only;
     SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
       WHERE datname = '${DATABASE}' AND backend_type = 'client backend' AND usename <> 'postgres'`,
  );

/** Makes the target's database anew, as the server itself made it: with extensions, grants and nothing else. */
async function emptyTarget({ server, tools }: CopyPlace): Promise<void> {
  if ((await superuserSql(server, `SELECT count(*) FROM pg_database WHERE datname = '${DATABASE}'`)) !== "0") {
    await unsubscribe(tools);
    await superuserSql(server, `DROP DATABASE ${DATABASE} WITH (FORCE)`);
  }
  await docker([
    "exec",
    "--user",
    "postgres",
    server,
    "psql",
    "-XAtq",
    "-v",
    "ON_ERROR_STOP=1",
    "-d",
    "postgres",
    "-f",
    "/etc/cgraph/roles.sql",
  ]);
}

/** Of a source that is itself a stack of ours: what the target has already. */
async function leaveOut(tools: Tools): Promise<string[]> {
  if ((await tools.onSource(`SELECT count(*) FROM pg_namespace WHERE nspname = 'cgraph_pool'`)) === "0") return [];
  const file = `${WORK}/filters.ini`;
  await tools.shell(`cat >${file}`, "[exclude-schema]\ncgraph_pool\n");
  return ["--filters", file];
}

async function begin(place: CopyPlace): Promise<void> {
  const { tools, server, follow, jobs } = place;
  await superuserSql(server, CLOSED_SQL);
  const filters = await leaveOut(tools);
  const snapshot = follow ? ["--snapshot", await beginStream(tools)] : [];
  await tools.startJob(
    JOB,
    ...["pgcopydb", "clone", "--dir", DIRECTORY, ...snapshot, ...filters],
    ...["--table-jobs", String(jobs), "--index-jobs", String(jobs), "--fail-fast"],
    // Roles are the stack's own; settings of the source's database would make the target read only with it.
    ...["--no-owner", "--no-acl", "--no-tablespaces", "--skip-db-properties", "--skip-ext-comments"],
  );
}

interface Sizes {
  readonly bytes: number;
  readonly rows: number;
}

const SIZES_SQL = `SELECT json_build_object('bytes', (SELECT coalesce(sum(pg_table_size(c.oid)), 0) FROM ${TABLES}),
  'rows', (SELECT coalesce(sum(tuples_processed), 0) FROM pg_stat_progress_copy WHERE datname = current_database()))`;

interface PgcopydbProgress {
  readonly tables: { readonly total: number; readonly done: number };
  readonly indexes: { readonly total: number; readonly done: number };
}

/** What pgcopydb says of itself; undefined while it has not looked at the source yet. */
async function counts(tools: Tools): Promise<PgcopydbProgress | undefined> {
  const { code, stdout } = await tools.exec("pgcopydb", "list", "progress", "--json", "--dir", DIRECTORY);
  try {
    return code === 0 ? (JSON.parse(stdout) as PgcopydbProgress) : undefined;
  } catch {
    return undefined;
  }
}

async function show(tools: Tools, progress: Progress, total: number, since: number): Promise<void> {
  const [done, now] = await Promise.all([
    counts(tools),
    tools.onTarget(SIZES_SQL).then(
      (text) => JSON.parse(text) as Sizes,
      () => undefined,
    ),
  ]);
  if (!now) return;
  const seconds = (Date.now() - since) / 1000;
  const rate = now.bytes / Math.max(seconds, 1);
  // Tables that have been updated much are smaller as copies: what pgcopydb says of them counts.
  const copying = done === undefined || done.tables.done < done.tables.total;
  const left = copying && now.bytes < total && rate > 0 ? `, ${Math.ceil((total - now.bytes) / rate)} s left` : "";
  const parts = done
    ? `${done.tables.done} of ${done.tables.total} tables, ${done.indexes.done} of ${done.indexes.total} indexes, `
    : "";
  const rows = now.rows > 0 ? `, ${now.rows} rows of those at work` : "";
  progress.detail(`${parts}${bytes(now.bytes)} of about ${bytes(total)}${rows}, ${bytes(rate)} a second${left}`);
}

/** Copies; finds a copy at work that an interrupted call has begun, and begins anew where one has failed. */
export async function copy(place: CopyPlace, progress: Progress, before: Facts): Promise<Facts> {
  const { tools } = place;
  const first = await tools.jobState(JOB);
  const begun = typeof before["begunAt"] === "string" ? Date.parse(before["begunAt"]) : undefined;
  if (begun === undefined || (!first.running && first.code !== 0)) {
    if (begun !== undefined) {
      progress.detail("the last try was interrupted: beginning anew");
      await undoCopy(place);
    }
    progress.remember({ begunAt: new Date().toISOString() });
    await begin(place);
  }
  const since = begun !== undefined && first.running ? begun : Date.now();
  const total = Number(await tools.onSource(`SELECT coalesce(sum(pg_table_size(c.oid)), 0) FROM ${TABLES}`));
  for (let round = 0; ; round++) {
    const { running, code } = await tools.jobState(JOB);
    if (code === 0) break;
    // A job that has just been started takes a moment to say so.
    if (!running && (code !== null || round > 20)) {
      throw new UserError(
        `the copy failed: ${(await tools.jobWords(JOB)) || "it was interrupted"}`,
        "mend what it says, then ./cgraph-db import --resume begins the copy anew, or --rollback takes it back",
        EXIT.failed,
      );
    }
    if (round % 4 === 3) await show(tools, progress, total, since);
    await sleep(500);
  }
  // The source's was there when the schema was read.
  if (place.follow) await tools.onTarget(`DROP PUBLICATION IF EXISTS ${tools.name}`);
  return { bytes: total, ...(await copyFigures(tools)) };
}

interface Summary {
  readonly tables?: readonly { readonly bytes?: number | { readonly raw?: number } }[];
  readonly steps?: readonly { readonly label: string; readonly duration: number }[];
}

/** What pgcopydb measured: seconds, and bytes that it transmitted. */
async function copyFigures(tools: Tools): Promise<Facts> {
  try {
    const summary = JSON.parse((await tools.exec("cat", `${DIRECTORY}/summary.json`)).stdout) as Summary;
    const ms = (label: string): number => summary.steps?.find((one) => one.label.startsWith(label))?.duration ?? 0;
    return { copyMs: ms("Total"), tablesMs: ms("COPY (cumulative)") };
  } catch {
    return {};
  }
}

/** Leaves nothing of a copy: on the source no slot and no publication, in the target no table. */
export async function undoCopy(place: CopyPlace): Promise<void> {
  await place.tools.reset();
  await unpublish(place.tools);
  await emptyTarget(place);
}
