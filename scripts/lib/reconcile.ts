/** Before a stack is changed: what its state says and what Docker has must not contradict each other. */
import { existsSync, readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import type { Stack } from "@pulumi/pulumi/automation/index.js";
import { EXIT, UserError } from "../../tuning/errors.ts";
import { type DockerObject, docker, listLabelled } from "./docker.ts";
import { processStart } from "./lock.ts";
import { note } from "./progress.ts";
import { localLockFolder, localStateFile, usesLocalBackend } from "./stackFiles.ts";

interface Resource {
  readonly urn: string;
  readonly type: string;
  readonly id?: string;
  readonly outputs?: Readonly<Record<string, unknown>>;
}

interface Deployment {
  readonly resources?: readonly Resource[];
  readonly pending_operations?: readonly unknown[];
}

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

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
async function readState(stack: Stack): Promise<Deployment> {
  const file = localStateFile(stack.name);
  if (!existsSync(file)) return (await stack.exportStack()).deployment as Deployment;
  const state = JSON.parse(readFileSync(file, "utf8")) as { checkpoint?: { latest?: Deployment } };
  return state.checkpoint?.latest ?? {};
}

/** Forgets operations that were under way when a command was killed; what they made is found in Docker instead. */
async function clearPending(stack: Stack): Promise<void> {
  const exported = await stack.exportStack();
  const deployment = exported.deployment as Deployment;
  note("  clearing operations that an interrupted command left pending");
  await stack.importStack({ ...exported, deployment: { ...deployment, pending_operations: [] } });
}

const ofType = (state: Deployment, type: string): Resource[] =>
  (state.resources ?? []).filter((resource) => resource.type === type);
const TYPES = {
  container: "docker:index/container:Container",
  network: "docker:index/network:Network",
  volume: "docker:index/volume:Volume",
} as const;

/** The id that labels what this state has made; undefined before anything was. */
export const installationOf = (state: Deployment): string | undefined =>
  ofType(state, "random:index/randomId:RandomId").find((r) => r.urn.endsWith("::installation"))?.outputs?.["hex"] as
    string | undefined;

/** Removes what this stack made in Docker but its state does not know: made by a command that was killed meanwhile. */
async function removeUnknown(
  kind: "container" | "network",
  there: readonly DockerObject[],
  state: Deployment,
  stack: string,
): Promise<boolean> {
  const installation = installationOf(state);
  const known = new Set(ofType(state, TYPES[kind]).map((resource) => resource.id));
  refuseForeign(there, installation, stack, kind);
  const unknown = there.filter((object) => !known.has(object.id));
  for (const object of unknown) {
    note(`  removing the ${kind} ${object.name} of an interrupted command`);
    if (kind === "container") {
      await docker(["stop", "--time", "120", object.id]);
      await docker(["rm", object.id]);
    } else {
      await docker(["network", "rm", object.id]);
    }
  }
  const ids = new Set(there.map((object) => object.id));
  return [...known].some((id) => id !== undefined && !ids.has(id));
}

function refuseForeign(
  there: readonly { name: string; installation: string }[],
  installation: string | undefined,
  stack: string,
  kind: string,
): void {
  const foreign = there.find((object) => object.installation !== installation);
  if (!foreign) return;
  throw new UserError(
    `the ${kind} ${foreign.name} belongs to another stack named ${stack}: another checkout made it, or this one's state (.cgraph) was lost`,
    kind === "volume"
      ? `use another name (--stack NAME), or put the lost state back; the volume's data opens only with that state's passwords`
      : "use another name (--stack NAME), or call down where it was made",
    EXIT.refused,
  );
}

/**
 * Makes ready to change a stack: lifts stale locks, clears pending operations, removes half-made containers, and refuses
 * where data is not where the state says, or belongs to someone else. Gives whether the state must be refreshed.
 */
export async function reconcile(stack: Stack, options: { deletingData?: boolean } = {}): Promise<{ refresh: boolean }> {
  await liftStaleLocks(stack);
  let state = await readState(stack);
  let refresh = false;
  if ((state.pending_operations ?? []).length > 0) {
    await clearPending(stack);
    state = await readState(stack);
    refresh = true;
  }
  const [volumes, networks, containers] = await Promise.all([
    listLabelled("volume", stack.name),
    listLabelled("network", stack.name),
    listLabelled("container", stack.name),
  ]);
  refuseForeign(volumes, installationOf(state), stack.name, "volume");
  if (!options.deletingData) {
    const names = new Set(volumes.map((volume) => volume.name));
    const lost = ofType(state, TYPES.volume).find(
      (volume) => !names.has(volume.id ?? "") && /-(data|backups)/.test(volume.id ?? ""),
    );
    if (lost) {
      throw new UserError(
        `the volume ${lost.id} is gone from Docker, but the stack's state says it holds data`,
        `if Docker points at another machine, set it right; if the data is to be given up: ./cgraph-db down --stack ${stack.name} --delete-data`,
        EXIT.refused,
      );
    }
  }
  // Containers first: a network with one in it cannot be removed.
  const missing = [
    await removeUnknown("container", containers, state, stack.name),
    await removeUnknown("network", networks, state, stack.name),
  ];
  return { refresh: refresh || missing.some(Boolean) };
}
