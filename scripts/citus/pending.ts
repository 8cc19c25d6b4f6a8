/** A change of a Citus cluster's workers that has begun, in a file: called again, the command goes on with it. */
import { existsSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { EXIT, UserError } from "../../tuning/errors.ts";
import { writeWhole } from "../lib/files.ts";
import { stackFolder } from "../lib/paths.ts";

export interface PendingWorkers {
  readonly kind: "add" | "remove";
  /** How many workers there are to be. */
  readonly workers: number;
}

const file = (stack: string): string => join(stackFolder(stack), "workers.json");

export function pendingWorkers(stack: string): PendingWorkers | undefined {
  return existsSync(file(stack)) ? (JSON.parse(readFileSync(file(stack), "utf8")) as PendingWorkers) : undefined;
}

export function rememberWorkers(stack: string, pending: PendingWorkers): void {
  writeWhole(file(stack), `${JSON.stringify(pending)}\n`, 0o600);
}

export function forgetPending(stack: string): void {
  rmSync(file(stack), { force: true });
}

/** The change that this command is to go on with, if any. Throws a UserError where another kind is under way. */
export function pendingOf(stack: string, kind: PendingWorkers["kind"]): PendingWorkers | undefined {
  const pending = pendingWorkers(stack);
  if (!pending || pending.kind === kind) return pending;
  throw new UserError(
    `workers of stack ${stack} are being ${pending.kind === "add" ? "added" : "removed"}, so that there are ${pending.workers}`,
    `let that come to its end first: ./cgraph-db workers ${pending.kind} --stack ${stack}`,
    EXIT.refused,
  );
}
