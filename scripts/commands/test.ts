import { join } from "node:path";
import { TARGETS } from "../../stacks/config.ts";
import { EXIT, type ExitCode, UserError } from "../../tuning/errors.ts";
import { ROOT } from "../lib/paths.ts";
import { note } from "../lib/progress.ts";
import { runAttached } from "../lib/run.ts";
import { engineVersion } from "../setup/engine.ts";
import { setUp } from "../setup/steps.ts";

export interface TestFlags {
  readonly full?: boolean;
  readonly only?: string;
  readonly install: boolean;
}

const bin = (name: string): string[] => [join(ROOT, "node_modules", ...name.split("/"))];
const LINT = [
  { name: "format", args: [...bin("prettier/bin/prettier.cjs"), "--check", "."] },
  { name: "lint", args: [...bin("eslint/bin/eslint.js"), "--max-warnings=0", "."] },
];
const TYPECHECK = [{ name: "typecheck", args: [...bin("typescript/bin/tsc"), "--noEmit"] }];
const UNIT = ["--project", "unit"];

async function check(tools: readonly { name: string; args: readonly string[] }[]): Promise<boolean> {
  for (const tool of tools) {
    note(`- ${tool.name}`);
    if ((await runAttached(process.execPath, tool.args)) !== 0) {
      note(`✗ ${tool.name} failed: see the lines above`);
      return false;
    }
  }
  return true;
}

const vitest = (args: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<number> =>
  runAttached(process.execPath, [...bin("vitest/vitest.mjs"), "run", ...args], { ...process.env, ...env });

/** `test`: set-up, then format, lint, types, and all tests; --full adds the long drills. */
export async function test(files: readonly string[], flags: TestFlags): Promise<ExitCode> {
  const parts: Record<string, () => Promise<boolean>> = {
    lint: () => check(LINT),
    typecheck: () => check(TYPECHECK),
    unit: async () => (await vitest(UNIT)) === 0,
  };
  if (flags.only !== undefined) {
    const part = parts[flags.only];
    if (!part) throw new UserError(`there is no part ${flags.only}`, `use one of ${Object.keys(parts).join(", ")}`);
    return (await part()) ? EXIT.done : EXIT.failed;
  }
  const alone = (await engineVersion()) === undefined;
  await setUp({ mayInstall: flags.install, targets: TARGETS });
  if (!(await check([...LINT, ...TYPECHECK]))) return EXIT.failed;
  const env = { CGRAPH_TEST_FULL: flags.full ? "1" : "", CGRAPH_TEST_ALONE: alone ? "1" : "" };
  return (await vitest(files, env)) === 0 ? EXIT.done : EXIT.failed;
}
