import { needsOwnStack } from "../../migration/awsMoves.ts";
import { type Found, type MoveReport, moveReport } from "../../migration/report.ts";
import type { StackConfig } from "../../stacks/config.ts";
import { EXIT, type ExitCode, UserError } from "../../tuning/errors.ts";
import { allowReplacing } from "../lib/allow.ts";
import { configCopy } from "../lib/configCopy.ts";
import { costOfConfig, planOf } from "../lib/plan.ts";
import { print, printJson, terminalWidth } from "../lib/print.ts";
import { findDrift, gatherDrift } from "../lib/drift.ts";
import { openStack, plannedValues } from "../lib/stack.ts";
import { checkTopology, checkedConfig } from "../lib/stackConfig.ts";
import { readState } from "../lib/state.ts";
import { checkTarget, targetOf } from "../lib/target.ts";
import { tellAws } from "../report/aws.ts";
import { tellDocker } from "../report/docker.ts";
import { checkPage, writePage } from "../report/pageFile.ts";
import { renderTerminal } from "../report/terminal.ts";
import { requireCitusToBeHad } from "../setup/citusImage.ts";
import { adoptDockerContext } from "../setup/engine.ts";

/** How a preview is shown. */
export interface FormFlags {
  readonly json?: boolean;
  readonly markdown?: boolean;
  /** A file to write a page into, beside what is printed. */
  readonly html?: string;
}

export interface PreviewFlags extends FormFlags {
  readonly stack: string;
  readonly stage?: string;
  readonly target?: string;
  readonly offline?: boolean;
  readonly from?: string;
  readonly allowReplace?: readonly string[];
}

/** `preview`: what `up` would change, and what a move would take. Exit 3 where data would be lost. */
export async function preview(flags: PreviewFlags): Promise<ExitCode> {
  if (flags.json === true && flags.markdown === true) {
    throw new UserError("--json and --markdown are two forms of the same", "choose one; --html FILE goes with both");
  }
  if (flags.html !== undefined) checkPage(flags.html);
  if (flags.offline === true) {
    const { previewOffline } = await import("../offline/preview.ts");
    return showReport(flags, moveReport(await previewOffline(flags)));
  }
  if (flags.target !== undefined || flags.from !== undefined) {
    throw new UserError("--target and --from go with --offline", "add --offline, or set cgraph:target");
  }
  const wanted = flags.stage === undefined ? {} : { stage: flags.stage };
  const before = checkedConfig(flags.stack);
  const config = checkedConfig(flags.stack, wanted);
  if (config.target === "aws" && (await isOtherStack(flags.stack, before, config))) {
    const { previewOffline } = await import("../offline/preview.ts");
    const from = String(before.stage);
    return showReport(flags, moveReport(await previewOffline({ ...flags, from })));
  }
  if (config.target === "docker") await adoptDockerContext();
  await checkTopology(config);
  await requireCitusToBeHad(config);
  const stack = await openStack(flags.stack);
  await checkTarget(stack, config);
  allowReplacing(stack, flags.allowReplace);
  const copy = flags.stage === undefined ? undefined : configCopy(flags.stack, wanted);
  try {
    // What the servers say is read while Pulumi plans: together they take as long as the plan alone.
    const looksForDrift = config.target === "docker" && flags.stage === undefined;
    const [{ changes }, told, gathered] = await Promise.all([
      planOf(`preview of stack ${flags.stack}`, stack, copy?.file),
      config.target === "aws" ? awsTold(stack, before, config) : tellDocker(stack, before, config),
      looksForDrift ? gatherDrift(stack) : undefined,
    ]);
    const costs = config.target === "aws" ? { cost: costOfConfig(config), costNow: costOfConfig(before) } : {};
    const found: Found = {
      ...{ stack: flags.stack, target: config.target, from: before.stage, to: config.stage, changes },
      ...told,
      ...costs,
      ...(gathered ? { drift: findDrift(gathered, plannedValues()) } : {}),
    };
    return await showReport(flags, moveReport(found));
  } finally {
    copy?.remove();
  }
}

/** Whether the stage would be a stack of its own, beside the one that is there: that is planned, and nothing of this one. */
async function isOtherStack(stack: string, before: StackConfig, config: StackConfig): Promise<boolean> {
  if (!needsOwnStack(before.stage, config.stage)) return false;
  const { resources = [] } = await readState(await openStack(stack));
  return targetOf(resources) === "aws";
}

async function awsTold(stack: Parameters<typeof readState>[0], before: StackConfig, config: StackConfig) {
  const { resources = [] } = await readState(stack);
  return tellAws(targetOf(resources) === "aws" ? before : undefined, config);
}

/** Prints it in the form that was asked for, and gives the exit code. */
export async function showReport(flags: FormFlags, report: MoveReport): Promise<ExitCode> {
  if (flags.html !== undefined) {
    const { renderHtml } = await import("../report/html.ts");
    writePage(flags.html, renderHtml(report));
  }
  if (flags.json === true) printJson(report);
  else if (flags.markdown === true) print((await import("../report/markdown.ts")).renderMarkdown(report));
  else print(renderTerminal(report, terminalWidth()));
  return report.verdict === "unsafe" ? EXIT.refused : EXIT.done;
}
