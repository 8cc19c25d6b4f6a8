/** Plans a stage on AWS, or a move between two, without an account. */
import type { EngineEvent, Stack } from "@pulumi/pulumi/automation/index.js";
import { needsOwnStack } from "../../migration/awsMoves.ts";
import type { Found } from "../../migration/report.ts";
import { planAws } from "../../stacks/aws/plan.ts";
import { type StackConfig, checkKeys, readConfig } from "../../stacks/config.ts";
import { EXIT, UserError } from "../../tuning/errors.ts";
import type { PreviewFlags } from "../commands/preview.ts";
import { allowReplacing } from "../lib/allow.ts";
import { failureOf } from "../lib/failure.ts";
import { costOfConfig, planOf } from "../lib/plan.ts";
import { step } from "../lib/progress.ts";
import { readStackConfig } from "../lib/stackConfig.ts";
import { tellAws } from "../report/aws.ts";
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

/** What moving from a stage (or from nothing) to another would do, by the real plugin's own plan. */
export async function previewOffline(flags: PreviewFlags): Promise<Found> {
  const target = flags.target === undefined ? {} : { target: flags.target };
  const to = wanted(flags.stack, { ...target, ...(flags.stage === undefined ? {} : { stage: flags.stage }) });
  if (to.config.target !== "aws") {
    throw new UserError("--offline plans AWS only: what is on Docker is planned as it is", "add --target aws");
  }
  const from = flags.from === undefined ? undefined : wanted(flags.stack, { ...target, stage: flags.from });
  // Both must hold before anything is started.
  planAws(to.config);
  const costNow = from ? costOfConfig(from.config) : undefined;
  await setUp({ mayInstall: false, targets: ["aws"] });
  return withOfflineStack(flags.stack, async ({ stack, configure }) => {
    allowReplacing(stack, flags.allowReplace);
    // The stack that is there stays as it is: the new one is planned from nothing.
    if (from && !needsOwnStack(from.config.stage, to.config.stage)) {
      await configure(from.raw);
      await standIn(`stage ${from.config.stage} as it would be`, stack);
    }
    await configure(to.raw);
    const { changes } = await planOf(`preview of stage ${to.config.stage}`, stack);
    return {
      stack: flags.stack,
      target: "aws",
      from: from?.config.stage ?? 0,
      to: to.config.stage,
      changes,
      ...tellAws(from?.config, to.config),
      cost: costOfConfig(to.config),
      ...(costNow ? { costNow } : {}),
    };
  });
}

/** Brings the stack to its configuration, on the stand-in. */
const standIn = (title: string, stack: Stack): Promise<void> =>
  step(title, async () => {
    const errors: string[] = [];
    const onEvent = ({ diagnosticEvent }: EngineEvent): void => {
      if (diagnosticEvent?.severity === "error") errors.push(diagnosticEvent.message);
    };
    try {
      await stack.up({ onEvent });
    } catch (error) {
      throw new UserError(failureOf(errors, error), "mend what the message says", EXIT.failed);
    }
    return { value: undefined, done: "planned" };
  });
