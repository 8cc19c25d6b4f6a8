import { CLEARED, planReshard } from "../../migration/reshard.ts";
import { readMap } from "../../sharding/publish.ts";
import { checkShardCount, movesBetween, rebalance } from "../../sharding/shardMap.ts";
import { EXIT, type ExitCode, UserError } from "../../tuning/errors.ts";
import { confirm } from "../lib/ask.ts";
import { clusterViews, shardingOf } from "../lib/clusters.ts";
import { currentPrimary } from "../lib/cluster.ts";
import { lockStack } from "../lib/lock.ts";
import { print, printJson, terminalWidth } from "../lib/print.ts";
import { anyStackValues, openStack, stackValues } from "../lib/stack.ts";
import { checkTopology, checkedConfig } from "../lib/stackConfig.ts";
import { spaceOf } from "../migrate/checks.ts";
import { MoveContext } from "../migrate/context.ts";
import { type Journal, beginJournal, closeJournal, openJournal, factsOf } from "../migrate/journal.ts";
import { runBack, runForward } from "../migrate/runner.ts";
import { renderSteps } from "../report/terminal.ts";
import { requireRegionsForMove } from "../regions/reach.ts";
import { placesOf } from "../reshard/places.ts";
import { reshardSteps } from "../reshard/steps.ts";

export interface ReshardFlags {
  readonly stack: string;
  readonly shards?: string;
  readonly moveBucket?: readonly string[];
  readonly to?: string;
  readonly dryRun?: boolean;
  readonly pauseAfter?: string;
  readonly resume?: boolean;
  readonly rollback?: boolean;
  readonly yes?: boolean;
  readonly json?: boolean;
}

const wholeNumber = (text: string, what: string): number => {
  if (/^\d+$/.test(text)) return Number(text);
  throw new UserError(`${text} is no ${what}`, "give a whole number");
};

interface Wish {
  readonly after: readonly number[];
  readonly shards: number;
}

/** What the flags ask for, of a map as it is. Throws a UserError for what cannot be. */
export function wishOf(
  flags: Pick<ReshardFlags, "shards" | "moveBucket" | "to">,
  before: readonly number[],
  shards: number,
): Wish {
  if (flags.moveBucket !== undefined) {
    if (flags.shards !== undefined)
      throw new UserError("--shards and --move-bucket do not go together", "give one of them");
    if (flags.to === undefined) throw new UserError("to which shard?", "add --to N");
    const to = wholeNumber(flags.to, "shard");
    if (to >= shards) {
      throw new UserError(`there is no shard ${to}`, `use one of 0 to ${shards - 1}, or --shards for more of them`);
    }
    const after = [...before];
    for (const text of flags.moveBucket) {
      const bucket = wholeNumber(text, "bucket");
      if (bucket >= before.length) {
        throw new UserError(`there is no bucket ${bucket}`, `use one of 0 to ${before.length - 1}`);
      }
      after[bucket] = to;
    }
    return { after, shards };
  }
  if (flags.to !== undefined) throw new UserError("--to needs --move-bucket", "name the buckets that are to move");
  const count = flags.shards === undefined ? shards : Number(flags.shards);
  checkShardCount(count, before.length);
  const onto = Array.from({ length: count }, (_, shard) => shard);
  return { after: rebalance(before, onto), shards: Math.max(count, shards) };
}

