/** The steps of a move to a Citus cluster beside those of every move; migration/toCitus.ts says what each means. */
import type { Client } from "pg";
import { type KeptForeignKey, cascades, crossingKeysSql, deleteOrphansSql } from "../../sharding/convertSql.ts";
import { forgetRoutingSql, routingSql } from "../../citus/routingSql.ts";
import { NO_TIMEOUTS } from "../../migration/partitions/locks.ts";
import { readMap } from "../../sharding/publish.ts";
import { placesOf } from "../reshard/places.ts";
import { dockerHost } from "../../components/docker/engine.ts";
import { citusScope } from "../../components/docker/shardRoutes.ts";
import { planTopology } from "../../stacks/topology.ts";
import { EXIT, UserError } from "../../tuning/errors.ts";
import { awaitReady, settle } from "../lib/cluster.ts";
import { restartPending } from "../lib/heldRestart.ts";
import { writeStackConfig } from "../lib/stackConfig.ts";
import { checkMove } from "../migrate/checks.ts";
import type { MoveContext } from "../migrate/context.ts";
import { discard } from "../migrate/discard.ts";
import type { MoveStep, Progress } from "../migrate/runner.ts";
import { asClusterOwner } from "../shards/owner.ts";
import { forgetClusters } from "../shards/forget.ts";
import { firstMonth } from "../shards/partition.ts";
import { applyCitusSchema } from "../citus/apply.ts";
import { brokenBack, checkFollowers, followCitus, prepareBack, removeBack } from "./back.ts";
import { type CitusPlaces, STREAM_ROLE, arrivingNodes, citusPlaces } from "./places.ts";
import {
  areStaged,
  catchUp,
  compareCitus,
  compareSources,
  copyToStaging,
  fillCitus,
  goOn,
  hold,
  removeStreams,
} from "./stream.ts";
import { leadBack, leadToCitus, leadsToCitus, openSources } from "./switch.ts";

type Work = Pick<MoveStep, "run" | "undo" | "mayUndo">;

/** Ends the streams to the cluster, and has the databases before follow it instead. */
async function follow(places: CitusPlaces, progress: Progress): Promise<void> {
  await removeStreams(places);
  await followCitus(places, progress);
}

/** The cluster answers applications that route by themselves. */
async function answerRouters(context: MoveContext, { coordinator }: CitusPlaces): Promise<void> {
  const map = await placesOf(context.name, await context.values()).global(readMap);
  if (!map) throw new UserError("there is no shard map", "apply the schema: ./cgraph-db schema apply", EXIT.failed);
  await coordinator.ask(routingSql(map));
}

/** Rows that foreign keys would have deleted, which a Citus cluster does not have. */
async function deleteOrphans(client: Client): Promise<void> {
  await client.query(NO_TIMEOUTS);
  const { rows: keys } = await client.query<KeptForeignKey>(crossingKeysSql());
  for (const key of keys.filter(cascades)) await client.query(deleteOrphansSql(key));
}

const strings = (value: unknown): string[] => (Array.isArray(value) ? (value as string[]) : []);

/** What only the Citus cluster has. */
const CITUS_PART = /^(coordinator|worker\d+)-/;
/** What only the databases before it had: servers, backups, and who led last. */
const EARLIER_PART = /^(pg\d+|shard\d+|global|backups?)(-|$)/;

