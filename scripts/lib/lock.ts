import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { EXIT, UserError } from "../../tuning/errors.ts";
import { stackFolder } from "./paths.ts";

interface Holder {
  readonly pid: number;
  /** Start time of the process in clock ticks (Linux), to tell it from a later one with the same number. */
  readonly startedAt: string;
  readonly command: string;
  readonly since: string;
}

/** Start time of a process as /proc knows it; empty where there is no /proc, undefined where there is no such process. */
export function processStart(pid: number): string | undefined {
  try {
    process.kill(pid, 0);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ESRCH") return undefined;
  }
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    return fields[0] === "Z" ? undefined : (fields[19] ?? "");
  } catch {
    return process.platform === "linux" ? undefined : "";
  }
}

function readHolder(file: string): Holder | undefined {
  try {
    return JSON.parse(readFileSync(file, "utf8")) as Holder;
  } catch {
    return undefined;
  }
}

/**
 * Takes a stack's lock for a command that changes it, and gives back how to release it and whether a holder had died
 * with it (then its work was interrupted). Throws a UserError where a living process holds it.
 */
export function lockStack(stack: string, command: string): { release: () => void; interrupted: boolean } {
  const folder = stackFolder(stack);
  const file = join(folder, "lock.json");
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  let interrupted = false;
  const own: Holder = {
    pid: process.pid,
    startedAt: processStart(process.pid) ?? "",
    command,
    since: new Date().toISOString(),
  };
  for (;;) {
    try {
      writeFileSync(file, JSON.stringify(own), { flag: "wx", mode: 0o600 });
      break;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
    }
    const holder = readHolder(file);
    if (holder && processStart(holder.pid) === holder.startedAt) {
      throw new UserError(
        `another cgraph-db ${holder.command} (process ${holder.pid}, since ${holder.since}) is at work on stack ${stack}`,
        "wait until it has ended, then call this again",
        EXIT.failed,
      );
    }
    rmSync(file, { force: true });
    interrupted = true;
  }
  const release = (): void => rmSync(file, { force: true });
  process.once("exit", release);
  return {
    interrupted,
    release() {
      process.off("exit", release);
      release();
    },
  };
}
