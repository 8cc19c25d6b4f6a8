/** Refuses, before anything is changed, what would lose rows of shards or leave them where nobody asks. */
import type { Stack } from "@pulumi/pulumi/automation/index.js";
import type { StackConfig } from "../../stacks/config.ts";
import { GLOBAL_CLUSTER, shardCluster } from "../../components/docker/shardRoutes.ts";
import type { StackValues } from "../../stacks/outputs.ts";
import { readMap } from "../../sharding/publish.ts";
import { heldRowsSql } from "../../sharding/shardSql.ts";
import { EXIT, UserError } from "../../tuning/errors.ts";
import { clusterViews } from "../lib/clusters.ts";
import { stackValues } from "../lib/stack.ts";
import { asClusterOwner } from "./owner.ts";

/** Tables of a shard that hold rows, with how many. */
async function heldRows(stack: string, values: StackValues): Promise<string[]> {
  return asClusterOwner(stack, values, async (client) => {
    const { rows: made } = await client.query<{ made: boolean }>(
      "SELECT to_regclass('sharding.this_shard') IS NOT NULL AS made",
    );
    if (!made[0]?.made) return [];
    const { rows } = await client.query<{ table: string; own: number; foreign: number }>(heldRowsSql());
    return rows.filter(({ own, foreign }) => own + foreign > 0).map((row) => `${row.table} ${row.own + row.foreign}`);
  });
}

async function checkRemoval({ name: stack }: Stack, before: StackValues, shards: number): Promise<void> {
  const views = clusterViews(before);
  const globalView = views.find(({ name }) => name === GLOBAL_CLUSTER);
  const map =
    globalView &&
    (await asClusterOwner(stack, globalView.values, async (client) => {
      const { rows } = await client.query<{ made: boolean }>("SELECT to_regclass('sharding.maps') IS NOT NULL AS made");
      return rows[0]?.made ? readMap(client) : undefined;
    }));
  for (let shard = shards; shard < (before.sharding?.shards ?? 0); shard++) {
    const buckets = map?.shards.filter((of) => of === shard).length ?? 0;
    if (buckets > 0) {
      throw new UserError(
        `shard ${shard} would go, but the shard map gives it ${buckets} buckets`,
        "move its buckets to other shards first",
        EXIT.refused,
      );
    }
    const view = views.find(({ name }) => name === shardCluster(shard));
    const held = view ? await heldRows(stack, view.values) : [];
    if (held.length > 0) {
      throw new UserError(
        `shard ${shard} would go, but it still holds rows: ${held.join(", ")}`,
        "clear away what moved buckets have left behind first",
        EXIT.refused,
      );
    }
  }
}

/**
 * Refuses `up` from what a stack is to another number of buckets, to fewer shards while those that would go have buckets or
 * rows, and between stage 4 and the others, where data has to be moved.
 */
export async function checkSharding(stack: Stack, before: StackValues | undefined, config: StackConfig): Promise<void> {
  if (!before || (before.stage !== 4 && config.stage !== 4)) return;
  if (before.stage !== config.stage) {
    throw new UserError(
      `stack ${stack.name} is at stage ${before.stage}: up does not move its rows ${config.stage === 4 ? "to" : "from"} shards`,
      config.stage === 4 && before.stage < 4
        ? "./cgraph-db migrate --stage 4 does"
        : `make a new stack of that stage: ./cgraph-db up --stack NAME --stage ${config.stage}`,
      EXIT.refused,
    );
  }
  const { buckets, shards } = config.sharding;
  if (before.sharding && before.sharding.buckets !== buckets) {
    throw new UserError(
      `cgraph:buckets is ${buckets}, but the stack has ${before.sharding.buckets}`,
      "set it back: the number of buckets is fixed when a stack is made",
      EXIT.refused,
    );
  }
  // The state's own values have no passwords.
  if (before.sharding && shards < before.sharding.shards) await checkRemoval(stack, await stackValues(stack), shards);
}
