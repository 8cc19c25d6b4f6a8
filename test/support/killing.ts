/** Commands that are killed while a step of a move runs. */
import { setTimeout as sleep } from "node:timers/promises";
import { spawn } from "node:child_process";
import { join } from "node:path";
import { ROOT } from "../../scripts/lib/paths.ts";
import { openJournal } from "../../scripts/migrate/journal.ts";

/**
 * Starts ./cgraph-db and kills it (-9) so many milliseconds after a step of the stack's move has begun, or has begun to be
 * taken back (`back`); sooner, as it ends, when it is over by then. Gives whether the step was under way when it was killed.
 */
export async function killDuring(
  stack: string,
  stepId: string,
  args: readonly string[],
  afterMs: number,
  back = false,
): Promise<boolean> {
  const child = spawn(join(ROOT, "cgraph-db"), args, { stdio: "ignore" });
  let ended = false;
  child.on("exit", () => (ended = true));
  const stateOf = (): string | undefined => {
    try {
      return openJournal(stack)?.steps.find(({ id }) => id === stepId)?.state;
    } catch {
      return undefined;
    }
  };
  const [underWay, over] = back ? (["undoing", "undone"] as const) : (["running", "done"] as const);
  // eslint-disable-next-line @typescript-eslint/no-unnecessary-condition -- set by the child's end meanwhile
  while (!ended && ![underWay, over].some((state) => state === stateOf())) await sleep(5);
  const until = Date.now() + afterMs;
  // eslint-disable-next-line @typescript-eslint/no-unnecessary-condition -- as above
  while (!ended && Date.now() < until && stateOf() !== over) await sleep(5);
  const state = stateOf();
  child.kill("SIGKILL");
  // eslint-disable-next-line @typescript-eslint/no-unnecessary-condition -- as above
  while (!ended) await sleep(20);
  return state === underWay;
}
