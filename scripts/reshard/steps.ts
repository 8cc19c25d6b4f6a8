/** The steps of `reshard`, as they are carried out; migration/reshard.ts says what each means. */
import { GLOBAL_CLUSTER, clusterScope, shardCluster } from "../../components/docker/shardRoutes.ts";
import { DATABASE, ROUTER_DATABASE } from "../../components/roles.ts";
import { CLEARED } from "../../migration/reshard.ts";
import { dropSubscriptionSql } from "../../sharding/moveSql.ts";
import { readMap } from "../../sharding/publish.ts";
import { shardServer } from "../../sharding/routerSql.ts";
import { GLOBAL_PUBLICATION } from "../../sharding/shardSql.ts";
import { EXIT, UserError } from "../../tuning/errors.ts";
import { currentPrimary, settle } from "../lib/cluster.ts";
import { clusterViews, shardingOf, withoutRegion } from "../lib/clusters.ts";
import { note, step as showStep } from "../lib/progress.ts";
import { writeStackConfig } from "../lib/stackConfig.ts";
import type { MoveContext } from "../migrate/context.ts";
import { discard } from "../migrate/discard.ts";
import { activeJobs, freeze, thaw } from "../migrate/freeze.ts";
import type { Facts, Journal } from "../migrate/journal.ts";
import type { MoveStep, Progress } from "../migrate/runner.ts";
import { applyShardedSchema } from "../shards/apply.ts";
import { dockerPlaces } from "../shards/dockerPlaces.ts";
import { forgetClusters } from "../shards/forget.ts";
import { superuserScript } from "../shards/owner.ts";
import {
  type BucketsMove,
  type Lives,
  checkBuckets,
  cleanUp,
  clearBuckets,
  copyBuckets,
  giveBack,
  handOverBuckets,
  verifyBuckets,
} from "./move.ts";
import { type Places, placesOf } from "./places.ts";

type Work = Pick<MoveStep, "run" | "undo">;
/** pg_cron's jobs by cluster. */
type Jobs = Readonly<Record<string, readonly number[]>>;

const livesOf = (facts: Facts): Lives => (facts["lives"] as Lives | undefined) ?? {};
const jobsOf = (facts: Facts): Jobs => (facts["jobs"] as Jobs | undefined) ?? {};

/** Refuses where the map is not the one that the move was planned with. */
async function checkMap(places: Places, { before }: BucketsMove): Promise<void> {
  const map = await places.global(readMap);
  if (map?.shards.join() === before.join()) return;
  throw new UserError(
    "the shard map has changed since this move was planned",
    "take it back (--rollback), then begin anew",
    EXIT.refused,
  );
}

/** New shards that were taken back leave nothing: no subscription, no foreign server, no servers, no volumes. */
async function removeShards(context: MoveContext, from: number, to: number): Promise<void> {
  const values = await context.values();
  if ((shardingOf(values)?.shards ?? 0) <= from) return;
  const names = Array.from({ length: to - from }, (_, index) => shardCluster(from + index));
  for (const { name, values: view } of clusterViews(values)) {
    if (!names.includes(name)) continue;
    const made = await superuserScript(view, DATABASE, "SELECT count(*) FROM pg_subscription;");
    if (made === "0") continue;
    await superuserScript(view, DATABASE, `${dropSubscriptionSql(GLOBAL_PUBLICATION).join(";\n")};`);
  }
  const global = clusterViews(values).find(({ name }) => name === GLOBAL_CLUSTER);
  if (global) {
    const drops = Array.from(
      { length: to - from },
      (_, index) => `DROP SERVER IF EXISTS ${shardServer(from + index)} CASCADE;`,
    );
    await superuserScript(global.values, ROUTER_DATABASE, drops.join("\n"));
  }
  const { left } = await context.bringTo(4, {
    config: { shards: String(from) },
    mayGo: (resource) => names.some((name) => withoutRegion(values, resource).startsWith(`${name}-`)),
  });
  await discard(context, left);
  const generation = context.config(4).dataGenerations.at(-1);
  await forgetClusters(
    values,
    names.map((name) => clusterScope(context.name, name, generation)),
  );
}

