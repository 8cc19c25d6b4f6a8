/** Starts moves of shards in the background, and looks on until they are done. */
import {
  MOVED_BYTES_SQL,
  REBALANCE_SQL,
  type Rebalance,
  type RebalanceProgress,
  hasEnded,
  isUnderWay,
  progressOf,
  rebalanceSql,
} from "../../citus/rebalance.ts";
import type { StackValues } from "../../stacks/outputs.ts";
import { EXIT, UserError } from "../../tuning/errors.ts";
import { bytes } from "../../tuning/words.ts";
import { step } from "../lib/progress.ts";
import { askCoordinator, onCoordinator } from "./coordinator.ts";

const LOOK_MS = 1000;

export const newestRebalance = (values: StackValues): Promise<Rebalance | null> =>
  askCoordinator(values, REBALANCE_SQL);

/** How far the newest rebalance is; null where none is under way. */
export async function rebalanceProgress(values: StackValues): Promise<RebalanceProgress | null> {
  const rebalance = await newestRebalance(values);
  if (!isUnderWay(rebalance)) return null;
  return progressOf(rebalance, await askCoordinator(values, MOVED_BYTES_SQL));
}

export const progressText = ({ movesDone, movesTotal, bytesDone, bytesTotal }: RebalanceProgress): string =>
  `${movesDone} of ${movesTotal} moves, ${bytes(bytesDone)} of ${bytes(bytesTotal)}`;

/** What stands in the way of a move that Citus tries again, if anything. */
const trouble = ({ moves }: Rebalance): string | undefined =>
  moves.find(({ state, retries, message }) => state !== "done" && retries > 0 && message !== null)?.message ??
  undefined;

/** Looks on until a job has ended. Throws a UserError where it did not come to its end. */
async function lookOn(values: StackValues, title: string, job: number): Promise<RebalanceProgress> {
  return step(
    title,
    async (progress) => {
      // Sizes are asked of every node: once is enough.
      const sizes = await askCoordinator<Record<string, number>>(values, MOVED_BYTES_SQL);
      for (;;) {
        // The coordinator may fail over meanwhile; the job is in its tables, and the next primary goes on with it.
        const rebalance = await newestRebalance(values).catch(() => undefined);
        if (rebalance?.job === job) {
          const how = progressOf(rebalance, sizes);
          const why = trouble(rebalance);
          progress.detail(`${progressText(how)}${why === undefined ? "" : `; tried again: ${why}`}`);
          if (rebalance.state === "finished") return { value: how, done: progressText(how) };
          if (hasEnded(rebalance)) {
            const said = rebalance.moves.find(({ state, message }) => state === "error" && message !== null)?.message;
            throw new UserError(
              `the moves of shards ${rebalance.state === "cancelled" ? "were cancelled" : "failed"}${said === undefined || said === null ? "" : `: ${said}`}`,
              "mend what it says, then call this again: shards that have moved stay where they are",
              EXIT.failed,
            );
          }
        } else if (rebalance) {
          throw new UserError(
            `another rebalance (job ${rebalance.job}) was started meanwhile`,
            "call this again: it waits for that one first",
            EXIT.failed,
          );
        }
        await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
      }
    },
    "shards are being moved; Ctrl-C leaves them moving",
  );
}

/** Waits for moves that are under way, then starts those that are wanted and waits for them. Gives what was done last. */
export async function moveShards(
  values: StackValues,
  title: string,
  options: { readonly drainOnly: boolean },
): Promise<RebalanceProgress | undefined> {
  const before = await newestRebalance(values);
  if (isUnderWay(before)) await lookOn(values, "moves that were under way", before.job);
  // Where there is nothing to move it gives no job.
  const job = Number(await onCoordinator(values, rebalanceSql(options)));
  return job === 0 ? undefined : lookOn(values, title, job);
}
