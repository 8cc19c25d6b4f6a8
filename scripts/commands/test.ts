import { join } from "node:path";
import { TARGETS } from "../../stacks/config.ts";
import { EXIT, type ExitCode, UserError } from "../../tuning/errors.ts";
import { ROOT } from "../lib/paths.ts";
import { note } from "../lib/progress.ts";
import { runAttached } from "../lib/run.ts";
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

const vitest = (args: readonly string[], full: boolean): Promise<number> =>
  runAttached(process.execPath, [...bin("vitest/vitest.mjs"), "run", ...args], {
    ...process.env,
    CGRAPH_TEST_FULL: full ? "1" : "",
  });

/** `test`: set-up, then format, lint, types, and all tests; --full adds the long drills. */
export async function test(files: readonly string[], flags: TestFlags): Promise<ExitCode> {
  const parts: Record<string, () => Promise<boolean>> = {
    lint: () => check(LINT),
    typecheck: () => check(TYPECHECK),
    unit: async () => (await vitest(UNIT, false)) === 0,
  };
  if (flags.only !== undefined) {
    const part = parts[flags.only];
    if (!part) throw new UserError(`there is no part ${flags.only}`, `use one of ${Object.keys(parts).join(", ")}`);
    return (await part()) ? EXIT.done : EXIT.failed;
  }
  await setUp({ mayInstall: flags.install, targets: TARGETS });
  if (!(await check([...LINT, ...TYPECHECK]))) return EXIT.failed;
  return (await vitest(files, flags.full === true)) === 0 ? EXIT.done : EXIT.failed;
}
