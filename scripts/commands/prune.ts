import { dataVolumeName } from "../../components/docker/names.ts";
import { confirm } from "../lib/ask.ts";
import { deploy } from "../lib/deploy.ts";
import { docker } from "../lib/docker.ts";
import { refuseDuringMove } from "../migrate/journal.ts";
import { lockStack } from "../lib/lock.ts";
import { print, printJson } from "../lib/print.ts";
import { reconcile } from "../lib/reconcile.ts";
import { openStack, stackValues } from "../lib/stack.ts";
import { checkedConfig, writeStackConfig } from "../lib/stackConfig.ts";
import { unprotectVolumes } from "../lib/unprotect.ts";

/** `prune`: deletes the data volumes that restores have left behind; the one in use stays. */
export async function prune(flags: { stack: string; yes?: boolean; json?: boolean }): Promise<void> {
  const lock = lockStack(flags.stack, "prune");
  try {
    refuseDuringMove(flags.stack);
    const stack = await openStack(flags.stack);
    const { refresh } = await reconcile(stack);
    const { dataGenerations } = checkedConfig(flags.stack);
    const { nodes } = await stackValues(stack);
    const volumes = dataGenerations
      .slice(0, -1)
      .flatMap((generation) => nodes.map(({ name }) => dataVolumeName(flags.stack, name, generation)));
    if (volumes.length > 0) {
      await confirm(
        `This deletes data from before a restore for good: ${volumes.join(", ")}.`,
        "yes",
        flags.yes === true,
      );
      await unprotectVolumes(stack, volumes);
      writeStackConfig(flags.stack, { dataGenerations: JSON.stringify(dataGenerations.slice(-1)) });
      await deploy(stack, { refresh });
      for (const volume of volumes) await docker(["volume", "rm", volume]);
    }
    if (flags.json) printJson({ stack: flags.stack, deleted: volumes });
    else print(volumes.length > 0 ? `Deleted: ${volumes.join(", ")}.` : "There is no old data volume.");
  } finally {
    lock.release();
  }
}
