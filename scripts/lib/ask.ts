import { createInterface } from "node:readline/promises";
import { EXIT, UserError } from "../../tuning/errors.ts";

/**
 * Asks before something that cannot be taken back. `expected` is what the person has to type (`yes`, a stack's name).
 * With `yes` nothing is asked; without a terminal and without `yes` it is refused.
 */
export async function confirm(question: string, expected: string, yes: boolean): Promise<void> {
  if (yes) return;
  if (!process.stdin.isTTY) {
    throw new UserError(
      `${question} (there is no terminal to answer at)`,
      "add --yes to answer yes to every question",
      EXIT.refused,
    );
  }
  const terminal = createInterface({ input: process.stdin, output: process.stderr });
  try {
    const answer = (await terminal.question(`${question}\nType "${expected}" to go on: `)).trim();
    if (answer !== expected)
      throw new UserError("not confirmed: nothing was changed", `type ${expected} to go on`, EXIT.refused);
  } finally {
    terminal.close();
  }
}
