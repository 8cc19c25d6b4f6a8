/** A stack's state file: what is in it, and what an interrupted command may have left in it. */
import { setTimeout as sleep } from "node:timers/promises";
import { existsSync, readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import type { Stack } from "@pulumi/pulumi/automation/index.js";
import { processStart } from "./lock.ts";
import { note } from "./progress.ts";
import { localLockFolder, localStateFile, usesLocalBackend } from "./stackFiles.ts";

export interface Resource {
  readonly urn: string;
  readonly type: string;
  readonly id?: string;
  /** As the program gave them; secret ones encrypted. */
  readonly inputs?: Readonly<Record<string, unknown>>;
  readonly outputs?: Readonly<Record<string, unknown>>;
}

export interface Deployment {
  readonly resources?: readonly Resource[];
  readonly pending_operations?: readonly unknown[];
}

/** A Pulumi process that an interrupted command left behind is asked to stop, and awaited, before its lock is lifted. */
async function endOrphan(pid: number): Promise<void> {
  const isPulumi = (): boolean => {
    if (processStart(pid) === undefined) return false;
    try {
      return readFileSync(`/proc/${pid}/comm`, "utf8").startsWith("pulumi");
    } catch {
      return false;
    }
  };
  if (!isPulumi()) return;
  note(`  waiting for the Pulumi process ${pid} that an interrupted command left behind`);
  process.kill(pid, "SIGINT");
  for (let tries = 0; tries < 300 && isPulumi(); tries++) await sleep(200);
  if (isPulumi()) process.kill(pid, "SIGKILL");
  while (isPulumi()) await sleep(100);
}

/** Lifts locks of the local backend whose process has ended. Call only with the stack's own lock held. */
export async function liftStaleLocks(stack: Stack): Promise<boolean> {
  const folder = localLockFolder(stack.name);
  if (!usesLocalBackend(stack.name) || !existsSync(folder)) return false;
  const locks = readdirSync(folder).filter((file) => file.endsWith(".json"));
  for (const file of locks) {
    try {
      const { pid } = JSON.parse(readFileSync(join(folder, file), "utf8")) as { pid?: number };
      if (pid) await endOrphan(pid);
    } catch {
      // A lock that was cut off while it was written has no living holder.
    }
  }
  if (locks.length === 0) return false;
  note("  lifting the lock of an interrupted command");
  await stack.cancel();
  return true;
}

/** The stack's state: read directly where it is a local file, which costs no process. */
export async function readState(stack: Stack): Promise<Deployment> {
  const file = localStateFile(stack.name);
  if (!existsSync(file)) return (await stack.exportStack()).deployment as Deployment;
  const state = JSON.parse(readFileSync(file, "utf8")) as { checkpoint?: { latest?: Deployment } };
  return state.checkpoint?.latest ?? {};
}

/**
 * A stack's outputs as its state has them, secret ones encrypted: reading them costs no process. Undefined where `up` has
 * not come to its end yet.
 */
export async function stateValues(stack: Stack): Promise<Readonly<Record<string, unknown>> | undefined> {
  const { resources = [] } = await readState(stack);
  const outputs = resources.find(({ type }) => type === "pulumi:pulumi:Stack")?.outputs;
  return Array.isArray(outputs?.["nodes"]) ? outputs : undefined;
}

/** Forgets operations that were under way when a command was killed; what they made is found in Docker instead. */
async function clearPending(stack: Stack): Promise<void> {
  const exported = await stack.exportStack();
  const deployment = exported.deployment as Deployment;
  note("  clearing operations that an interrupted command left pending");
  await stack.importStack({ ...exported, deployment: { ...deployment, pending_operations: [] } });
}

export const ofType = (state: Deployment, type: string): Resource[] =>
  (state.resources ?? []).filter((resource) => resource.type === type);

/** Lifts stale locks and clears pending operations; gives whether the state must be refreshed. */
export async function mendState(stack: Stack): Promise<boolean> {
  await liftStaleLocks(stack);
  if (((await readState(stack)).pending_operations ?? []).length === 0) return false;
  await clearPending(stack);
  return true;
}
