/** A shard of a user's own, split off in use. */
import { setTimeout as sleep } from "node:timers/promises";
import {
  HOLD,
  SPLIT_ERRORS_SQL,
  type TenantShard,
  cancelSql,
  holdSql,
  isolateSql,
  nodeName,
  shardTablesSql,
} from "../../citus/nodes.ts";
import { DATABASE } from "../../components/roles.ts";
import type { StackValues } from "../../stacks/outputs.ts";
import { EXIT, UserError } from "../../tuning/errors.ts";
import { clusterViews } from "../lib/clusters.ts";
import { superuserScript } from "../shards/owner.ts";
import { askCoordinator, onCoordinator } from "./coordinator.ts";

const TRIES = 10;
const LOOK_EVERY_MS = 2_000;
/** The same change is tried every five seconds, and fails each time. */
const STUCK_ERRORS = 2;

/**
 * Holds writes to the shard while it matters, and gives what ends that. Where it fails the split goes on without: it may have
 * to begin anew.
 */
async function holding(values: StackValues, shard: TenantShard): Promise<() => Promise<void>> {
  const tables = await askCoordinator<string[]>(values, shardTablesSql(shard.shard));
  const worker = clusterViews(values).find(({ name }) => name === nodeName(shard))?.values;
  if (!worker) return () => Promise.resolve();
  const onWorker = (sql: string): Promise<unknown> => superuserScript(worker, DATABASE, sql).catch(() => undefined);
  const held = onWorker(holdSql(tables));
  return async () => {
    await onWorker(cancelSql(HOLD));
    await held;
  };
}

/** One try; gives whether it came to its end. What Citus cannot apply it tries for hours: that is ended here. */
async function splitOff(values: StackValues, user: string, shard: TenantShard): Promise<boolean> {
  const sql = isolateSql(user);
  const letGo = await holding(values, shard);
  const splitting = onCoordinator(values, sql);
  const over = splitting.then(
    () => true,
    () => true,
  );
  let cancelled = false;
  try {
    while (!(await Promise.race([over, sleep(LOOK_EVERY_MS)]))) {
      // A look that fails says nothing: the next one may.
      const errors = Number(await onCoordinator(values, SPLIT_ERRORS_SQL).catch(() => "0"));
      if (errors < STUCK_ERRORS) continue;
      cancelled = true;
      await onCoordinator(values, cancelSql(sql)).catch(() => undefined);
    }
    await splitting;
    return true;
  } catch (error) {
    if (!cancelled) throw error;
    return false;
  } finally {
    await letGo();
  }
}

/**
 * Splits it off `shard`. Citus gives the new shards, which are on the node of the old one, their keys a moment after it has
 * begun to note what changes: a row that is changed in between cannot be applied, ever. So writes there are held meanwhile;
 * where one was faster, it is begun anew. Throws a UserError where that happens each time.
 */
export async function isolate(
  values: StackValues,
  user: string,
  shard: TenantShard,
  detail: (text: string) => void,
): Promise<void> {
  for (let tried = 1; tried <= TRIES; tried++) {
    if (await splitOff(values, user, shard)) return;
    detail(`a row was changed in the wrong moment: begun anew (${tried})`);
    await onCoordinator(values, "CALL citus_cleanup_orphaned_resources();");
  }
  throw new UserError(
    `Citus could not follow what clients change in that user's shard, ${TRIES} times: nothing was changed`,
    "call this again when they write less there",
    EXIT.failed,
  );
}
