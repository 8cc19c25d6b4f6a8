import { existsSync, readFileSync } from "node:fs";
import { parse, parseDocument } from "yaml";
import { dockerHost } from "../../components/docker/engine.ts";
import { planAws } from "../../stacks/aws/plan.ts";
import { type ConfigSource, type StackConfig, checkKeys, readConfig } from "../../stacks/config.ts";
import { planTopology } from "../../stacks/topology.ts";
import { EXIT, UserError } from "../../tuning/errors.ts";
import { writeWhole } from "./files.ts";
import { PROJECT, stackConfigFile } from "./stackFiles.ts";

const PREFIX = `${PROJECT}:`;

/** A stack's configuration file as it stands: keys without `cgraph:`, values as text. */
export function readStackConfig(name: string): Record<string, string> {
  if (!existsSync(stackConfigFile(name))) return {};
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

/** Checks that the stage can be had with these settings, on the Docker host or on AWS, before anything is done. */
export async function checkTopology(config: StackConfig): Promise<void> {
  if (config.target === "aws") planAws(config);
  else planTopology(config, await dockerHost());
}

/** Reads and checks a stack's configuration, with changes that are not written yet. */
export function checkedConfig(name: string, changes: Readonly<Record<string, string>> = {}): StackConfig {
  const raw = { ...readStackConfig(name), ...changes };
  checkKeys(Object.keys(raw));
  const source: ConfigSource = (key) => raw[key];
  return readConfig(source);
}

/** Writes configuration keys (without `cgraph:`) to a stack's file, leaving the rest as it is, comments included. */
export function writeStackConfig(stack: string, changes: Readonly<Record<string, string>>): void {
  const before = readStackConfig(stack);
  const changed = Object.entries(changes).filter(([key, value]) => before[key] !== value);
  if (changed.length === 0) return;
  const file = stackConfigFile(stack);
  const document = parseDocument(existsSync(file) ? readFileSync(file, "utf8") : "");
  for (const [key, value] of changed) document.setIn(["config", `${PREFIX}${key}`], value);
  // The file also holds the salt of the stack's secrets: half of it would be worse than none.
  writeWhole(file, document.toString());
}

/** Takes a key (without `cgraph:`) out of a stack's file. */
export function unsetStackConfig(stack: string, key: string): void {
  const file = stackConfigFile(stack);
  const document = parseDocument(readFileSync(file, "utf8"));
  document.deleteIn(["config", `${PREFIX}${key}`]);
  writeWhole(file, document.toString());
}
