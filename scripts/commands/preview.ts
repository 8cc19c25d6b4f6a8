import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parse, stringify } from "yaml";
import { PRICES_AS_OF } from "../../stacks/aws/classes.ts";
import type { CostLine } from "../../stacks/aws/cost.ts";
import { EXIT, type ExitCode, UserError } from "../../tuning/errors.ts";
import { type Change, changeOf, resourceName, verdictOf } from "../lib/changes.ts";
import { print, printJson, table } from "../lib/print.ts";
import { step } from "../lib/progress.ts";
import { explainPulumi, openStack } from "../lib/stack.ts";
import { checkTopology, checkedConfig, readStackConfig } from "../lib/stackConfig.ts";
import { adoptDockerContext } from "../setup/engine.ts";
import { stackConfigFile } from "../lib/stackFiles.ts";

export interface PreviewFlags {
  readonly stack: string;
  readonly stage?: string;
  readonly target?: string;
  readonly offline?: boolean;
  readonly from?: string;
  readonly json?: boolean;
}

const MEANING = {
  none: "nothing would change",
  safe: "nothing restarts, no data is touched",
  restarts: "servers restart: clients reconnect; no data is touched",
  unsafe: "REFUSED: something that holds data would be deleted or replaced",
} as const;

/** A copy of the stack's configuration with other values, outside the repository: a preview writes nothing. */
function configCopy(stack: string, changes: Readonly<Record<string, string>>): { file: string; remove: () => void } {
  const folder = mkdtempSync(join(tmpdir(), "cgraph-preview-"));
  const file = join(folder, `Pulumi.${stack}.yaml`);
  const original = stackConfigFile(stack);
  if (existsSync(original)) cpSync(original, file);
  const content =
    (existsSync(file) ? (parse(readFileSync(file, "utf8")) as Record<string, unknown> | null) : null) ?? {};
  const config = (content["config"] ?? {}) as Record<string, unknown>;
  for (const [key, value] of Object.entries(changes)) config[`cgraph:${key}`] = value;
  writeFileSync(file, stringify({ ...content, config }));
  return { file, remove: () => rmSync(folder, { recursive: true, force: true }) };
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
  const before = readStackConfig(flags.stack);
  const config = checkedConfig(flags.stack, wanted);
  await adoptDockerContext();
  await checkTopology(config);
  const stack = await openStack(flags.stack);
  const changes: Change[] = [];
  const messages: string[] = [];
  const copy = flags.stage === undefined ? undefined : configCopy(flags.stack, wanted);
  try {
    await step(`preview of stack ${flags.stack}`, async () => {
      await stack.preview({
        ...(copy ? { configFile: copy.file } : {}),
        onEvent: (event) => {
          const change = changeOf(event);
          if (change) changes.push(change);
          if (event.diagnosticEvent?.severity === "error") messages.push(event.diagnosticEvent.message.trim());
        },
      });
      return { value: undefined, done: `${changes.length} changes` };
    });
  } catch (error) {
    // A planned replacement of a protected resource is reported as an error; the difference is what was asked for.
    const explained = explainPulumi(error, flags.stack);
    if (verdictOf(changes) !== "unsafe") {
      throw explained instanceof UserError
        ? explained
        : new UserError(messages.join("\n") || String(error), "mend what the message says", EXIT.failed);
    }
  } finally {
    copy?.remove();
  }
  return showPreview(flags, { from: Number(before["stage"] ?? 1), to: config.stage, changes });
}

/** What a preview has found. */
export interface Preview {
  readonly from: number;
  readonly to: number;
  readonly changes: readonly Change[];
  /** On AWS: what it would cost a month, part by part, and what it costs now. */
  readonly cost?: {
    readonly lines: readonly CostLine[];
    readonly usdPerMonth: number;
    readonly usdPerMonthNow: number;
  };
}

const usd = (amount: number): string => `$${amount.toFixed(2)}`;

function showPreview(flags: PreviewFlags, { from, to, changes, cost }: Preview): ExitCode {
  const verdict = verdictOf(changes);
  if (flags.json) {
    printJson({ from, to, changes, verdict, ...(cost ? { cost } : {}) });
  } else {
    print(`${verdict}: ${MEANING[verdict]}`);
    if (changes.length > 0) {
      print(
        table([
          ["change", "resource", "type", "holds data"],
          ...changes.map((c) => [c.op, resourceName(c.urn), c.type, c.stateful ? "yes" : ""]),
        ]),
      );
    }
    if (cost) {
      print(
        table([
          ["part", "what", "a month"],
          ...cost.lines.map(({ part, what, usdPerMonth }) => [part, what, usd(usdPerMonth)]),
          ["all", "", usd(cost.usdPerMonth)],
          ["now", "", usd(cost.usdPerMonthNow)],
        ]),
      );
      print(`On-demand list prices of ${PRICES_AS_OF}, us-east-1, without data transfer.`);
    }
  }
  return verdict === "unsafe" ? EXIT.refused : EXIT.done;
}
