/** Carries out `up` and `destroy` of a stack with progress, a watch on its containers, and an orderly Ctrl-C. */
import type { DestroyOptions, EngineEvent, Stack, UpOptions } from "@pulumi/pulumi/automation/index.js";
import type { AwsStackValues } from "../../stacks/aws/outputs.ts";
import type { Target } from "../../stacks/config.ts";
import type { StackValues } from "../../stacks/outputs.ts";
import { dockerName } from "../../components/docker/names.ts";
import { WITNESS } from "../../components/docker/regionRoutes.ts";
import { EXIT, UserError } from "../../tuning/errors.ts";
import { engineVersion } from "../setup/engine.ts";
import { resourceName } from "../../migration/change.ts";
import { failureOf, remedyFor } from "./failure.ts";
import { changeOf } from "./plan.ts";
import { containerStates, lastWords, listLabelled } from "./docker.ts";
import { type Step, note, step } from "./progress.ts";
import { RegionWatch, type RegionTrouble, outOfReach } from "../regions/reach.ts";
import { run } from "./run.ts";
import { explainPulumi, valuesAfterUp } from "./stack.ts";
import { readStackConfig } from "./stackConfig.ts";
import { stateValues } from "./state.ts";

/** How often a container may start anew before it is taken to be broken. */
const RESTARTS = 3;

/**
 * Calls back for each container that starts over and over: waiting for its health would take ten minutes. `waiting`: the
 * ones that are new and not healthy yet, which may wait for it.
 */
async function watchContainers(
  stack: string,
  signal: AbortSignal,
  onBroken: (container: string, waiting: readonly string[]) => Promise<void>,
): Promise<void> {
  // A container that was broken before is about to be replaced: only restarts from now on count.
  const before = new Map<string, number>();
  for (let first = true; !signal.aborted; first = false) {
    try {
      const containers = await listLabelled("container", stack);
      const states = await containerStates(containers.map(({ name }) => name));
      const stateOf = (name: string) => states.find((state) => state.name === name);
      const waiting = containers.filter(({ id, name }) => !before.has(id) && stateOf(name)?.health === "starting");
      for (const { id, name } of containers) {
        const restarts = stateOf(name)?.restarts ?? 0;
        if (first) before.set(id, restarts);
        if (restarts - (before.get(id) ?? 0) < RESTARTS) continue;
        await onBroken(
          name,
          waiting.map((one) => one.name),
        );
      }
    } catch {
      // Docker does not answer for the moment; Pulumi itself will say so.
    }
    await new Promise((resolve) => setTimeout(resolve, 1500));
  }
}

/**
 * Calls back where new containers wait for a region that is out of reach: a router or a witness there gets well when its
 * region is back, and would be waited for for ten minutes. `values`: the stack's before.
 */
async function watchRegions(
  stack: string,
  values: StackValues,
  signal: AbortSignal,
  onLost: (troubles: readonly RegionTrouble[], waiting: readonly string[]) => Promise<void>,
): Promise<void> {
  const regions = new RegionWatch(values);
  const [home] = values.regions?.all ?? [];
  while (!signal.aborted) {
    const troubles = await regions.lasting().catch(() => []);
    if (troubles.length > 0) {
      const names = (await listLabelled("container", stack).catch(() => [])).map(({ name }) => name);
      const states = await containerStates(names).catch(() => []);
      // What is at home has no region in its name. A new witness anywhere is let in by all the others.
      const isThere = (name: string): boolean =>
        name.endsWith(WITNESS) ||
        troubles.some(({ region }) => region === home?.name || name.startsWith(dockerName(stack, region)));
      const waiting = states.filter(({ name, health }) => health === "starting" && isThere(name));
      if (waiting.length > 0) {
        await onLost(
          troubles,
          waiting.map(({ name }) => name),
        );
        return;
      }
    }
    await new Promise((resolve) => setTimeout(resolve, 1500));
  }
}

interface Broken {
  readonly container: string;
  /** What its log says of the reason. */
  readonly words: string;
}

interface Hooks {
  readonly onEvent: (event: EngineEvent) => void;
  readonly signal: AbortSignal;
}

interface OperateOptions {
  readonly target: Target;
  /** Whether containers that start over and over end it. */
  readonly watch?: boolean;
  /** The stack's values before, where it has several regions: containers that wait for one that is out of reach end it. */
  readonly regional?: StackValues | undefined;
  readonly onEvent?: (event: EngineEvent) => void;
}

