/** The steps of a move to a Citus cluster beside those of every move; migration/toCitus.ts says what each means. */
import { dockerHost } from "../../components/docker/engine.ts";
import { citusScope } from "../../components/docker/shardRoutes.ts";
import { planTopology } from "../../stacks/topology.ts";
import { EXIT, UserError } from "../../tuning/errors.ts";
import { awaitReady, settle } from "../lib/cluster.ts";
import { writeStackConfig } from "../lib/stackConfig.ts";
import { checkMove } from "../migrate/checks.ts";
import type { MoveContext } from "../migrate/context.ts";
import { discard } from "../migrate/discard.ts";
import type { MoveStep } from "../migrate/runner.ts";
import { asClusterOwner } from "../shards/owner.ts";
import { forgetClusters } from "../shards/forget.ts";
import { firstMonth } from "../shards/partition.ts";
import { applyCitusSchema } from "../citus/apply.ts";
import { arrivingNodes, citusPlaces } from "./places.ts";
import {
  catchUp,
  compareCitus,
  compareSources,
  copyToStaging,
  fillCitus,
  goOn,
  hold,
  removeStreams,
} from "./stream.ts";
import { leadToCitus, leadsToCitus, openSources } from "./switch.ts";

type Work = Pick<MoveStep, "run" | "undo">;

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
        await copyToStaging(await places(), "cgraph_changes", progress);
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
          { begun: strings(before["begun"]), done: strings(before["done"]) },
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
        if (await leadsToCitus(values)) return { heldMs: Number(before["heldMs"] ?? 0) };
        await catchUp(await places(), progress);
        const heldMs = await leadToCitus(values, context.config(from), citusPlaces(values));
        progress.remember({ heldMs });
        progress.detail(`clients waited for ${heldMs} ms`);
        return { heldMs };
      },
      async undo() {
        await openSources(await places());
      },
    },
    recheck: {
      async run(progress) {
        return { compared: await compareSources(await places(), progress) };
      },
    },
    leave: {
      async run(progress, before) {
        const values = await context.values();
        // Broken off after Pulumi's run: nothing is staged any more.
        if (arrivingNodes(values).length > 0) {
          await removeStreams(citusPlaces(values));
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
