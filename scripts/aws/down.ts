/** `down` on AWS. */
import { rmSync } from "node:fs";
import type { Stack } from "@pulumi/pulumi/automation/index.js";
import type { AwsStackValues } from "../../stacks/aws/outputs.ts";
import type { DownFlags } from "../commands/down.ts";
import { confirm } from "../lib/ask.ts";
import { deployAws, destroyUnprotected } from "../lib/deploy.ts";
import { print, printJson } from "../lib/print.ts";
import { step } from "../lib/progress.ts";
import { anyStackValues } from "../lib/stack.ts";
import { writeStackConfig } from "../lib/stackConfig.ts";
import { stackConfigFile } from "../lib/stackFiles.ts";
import { mendState } from "../lib/state.ts";
import { serversByRegion } from "./restart.ts";

/**
 * Removes everything but data and secrets: the databases go on running, and are paid for. With --delete-data they go too,
 * each leaving a final snapshot; the key and the secrets can be brought back for thirty days.
 */
export async function downAws(flags: DownFlags, stack: Stack): Promise<void> {
  const deletingData = flags.deleteData === true;
  const values = (await anyStackValues(stack).catch(() => undefined)) as AwsStackValues | undefined;
  const onEc2 = values?.citus
    ? [{ etcd: values.citus.etcd, nodes: values.nodes }, ...(values.citus.regions ?? [])].flatMap(({ etcd, nodes }) => [
        ...etcd,
        ...nodes.map(({ name }) => name),
      ])
    : undefined;
  const servers =
    onEc2?.map((name) => `${name}-data`) ??
    (values ? serversByRegion(values) : []).flatMap(({ nodes }) => nodes.map(({ identifier }) => identifier));
  if (deletingData) {
    await confirm(
      `This deletes stack ${stack.name} with its databases (${servers.join(", ") || "none"}); final snapshots stay.`,
      stack.name,
      flags.yes === true,
    );
  }
  const refresh = await mendState(stack);
  if (deletingData) {
    writeStackConfig(stack.name, { keepData: "false" });
    // AWS and Pulumi must be told first that they may go.
    await deployAws(stack, { refresh }, () => undefined);
  }
  await destroyUnprotected(stack, { refresh: refresh && !deletingData }, "aws");
  if (deletingData) {
    await step("state", async () => {
      await stack.workspace.removeStack(stack.name, { force: true });
      rmSync(stackConfigFile(stack.name), { force: true });
      return { value: undefined, done: "deleted" };
    });
  }
  const kept = deletingData ? [] : servers;
  if (flags.json) printJson({ stack: stack.name, keptDatabases: kept });
  else if (deletingData)
    print(
      `Stack ${stack.name} is gone. Its final snapshots are in ${onEc2 ? "EC2, its backups in their bucket" : "RDS"}.`,
    );
  else {
    print(
      onEc2
        ? `Stack ${stack.name} is down. Kept, and paid for: the volumes ${kept.join(", ")}, its bucket, key and secrets, as docs/aws.md says.`
        : `Stack ${stack.name} is down. Kept, running and paid for: ${kept.join(", ")}. ./cgraph-db up brings back the rest; down --delete-data ends them.`,
    );
  }
}