/** Runs one Pulumi operation; gives how many resources changed. */
async function operate(
  title: string,
  stack: Stack,
  operation: (hooks: Hooks) => Promise<unknown>,
  { watch = false, regional, target, onEvent: listen }: OperateOptions,
): Promise<{ changes: number }> {
  return step(title, async (progress) => {
    const abort = new AbortController();
    const running = new Map<string, string>();
    const diagnostics: string[] = [];
    let changes = 0;
    let interrupted = false;
    let broken: Broken | undefined;
    let lost: UserError | undefined;
    const onEvent = (event: EngineEvent): void => {
      listen?.(event);
      const change = changeOf(event);
      if (change) {
        running.set(change.urn, `${change.op} ${resourceName(change.urn)}`);
        changes++;
      }
      const done = event.resOutputsEvent?.metadata ?? event.resOpFailedEvent?.metadata;
      if (done) running.delete(done.urn);
      if (event.diagnosticEvent?.severity === "error") diagnostics.push(event.diagnosticEvent.message);
      show(progress, running);
    };
    const interrupt = (): void => {
      note("\n  interrupted: waiting for the running step, so that nothing is left half-made");
      // On a terminal Pulumi gets Ctrl-C as well; twice would make it drop everything.
      if (!process.stdin.isTTY) abort.abort();
      interrupted = true;
    };
    process.on("SIGINT", interrupt);
    process.on("SIGTERM", interrupt);
    const watching = new AbortController();
    if (watch) {
      void watchContainers(stack.name, watching.signal, async (container, waiting) => {
        broken ??= { container, words: await lastWords(container) };
        abort.abort();
        // Pulumi waits for the health of these until they are gone; the data is in volumes.
        await run("docker", ["rm", "--force", container, ...waiting]);
      });
    }
    if (regional) {
      void watchRegions(stack.name, regional, watching.signal, async (troubles, waiting) => {
        lost ??= outOfReach(troubles, regional, `${waiting.join(", ")} cannot get well`);
        abort.abort();
        await run("docker", ["rm", "--force", ...waiting]);
      });
    }
    try {
      await operation({ onEvent, signal: abort.signal });
      return { value: { changes }, done: changes === 0 ? "nothing to change" : `${changes} changes` };
    } catch (error) {
      // eslint-disable-next-line @typescript-eslint/no-unnecessary-condition -- a signal may have set it meanwhile
      if (target === "docker" && !interrupted && (await engineVersion()) === undefined) {
        throw new UserError(
          "the Docker engine stopped answering midway; data volumes are untouched",
          "start Docker (./cgraph-db setup), then call this again: it goes on where it was",
          EXIT.failed,
        );
      }
      // eslint-disable-next-line @typescript-eslint/no-unnecessary-condition -- as above
      if (lost && !interrupted) throw lost;
      throw failure(stack.name, error, { interrupted, broken, diagnostics });
    } finally {
      watching.abort();
      process.off("SIGINT", interrupt);
      process.off("SIGTERM", interrupt);
    }
  });
}

function show(progress: Step, running: ReadonlyMap<string, string>): void {
  const leaves = [...running].filter(([urn]) => !/\$?cgraph:[a-z]+:[A-Za-z]+::[^:]+$|pulumi:pulumi:Stack/.test(urn));
  if (leaves.length > 0) progress.detail(leaves.map(([, text]) => text).join(", "));
}

function failure(
  stack: string,
  error: unknown,
  state: { interrupted: boolean; broken: Broken | undefined; diagnostics: readonly string[] },
): unknown {
  if (state.interrupted) {
    return new UserError("interrupted", "call this again: it goes on where it was", EXIT.failed);
  }
  if (state.broken) {
    const { container, words } = state.broken;
    const said = /cgraph: FATAL: (.*)/.exec(words)?.[1];
    return new UserError(
      `${container} does not start: ${said ?? `\n${words}`}`,
      remedyFor(said ?? words, "mend what it says, then call this again; the data volume is untouched"),
      EXIT.failed,
    );
  }
  const explained = explainPulumi(error, stack);
  if (explained instanceof UserError) return explained;
  const problem = failureOf(state.diagnostics, error);
  // Pulumi's protection, where nobody looked beforehand.
  const exitCode = /is protected|marked for protection/i.test(problem) ? EXIT.refused : EXIT.failed;
  return new UserError(problem, remedyFor(problem), exitCode);
}

/** `configFile`: another than the stack's own. */
type BringOptions = Pick<UpOptions, "refresh" | "configFile" | "target">;

async function bringUp(
  stack: Stack,
  { refresh, configFile, target }: BringOptions,
  options: OperateOptions,
): Promise<{ changes: number }> {
  // up() would ask for its outputs twice and for a history entry that nobody reads, each in a process of its own.
  stack.info = () => Promise.resolve(undefined);
  stack.outputs = () => Promise.resolve({});
  const how = {
    refresh: refresh === true,
    ...(configFile === undefined ? {} : { configFile }),
    ...(target === undefined ? {} : { target }),
  };
  return operate(`stack ${stack.name}`, stack, (hooks) => stack.up({ ...how, ...hooks }), options);
}

/** Brings a stack in Docker to what its configuration says; gives its outputs and how many resources changed. */
export async function deploy(
  stack: Stack,
  options: BringOptions & Pick<OperateOptions, "onEvent">,
): Promise<{ changes: number; values: StackValues }> {
  const { onEvent } = options;
  const isRegional = readStackConfig(stack.name)["regions"] !== undefined;
  const before = isRegional ? ((await stateValues(stack)) as StackValues | undefined) : undefined;
  const { changes } = await bringUp(stack, options, {
    ...{ target: "docker", watch: true, regional: before?.regions ? before : undefined },
    ...(onEvent && { onEvent }),
  });
  return { changes, values: (await valuesAfterUp(stack)) as StackValues };
}

/** The same on AWS. */
export async function deployAws(
  stack: Stack,
  options: Pick<UpOptions, "refresh">,
  onEvent: (event: EngineEvent) => void,
): Promise<{ changes: number; values: AwsStackValues }> {
  const { changes } = await bringUp(stack, options, { target: "aws", onEvent });
  return { changes, values: (await valuesAfterUp(stack)) as AwsStackValues };
}

/** Destroys what a stack has, except what is protected. */
export async function destroyUnprotected(
  stack: Stack,
  options: Pick<DestroyOptions, "refresh">,
  target: Target = "docker",
): Promise<void> {
  const destroy = (hooks: Hooks) => stack.destroy({ ...options, ...hooks, excludeProtected: true });
  await operate(`stack ${stack.name}`, stack, destroy, { target });
}
