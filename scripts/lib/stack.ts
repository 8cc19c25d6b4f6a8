import { existsSync, readFileSync } from "node:fs";
// The Automation API loads 0.5 s of modules: this file is imported by commands that need a stack, when they run.
import { LocalWorkspace, PulumiCommand, type Stack } from "@pulumi/pulumi/automation/index.js";
import { dockerHost } from "../../components/docker/engine.ts";
import { type ConfigSource, type StackConfig, checkKeys, readConfig } from "../../stacks/config.ts";
import type { StackValues } from "../../stacks/outputs.ts";
import { program } from "../../stacks/program.ts";
import { planTopology } from "../../stacks/topology.ts";
import { EXIT, UserError } from "../../tuning/errors.ts";
import { adoptDockerContext } from "../setup/engine.ts";
import { type PulumiCli, findPulumi } from "../setup/pulumi.ts";
import { ROOT } from "./paths.ts";
import {
  PROJECT,
  checkStackName,
  localStateFile,
  pulumiEnvironment,
  stackConfigFile,
  usesLocalBackend,
} from "./stackFiles.ts";

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

/** Opens a stack that exists. Throws a UserError (wrong use) where there is none of that name. */
export async function openStack(name: string, cli?: PulumiCli): Promise<Stack> {
  checkStackName(name);
  checkLocalState(name);
  if (usesLocalBackend(name) && !existsSync(localStateFile(name))) throw noStack(name);
  try {
    return await LocalWorkspace.selectStack(
      { stackName: name, projectName: PROJECT, program },
      await workspaceOptions(name, cli),
    );
  } catch (error) {
    if (/no stack named/.test(String(error))) throw noStack(name);
    throw explainPulumi(error, name);
  }
}

const noStack = (name: string): UserError =>
  new UserError(`there is no stack "${name}"`, `make it with ./cgraph-db up --stack ${name}`);

/** Opens a stack, or makes it. */
export async function openOrCreateStack(name: string, cli?: PulumiCli): Promise<Stack> {
  checkStackName(name);
  checkLocalState(name);
  try {
    return await LocalWorkspace.createOrSelectStack(
      { stackName: name, projectName: PROJECT, program },
      await workspaceOptions(name, cli),
    );
  } catch (error) {
    throw explainPulumi(error, name);
  }
}

/** A stack's outputs, secrets included. Throws a UserError where `up` has not come to its end yet. */
export async function stackValues(stack: Stack): Promise<StackValues> {
  const outputs = await stack.outputs().catch((error: unknown) => {
    throw explainPulumi(error, stack.name);
  });
  const values = Object.fromEntries(Object.entries(outputs).map(([key, { value }]) => [key, value as unknown]));
  if (!("nodes" in values) || !("passwords" in values)) {
    throw new UserError(`stack ${stack.name} is not up`, `run ./cgraph-db up --stack ${stack.name}`, EXIT.failed);
  }
  return values as unknown as StackValues;
}

const PREFIX = `${PROJECT}:`;

/** A stack's configuration file as it stands: keys without `cgraph:`, values as text. */
export async function readStackConfig(name: string): Promise<Record<string, string>> {
  if (!existsSync(stackConfigFile(name))) return {};
  const { parse } = await import("yaml");
  let file: unknown;
  try {
    file = parse(readFileSync(stackConfigFile(name), "utf8"));
  } catch (error) {
    throw new UserError(
      `${stackConfigFile(name)} is not YAML: ${String(error).split("\n")[0]}`,
      "mend it",
      EXIT.wrongUse,
    );
  }
  const config = (file as { config?: Record<string, unknown> } | null)?.config ?? {};
  return Object.fromEntries(
    Object.entries(config)
      .filter(([key]) => key.startsWith(PREFIX))
      .map(([key, value]) => [key.slice(PREFIX.length), typeof value === "string" ? value : JSON.stringify(value)]),
  );
}

/** Checks that the stage fits the Docker host with these settings; a mistake in them is found before anything is done. */
export async function checkTopology(config: StackConfig): Promise<void> {
  planTopology(config, await dockerHost());
}

/** Reads and checks a stack's configuration, with changes that are not written yet. */
export async function checkedConfig(
  name: string,
  changes: Readonly<Record<string, string>> = {},
): Promise<StackConfig> {
  const raw = { ...(await readStackConfig(name)), ...changes };
  checkKeys(Object.keys(raw));
  const source: ConfigSource = (key) => raw[key];
  return readConfig(source);
}

/** Writes configuration keys (without `cgraph:`) to a stack, leaving those that already say so. */
export async function writeStackConfig(stack: Stack, changes: Readonly<Record<string, string>>): Promise<void> {
  const before = await readStackConfig(stack.name);
  const changed = Object.entries(changes).filter(([key, value]) => before[key] !== value);
  if (changed.length === 0) return;
  await stack.setAllConfig(Object.fromEntries(changed.map(([key, value]) => [`${PREFIX}${key}`, { value }])));
}
