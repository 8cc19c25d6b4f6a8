import { dataVolumeName } from "../../components/docker/names.ts";
import type { StackValues } from "../../stacks/outputs.ts";
import { EXIT, UserError } from "../../tuning/errors.ts";
import { joinRestoredCitus, makeCitusPoint } from "../citus/moment.ts";
import { valuesForBackups } from "../lib/awsBackups.ts";
import { confirm } from "../lib/ask.ts";
import { citusOf, clusterViews } from "../lib/clusters.ts";
import { currentPrimary, settle, superuserSql } from "../lib/cluster.ts";
import { deploy } from "../lib/deploy.ts";
import { refuseDuringMove } from "../migrate/journal.ts";
import { lockStack } from "../lib/lock.ts";
import { addPoint, archivedTimelines, listBackups, listPoints, timelineHistory } from "../lib/pgbackrest.ts";
import { print, printJson } from "../lib/print.ts";
import { note, step } from "../lib/progress.ts";
import { reconcile } from "../lib/reconcile.ts";
import { type RecoveryNode, reasons, repositoryOf, runRecoveryNode } from "../lib/recoveryNode.ts";
import { LATEST, restoreArguments, timelineFor } from "../lib/restoreTarget.ts";
import { openStack } from "../lib/stack.ts";
import { checkedConfig, writeStackConfig } from "../lib/stackConfig.ts";
import { joinRestored } from "../shards/restored.ts";

export interface RestoreFlags {
  readonly stack: string;
  /** `latest`, a time (ISO 8601), a position in WAL, a restore point's or a backup's name. */
  readonly to: string;
  /** The timeline to end on; default: that of the time or the restore point, otherwise the newest. */
  readonly timeline?: string;
  readonly yes?: boolean;
  readonly json?: boolean;
}

