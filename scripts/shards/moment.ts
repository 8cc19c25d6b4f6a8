/** One moment in which nobody writes to any shard: what is noted in it fits together. */
import { setTimeout as sleep } from "node:timers/promises";
import { GLOBAL_CLUSTER } from "../../components/docker/shardRoutes.ts";
import { EXIT, UserError } from "../../tuning/errors.ts";
import type { ClusterView } from "../lib/clusters.ts";
import { lockedBriefly } from "./briefly.ts";
import { asClusterOwner } from "./owner.ts";

const TRIES = 40;

/** What has to be held so that nobody writes: triggers of every sharded table read it; names are claimed in the other. */
const lockOf = ({ name }: ClusterView): string =>
  name === GLOBAL_CLUSTER
    ? "LOCK TABLE sharding.maps, user_directory IN EXCLUSIVE MODE"
    : "LOCK TABLE sharding.this_shard IN ACCESS EXCLUSIVE MODE";

/** Holds one cluster after the other, then works. Undefined where somebody's transaction is in the way. */
async function held<T>(
  stack: string,
  views: readonly ClusterView[],
  work: () => Promise<T>,
): Promise<{ value: T } | undefined> {
  const [view, ...others] = views;
  if (!view) return { value: await work() };
  return asClusterOwner(stack, view.values, async (client) => {
    const done = await lockedBriefly(client, "ROLLBACK", async () => {
      await client.query(lockOf(view));
      return held(stack, others, work);
    });
    return done?.value;
  });
}

/** Works while writes to all of these clusters wait: keep it short. A transaction over several shards is in all or in none. */
export async function inOneMoment<T>(stack: string, views: readonly ClusterView[], work: () => Promise<T>): Promise<T> {
  for (let tries = 0; tries < TRIES; tries++) {
    const done = await held(stack, views, work);
    if (done) return done.value;
    await sleep(500);
  }
  throw new UserError(
    "transactions that are open leave no moment in which all shards could be held",
    "end those that are open for long (./cgraph-db inspect activity), then call this again",
    EXIT.refused,
  );
}
