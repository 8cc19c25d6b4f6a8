/** Before a stack is changed: what its state says and what Docker has must not contradict each other. */
import type { Stack } from "@pulumi/pulumi/automation/index.js";
import { EXIT, UserError } from "../../tuning/errors.ts";
import { type DockerObject, containerStates, docker, listLabelled } from "./docker.ts";
import { note } from "./progress.ts";
import { type Deployment, mendState, ofType, readState } from "./state.ts";

export const DOCKER_TYPES = {
  container: "docker:index/container:Container",
  network: "docker:index/network:Network",
  volume: "docker:index/volume:Volume",
  image: "docker:index/remoteImage:RemoteImage",
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
  const known = new Set(ofType(state, DOCKER_TYPES[kind]).map((resource) => resource.id));
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
  const refresh = await mendState(stack);
  const state = await readState(stack);
  const [volumes, networks, containers, images] = await Promise.all([
    listLabelled("volume", stack.name),
    listLabelled("network", stack.name),
    listLabelled("container", stack.name),
    docker(["image", "ls", "--quiet", "--no-trunc"]),
  ]);
  refuseForeign(volumes, installationOf(state), stack.name, "volume");
  if (!options.deletingData) {
    const names = new Set(volumes.map((volume) => volume.name));
    const lost = ofType(state, DOCKER_TYPES.volume).find(
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
    ofType(state, DOCKER_TYPES.image).some(({ outputs }) => !images.includes(String(outputs?.["imageId"]))),
  ];
  return { refresh: refresh || missing.some(Boolean) };
}

/**
 * Starts what should run and was stopped: by a command that was killed before it had it replaced, or by hand. Pulumi takes
 * a container that is there for one that runs. Not on the way to one server: a replica that starts then leads.
 */
export async function startStopped(stack: Stack): Promise<void> {
  const runs = ofType(await readState(stack), DOCKER_TYPES.container).filter(
    ({ outputs }) => outputs?.["mustRun"] === true,
  );
  const states = await containerStates(runs.map(({ outputs }) => String(outputs?.["name"])));
  const stopped = states.filter(({ status }) => status === "exited").map(({ name }) => name);
  if (stopped.length > 0) await docker(["start", ...stopped]);
}