/** Gets all WAL up to this moment into the archive, ending with a commit, so that any time until now can be reached. */
async function archiveUntilNow(container: string): Promise<void> {
  await superuserSql(container, "SELECT pg_logical_emit_message(true, 'cgraph', 'restore')");
  const segment = await superuserSql(container, "SELECT pg_walfile_name(pg_switch_wal())");
  for (let tries = 0; tries < 300; tries++) {
    const archived = await superuserSql(container, "SELECT coalesce(last_archived_wal, '') FROM pg_stat_archiver");
    if (archived >= segment) return;
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
  throw new UserError(
    "WAL is not being archived",
    "see ./cgraph-db logs; without its newest WAL a restore would miss changes",
    EXIT.failed,
  );
}

/** The server that takes writes, and where it is; undefined where none answers: a restore is all the more wanted then. */
async function answeringPrimary(values: StackValues): Promise<{ container: string; lsn: string } | undefined> {
  try {
    const { container } = await currentPrimary(values);
    return { container, lsn: await superuserSql(container, "SELECT pg_current_wal_lsn()") };
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    note(`No server takes writes: what it had not archived yet, at most its last minute, cannot be restored.`);
    return undefined;
  }
}

/** What `pgbackrest restore` has to be told, from what the repository has. */
async function planRestore(
  { to, timeline }: RestoreFlags,
  container: string,
  currentLsn: string | undefined,
): Promise<string[]> {
  const [backups, points] = await Promise.all([listBackups(container), listPoints(container)]);
  const archive = await archivedTimelines(container);
  const wanted = timeline === undefined ? timelineFor(to, points, archive.timelines) : Number(timeline);
  const found = await timelineHistory(container, archive, wanted);
  return restoreArguments(to, { backups, points, timeline: found, currentLsn, now: Date.now() });
}

/** One cluster's part of a restore: where it reads, from what, and into which volume. */
interface Planned {
  /** The cluster's name; empty where the stack is one. */
  readonly cluster: string;
  readonly node: RecoveryNode;
  /** The server that takes writes, where one answers. */
  readonly primary: string | undefined;
}

/** Restores into a new volume with a container of its own; the running server is not touched. */
async function restoreInto({ cluster, node }: Planned): Promise<void> {
  await step(
    cluster === "" ? "restore into a new volume" : `restore ${cluster} into a new volume`,
    async (progress) => {
      const result = await runRecoveryNode(node, (line) =>
        progress.detail(line.replace(/^cgraph: /, "").slice(0, 100)),
      );
      if (result.code !== 0) {
        throw new UserError(
          `the restore failed; nothing was changed:\n${reasons(result)}`,
          "see ./cgraph-db backups for what can be restored",
          EXIT.failed,
        );
      }
      return { value: undefined, done: node.volume };
    },
  );
}

/** Clusters have positions in WAL, backups and timelines of their own: only a moment means the same to all. */
function checkMoment({ to, timeline }: RestoreFlags, clusters: number): void {
  if (clusters === 1) return;
  if (timeline === undefined && !/^[0-9A-F]{1,8}\/[0-9A-F]{1,8}$|^\d{8}-\d{6}F/i.test(to)) return;
  throw new UserError(
    `the stack has ${clusters} clusters, and ${timeline === undefined ? to : "a timeline"} is one cluster's own`,
    "give a time, or a restore point (./cgraph-db backup point NAME makes one on all of them)",
  );
}

/** A restore point on every node of a Citus cluster, now; gives its name. `generation`: of the data that comes of it. */
async function nameThisMoment(values: StackValues, generation: number): Promise<string> {
  const name = `before-restore-${generation}-${Date.now()}`;
  const points = await makeCitusPoint(values, name);
  for (const [index, { values: view }] of clusterViews(values).entries()) {
    const point = points[index];
    if (point) await addPoint(view.backupContainer, point);
  }
  return name;
}

/** `restore`: the database as it was, in new volumes, which the servers then take; the old volumes stay as they are. */
export async function restore(flags: RestoreFlags): Promise<void> {
  const lock = lockStack(flags.stack, "restore");
  try {
    refuseDuringMove(flags.stack);
    const stack = await openStack(flags.stack);
    const values = await valuesForBackups(stack, "restore", { to: flags.to });
    const views = clusterViews(values);
    checkMoment(flags, views.length);
    const { refresh } = await reconcile(stack);
    const { dataGenerations, dataVolumeOptions, backups } = checkedConfig(flags.stack);
    const next = Math.max(...dataGenerations) + 1;
    const planAll = async (target: RestoreFlags): Promise<Planned[]> => {
      const all: Planned[] = [];
      for (const { name: cluster, values: view } of views) {
        // The first server makes the database in every stage; the others copy it.
        const [like] = view.nodes;
        if (!like) throw new Error("the stack has no server");
        const primary = await answeringPrimary(view);
        const args = await planRestore(target, view.backupContainer, primary?.lsn);
        all.push({
          ...{ cluster, primary: primary?.container },
          node: {
            ...{ stack: flags.stack, name: "restore", like, volume: dataVolumeName(flags.stack, like.name, next) },
            ...{ volumeOptions: dataVolumeOptions, repository: repositoryOf(cluster), archives: true },
            ...{ remoteRepository: backups.s3 !== undefined, command: ["recover", ...args] },
          },
        });
      }
      return all;
    };
    let planned = await planAll(flags);
    const kept = planned.map(({ node }) => node.like.dataVolume);
    await confirm(
      `This puts stack ${flags.stack} back to ${flags.to}. Changes since then will be only in the old ${kept.length === 1 ? `volume ${kept[0]}, which is` : `volumes ${kept.join(", ")}, which are`} kept. Clients are cut off for some seconds.`,
      "yes",
      flags.yes === true,
    );
    if (citusOf(values) && flags.to === LATEST && planned.every(({ primary }) => primary !== undefined)) {
      // Each node's own newest would cut transactions of several nodes in two.
      planned = await planAll({ ...flags, to: await nameThisMoment(values, next) });
    }
    for (const { primary } of planned) if (primary !== undefined) await archiveUntilNow(primary);
    for (const one of planned) await restoreInto(one);
    writeStackConfig(flags.stack, { dataGenerations: JSON.stringify([...dataGenerations, next]) });
    const { values: restored } = await deploy(stack, { refresh });
    await settle(restored);
    if (citusOf(restored)) {
      await step("nodes reach each other", async () => {
        await joinRestoredCitus(restored);
        return { value: undefined, done: "all" };
      });
    } else if (views.length > 1) {
      await step("shards follow the global database", async (progress) => {
        await joinRestored(flags.stack, restored, progress);
        return { value: undefined, done: "all" };
      });
    }
    const volumes = planned.map(({ node }) => node.volume);
    if (flags.json) {
      const single = volumes.length === 1;
      printJson({
        ...{ stack: flags.stack, restoredTo: flags.to },
        ...(single ? { volume: volumes[0], keptVolume: kept[0] } : { volumes, keptVolumes: kept }),
      });
    } else {
      print(`Restored to ${flags.to}, in ${volumes.join(", ")}. The old data is untouched in ${kept.join(", ")}.`);
    }
  } finally {
    lock.release();
  }
}