/** The work of the steps, by name. `from`: the stage before. */
export function toCitusWorks(context: MoveContext, from: number): Readonly<Record<string, Work>> {
  const config = context.config(5);
  const places = async () => citusPlaces(await context.values());
  const settleAll = async (): Promise<void> => {
    for (const { values } of arrivingNodes(await context.values())) {
      await settle(values);
      await awaitReady(values);
    }
  };
  return {
    check: {
      async run() {
        const values = await context.values();
        if (values.regions) {
          throw new UserError(
            "a stack in several regions does not move to stage 5 in this version",
            "take the other regions out first: ./cgraph-db config unset regions, then config apply",
            EXIT.refused,
          );
        }
        const { nodes } = planTopology(config, await dockerHost());
        // Staged on one server of each node, in Citus on all of them.
        return checkMove(values, { count: 1 + nodes.length, what: "a Citus cluster and what is staged there" });
      },
    },
    extend: {
      async run() {
        const { changed } = await context.bringTo(5, { phase: "prepare", config: { fromStage: String(from) } });
        await settleAll();
        return { changed };
      },
      async undo() {
        const { values, left } = await context.bringTo(from, { mayGo: (name) => CITUS_PART.test(name) });
        await settle(values);
        if (from < 4) await restartPending(values);
        await discard(context, left);
        await forgetClusters(values, [citusScope(context.name, config.dataGenerations.at(-1))]);
      },
    },
    replicas: {
      async run() {
        await settleAll();
        return {};
      },
    },
    tables: {
      async run(progress) {
        const { coordinator } = await places();
        const since = await asClusterOwner(context.name, await context.values(), firstMonth);
        await asClusterOwner(context.name, coordinator.values, (client) =>
          applyCitusSchema(client, config, progress, since ?? new Date()),
        );
        return {};
      },
    },
    copy: {
      async run(progress) {
        await copyToStaging(await places(), STREAM_ROLE, progress);
        return {};
      },
      async undo() {
        const values = await context.values();
        if (arrivingNodes(values).length > 0) await removeStreams(citusPlaces(values));
      },
    },
    fill: {
      async run(progress, before) {
        const found = await places();
        const filled = await fillCitus(
          found,
          {
            ...{ begun: strings(before["begun"]), done: strings(before["done"]) },
            ...{ rows: Number(before["rows"] ?? 0), seconds: Number(before["seconds"] ?? 0) },
          },
          progress,
        );
        await goOn(found);
        return { ...filled };
      },
    },
    verify: {
      async run(progress) {
        const found = await places();
        await hold(found);
        try {
          return { compared: await compareCitus(found, progress) };
        } finally {
          await goOn(found);
        }
      },
    },
    switch: {
      async run(progress, before) {
        const values = await context.values();
        const found = citusPlaces(values);
        if (!(await leadsToCitus(values))) {
          await checkFollowers(found);
          await catchUp(found, progress);
          progress.remember({ back: await prepareBack(found) });
          if (from === 4) await answerRouters(context, found);
        }
        const heldMs = await leadToCitus(values, context.config(from), found);
        progress.detail(`clients waited for ${heldMs} ms`);
        return { heldMs: Number(before["heldMs"] ?? heldMs) };
      },
      async mayUndo(facts) {
        const values = await context.values();
        const broken = (await leadsToCitus(values)) ? await brokenBack(citusPlaces(values), facts) : undefined;
        if (broken === undefined) return;
        throw new UserError(
          `there is no way back any more: ${broken}`,
          "clients go on in the Citus cluster, nothing was changed: ./cgraph-db migrate --resume goes on with the move",
          EXIT.refused,
        );
      },
      async undo(progress) {
        const values = await context.values();
        const found = citusPlaces(values);
        if (await leadsToCitus(values)) {
          await follow(found, progress);
          const heldBackMs = await leadBack(values, context.config(from), found);
          progress.remember({ heldBackMs });
          progress.detail(`clients waited for ${heldBackMs} ms`);
        } else {
          await openSources(found);
        }
        await removeBack(found);
        if (from < 4) await asClusterOwner(context.name, values, deleteOrphans);
      },
    },
    recheck: {
      async run(progress, before) {
        const found = await places();
        // Gone on with after the databases before have begun to follow the cluster: they are not what is staged any more.
        if (!(await areStaged(found))) return { compared: Number(before["compared"] ?? 0) };
        return { compared: await compareSources(found, progress) };
      },
    },
    follow: {
      async run(progress) {
        await follow(await places(), progress);
        return {};
      },
    },
    leave: {
      async run(progress, before) {
        const values = await context.values();
        // Broken off after Pulumi's run: nothing is staged or followed any more.
        if (arrivingNodes(values).length > 0) {
          const found = citusPlaces(values);
          await removeStreams(found);
          await removeBack(found);
          await found.coordinator.ask(forgetRoutingSql);
        }
        const all = (left: readonly string[]): string[] => [...new Set([...strings(before["left"]), ...left])];
        const { values: now, changed } = await context.bringTo(5, {
          mayGo: (name) => EARLIER_PART.test(name),
          remember: (left) => progress.remember({ left: all(left) }),
        });
        await settle(now);
        return { changed };
      },
    },
    finish: {
      run() {
        writeStackConfig(context.name, { stage: "5" });
        return Promise.resolve({});
      },
    },
  };
}
