/** Refuses, before anything is changed, an `up` that would lose shards of a Citus cluster or leave rows where nobody asks. */
import type { Stack } from "@pulumi/pulumi/automation/index.js";
import { nodeName } from "../../citus/nodes.ts";
import { ANCHOR } from "../../citus/tables.ts";
import { literal } from "../../components/sqlText.ts";
import type { StackConfig } from "../../stacks/config.ts";
import type { StackValues } from "../../stacks/outputs.ts";
import { EXIT, UserError } from "../../tuning/errors.ts";
import { bytes } from "../../tuning/words.ts";
import { stackValues } from "../lib/stack.ts";
import { citusNodes, onCoordinator } from "./coordinator.ts";

async function checkFewerWorkers(stack: Stack, workers: number): Promise<void> {
  const going = (await citusNodes(await stackValues(stack))).filter(({ group }) => group > workers);
  const held = going.filter(({ shards }) => shards > 0);
  throw new UserError(
    held.length > 0
      ? `${held.map((node) => `${nodeName(node)} with its ${node.shards} shards (${bytes(node.bytes)})`).join(", ")} would go`
      : `cgraph:workers is ${workers}, but there are more, and up takes no node out of a cluster`,
    `./cgraph-db workers remove moves the shards away first, then takes the worker out; or set cgraph:workers back`,
    EXIT.refused,
  );
}

async function checkShardCount(stack: Stack, before: number, wanted: number): Promise<void> {
  const made = await onCoordinator(
    await stackValues(stack),
    `SELECT count(*) FROM pg_dist_partition WHERE logicalrelid = to_regclass(${literal(ANCHOR)});`,
  );
  if (made === "0") return;
  throw new UserError(
    `cgraph:shardCount is ${wanted}, but the tables were distributed over ${before} shards`,
    "set it back: the number is fixed with the first table",
    EXIT.refused,
  );
}

/** `before`: what the stack is, of its state; undefined before the first `up`. */
export async function checkCitus(stack: Stack, before: StackValues | undefined, config: StackConfig): Promise<void> {
  if (!before || (before.stage !== 5 && config.stage !== 5)) return;
  if (before.stage !== config.stage) {
    throw new UserError(
      `stack ${stack.name} is at stage ${before.stage}: up does not move its rows ${config.stage === 5 ? "to" : "from"} a Citus cluster`,
      config.stage === 5
        ? "./cgraph-db migrate --stage 5 does"
        : `./cgraph-db migrate --stage ${config.stage} says whether there is a way back; or make a new stack: ./cgraph-db up --stack NAME --stage ${config.stage}`,
      EXIT.refused,
    );
  }
  const { citus } = before;
  if (!citus) return;
  // The state's own values have no passwords.
  if (config.citus.workers < citus.workers.length) await checkFewerWorkers(stack, config.citus.workers);
  if (config.citus.shardCount !== citus.shardCount) {
    await checkShardCount(stack, citus.shardCount, config.citus.shardCount);
  }
}
