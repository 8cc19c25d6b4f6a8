/** What a sharded stack's clusters need of each other after all of them were restored to one moment. */
import { GLOBAL_CLUSTER, shardNumber } from "../../components/docker/shardRoutes.ts";
import { readMap, readOwned } from "../../sharding/publish.ts";
import { assignmentOf } from "../../sharding/shardMap.ts";
import type { StackValues } from "../../stacks/outputs.ts";
import { EXIT, UserError } from "../../tuning/errors.ts";
import { type ClusterView, clusterViews } from "../lib/clusters.ts";
import type { Step } from "../lib/progress.ts";
import { applyShardedSchema } from "./apply.ts";
import { dockerPlaces } from "./dockerPlaces.ts";
import { letGo } from "./follow.ts";
import { asClusterOwner } from "./owner.ts";

const isShard = ({ name }: ClusterView): boolean => name !== GLOBAL_CLUSTER;

/** Throws a UserError where shards do not have each bucket exactly once, as the map has it: the moment is within a move. */
async function checkOwned(stack: string, views: readonly ClusterView[]): Promise<void> {
  const global = views.find((view) => !isShard(view));
  const map = global && (await asClusterOwner(stack, global.values, readMap));
  if (!map) return;
  const owned = new Map<number, number[]>();
  for (const { name, values } of views.filter(isShard)) {
    owned.set(shardNumber(name), (await asClusterOwner(stack, values, readOwned))?.buckets ?? []);
  }
  const differs = (): boolean => {
    try {
      return assignmentOf(owned, map.shards.length).some((shard, bucket) => shard !== map.shards[bucket]);
    } catch (error) {
      if (error instanceof UserError) return true;
      throw error;
    }
  };
  if (!differs()) return;
  throw new UserError(
    "at this moment buckets were moving: the shards that were restored do not have each of them once",
    "restore to a moment before the move or after it; the data from before is in the old volumes",
    EXIT.failed,
  );
}

/**
 * Has the shards follow the restored global database: what each had got of it may be older or newer than what it has now,
 * and nothing remembers how far. Their global tables are copied anew.
 */
export async function joinRestored(stack: string, values: StackValues, progress: Pick<Step, "detail">): Promise<void> {
  const views = clusterViews(values);
  await checkOwned(stack, views);
  const places = dockerPlaces(stack, values);
  for (const shard of places.shards) {
    progress.detail(`${shard.name}: lets go of the old global database`);
    await letGo(shard);
  }
  await applyShardedSchema(places, progress);
}
