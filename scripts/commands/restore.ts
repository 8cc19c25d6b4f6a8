import {
  INSTALLATION_LABEL,
  STACK_LABEL,
  dataVolumeName,
  dockerName,
  driverOptions,
} from "../../components/docker/names.ts";
import { CONFIG_DIRECTORY } from "../../components/docker/ConfigFiles.ts";
import { REPOSITORY_DIRECTORY } from "../../components/docker/postgresFiles.ts";
import type { NodeOutput, StackValues } from "../../stacks/outputs.ts";
import { EXIT, UserError } from "../../tuning/errors.ts";
import { confirm } from "../lib/ask.ts";
import { currentPrimary, settle } from "../lib/cluster.ts";
import { deploy } from "../lib/deploy.ts";
import { docker } from "../lib/docker.ts";
import { refuseDuringMove } from "../migrate/journal.ts";
import { lockStack } from "../lib/lock.ts";
import { type Backup, listBackups } from "../lib/pgbackrest.ts";
import { print, printJson } from "../lib/print.ts";
import { step } from "../lib/progress.ts";
import { reconcile } from "../lib/reconcile.ts";
import { run } from "../lib/run.ts";
import { openStack, stackValues } from "../lib/stack.ts";
import { checkedConfig, writeStackConfig } from "../lib/stackConfig.ts";

export interface RestoreFlags {
  readonly stack: string;
  /** A time (ISO 8601) or a backup's name. */
  readonly to: string;
  readonly yes?: boolean;
  readonly json?: boolean;
}

/** What `pgbackrest restore` has to be told for a target. Throws a UserError where no backup leads there. */
export function restoreArguments(to: string, backups: readonly Backup[]): string[] {
  const named = backups.find((backup) => backup.name === to);
  if (named) return [`--set=${named.name}`, "--type=immediate"];
  // Only complete dates: anything vaguer would be read in a time zone that the person did not mean.
  const match = /^\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d(:?\d\d)?)$/.exec(to);
  const time = match ? new Date(to.replace(" ", "T").replace(/([+-]\d\d)$/, "$1:00")) : undefined;
  if (!time || Number.isNaN(time.getTime())) {
    throw new UserError(
      `"${to}" is neither a backup's name nor a time with its zone`,
      "use a name from ./cgraph-db backups, or a time such as 2026-11-22T14:05:00Z",
    );
  }
  if (time.getTime() > Date.now()) throw new UserError(`${to} lies in the future`, "give a time that has passed");
  const before = backups.filter((backup) => !backup.error && new Date(backup.endedAt) <= time).at(-1);
  if (!before) {
    const first = backups[0];
    throw new UserError(
      `no backup ended before ${to}`,
      first ? `the earliest time there is: ${first.endedAt}` : "there is no backup at all yet",
      EXIT.failed,
    );
  }
  // PostgreSQL's own way to write it, in UTC, microseconds kept where they were given.
  const fraction = /(\.\d+)/.exec(to)?.[1] ?? "";
  const target = `${time.toISOString().slice(0, 19).replace("T", " ")}${fraction}+00`;
  return [`--set=${before.name}`, "--type=time", `--target=${target}`];
}

