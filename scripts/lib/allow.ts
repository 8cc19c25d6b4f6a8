/** What the person at the keyboard has allowed to be deleted or replaced: `--allow-replace`. */
import type { Stack } from "@pulumi/pulumi/automation/index.js";
import type { Change } from "../../migration/change.ts";
import { isDestroyed } from "../../migration/effect.ts";
import { allowedLosses, unsafeOf } from "../../migration/verdict.ts";
import { EXIT, UserError } from "../../tuning/errors.ts";

/** It goes with the stack as this command has opened it, and ends with the command. */
const allowances = new WeakMap<Stack, ReadonlySet<string>>();

/** Allows it for as long as this command runs. Throws a UserError for what is no URN. */
export function allowReplacing(stack: Stack, urns: readonly string[] = []): void {
  const wrong = urns.find((urn) => !/^urn:pulumi:[^:]+::[^:]+::.+::.+$/.test(urn));
  if (wrong !== undefined) {
    throw new UserError(
      `"${wrong}" is not the URN of a resource`,
      "./cgraph-db preview names them whole; put them in single quotes, since they may have a $ in them",
    );
  }
  allowances.set(stack, new Set(urns));
}

/** The change, marked where it is allowed. */
export const withAllowance = (stack: Stack, change: Change): Change =>
  isDestroyed(change) && allowances.get(stack)?.has(change.urn) === true ? { ...change, allowed: true } : change;

/** How to allow it, for a shell. */
export const allowingFlags = (urns: readonly string[], between = " "): string =>
  urns.map((urn) => `--allow-replace '${urn}'`).join(between);

interface Exported {
  readonly resources?: readonly { readonly urn: string; readonly protect?: boolean }[];
}

/** Takes Pulumi's protection off, in the stack's state. */
export async function unprotect(stack: Stack, urns: ReadonlySet<string>): Promise<void> {
  const exported = await stack.exportStack();
  const deployment = exported.deployment as Exported;
  const resources = (deployment.resources ?? []).map((one) => (urns.has(one.urn) ? { ...one, protect: false } : one));
  await stack.importStack({ ...exported, deployment: { ...deployment, resources } });
}

/**
 * Refuses what would lose data and is not allowed, before anything is changed; takes the protection off what is, when
 * `check` has nothing against it. Gives the changes that lose something.
 */
export async function releaseAllowed(
  stack: Stack,
  changes: readonly Change[],
  check: () => Promise<void> = () => Promise.resolve(),
): Promise<readonly Change[]> {
  const refused = unsafeOf(changes);
  if (refused.length > 0) {
    throw new UserError(
      `this would delete or replace what holds data:\n${refused.map(({ op, urn }) => `    ${op} ${urn}`).join("\n")}`,
      `to a smaller stage go with ./cgraph-db migrate, which sees to it that nothing is lost; to lose it, add ${allowingFlags(refused.map(({ urn }) => urn))}`,
      EXIT.refused,
    );
  }
  await check();
  const losses = allowedLosses(changes);
  if (losses.length > 0) await unprotect(stack, new Set(losses.map(({ urn }) => urn)));
  return losses;
}
