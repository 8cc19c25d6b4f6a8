import { dataVolumeName } from "../../components/docker/names.ts";
import type { StackValues } from "../../stacks/outputs.ts";
import { EXIT, UserError } from "../../tuning/errors.ts";
import { valuesForBackups } from "../lib/awsBackups.ts";
import { confirm } from "../lib/ask.ts";
import { currentPrimary, settle, superuserSql } from "../lib/cluster.ts";
import { deploy } from "../lib/deploy.ts";
import { refuseDuringMove } from "../migrate/journal.ts";
import { lockStack } from "../lib/lock.ts";
import { archivedTimelines, listBackups, listPoints, timelineHistory } from "../lib/pgbackrest.ts";
import { print, printJson } from "../lib/print.ts";
import { note, step } from "../lib/progress.ts";
import { reconcile } from "../lib/reconcile.ts";
import { type RecoveryNode, reasons, runRecoveryNode } from "../lib/recoveryNode.ts";
import { restoreArguments, timelineFor } from "../lib/restoreTarget.ts";
import { openStack } from "../lib/stack.ts";
import { checkedConfig, writeStackConfig } from "../lib/stackConfig.ts";

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

/** Restores into a new volume with a container of its own; the running server is not touched. */
async function restoreInto(node: RecoveryNode): Promise<void> {
  await step("restore into a new volume", async (progress) => {
    const result = await runRecoveryNode(node, (line) => progress.detail(line.replace(/^cgraph: /, "").slice(0, 100)));
    if (result.code !== 0) {
      throw new UserError(
        `the restore failed; nothing was changed:\n${reasons(result)}`,
        "see ./cgraph-db backups for what can be restored",
        EXIT.failed,
      );
    }
    return { value: undefined, done: node.volume };
  });
}

/** `restore`: the database as it was, in a new volume, which the server then takes; the old volume stays as it is. */
export async function restore(flags: RestoreFlags): Promise<void> {
  const lock = lockStack(flags.stack, "restore");
  try {
    refuseDuringMove(flags.stack);
    const stack = await openStack(flags.stack);
    const values = await valuesForBackups(stack, "restore", { to: flags.to });
    const { refresh } = await reconcile(stack);
    // The first server makes the database in every stage; the others copy it.
    const [node] = values.nodes;
    if (!node) throw new Error("the stack has no server");
    const primary = await answeringPrimary(values);
    const args = await planRestore(flags, values.backupContainer, primary?.lsn);
    const { dataGenerations, dataVolumeOptions, backups } = checkedConfig(flags.stack);
    const next = Math.max(...dataGenerations) + 1;
    const volume = dataVolumeName(flags.stack, node.name, next);
    await confirm(
      `This puts stack ${flags.stack} back to ${flags.to}. Changes since then will be only in the old volume ${node.dataVolume}, which is kept. Clients are cut off for some seconds.`,
      "yes",
      flags.yes === true,
    );
    if (primary) await archiveUntilNow(primary.container);
    await restoreInto({
      ...{ stack: flags.stack, name: "restore", like: node, volume, volumeOptions: dataVolumeOptions },
      ...{ archives: true, remoteRepository: backups.s3 !== undefined, command: ["recover", ...args] },
    });
    writeStackConfig(flags.stack, { dataGenerations: JSON.stringify([...dataGenerations, next]) });
    await settle((await deploy(stack, { refresh })).values);
    if (flags.json) printJson({ stack: flags.stack, restoredTo: flags.to, volume, keptVolume: node.dataVolume });
    else print(`Restored to ${flags.to}, in volume ${volume}. The old data is untouched in volume ${node.dataVolume}.`);
  } finally {
    lock.release();
  }
}
