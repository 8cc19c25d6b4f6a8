import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parse, stringify } from "yaml";
import { stackConfigFile } from "./stackFiles.ts";

/** A copy of the stack's configuration with other values, outside the repository: a preview writes nothing. */
export function configCopy(
  stack: string,
  changes: Readonly<Record<string, string>>,
): { file: string; remove: () => void } {
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
