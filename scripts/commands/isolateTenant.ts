import { type CitusNode, type TenantShard, moveShardSql, nodeName, tenantSql } from "../../citus/nodes.ts";
import { isUnderWay } from "../../citus/rebalance.ts";
import { ANCHOR } from "../../citus/tables.ts";
import type { StackValues } from "../../stacks/outputs.ts";
import { EXIT, UserError } from "../../tuning/errors.ts";
import { askCoordinator, checkNodeVersions, citusNodes, onCoordinator, requireCitus } from "../citus/coordinator.ts";
import { isolate } from "../citus/isolate.ts";
import { newestRebalance } from "../citus/moves.ts";
import { lockStack } from "../lib/lock.ts";
import { print, printJson } from "../lib/print.ts";
import { step } from "../lib/progress.ts";
import { openStack, stackValues } from "../lib/stack.ts";
import { refuseDuringMove } from "../migrate/journal.ts";

interface IsolateFlags {
  readonly stack: string;
  readonly to?: string;
  readonly json?: boolean;
}

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

function targetOf(nodes: readonly CitusNode[], name: string | undefined): CitusNode | undefined {
  if (name === undefined) return undefined;
  const workers = nodes.filter(({ group, takesShards }) => group > 0 && takesShards);
  const found = workers.find((node) => nodeName(node) === name);
  if (found) return found;
  throw new UserError(`there is no worker ${name} that takes shards`, `use one of ${workers.map(nodeName).join(", ")}`);
}

async function tenantOf(values: StackValues, user: string): Promise<TenantShard> {
  const made = await onCoordinator(
    values,
    `SELECT count(*) FROM pg_dist_partition WHERE logicalrelid = to_regclass('${ANCHOR}');`,
  );
  if (made !== "0") return askCoordinator(values, tenantSql(user));
  throw new UserError("no table is distributed yet", "./cgraph-db schema apply makes them", EXIT.refused);
}

/** `isolate-tenant`: a shard of their own for a user whose load is a burden to others, on a worker of its own if wanted. */
export async function isolateTenant(user: string, flags: IsolateFlags): Promise<void> {
  if (!UUID.test(user)) {
    throw new UserError(`"${user}" is not the id of a user`, "give a UUID: rows are distributed by users' ids");
  }
  const lock = lockStack(flags.stack, "isolate-tenant");
  try {
    refuseDuringMove(flags.stack);
    const values = await stackValues(await openStack(flags.stack));
    requireCitus(flags.stack, values);
    const nodes = await citusNodes(values);
    const target = targetOf(nodes, flags.to);
    const before = await tenantOf(values, user);
    // Broken off between the two, it goes on with the second.
    if (before.alone && (!target || target.group === before.group)) {
      throw new UserError(
        `${user} has a shard alone already, ${before.shard} on ${nodeName(before)}`,
        target ? "nothing was changed" : "add --to workerN to move it",
        EXIT.refused,
      );
    }
    if (isUnderWay(await newestRebalance(values))) {
      throw new UserError(
        "shards are being moved by a rebalance",
        "wait until ./cgraph-db workers shows no moves, then call this again",
        EXIT.refused,
      );
    }
    await checkNodeVersions(values);
    if (!before.alone) {
      await step("a shard of its own", async (shown) => {
        await isolate(values, user, before, (text) => shown.detail(text));
        return { value: undefined, done: "split off, in every table" };
      });
    }
    const split = await tenantOf(values, user);
    const from = nodes.find(({ group }) => group === split.group);
    if (target && from && target.group !== from.group) {
      await step(`to ${nodeName(target)}`, async () => {
        await onCoordinator(values, moveShardSql(split.shard, from, target));
        return { value: undefined, done: `from ${nodeName(from)}` };
      });
    }
    const { shard, group } = await tenantOf(values, user);
    const worker = nodeName({ group });
    if (flags.json) printJson({ stack: flags.stack, user, shard, worker });
    else print(`User ${user} has a shard alone: ${shard}, on ${worker}.`);
  } finally {
    lock.release();
  }
}
