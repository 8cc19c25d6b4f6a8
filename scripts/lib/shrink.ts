/** `up` to fewer servers, because somebody insists; `migrate` is the way on which nothing can be lost. */
import type { Stack } from "@pulumi/pulumi/automation/index.js";
import { ROUTER } from "../../components/docker/haproxyFiles.ts";
import { dockerName } from "../../components/docker/names.ts";
import type { Change } from "../../migration/change.ts";
import type { StackConfig } from "../../stacks/config.ts";
import { GUIDE } from "../../stacks/guide.ts";
import type { StackValues } from "../../stacks/outputs.ts";
import { EXIT, UserError } from "../../tuning/errors.ts";
import { releaseAllowed } from "./allow.ts";
import { currentPrimary, isCluster } from "./cluster.ts";
import { configCopy } from "./configCopy.ts";
import { listLabelled } from "./docker.ts";
import { changesOf } from "./plan.ts";
import { run } from "./run.ts";
import { stateValues } from "./state.ts";

export interface Shrinking {
  /** What is lost, because it is allowed. */
  readonly losses: readonly Change[];
  /** Whether the first server goes on by itself. */
  readonly toAlone: boolean;
}

/** The server that has the writes must be among those that stay: the others may lack what it has. */
async function checkLeaderStays(values: StackValues, servers: number): Promise<void> {
  if (!isCluster(values)) return;
  const { name } = await currentPrimary(values);
  const place = values.nodes.findIndex((node) => node.name === name);
  if (place < servers) return;
  throw new UserError(
    `${name} has the writes, and would go`,
    "hand them over first: ./cgraph-db switchover --to pg0; or go with ./cgraph-db migrate",
    EXIT.refused,
  );
}

/**
 * Looks where something may be lost: where there will be fewer servers, or losses are allowed. Otherwise Pulumi's own
 * protection is enough, and a look would cost seconds. Refuses before anything is changed.
 */
export async function checkShrinking(
  stack: Stack,
  config: StackConfig,
  wanted: Readonly<Record<string, string>>,
  allowed: readonly string[],
): Promise<Shrinking> {
  const values = (await stateValues(stack)) as StackValues | undefined;
  const servers = 1 + (config.replicas ?? GUIDE[config.stage].replicasPerPrimary.value);
  const shrinks = values !== undefined && (values.stage > config.stage || values.nodes.length > servers);
  if (!shrinks && allowed.length === 0) return { losses: [], toAlone: false };
  const copy = configCopy(stack.name, wanted);
  try {
    const changes = await changesOf(stack, copy.file);
    const losses = await releaseAllowed(stack, changes, () =>
      shrinks ? checkLeaderStays(values, servers) : Promise.resolve(),
    );
    return { losses, toAlone: shrinks && config.stage === 1 };
  } finally {
    copy.remove();
  }
}

/**
 * Before the first server goes on by itself: stops the router, whose port that server takes (clients of the pools end here:
 * they need another address anyway), and then the other servers, which go. Patroni would make one of them primary while the
 * first changes containers, and what that one archived would be the newest history that replicas and restores find.
 */
export async function clearForAlone(stack: string): Promise<void> {
  // What is gone already has nothing to stop.
  await run("docker", ["stop", "--time", "10", dockerName(stack, ROUTER)]);
  const other = new RegExp(`^${dockerName(stack, "pg")}[1-9][0-9]*$`);
  const others = (await listLabelled("container", stack)).filter(({ name }) => other.test(name));
  await Promise.all(others.map(({ id }) => run("docker", ["stop", "--time", "30", id])));
}
