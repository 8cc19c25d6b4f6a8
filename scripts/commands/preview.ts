import { type Change, resourceName } from "../../migration/change.ts";
import type { Finding } from "../../migration/drift.ts";
import { MEANING, effectOf, verdictOf } from "../../migration/verdict.ts";
import { PRICES_AS_OF } from "../../stacks/aws/classes.ts";
import { EXIT, type ExitCode, UserError } from "../../tuning/errors.ts";
import { type Cost, costOfConfig, planOf } from "../lib/plan.ts";
import { print, printJson, table } from "../lib/print.ts";
import { openStack, plannedValues } from "../lib/stack.ts";
import { driftText, findDrift, gatherDrift } from "../lib/drift.ts";
import { configCopy } from "../lib/configCopy.ts";
import { checkTopology, checkedConfig } from "../lib/stackConfig.ts";
import { checkTarget } from "../lib/target.ts";
import { adoptDockerContext } from "../setup/engine.ts";

export interface PreviewFlags {
  readonly stack: string;
  readonly stage?: string;
  readonly target?: string;
  readonly offline?: boolean;
  readonly from?: string;
  readonly json?: boolean;
}

/** `preview`: what `up` would change. Exit 3 where data would be lost. */
export async function preview(flags: PreviewFlags): Promise<ExitCode> {
  if (flags.offline === true) {
    const { previewOffline } = await import("../offline/preview.ts");
    return showPreview(flags, await previewOffline(flags));
  }
  if (flags.target !== undefined || flags.from !== undefined) {
    throw new UserError("--target and --from go with --offline", "add --offline, or set cgraph:target");
  }
  const wanted = flags.stage === undefined ? {} : { stage: flags.stage };
  const before = checkedConfig(flags.stack);
  const config = checkedConfig(flags.stack, wanted);
  if (config.target === "docker") await adoptDockerContext();
  await checkTopology(config);
  const stack = await openStack(flags.stack);
  await checkTarget(stack, config);
  const copy = flags.stage === undefined ? undefined : configCopy(flags.stack, wanted);
  try {
    // Asked while Pulumi plans: it costs next to no time.
    const asked = config.target === "docker" && flags.stage === undefined;
    const [{ changes }, gathered] = await Promise.all([
      planOf(`preview of stack ${flags.stack}`, stack, copy?.file),
      asked ? gatherDrift(stack) : undefined,
    ]);
    return showPreview(flags, {
      from: before.stage,
      to: config.stage,
      changes,
      ...(config.target === "aws" ? { cost: costOfConfig(config), costNow: costOfConfig(before) } : {}),
      ...(gathered ? { drift: findDrift(gathered, plannedValues()?.passwords) } : {}),
    });
  } finally {
    copy?.remove();
  }
}

/** What a preview has found. */
export interface Preview {
  readonly from: number;
  readonly to: number;
  readonly changes: readonly Change[];
  /** On AWS: what it would cost, and what it costs now; absent where there is nothing yet. */
  readonly cost?: Cost;
  readonly costNow?: Cost;
  /** What differs between the state and what runs; absent on AWS and for another stage. */
  readonly drift?: readonly Finding[];
}

const usd = (amount: number): string => `$${amount.toFixed(2)}`;

/** What each change means, without the inputs that it was told from. */
const described = (changes: readonly Change[]) =>
  changes.map(({ before: _before, after: _after, ...change }) => ({
    ...change,
    ...effectOf({ ...change, before: _before, after: _after }),
  }));

export function showPreview(flags: { readonly json?: boolean }, found: Preview): ExitCode {
  const { from, to, changes, cost, costNow, drift } = found;
  const verdict = verdictOf(changes);
  if (flags.json) {
    const { lines, usdPerMonth } = cost ?? { lines: [], usdPerMonth: 0 };
    printJson({
      from,
      to,
      changes: described(changes),
      verdict,
      ...(drift ? { drift } : {}),
      ...(cost ? { cost: { lines, usdPerMonth, usdPerMonthNow: costNow?.usdPerMonth ?? 0 } } : {}),
    });
  } else {
    print(`${verdict}: ${MEANING[verdict]}`);
    if (changes.length > 0) {
      print(
        table([
          ["what happens", "resource", "type", "holds data", "clients", "why"],
          ...described(changes).map((c) => [
            c.happens,
            resourceName(c.urn),
            c.type,
            c.stateful ? "yes" : "",
            c.clients === "nothing" ? "" : c.clients,
            c.why,
          ]),
        ]),
      );
    }
    if (cost) printCost(cost, costNow);
    if (drift && drift.length > 0) print(driftText(drift));
  }
  return verdict === "unsafe" ? EXIT.refused : EXIT.done;
}

/** Each part's price, the whole, and the difference. */
export function printCost(cost: Cost, now: Cost | undefined): void {
  const difference = cost.usdPerMonth - (now?.usdPerMonth ?? 0);
  print(
    table([
      ["part", "what", "a month"],
      ...cost.lines.map(({ part, what, usdPerMonth }) => [part, what, usd(usdPerMonth)]),
      ["all", "", usd(cost.usdPerMonth)],
      ...(now ? [["now", "", usd(now.usdPerMonth)]] : []),
      ["difference", "", `${difference < 0 ? "-" : "+"}${usd(Math.abs(difference))}`],
    ]),
  );
  print(`On-demand list prices of ${PRICES_AS_OF}, us-east-1, without data transfer.`);
}
