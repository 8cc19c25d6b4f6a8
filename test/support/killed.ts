/** Commands that are killed in the midst of what they do. */
import { spawn } from "node:child_process";
import { join } from "node:path";
import { ROOT } from "../../scripts/lib/paths.ts";
import { openJournal } from "../../scripts/migrate/journal.ts";

/**
 * Runs ./cgraph-db and kills it (SIGKILL) so many milliseconds after a step of a move has begun. Gives whether it was
 * killed: a step may be over before.
 */
export function killDuring(stack: string, step: string, afterMs: number, args: readonly string[]): Promise<boolean> {
  return new Promise((resolve) => {
    const child = spawn(join(ROOT, "cgraph-db"), args, { stdio: "ignore" });
    let begun = 0;
    const watch = setInterval(() => {
      const found = openJournal(stack)?.steps.find(({ id }) => id === step);
      if (found?.state !== "running" && found?.state !== "undoing") return;
      begun ||= Date.now();
      if (Date.now() - begun >= afterMs) child.kill("SIGKILL");
    }, 10);
    child.on("exit", (_, signal) => {
      clearInterval(watch);
      resolve(signal === "SIGKILL");
    });
  });
}