async function begin(context: MoveContext, flags: ReshardFlags): Promise<Journal | undefined> {
  const values = await stackValues(context.stack);
  const sharding = shardingOf(values);
  if (!sharding) {
    throw new UserError(
      `stack ${flags.stack} is at stage ${values.stage}, without shards`,
      values.stage === 5 ? "see ./cgraph-db workers" : "shards come with stage 4",
      EXIT.refused,
    );
  }
  if (flags.dryRun !== true) await requireRegionsForMove(values);
  const map = await placesOf(flags.stack, values).global(readMap);
  if (!map)
    throw new UserError("there is no shard map yet", "make the first one: ./cgraph-db schema apply", EXIT.refused);
  const { after, shards: then } = wishOf(flags, map.shards, sharding.shards);
  const moves = movesBetween(map.shards, after);
  if (moves.length === 0 && then === sharding.shards) {
    throw new UserError("every bucket is where it is to be", "nothing was changed", EXIT.wrongUse);
  }
  await checkTopology(checkedConfig(flags.stack, { shards: String(then) }));
  const sizes = await Promise.all(
    clusterViews(values).map(async (view) => spaceOf((await currentPrimary(view.values)).container)),
  );
  const counts = { now: sharding.shards, then };
  const planned = planReshard({
    ...{ before: map.shards, after, shards: counts },
    databaseBytes: sizes.reduce((sum, { databaseBytes }) => sum + databaseBytes, 0),
  });
  if (flags.pauseAfter !== undefined && !planned.some(({ id }) => id === flags.pauseAfter)) {
    throw new UserError(
      `the move has no step ${flags.pauseAfter}`,
      `use one of ${planned.map(({ id }) => id).join(", ")}`,
    );
  }
  if (flags.json !== true) print(renderSteps(planned, terminalWidth()));
  else if (flags.dryRun === true) printJson({ shards: counts, moves, steps: planned });
  if (flags.dryRun === true) return undefined;
  const question = `This moves ${moves.length} of ${map.shards.length} buckets of stack ${flags.stack}; there is no way back from clear on: ${CLEARED}.`;
  await confirm(question, "yes", flags.yes === true);
  return beginJournal(
    {
      kind: "reshard",
      stack: flags.stack,
      from: `${counts.now} shards`,
      to: `${then} shards`,
      buckets: { before: map.shards, after, shards: counts },
    },
    planned,
  );
}

/** `reshard`, `rebalance`: moves buckets between shards, step by step; gone on with or taken back where it was interrupted. */
export async function reshard(flags: ReshardFlags): Promise<ExitCode> {
  const lock = lockStack(flags.stack, "reshard");
  try {
    const context = new MoveContext(await openStack(flags.stack));
    if ((await anyStackValues(context.stack)).target === "aws") {
      throw new UserError(
        "moving buckets on AWS is not in this version yet: a move holds clients by the poolers' consoles",
        "see docs/aws.md for what shards there are",
        EXIT.refused,
      );
    }
    const open = openJournal(flags.stack);
    const going = flags.resume === true || flags.rollback === true;
    if (going && open?.kind !== "reshard") {
      throw new UserError(
        `no buckets of stack ${flags.stack} are moving`,
        "./cgraph-db reshard --shards N begins",
        EXIT.refused,
      );
    }
    if (!going && open) {
      throw new UserError(
        `stack ${flags.stack} is in a move from ${open.from} to ${open.to}, begun ${open.startedAt}`,
        `./cgraph-db ${open.kind} --resume goes on with it, --rollback takes it back`,
        EXIT.refused,
      );
    }
    if (open) await requireRegionsForMove(await context.values());
    const journal = open ?? (await begin(context, flags));
    if (!journal) return EXIT.done;
    const steps = reshardSteps(context, journal, (id) => factsOf(openJournal(flags.stack), id));
    if (flags.rollback === true) {
      await runBack(journal, steps);
      closeJournal(flags.stack);
      report(flags, "Taken back: every bucket is where it was.");
      return EXIT.done;
    }
    const done = await runForward(journal, steps, {
      ...(flags.pauseAfter !== undefined && { pauseAfter: flags.pauseAfter }),
      // The question was asked before the first step, or by whoever resumes.
      confirm: async () => undefined,
    }).catch((error: unknown) => {
      // Nothing was done yet: what was refused can simply be called again.
      if (openJournal(flags.stack)?.steps.find(({ id }) => id === "check")?.state !== "done") closeJournal(flags.stack);
      throw error;
    });
    if (!done) {
      report(
        flags,
        `Paused after ${flags.pauseAfter}: ./cgraph-db reshard --resume --stack ${flags.stack} goes on, --rollback takes it back.`,
      );
      return EXIT.done;
    }
    const last = openJournal(flags.stack);
    closeJournal(flags.stack);
    report(flags, `Done: ${journal.to}.`, last);
    return EXIT.done;
  } finally {
    lock.release();
  }
}

function report(flags: ReshardFlags, text: string, journal = openJournal(flags.stack)): void {
  if (flags.json) printJson({ stack: flags.stack, steps: journal?.steps ?? [] });
  else print(text);
}
