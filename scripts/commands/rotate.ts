/** `secrets rotate`: other passwords for all of a stack, while it is in use. */
import type { Generations } from "../../components/logins.ts";
import { verdictOf } from "../../migration/verdict.ts";
import type { StackValues } from "../../stacks/outputs.ts";
import { EXIT, type ExitCode, UserError } from "../../tuning/errors.ts";
import { settle } from "../lib/cluster.ts";
import { configCopy } from "../lib/configCopy.ts";
import { deploy } from "../lib/deploy.ts";
import { lockStack } from "../lib/lock.ts";
import { generationsOf } from "../lib/login.ts";
import { planOf } from "../lib/plan.ts";
import { print, printJson } from "../lib/print.ts";
import { step } from "../lib/progress.ts";
import { reconcile, startStopped } from "../lib/reconcile.ts";
import { openStack, stackValues } from "../lib/stack.ts";
import { checkedConfig, writeStackConfig } from "../lib/stackConfig.ts";
import { checkTarget } from "../lib/target.ts";
import { refuseDuringMove } from "../migrate/journal.ts";
import { awaitAccepted } from "../rotate/accepted.ts";
import { CLIENT_ROLES, olderNames, phaseOf, stepsTo } from "../rotate/plan.ts";
import { type OlderSessions, endSessions, olderSessions, olderTable } from "../rotate/sessions.ts";

export interface RotateFlags {
  readonly stack: string;
  /** Refuse the passwords from before. */
  readonly finish?: boolean;
  /** With `finish`: end the sessions of those who still use them. */
  readonly endSessions?: boolean;
  readonly yes?: boolean;
  readonly json?: boolean;
}

export const asConfig = (generations: Generations): Record<string, string> => ({
  passwordGenerations: JSON.stringify(generations),
});

/** What is being waited for, by what is accepted. */
const TITLES = {
  accepting: "new passwords are accepted",
  using: "new passwords are in use",
  settled: "old passwords are refused",
} as const;

/** Refuses what a person asks at the wrong time. */
export function checkGoal({ finish, endSessions: ends, stack }: RotateFlags, generations: Generations): void {
  const other = stack === "dev" ? "" : ` --stack ${stack}`;
  if (ends === true && finish !== true) {
    throw new UserError("--end-sessions goes with --finish", "see ./cgraph-db secrets rotate --help");
  }
  if (finish !== true || phaseOf(generations) === "using") return;
  if (phaseOf(generations) === "settled" && (generations[0] ?? 1) > 1) return;
  throw new UserError(
    "there are no old passwords to refuse: the new ones are not in use yet",
    `first ./cgraph-db secrets rotate${other}`,
    EXIT.refused,
  );
}

/** Refuses while somebody still uses what is about to be refused: their next connection would fail. */
export function refuseOlder(stack: string, sessions: readonly OlderSessions[]): void {
  if (sessions.length === 0) return;
  const other = stack === "dev" ? "" : ` --stack ${stack}`;
  throw new UserError(
    `the old passwords are still in use:\n${olderTable(sessions)}`,
    `give these the new ones (./cgraph-db env${other}) and call this again, or end them: --end-sessions`,
    EXIT.refused,
  );
}

/** Refuses where `up` would do more than change passwords, and clients would notice. */
async function checkPlan(stack: Awaited<ReturnType<typeof openStack>>, generations: Generations): Promise<void> {
  const copy = configCopy(stack.name, asConfig(generations));
  try {
    const { changes } = await planOf(`preview of stack ${stack.name}`, stack, copy.file);
    if (["none", "safe"].includes(verdictOf(changes))) return;
    throw new UserError(
      "the stack is not what its configuration and this version say: bringing it there would interrupt clients",
      `see ./cgraph-db preview --stack ${stack.name}, and go there first: ./cgraph-db up --stack ${stack.name}`,
      EXIT.refused,
    );
  } finally {
    copy.remove();
  }
}

/** Rotates, up to where both passwords are accepted and the new ones in use; with `finish` refuses the old ones. */
export async function rotate(flags: RotateFlags): Promise<ExitCode> {
  const lock = lockStack(flags.stack, "secrets rotate");
  try {
    refuseDuringMove(flags.stack);
    const config = checkedConfig(flags.stack);
    checkGoal(flags, config.passwordGenerations);
    if (config.target === "aws") {
      return await (await import("../aws/rotate.ts")).rotateAws(flags, config, lock.interrupted);
    }
    const stack = await openStack(flags.stack);
    await checkTarget(stack, config);
    const { refresh } = await reconcile(stack);
    if (config.stage > 1) await startStopped(stack);
    const before = await stackValues(stack);
    await settle(before);
    const now = config.passwordGenerations;
    const whole = !lock.interrupted && String(generationsOf(before)) === String(now);
    const steps = stepsTo(flags.finish === true ? "settled" : "using", now, whole);
    const older = olderNames(steps.at(-1) ?? now, CLIENT_ROLES);
    await checkPlan(stack, steps[0] ?? now);
    if (whole && flags.finish === true && phaseOf(now) === "using") {
      await awaitAccepted(flags.stack, before, TITLES.using);
    }
    for (const generations of steps) {
      if (phaseOf(generations) === "settled" && phaseOf(now) === "using" && flags.endSessions !== true) {
        refuseOlder(flags.stack, await olderSessions(before, older, { letGo: true }));
      }
      writeStackConfig(flags.stack, asConfig(generations));
      const { values } = await deploy(stack, { refresh: refresh || lock.interrupted });
      await awaitAccepted(flags.stack, values, TITLES[phaseOf(generations)]);
    }
    const ended = flags.finish === true && flags.endSessions === true ? await endOlder(before, older) : 0;
    report(flags, checkedConfig(flags.stack).passwordGenerations, ended);
    return EXIT.done;
  } finally {
    lock.release();
  }
}

const endOlder = (values: StackValues, names: readonly string[]): Promise<number> =>
  step("sessions of the old passwords", async () => {
    const ended = await endSessions(values, names);
    return { value: ended, done: `${ended} ended` };
  });

export function report(flags: RotateFlags, generations: Generations, ended: number): void {
  if (flags.json === true) {
    printJson({
      stack: flags.stack,
      passwordGenerations: generations,
      phase: phaseOf(generations),
      endedSessions: ended,
    });
    return;
  }
  const other = flags.stack === "dev" ? "" : ` --stack ${flags.stack}`;
  print(
    phaseOf(generations) === "settled"
      ? "The old passwords are refused. Keep the new ones safe: ./cgraph-db secrets export" + other
      : `New passwords are in use, the old ones still accepted. Now:

  give applications theirs     ./cgraph-db env${other}
  then have the old refused    ./cgraph-db secrets rotate --finish${other}`,
  );
}