/** Gets all WAL up to this moment into the archive, ending with a commit, so that any time until now can be reached. */
async function archiveUntilNow(container: string): Promise<void> {
  const sql = (text: string): Promise<string> =>
    docker(["exec", "--user", "postgres", container, "psql", "-XAtqc", text]).then((out) => out.trim());
  await sql("SELECT pg_logical_emit_message(true, 'cgraph', 'restore')");
  const segment = await sql("SELECT pg_walfile_name(pg_switch_wal())");
  for (let tries = 0; tries < 300; tries++) {
    if ((await sql("SELECT coalesce(last_archived_wal, '') FROM pg_stat_archiver")) >= segment) return;
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
  throw new UserError(
    "WAL is not being archived",
    "see ./cgraph-db logs; without its newest WAL a restore would miss changes",
    EXIT.failed,
  );
}

/** Restores into a new volume with a container of its own; the running server is not touched. */
async function restoreInto(
  volume: string,
  stack: string,
  values: StackValues,
  node: NodeOutput,
  options: Readonly<Record<string, string>> | undefined,
  args: readonly string[],
): Promise<void> {
  const helper = dockerName(stack, "restore");
  await run("docker", ["rm", "--force", helper]);
  await run("docker", ["volume", "rm", volume]); // left by an interrupted restore; never in use
  const labels = JSON.parse(await docker(["inspect", "--format", "{{json .Config.Labels}}", node.container])) as Record<
    string,
    string
  >;
  const label = [STACK_LABEL, INSTALLATION_LABEL].flatMap((key) => ["--label", `${key}=${labels[key] ?? ""}`]);
  const repository = dockerName(stack, "backups");
  const driver = Object.entries(driverOptions(options, volume) ?? {}).flatMap(([key, value]) => [
    "--opt",
    `${key}=${value}`,
  ]);
  await docker(["volume", "create", ...label, ...driver, volume]);
  try {
    await docker([
      "create",
      ...label,
      "--name",
      helper,
      "--network",
      "none",
      "--memory",
      `${node.memoryMiB}m`,
      "--shm-size",
      `${Math.max(64, Math.floor(node.memoryMiB / 4))}m`,
      "--volume",
      `${volume}:/var/lib/postgresql`,
      "--volume",
      `${repository}:${REPOSITORY_DIRECTORY}`,
      "--volume",
      `${dockerName(stack, node.name, "config")}:${CONFIG_DIRECTORY}:ro`,
      node.image,
      "recover",
      ...args,
    ]);
    await step("restore into a new volume", async (progress) => {
      const { code, stdout, stderr } = await run("docker", ["start", "--attach", helper], {
        onLine: (line) => progress.detail(line.replace(/^cgraph: /, "").slice(0, 100)),
      });
      if (code !== 0) {
        const words = `${stdout}${stderr}`
          .split("\n")
          .filter((line) => /FATAL|ERROR|PANIC/.test(line))
          .slice(-4)
          .join("\n");
        throw new UserError(
          `the restore failed; nothing was changed:\n${words}`,
          "see ./cgraph-db backups for what can be restored",
          EXIT.failed,
        );
      }
      return { value: undefined, done: volume };
    });
  } catch (error) {
    await run("docker", ["rm", "--force", helper]);
    await run("docker", ["volume", "rm", volume]);
    throw error;
  }
  await docker(["rm", helper]);
}

/** `restore`: the database as it was, in a new volume, which the server then takes; the old volume stays as it is. */
export async function restore(flags: RestoreFlags): Promise<void> {
  const lock = lockStack(flags.stack, "restore");
  try {
    refuseDuringMove(flags.stack);
    const stack = await openStack(flags.stack);
    const { refresh } = await reconcile(stack);
    const values = await stackValues(stack);
    // The first server makes the database in every stage; the others copy it.
    const [node] = values.nodes;
    if (!node) throw new Error("the stack has no server");
    const args = restoreArguments(flags.to, await listBackups(values.backupContainer));
    const { dataGenerations, dataVolumeOptions } = checkedConfig(flags.stack);
    const next = Math.max(...dataGenerations) + 1;
    const volume = dataVolumeName(flags.stack, node.name, next);
    await confirm(
      `This puts stack ${flags.stack} back to ${flags.to}. Changes since then will be only in the old volume ${node.dataVolume}, which is kept. Clients are cut off for some seconds.`,
      "yes",
      flags.yes === true,
    );
    await archiveUntilNow((await currentPrimary(values)).container);
    await restoreInto(volume, flags.stack, values, node, dataVolumeOptions, args);
    writeStackConfig(flags.stack, { dataGenerations: JSON.stringify([...dataGenerations, next]) });
    await settle((await deploy(stack, { refresh })).values);
    if (flags.json) printJson({ stack: flags.stack, restoredTo: flags.to, volume, keptVolume: node.dataVolume });
    else print(`Restored to ${flags.to}, in volume ${volume}. The old data is untouched in volume ${node.dataVolume}.`);
  } finally {
    lock.release();
  }
}