/** The steps in which buckets go from shard to shard. `lives`: what they remember of streams, all together. */
export function bucketWorks(
  context: MoveContext,
  move: BucketsMove,
  lives: () => Lives,
): Readonly<Record<"copy" | "verify" | "handover" | "clear", Work>> {
  const places = async (): Promise<Places> => placesOf(context.name, await context.values());
  const remembering =
    (progress: Progress) =>
    (now: Lives): void =>
      progress.remember({ lives: now });
  const detailOf =
    (progress: Progress) =>
    (text: string): void =>
      progress.detail(text);
  return {
    copy: {
      run: async (progress, before) => ({
        lives: await copyBuckets(await places(), move, livesOf(before), remembering(progress), detailOf(progress)),
      }),
      undo: async (progress) => clearBuckets(await places(), move, detailOf(progress)),
    },
    verify: {
      run: async (progress) => ({
        lives: await verifyBuckets(await places(), move, lives(), remembering(progress), detailOf(progress)),
      }),
    },
    handover: {
      run: async (progress) => ({
        heldMs: await handOverBuckets(await places(), move, lives(), remembering(progress), detailOf(progress)),
      }),
      undo: async (progress) => giveBack(await places(), move, lives(), detailOf(progress)),
    },
    clear: {
      async run(progress) {
        await cleanUp(await places(), move, detailOf(progress));
        return {};
      },
    },
  };
}

/** What the steps of a move remember of its streams, all together. */
export const livesIn = (recall: (step: string) => Facts): Lives => ({
  ...livesOf(recall("copy")),
  ...livesOf(recall("verify")),
  ...livesOf(recall("handover")),
});

/** The work of each step, by its name. `recall`: what another step remembers. */
function workOf(
  context: MoveContext,
  move: BucketsMove,
  shards: { readonly now: number; readonly then: number },
  recall: (step: string) => Facts,
): Readonly<Record<string, Work>> {
  const thawAll = async (): Promise<void> => {
    const jobs = jobsOf(recall("freeze"));
    for (const { name, values } of clusterViews(await context.values())) {
      await thaw((await currentPrimary(values)).container, jobs[name] ?? []);
    }
  };
  return {
    check: {
      async run() {
        const values = await context.values();
        await settle(values);
        const at = placesOf(context.name, values);
        await checkMap(at, move);
        const known = {
          ...move,
          after: move.after.map((shard, bucket) => (shard < shards.now ? shard : (move.before[bucket] ?? 0))),
        };
        await checkBuckets(at, known);
        return {};
      },
    },
    extend: {
      async run(progress) {
        const { values, changed } = await context.bringTo(4, { config: { shards: String(shards.then) } });
        await settle(values);
        await showStep("schema", async (shown) => {
          await applyShardedSchema(dockerPlaces(context.name, values), shown);
          return { value: undefined, done: `${shards.then} shards` };
        });
        progress.detail("new URLs: ./cgraph-db env");
        return { changed };
      },
      undo: () => removeShards(context, shards.now, shards.then),
    },
    freeze: {
      async run(progress, before) {
        const jobs: Record<string, readonly number[]> = { ...jobsOf(before) };
        for (const { name, values } of clusterViews(await context.values())) {
          const { container } = await currentPrimary(values);
          jobs[name] = [...new Set([...(jobs[name] ?? []), ...(await activeJobs(container))])];
          // At once: a job that is stopped must be known, or nobody starts it again.
          progress.remember({ jobs });
          await freeze(container, jobs[name]);
        }
        return { jobs };
      },
      undo: thawAll,
    },
    ...bucketWorks(context, move, () => livesIn(recall)),
    finish: {
      async run() {
        await thawAll();
        writeStackConfig(context.name, { shards: String(shards.then) });
        const unused = Array.from({ length: shards.then }, (_, shard) => shard).filter(
          (shard) => !move.after.includes(shard),
        );
        if (unused.length > 0) note(`  shards without buckets: ${unused.join(", ")}`);
        return {};
      },
    },
  };
}

/** Steps of a move of buckets as they are run. `recall`: what earlier runs remember of a step, by its id. */
export function reshardSteps(context: MoveContext, journal: Journal, recall: (id: string) => Facts): MoveStep[] {
  const { buckets } = journal;
  if (!buckets) throw new Error("the journal names no buckets");
  const works = workOf(context, buckets, buckets.shards, recall);
  return journal.steps.map(({ id, title }): MoveStep => {
    const work = works[id];
    if (!work) throw new Error(`no work for step ${id}`);
    return { id, title, ...(id === "clear" ? { noReturn: CLEARED } : {}), ...work, run: context.inReach(work.run) };
  });
}
