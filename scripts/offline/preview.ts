/** Plans a stage on AWS, or a move between two, without an account. */
import { planAws } from "../../stacks/aws/plan.ts";
import { costOf, totalCost } from "../../stacks/aws/cost.ts";
import { alarmCount } from "../../stacks/aws/stage.ts";
import { type StackConfig, checkKeys, readConfig } from "../../stacks/config.ts";
import { EXIT, UserError } from "../../tuning/errors.ts";
import type { Preview, PreviewFlags } from "../commands/preview.ts";
import { type Change, changeOf, resourceName, verdictOf } from "../lib/changes.ts";
import { type Planned, violations } from "../lib/policy.ts";
import { note, step } from "../lib/progress.ts";
import { readStackConfig } from "../lib/stackConfig.ts";
import { setUp } from "../setup/steps.ts";
import { withOfflineStack } from "./workspace.ts";

interface Wanted {
  readonly raw: Record<string, string>;
  readonly config: StackConfig;
}

function wanted(stack: string, changes: Readonly<Record<string, string>>): Wanted {
  const raw = { ...readStackConfig(stack), ...changes };
  checkKeys(Object.keys(raw));
  return { raw, config: readConfig((key) => raw[key]) };
}

const usdPerMonth = (config: StackConfig): number => {
  const plan = planAws(config);
  return Number(totalCost(costOf(plan, alarmCount(plan))).toFixed(2));
};

/** What moving from a stage (or from nothing) to another would do, by the real plugin's own plan. */
export async function previewOffline(flags: PreviewFlags): Promise<Preview> {
  const target = flags.target === undefined ? {} : { target: flags.target };
  const to = wanted(flags.stack, { ...target, ...(flags.stage === undefined ? {} : { stage: flags.stage }) });
  if (to.config.target !== "aws") {
    throw new UserError("--offline plans AWS only: what is on Docker is planned as it is", "add --target aws");
  }
  const from = flags.from === undefined ? undefined : wanted(flags.stack, { ...target, stage: flags.from });
  // Both must hold before anything is started.
  const plan = planAws(to.config);
  const lines = costOf(plan, alarmCount(plan));
  const before = from ? usdPerMonth(from.config) : 0;
  await setUp({ mayInstall: false, targets: ["aws"] });
  const changes: Change[] = [];
  const planned: Planned[] = [];
  const messages: string[] = [];
  await withOfflineStack(flags.stack, async ({ stack, configure }) => {
    if (from) {
      await step(`stage ${from.config.stage} as it would be`, async () => {
        await configure(from.raw);
        await stack.up();
        return { value: undefined, done: "planned" };
      });
    }
    await step(`preview of stage ${to.config.stage}`, async () => {
      await configure(to.raw);
      try {
        await stack.preview({
          onEvent: (event) => {
            const change = changeOf(event);
            if (change) changes.push(change);
            const resource = event.resourcePreEvent?.metadata.new;
            if (resource) planned.push({ ...resource, protect: resource.protect === true });
            if (event.diagnosticEvent?.severity === "error") messages.push(event.diagnosticEvent.message.trim());
          },
        });
      } catch (error) {
        if (verdictOf(changes) !== "unsafe") {
          throw new UserError(messages.join("\n") || String(error), "mend what the message says", EXIT.failed);
        }
      }
      return { value: undefined, done: `${changes.length} changes` };
    });
  });
  const [broken] = violations(planned);
  if (broken) {
    throw new UserError(
      `${resourceName(broken.urn)} breaks a rule: ${broken.rule}`,
      "mend the component; the rules are in scripts/lib/policy.ts",
      EXIT.refused,
    );
  }
  for (const text of plan.notes) note(`  note: ${text}`);
  return {
    from: from?.config.stage ?? 0,
    to: to.config.stage,
    changes,
    cost: { lines, usdPerMonth: Number(totalCost(lines).toFixed(2)), usdPerMonthNow: before },
  };
}
