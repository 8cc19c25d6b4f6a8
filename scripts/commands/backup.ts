import type { StackValues } from "../../stacks/outputs.ts";
import { EXIT, type ExitCode, UserError } from "../../tuning/errors.ts";
import { makeCitusPoint } from "../citus/moment.ts";
import { valuesForBackups } from "../lib/awsBackups.ts";
import { currentPrimary, superuserSql } from "../lib/cluster.ts";
import { citusOf, clusterView, clusterViews } from "../lib/clusters.ts";
import {
  type Backup,
  type RestorePoint,
  addPoint,
  backupNow,
  listBackups,
  listPoints,
  readVerification,
} from "../lib/pgbackrest.ts";
import { bytes, print, printJson, table } from "../lib/print.ts";
import { note, step } from "../lib/progress.ts";
import { LATEST, lsnValue, timelineOfWal } from "../lib/restoreTarget.ts";
import { openStack, stackValues } from "../lib/stack.ts";
import { inOneMoment } from "../shards/moment.ts";

const TYPES = ["full", "diff", "incr"] as const;

/** `backup`: takes a backup now, beside the schedule; after one that is running already. */
export async function backup(flags: {
  stack: string;
  type: string;
  cluster?: string;
  json?: boolean;
}): Promise<ExitCode> {
  if (!TYPES.some((type) => type === flags.type)) {
    throw new UserError(`there is no backup type ${flags.type}`, `use one of ${TYPES.join(", ")}`);
  }
  const { backupContainer } = await valuesForBackups(await openStack(flags.stack), "backup", flags);
  const newest = await step("backup", async (progress) => {
    await backupNow(backupContainer, flags.type, (text) => progress.detail(text));
    const value = (await listBackups(backupContainer)).at(-1);
    return { value, done: value ? `${value.name}, ${bytes(value.storedBytes)} stored` : "done" };
  });
  if (flags.json) printJson(newest ?? null);
  if (!newest?.error) return EXIT.done;
  note("The database has damaged pages: ./cgraph-db backup verify says which. No restore begins with this backup.");
  return EXIT.failed;
}

/** `backups`: every backup there is, with size, time and range of WAL. */
export async function backups(flags: { stack: string; cluster?: string; json?: boolean }): Promise<void> {
  const { backupContainer } = await valuesForBackups(await openStack(flags.stack), "backups", flags);
  const list = await listBackups(backupContainer);
  if (flags.json) {
    printJson(list);
    return;
  }
  if (list.length === 0) {
    print("There is no backup yet: the first one is taken minutes after up; see ./cgraph-db logs backup");
    return;
  }
  print(
    table([
      ["name", "type", "ended", "database", "stored", "WAL", "LSN"],
      ...list.map((b) => [
        b.name,
        b.type,
        b.endedAt,
        bytes(b.databaseBytes),
        bytes(b.storedBytes),
        `${b.walStart} … ${b.walEnd}`,
        `${b.lsnStart} … ${b.lsnEnd}${b.error ? "  damaged pages!" : ""}`,
      ]),
    ]),
  );
  const points = reachable(await listPoints(backupContainer), list);
  if (points.length > 0) print(`\nRestore points:\n${pointTable(points)}`);
  const last = await readVerification(backupContainer);
  print(`\n${last ? `Verified on ${last.at}: ${last.backup} is ${last.ok ? "good" : "NOT good"}.` : NOT_VERIFIED}`);
}

const NOT_VERIFIED = "None was ever verified: ./cgraph-db backup verify";

/** Those that a backup leads to. */
const reachable = (points: readonly RestorePoint[], list: readonly Backup[]): RestorePoint[] =>
  points.filter(({ lsn }) => list.some(({ lsnEnd }) => lsnValue(lsnEnd) <= lsnValue(lsn)));

const pointTable = (points: readonly RestorePoint[]): string =>
  table([["name", "at", "LSN", "timeline"], ...points.map((p) => [p.name, p.at, p.lsn, String(p.timeline)])]);

/** PostgreSQL takes 63 bytes; a name must not be taken for a backup's, a position's or `latest`. */
function checkPointName(name: string): void {
  if (/^[A-Za-z][A-Za-z0-9_.-]{0,62}$/.test(name) && name !== LATEST) return;
  throw new UserError(
    `"${name}" is no name for a restore point`,
    `use a letter and then up to 62 letters, digits, dots, dashes and underscores; not ${LATEST}`,
  );
}

/** Gives this moment a name on one cluster. */
async function makePoint(values: StackValues, name: string): Promise<RestorePoint> {
  const { container } = await currentPrimary(values);
  const made = await superuserSql(
    container,
    `SELECT lsn, pg_walfile_name(lsn) FROM pg_create_restore_point('${name}') AS lsn`,
  );
  const [lsn = "", segment = ""] = made.split("|");
  return { name, lsn, timeline: timelineOfWal(segment), at: new Date().toISOString() };
}

/** `backup point`: gives this moment a name that a restore can go back to, or lists those there are. With several clusters: on all. */
export async function restorePoint(
  name: string | undefined,
  flags: { stack: string; cluster?: string; json?: boolean },
): Promise<void> {
  if (name !== undefined) checkPointName(name);
  const values = await stackValues(await openStack(flags.stack));
  if (name === undefined) {
    const { backupContainer } = clusterView(values, flags).values;
    const [points, list] = await Promise.all([listPoints(backupContainer), listBackups(backupContainer)]);
    const found = reachable(points, list);
    if (flags.json) printJson(found);
    else print(found.length > 0 ? pointTable(found) : "There is no restore point.");
    return;
  }
  if (flags.cluster !== undefined) {
    throw new UserError("a restore point is made on all clusters at once", "leave --cluster out");
  }
  const views = clusterViews(values);
  for (const { name: cluster, values: view } of views) {
    const on = cluster === "" ? "" : ` on ${cluster}`;
    if ((await listPoints(view.backupContainer)).some((point) => point.name === name)) {
      throw new UserError(
        `there is a restore point ${name} already${on}`,
        "use another name: a restore ends at the first",
      );
    }
    if ((await listBackups(view.backupContainer)).length === 0) {
      throw new UserError(
        `there is no backup to begin with${on}`,
        `take one first: ./cgraph-db backup${cluster === "" ? "" : ` --cluster ${cluster}`}`,
        EXIT.failed,
      );
    }
  }
  const makeAll = (): Promise<RestorePoint[]> => Promise.all(views.map((view) => makePoint(view.values, name)));
  const points = citusOf(values)
    ? await makeCitusPoint(values, name)
    : views.length === 1
      ? await makeAll()
      : await inOneMoment(flags.stack, views, makeAll);
  for (const [index, point] of points.entries()) await addPoint(views[index]?.values.backupContainer ?? "", point);
  const [first] = points;
  if (flags.json)
    printJson(views.length === 1 ? first : Object.fromEntries(views.map((view, i) => [view.name, points[i]])));
  else if (views.length === 1) print(`./cgraph-db restore --to ${name} brings this moment (${first?.lsn}) back.`);
  else print(`${name}: ${views.map((view, i) => `${view.name} at ${points[i]?.lsn}`).join(", ")}.`);
}
