import { rmSync } from "node:fs";
import type { Stack } from "@pulumi/pulumi/automation/index.js";
import { EXIT, UserError } from "../../tuning/errors.ts";
import { confirm } from "../lib/ask.ts";
import { isFailingOver } from "../lib/cluster.ts";
import { destroyUnprotected } from "../lib/deploy.ts";
import { docker, listLabelled } from "../lib/docker.ts";
import { refuseDuringMove } from "../migrate/journal.ts";
import { lockStack } from "../lib/lock.ts";
import { stackFolder } from "../lib/paths.ts";
import { print, printJson } from "../lib/print.ts";
import { step } from "../lib/progress.ts";
import { reconcile } from "../lib/reconcile.ts";
import { openStack, stackValues } from "../lib/stack.ts";
import { readState } from "../lib/state.ts";
import { targetOf } from "../lib/target.ts";
import { checkStackName, stackConfigFile } from "../lib/stackFiles.ts";

export interface DownFlags {
  readonly stack: string;
  readonly deleteData?: boolean;
  readonly force?: boolean;
  readonly yes?: boolean;
  readonly json?: boolean;
}

/** `down`: stops and removes everything but data and secrets; with --delete-data those too, and the stack itself. */
export async function down(flags: DownFlags): Promise<void> {
  checkStackName(flags.stack);
  const lock = lockStack(flags.stack, "down");
  try {
    refuseDuringMove(flags.stack);
    const stack = await openStack(flags.stack);
    if (targetOf((await readState(stack)).resources ?? []) === "aws") {
      await (await import("../aws/down.ts")).downAws(flags, stack);
      return;
    }
    const deletingData = flags.deleteData === true;
    const volumes = await listLabelled("volume", flags.stack);
    if (deletingData) {
      const list = volumes.map((volume) => volume.name).join(", ") || "none";
      await confirm(
        `This deletes stack ${flags.stack} with its data and its backups for good (volumes: ${list}).`,
        flags.stack,
        flags.yes === true,
      );
    }
    if (!deletingData && flags.force !== true) await refuseWhileFailingOver(stack);
    const { refresh } = await reconcile(stack, { deletingData });
    await destroyUnprotected(stack, { refresh: refresh && !deletingData });
    if (deletingData) {
      await step("data", async () => {
        for (const volume of await listLabelled("volume", flags.stack)) await docker(["volume", "rm", volume.name]);
        await stack.workspace.removeStack(flags.stack, { force: true });
        rmSync(stackConfigFile(flags.stack), { force: true });
        return { value: undefined, done: "deleted" };
      });
    }
    const kept = (await listLabelled("volume", flags.stack)).map((volume) => volume.name);
    if (flags.json) printJson({ stack: flags.stack, keptVolumes: kept });
    else if (deletingData) print(`Stack ${flags.stack} is gone.`);
    else print(`Stack ${flags.stack} is down. Kept: ${kept.join(", ")}. ./cgraph-db up brings it back with its data.`);
  } finally {
    lock.release();
    if (flags.deleteData) removeFolderOfGoneStack(flags.stack);
  }
}

/** A stack that goes down between two primaries would come up with a replica's data where the primary's may be newer. */
async function refuseWhileFailingOver(stack: Stack): Promise<void> {
  // A stack that never came up to its end has no outputs, and nothing to fail over.
  const values = await stackValues(stack).catch(() => undefined);
  if (!values || !(await isFailingOver(values))) return;
  throw new UserError(
    `stack ${stack.name} has no primary at the moment: a failover is under way, or none can take over`,
    `wait until ./cgraph-db status --stack ${stack.name} shows one (half a minute), start the lost server, or add --force`,
    EXIT.refused,
  );
}

function removeFolderOfGoneStack(stack: string): void {
  rmSync(stackFolder(stack), { recursive: true, force: true });
}
