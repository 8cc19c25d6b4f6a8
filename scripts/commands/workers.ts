import type { RebalanceProgress } from "../../citus/rebalance.ts";
import { EXIT, UserError } from "../../tuning/errors.ts";
import { addWorkers } from "../citus/addWorkers.ts";
import { checkNodeVersions, requireCitus } from "../citus/coordinator.ts";
import { moveShards, progressText } from "../citus/moves.ts";
import { pendingWorkers } from "../citus/pending.ts";
import { removeWorkers } from "../citus/removeWorkers.ts";
import { citusStatus, citusTable } from "../citus/report.ts";
import { lockStack } from "../lib/lock.ts";
import { print, printJson } from "../lib/print.ts";
import { openStack, stackValues } from "../lib/stack.ts";
import { MoveContext } from "../migrate/context.ts";
import { refuseDuringMove } from "../migrate/journal.ts";

interface WorkersFlags {
  readonly stack: string;
  readonly json?: boolean;
}

function countOf(text: string): number {
  if (/^[1-9][0-9]*$/.test(text)) return Number(text);
  throw new UserError(`${text} is no number of workers`, "give 1 or more, as in --count 2");
}

/** Works with a stack's lock held, while no other move is under way. */
async function locked<T>(stack: string, command: string, work: (context: MoveContext) => Promise<T>): Promise<T> {
  const lock = lockStack(stack, command);
  try {
    refuseDuringMove(stack);
    return await work(new MoveContext(await openStack(stack)));
  } finally {
    lock.release();
  }
}

const movedText = (moved: RebalanceProgress | undefined): string =>
  moved ? `Shards have moved: ${progressText(moved)}.` : "No shard had to move.";

/** `workers`: what each of them holds, and what moves. */
export async function listWorkers(flags: WorkersFlags): Promise<void> {
  const values = await stackValues(await openStack(flags.stack));
  requireCitus(flags.stack, values);
  const status = await citusStatus(values);
  if (!status) throw new Error("a stack with a Citus cluster has a status of it");
  const pending = pendingWorkers(flags.stack);
  if (flags.json) {
    printJson({ ...status, pending: pending ?? null });
    return;
  }
  print(citusTable(status));
  if (pending) {
    print(`there are to be ${pending.workers} workers: ./cgraph-db workers ${pending.kind} goes on with that`);
  }
}

/** `workers add`: servers, then shards for them, while clients read and write. */
export async function workersAdd(flags: WorkersFlags & { count: string; rebalance: boolean }): Promise<void> {
  const count = countOf(flags.count);
  await locked(flags.stack, "workers add", async (context) => {
    const { workers, added, moved } = await addWorkers(context, count, flags.rebalance);
    if (flags.json) printJson({ stack: flags.stack, workers, added, moved: moved ?? null });
    else if (flags.rebalance) print(`There are ${workers} workers. ${movedText(moved)}`);
    else
      print(`There are ${workers} workers. Shards stay where they are until ./cgraph-db workers rebalance moves some.`);
  });
}

/** `workers remove`: their shards to the others, then their servers; volumes stay. */
export async function workersRemove(flags: WorkersFlags & { count: string; yes?: boolean }): Promise<void> {
  const count = countOf(flags.count);
  await locked(flags.stack, "workers remove", async (context) => {
    const { workers, removed, moved, keptVolumes } = await removeWorkers(context, count, flags.yes === true);
    if (flags.json) {
      printJson({ stack: flags.stack, workers, removed, moved: moved ?? null, keptVolumes });
      return;
    }
    print(`${removed.join(", ")} removed; there are ${workers} workers. ${movedText(moved)}`);
    if (keptVolumes.length > 0) {
      print(
        `Their volumes stay in Docker, with backups of what is elsewhere now: docker volume rm ${keptVolumes.join(" ")}`,
      );
    }
  });
}

/** `workers rebalance`: shards evenly over the workers that there are. */
export async function workersRebalance(flags: WorkersFlags): Promise<void> {
  await locked(flags.stack, "workers rebalance", async (context) => {
    const values = await context.values();
    requireCitus(flags.stack, values);
    if (pendingWorkers(flags.stack)?.kind === "remove") {
      throw new UserError(
        "workers are being removed, which moves shards itself",
        "let that come to its end first: ./cgraph-db workers remove",
        EXIT.refused,
      );
    }
    await checkNodeVersions(values);
    const moved = await moveShards(values, "shards", { drainOnly: false });
    if (flags.json) printJson({ stack: flags.stack, moved: moved ?? null });
    else print(movedText(moved));
  });
}
