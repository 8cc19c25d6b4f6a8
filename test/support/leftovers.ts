/** What tests have left that were cut off: their servers come back with the engine, and take the machine from these. */
import { STACK_LABEL } from "../../components/docker/names.ts";
import { docker } from "../../scripts/lib/docker.ts";
import { TEST_STACK, removeStack } from "./cli.ts";

const LISTS = [
  ["ps", "--all"],
  ["network", "ls"],
  ["volume", "ls"],
] as const;

/** Where no engine ran before, no tests ran beside these, and every test's stack is one that was left. */
export async function setup(): Promise<void> {
  if (process.env["CGRAPH_TEST_ALONE"] !== "1") return;
  const named = await Promise.all(LISTS.map((list) => docker([...list, "--format", `{{.Label "${STACK_LABEL}"}}`])));
  const left = new Set(named.flatMap((lines) => lines.split("\n")).filter((name) => TEST_STACK.test(name)));
  for (const stack of left) {
    console.log(`- removing ${stack}, which tests that were cut off have left`);
    await removeStack(stack);
  }
}
