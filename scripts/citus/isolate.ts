/** A shard of a user's own, split off in use. */
import { SPLIT_ERRORS_SQL, cancelSql, isolateSql } from "../../citus/nodes.ts";
import type { StackValues } from "../../stacks/outputs.ts";
import { EXIT, UserError } from "../../tuning/errors.ts";
import { onCoordinator } from "./coordinator.ts";

const TRIES = 10;
const LOOK_EVERY_MS = 2_000;
/** The same change is tried every five seconds, and fails each time. */
const STUCK_ERRORS = 2;

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** One try; gives whether it came to its end. What Citus cannot apply it tries for hours: that is ended here. */
async function splitOff(values: StackValues, user: string): Promise<boolean> {
  const state = { ended: false, cancelled: false };
  const isOver = (): boolean => state.ended;
  const sql = isolateSql(user);
  const splitting = onCoordinator(values, sql).finally(() => (state.ended = true));
  const watch = async (): Promise<void> => {
    while (!isOver()) {
      await sleep(LOOK_EVERY_MS);
      // A look that fails says nothing: the next one may.
      const errors = Number(await onCoordinator(values, SPLIT_ERRORS_SQL).catch(() => "0"));
      if (isOver() || errors < STUCK_ERRORS) continue;
      state.cancelled = true;
      await onCoordinator(values, cancelSql(sql)).catch(() => undefined);
    }
  };
  const watching = watch();
  try {
    await splitting;
    return true;
  } catch (error) {
    if (!state.cancelled) throw error;
    return false;
  } finally {
    await watching;
  }
}

/**
 * Splits it off. Citus gives the new shards, which are on the node of the old one, their keys a moment after it has begun to
 * note what changes: a row that is changed in between cannot be applied, ever. Then it is begun anew. Throws a UserError
 * where that happens each time.
 */
export async function isolate(values: StackValues, user: string, detail: (text: string) => void): Promise<void> {
  for (let tried = 1; tried <= TRIES; tried++) {
    if (await splitOff(values, user)) return;
    detail(`a row was changed in the wrong moment: begun anew (${tried})`);
    await onCoordinator(values, "CALL citus_cleanup_orphaned_resources();");
  }
  throw new UserError(
    `Citus could not follow what clients change in that user's shard, ${TRIES} times: nothing was changed`,
    "call this again when they write less there",
    EXIT.failed,
  );
}
