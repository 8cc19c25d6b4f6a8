/** Pulumi's plan of a stack, read from its events. */
import type { EngineEvent, Stack } from "@pulumi/pulumi/automation/index.js";
import { type Change, changeOfStep, resourceName } from "../../migration/change.ts";
import { allowedLosses, unsafeOf } from "../../migration/verdict.ts";
import { type CostLine, costOf, totalCost } from "../../stacks/aws/cost.ts";
import { planAws } from "../../stacks/aws/plan.ts";
import type { StackConfig } from "../../stacks/config.ts";
import { EXIT, UserError } from "../../tuning/errors.ts";
import { withAllowance } from "./allow.ts";
import { failureOf, remedyFor } from "./failure.ts";
import { type Planned, violations } from "./policy.ts";
import { step } from "./progress.ts";

/** The change that an event announces; undefined for other events and for resources that stay as they are. */
export const changeOf = (event: EngineEvent): Change | undefined =>
  event.resourcePreEvent ? changeOfStep(event.resourcePreEvent.metadata) : undefined;

/** A planned deletion or replacement of something protected is an error to Pulumi; whether it may be is for us to say. */
const explainsFailure = (changes: readonly Change[]): boolean =>
  unsafeOf(changes).length + allowedLosses(changes).length > 0;

interface Exported {
  readonly resources?: readonly {
    readonly urn: string;
    readonly type: string;
    readonly protect?: boolean;
    readonly inputs?: Readonly<Record<string, unknown>>;
  }[];
}

/**
 * What else would be deleted of what holds data, where a plan ended at the first deletions of something protected: by then
 * the program has named all that stays, and Pulumi goes no further. `seen`: what the plan told of.
 */
async function unseenDeletions(stack: Stack, seen: ReadonlySet<string>): Promise<Change[]> {
  const { resources = [] } = (await stack.exportStack()).deployment as Exported;
  return resources
    .filter(({ urn, protect }) => protect === true && !seen.has(urn))
    .flatMap(({ urn, type, ...old }) => changeOfStep({ op: "delete", urn, type, old }) ?? [])
    .filter(({ stateful }) => stateful)
    .map((change) => withAllowance(stack, change));
}

export interface StackPlan {
  readonly changes: readonly Change[];
  /** Warnings of the plugins. */
  readonly warnings: readonly string[];
}

/**
 * What `up` would do. Throws a UserError where the plan fails for another reason, or breaks a rule.
 */
export async function planOf(title: string, stack: Stack, configFile?: string): Promise<StackPlan> {
  const changes: Change[] = [];
  const planned: Planned[] = [];
  const errors: string[] = [];
  const warnings: string[] = [];
  const seen = new Set<string>();
  const onEvent = (event: EngineEvent): void => {
    const change = changeOf(event);
    if (change) changes.push(withAllowance(stack, change));
    const resource = event.resourcePreEvent?.metadata.new;
    if (event.resourcePreEvent) seen.add(event.resourcePreEvent.metadata.urn);
    if (resource) planned.push({ ...resource, protect: resource.protect === true });
    const { severity, message } = event.diagnosticEvent ?? {};
    if (severity === "error" && message !== undefined) errors.push(message);
    if (severity === "warning" && message !== undefined) warnings.push(message.trim());
  };
  await step(title, async () => {
    try {
      await stack.preview({ ...(configFile === undefined ? {} : { configFile }), onEvent });
    } catch (error) {
      if (!explainsFailure(changes)) {
        const problem = failureOf(errors, error);
        throw new UserError(problem, remedyFor(problem, "mend what the message says"), EXIT.failed);
      }
      if (changes.some(({ op }) => op === "delete")) changes.push(...(await unseenDeletions(stack, seen)));
    }
    return { value: undefined, done: `${changes.length} changes` };
  });
  const [broken] = violations(planned);
  if (broken) {
    throw new UserError(
      `${resourceName(broken.urn)} breaks a rule: ${broken.rule}`,
      "mend the component; the rules are in scripts/lib/policy.ts",
      EXIT.refused,
    );
  }
  return { changes, warnings };
}

/** What `up` with a configuration file would change, without a word; `planOf` has the rules, and what went wrong. */
export async function changesOf(stack: Stack, configFile: string): Promise<Change[]> {
  const changes: Change[] = [];
  const onEvent = (event: EngineEvent): void => {
    const change = changeOf(event);
    if (change) changes.push(withAllowance(stack, change));
  };
  await stack.preview({ configFile, onEvent }).catch((error: unknown) => {
    if (!explainsFailure(changes)) throw error;
  });
  return changes;
}

/** What a stack on AWS costs a month, part by part. */
export interface Cost {
  readonly lines: readonly CostLine[];
  readonly usdPerMonth: number;
}

export function costOfConfig(config: StackConfig): Cost {
  const lines = costOf(planAws(config));
  return { lines, usdPerMonth: totalCost(lines) };
}
