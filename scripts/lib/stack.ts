import { existsSync, readFileSync } from "node:fs";
// The Automation API loads 0.5 s of modules: this file is imported by commands that need a stack, when they run.
import { LocalWorkspace, PulumiCommand, type Stack } from "@pulumi/pulumi/automation/index.js";
import { output } from "@pulumi/pulumi";
import type { AwsStackValues } from "../../stacks/aws/outputs.ts";
import type { StackValues } from "../../stacks/outputs.ts";
import { program } from "../../stacks/program.ts";
import { EXIT, UserError } from "../../tuning/errors.ts";
import { adoptDockerContext } from "../setup/engine.ts";
import { type PulumiCli, findPulumi } from "../setup/pulumi.ts";
import { ROOT } from "./paths.ts";
import { run } from "./run.ts";
import { readStackConfig } from "./stackConfig.ts";
import { PROJECT, checkStackName, localStateFile, pulumiEnvironment, usesLocalBackend } from "./stackFiles.ts";

export type AnyStackValues = StackValues | AwsStackValues;

/** Pulumi's own errors that a person can mend, in our words. */
export function explainPulumi(error: unknown, stack: string): unknown {
  const text = error instanceof Error ? error.message : String(error);
  if (/incorrect passphrase/i.test(text)) {
    return new UserError(
      `the passphrase does not open the secrets of stack ${stack}`,
      "give the right one in PULUMI_CONFIG_PASSPHRASE, or put the one you have kept (secrets export) into .cgraph/passphrase",
      EXIT.failed,
    );
  }
  if (/passphrase must be set/i.test(text)) {
    return new UserError(
      `the secrets of stack ${stack} need a passphrase`,
      "set PULUMI_CONFIG_PASSPHRASE or PULUMI_CONFIG_PASSPHRASE_FILE",
      EXIT.failed,
    );
  }
  return error;
}

/** Refuses to go on with a state file that is not whole, and says where its last good copy is. */
function checkLocalState(stack: string): void {
  const file = localStateFile(stack);
  if (!existsSync(file)) return;
  const whole = (path: string): boolean => {
    try {
      return typeof JSON.parse(readFileSync(path, "utf8")) === "object";
    } catch {
      return false;
    }
  };
  if (whole(file)) return;
  const backup = `${file}.bak`;
  throw new UserError(
    `the state of stack ${stack} is damaged: ${file} is not JSON; nothing was changed, and no volume is lost`,
    existsSync(backup) && whole(backup)
      ? `put back the copy from before the last change: cp ${backup} ${file}`
      : `put back a copy of ${file} from your backups`,
    EXIT.failed,
  );
}

async function workspaceOptions(stack: string, cli?: PulumiCli) {
  const found = cli ?? (await findPulumi());
  if (!found) throw new UserError("the Pulumi CLI is missing", "run ./cgraph-db setup", EXIT.failed);
  await adoptDockerContext();
  const pulumiCommand = await PulumiCommand.get({
    ...(found.root ? { root: found.root } : {}),
    skipVersionCheck: true,
  });
  return { workDir: ROOT, pulumiCommand, envVars: pulumiEnvironment(stack) };
}

/** Tries again where the state was read while Pulumi wrote it: that of a command which was killed goes on for a moment. */
async function withoutHalf<T>(read: () => Promise<T>): Promise<T> {
  for (let tries = 0; ; tries++) {
    try {
      return await read();
    } catch (error) {
      if (tries === 10 || !/failed to load checkpoint/.test(String(error))) throw error;
      await new Promise((resolve) => setTimeout(resolve, 300));
    }
  }
}

/** Opens a stack that exists. Throws a UserError (wrong use) where there is none of that name. */
export async function openStack(name: string, cli?: PulumiCli): Promise<Stack> {
  checkStackName(name);
  checkLocalState(name);
  if (usesLocalBackend(name) && !existsSync(localStateFile(name))) throw noStack(name);
  const options = await workspaceOptions(name, cli);
  const select = (): Promise<Stack> =>
    LocalWorkspace.selectStack({ stackName: name, projectName: PROJECT, program: observedProgram }, options);
  try {
    return await withoutHalf(select);
  } catch (error) {
    if (/no stack named/.test(String(error))) throw noStack(name);
    throw explainPulumi(error, name);
  }
}

/** What the program gave back when it last ran to its end in this process: it runs here, so its values are here too. */
let lastValues: AnyStackValues | undefined;

async function observedProgram(): ReturnType<typeof program> {
  lastValues = undefined;
  const outputs = await program();
  output(outputs).apply((values) => (lastValues = values));
  return outputs;
}

/** Values of the stack that this process has just brought up; spares a process of the CLI. */
export const valuesAfterUp = async (stack: Stack): Promise<AnyStackValues> => lastValues ?? anyStackValues(stack);

/** What the program gave back in a plan of this process; undefined where it was not all known, as before an `up`. */
export const plannedValues = (): AnyStackValues | undefined => lastValues;

const noStack = (name: string): UserError =>
  new UserError(`there is no stack "${name}"`, `make it with ./cgraph-db up --stack ${name}`);

/** Opens a stack, or makes it. */
export async function openOrCreateStack(name: string, cli?: PulumiCli): Promise<Stack> {
  checkStackName(name);
  checkLocalState(name);
  const inline = { stackName: name, projectName: PROJECT, program: observedProgram };
  const options = await workspaceOptions(name, cli);
  // Where it is plain that there is none yet, asking first would cost a process.
  const isNew = usesLocalBackend(name) && !existsSync(localStateFile(name));
  try {
    return await (isNew
      ? LocalWorkspace.createStack(inline, options)
      : LocalWorkspace.createOrSelectStack(inline, options));
  } catch (error) {
    throw explainPulumi(error, name);
  }
}

/**
 * A stack's outputs, secrets included, in one call of the CLI: the Automation API's own needs two.
 * Throws a UserError where `up` has not come to its end yet.
 */
export async function anyStackValues(stack: Stack): Promise<AnyStackValues> {
  const { workspace, name } = stack;
  const { code, stdout, stderr } = await run(
    workspace.pulumiCommand.command,
    ["stack", "output", "--json", "--show-secrets", "--non-interactive", "--stack", name],
    { cwd: workspace.workDir, env: { ...process.env, ...workspace.envVars } },
  );
  if (code !== 0) throw explainPulumi(new Error(stderr.trim()), name);
  const values = JSON.parse(stdout) as Partial<AnyStackValues>;
  if (!values.nodes || !values.passwords) {
    throw new UserError(`stack ${name} is not up`, `run ./cgraph-db up --stack ${name}`, EXIT.failed);
  }
  if (values.target === "docker" && values.regions) {
    // `region promote` writes it down; outputs tell of the last `up`.
    const primary = readStackConfig(name)["primaryRegion"] ?? values.regions.all[0]?.name ?? "";
    return { ...values, regions: { ...values.regions, primary } } as AnyStackValues;
  }
  return values as AnyStackValues;
}

/** The same, of a stack in Docker. Throws a UserError where it is on AWS. */
export async function stackValues(stack: Stack): Promise<StackValues> {
  const values = await anyStackValues(stack);
  if (values.target !== "aws") return values;
  throw new UserError(
    `stack ${stack.name} is on AWS, where this command does nothing: AWS does that work itself`,
    "see docs/aws.md for what to call there",
  );
}
