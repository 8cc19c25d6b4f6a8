/** More workers for a Citus cluster in use, and shards for them. */
import { workerCluster } from "../../components/docker/citusNames.ts";
import { dockerName } from "../../components/docker/names.ts";
import type { RebalanceProgress } from "../../citus/rebalance.ts";
import { EXIT, UserError } from "../../tuning/errors.ts";
import { settle } from "../lib/cluster.ts";
import { listLabelled } from "../lib/docker.ts";
import { note, step } from "../lib/progress.ts";
import { checkTopology, checkedConfig, writeStackConfig } from "../lib/stackConfig.ts";
import type { MoveContext } from "../migrate/context.ts";
import { requireCitusToBeHad } from "../setup/citusImage.ts";
import { checkNodeVersions, requireCitus, requirePrimaryAtHome, standbyRegions, waitForNodes } from "./coordinator.ts";
import { moveShards } from "./moves.ts";
import { forgetPending, pendingOf, rememberWorkers } from "./pending.ts";

/** What came of it; `moved`: undefined where no shard was to move. */
export interface Added {
  readonly workers: number;
  readonly added: readonly string[];
  readonly moved: RebalanceProgress | undefined;
}

/** Refuses where a worker of the same name has left its data: it would come back with tables and passwords of then. */
async function refuseOldVolumes(stack: string, names: readonly string[], regions: readonly string[]): Promise<void> {
  const begins = names.flatMap((name) => [name, ...regions.map((region) => `${region}-${name}`)]);
  const volumes = (await listLabelled("volume", stack)).map(({ name }) => name);
  const old = volumes.filter((volume) => begins.some((name) => volume.startsWith(dockerName(stack, `${name}-`))));
  if (old.length === 0) return;
  throw new UserError(
    `workers of these names have been here before, and their volumes are kept: ${old.join(", ")}`,
    `when nothing in them is needed any more: docker volume rm ${old.join(" ")}`,
    EXIT.refused,
  );
}

/** Adds workers, or goes on with that where it was broken off. */
export async function addWorkers(context: MoveContext, count: number, rebalances: boolean): Promise<Added> {
  const { name: stack } = context;
  const pending = pendingOf(stack, "add");
  const now = await context.values();
  const before = requireCitus(stack, now).workers.length;
  requirePrimaryAtHome(now);
  const workers = pending?.workers ?? before + count;
  if (pending) note(`  going on: there are to be ${workers} workers`);
  const config = checkedConfig(stack, { stage: "5", workers: String(workers) });
  await checkTopology(config);
  await requireCitusToBeHad(config);
  const added = Array.from({ length: Math.max(0, workers - before) }, (_, index) => workerCluster(before + index + 1));
  if (!pending) await refuseOldVolumes(stack, added, standbyRegions(now));
  rememberWorkers(stack, { kind: "add", workers });
  // Before they are made: an `up` that follows a broken one then makes the rest.
  writeStackConfig(stack, { workers: String(workers) });
  const { values } = await context.bringTo(5);
  await settle(values);
  const all = Array.from({ length: workers }, (_, index) => workerCluster(index + 1));
  await step("workers", async () => {
    await waitForNodes(values, all);
    await checkNodeVersions(values);
    return { value: undefined, done: `${workers}, of one version, known to the coordinator` };
  });
  const moved = rebalances ? await moveShards(values, "shards", { drainOnly: false }) : undefined;
  forgetPending(stack);
  return { workers, added, moved };
}
