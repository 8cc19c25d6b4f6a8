/** The streams by which what clients write in the Citus cluster goes back into the databases before, until these are left. */
import { setTimeout as sleep } from "node:timers/promises";
import {
  BACK_APPLIERS_SQL,
  BACK_ERRORS_SQL,
  BACK_SUBSCRIPTIONS_SQL,
  LAST_SHARD_SQL,
  LIFE_SQL,
  ROOM_SQL,
  backArrivedSql,
  backFrom,
  backLagSql,
  backOf,
  backPublicationSql,
  backSlotSql,
  backSubscriptionSql,
  beginHereSql,
  captureSql,
  dropBackPublicationSql,
  dropBackSlotsSql,
  endHereSql,
  forgetBackSql,
  keepOwnSql,
  mayWriteSql,
  placementsSql,
  wholeSlotsSql,
} from "../../citus/backSql.ts";
import { dropSubscriptionSql } from "../../sharding/moveSql.ts";
import { shardedTables } from "../../sharding/tables.ts";
import { EXIT, UserError } from "../../tuning/errors.ts";
import { bytes } from "../lib/print.ts";
import type { Facts } from "../migrate/journal.ts";
import type { Progress } from "../migrate/runner.ts";
import { type CitusPlaces, type Node, type Source, isReference } from "./places.ts";
import { type Sessions, sessionOf } from "./sessions.ts";

/** What was true when the streams began, and must be still when they are relied on. */
interface Began {
  /** Of every server that takes writes, by the name of its source or node. */
  readonly lives: Readonly<Record<string, string>>;
  readonly lastShard: string;
  readonly placements: string;
}

const beganOf = (facts: Facts): Began | undefined => facts["back"] as Began | undefined;

/** Nodes that have rows of a source's tables: of reference tables the coordinator tells what every node has. */
const nodesOf = ({ nodes, coordinator }: CitusPlaces, { tables }: Source): readonly Node[] =>
  tables.every(isReference) ? [coordinator] : nodes;
/** Sources that get something from a node. */
const sourcesOf = (places: CitusPlaces, node: Node): string[] =>
  places.sources.filter((source) => nodesOf(places, source).includes(node)).map(({ name }) => name);

async function livesOf({ sources, nodes }: CitusPlaces): Promise<Record<string, string>> {
  const of = async ({ name, ask }: Source | Node): Promise<[string, string]> => [name, await ask(LIFE_SQL, "postgres")];
  return Object.fromEntries(await Promise.all([...sources, ...nodes].map(of)));
}

/** Refuses sources that could not follow every node. */
export async function checkFollowers(places: CitusPlaces): Promise<void> {
  for (const source of places.sources) {
    const needed = nodesOf(places, source).length;
    const room = Number(await source.ask(ROOM_SQL));
    if (room >= needed) continue;
    throw new UserError(
      `${source.name} has room for ${room} subscriptions, and needs ${needed} to follow the Citus cluster`,
      `raise its max_logical_replication_workers and max_replication_slots (cgraph:settings) by ${needed - room}, then config apply and --resume`,
      EXIT.refused,
    );
  }
}

/** Makes publications and slots, while clients do not know of it. Can be repeated. Gives what must be remembered. */
export async function prepareBack(places: CitusPlaces): Promise<Began> {
  const { nodes, sources, coordinator } = places;
  await Promise.all(nodes.map(({ ask }) => ask(captureSql(true), "postgres")));
  for (const { name, tables } of sources) await coordinator.ask(backPublicationSql(name, tables));
  await Promise.all(
    nodes.map(async (node) => {
      for (const source of sourcesOf(places, node)) await node.ask(backSlotSql(source));
    }),
  );
  const lastShard = await coordinator.ask(LAST_SHARD_SQL);
  return { lives: await livesOf(places), lastShard, placements: await coordinator.ask(placementsSql(lastShard)) };
}

/** While nobody writes: what is written from now on goes back. False where something is still to be committed. */
export async function beginHere(places: CitusPlaces, { nodes }: Sessions): Promise<boolean> {
  const open = await Promise.all(
    places.nodes.map((node) => sessionOf(nodes, node.name).ask(beginHereSql(sourcesOf(places, node)))),
  );
  return open.every((answer) => answer.startsWith("f"));
}

/** Why what was written in the Citus cluster is not surely in the databases before, or will not be; undefined where it is. */
export async function brokenBack(places: CitusPlaces, facts: Facts): Promise<string | undefined> {
  const began = beganOf(facts);
  if (!began) return "the move was begun by a version that had no way back from here";
  const lives = await livesOf(places);
  const other = Object.keys(lives).find((name) => lives[name] !== began.lives[name]);
  if (other !== undefined) return `${other} has another primary than at the switch, which may lack what its stream had`;
  for (const node of places.nodes) {
    const whole = (await node.ask(wholeSlotsSql)).split(",");
    const lost = sourcesOf(places, node).find((source) => !whole.includes(backOf(source)));
    if (lost !== undefined) return `${node.name} does not have what it wrote for ${lost} any more (its slot is lost)`;
  }
  if ((await places.coordinator.ask(placementsSql(began.lastShard))) === began.placements) return undefined;
  return "shards have moved between nodes since the switch, so that changes of a row may come back in another order";
}

/** Has the databases before follow the Citus cluster; ends when all of them do. Can be repeated. */
export async function followCitus(places: CitusPlaces, progress: Pick<Progress, "detail">): Promise<void> {
  const sharded = places.sources.length > 1;
  for (const source of places.sources) {
    await source.ask(mayWriteSql(true), "postgres");
    const following = (await source.ask(BACK_SUBSCRIPTIONS_SQL)).split("\n");
    const own = shardedTables().filter(({ name }) => source.tables.includes(name));
    if (sharded && own.length > 0) await source.ask(`SET client_min_messages = warning; ${keepOwnSql(own)}`);
    for (const node of nodesOf(places, source)) {
      if (following.includes(backFrom(node.name))) continue;
      progress.detail(`${source.name} follows ${node.name}`);
      await source.ask(backSubscriptionSql(source.name, node.name, node.conninfo));
    }
  }
  await catchUpBack(places, progress);
}

/** What is behind by less arrives while clients wait for a moment. */
const NEAR_BYTES = 64 * 1024;
const CATCH_UP_MS = 30 * 60_000;
/** A change that fails so often in a row does not pass by itself. */
const MOST_ERRORS = 5;

/** Waits until the databases before have nearly all. Throws where they do not get there. */
export async function catchUpBack(places: CitusPlaces, progress: Pick<Progress, "detail">): Promise<void> {
  const errors = (): Promise<number[]> =>
    Promise.all(places.sources.map(async ({ ask }) => Number(await ask(BACK_ERRORS_SQL))));
  const before = await errors();
  for (const until = Date.now() + CATCH_UP_MS; ; await sleep(200)) {
    const lags = await Promise.all(places.nodes.map(async ({ ask }) => Number(await ask(backLagSql, "postgres"))));
    const applied = await Promise.all(
      places.sources.map(
        async (source) => Number(await source.ask(BACK_APPLIERS_SQL)) >= nodesOf(places, source).length,
      ),
    );
    const behind = Math.max(...lags);
    if (behind < NEAR_BYTES && applied.every(Boolean)) return;
    const failing = (await errors()).findIndex((count, index) => count - (before[index] ?? 0) >= MOST_ERRORS);
    if (failing >= 0) {
      throw new UserError(
        `${places.sources[failing]?.name} cannot apply a change that comes back from the Citus cluster`,
        "its server's log says which (./cgraph-db logs); mend that, then call this again; clients go on as before",
        EXIT.failed,
      );
    }
    progress.detail(`${bytes(behind)} of WAL to go back`);
    if (Date.now() < until) continue;
    throw new UserError(
      `the databases before are still ${bytes(behind)} of WAL behind the Citus cluster`,
      "see ./cgraph-db logs for errors of their subscriptions, then call this again; clients go on as before",
      EXIT.failed,
    );
  }
}

/** While nobody writes: waits until the databases before have everything; gives whether they have, in this time. */
export async function backArrived(places: CitusPlaces, { nodes }: Sessions, withinMs: number): Promise<boolean> {
  const until = Date.now() + withinMs;
  const waits = places.nodes.map(async (node) => {
    const session = sessionOf(nodes, node.name);
    let lsn = "";
    while (Date.now() < until) {
      if (lsn === "") {
        const [open, , end = ""] = (await session.ask(endHereSql)).split("\n");
        if (open === "f") lsn = end;
      } else if ((await session.ask(backArrivedSql(sourcesOf(places, node), lsn))) === "t") return true;
      await sleep(10);
    }
    return false;
  });
  return (await Promise.all(waits)).every(Boolean);
}

/** Ends it all at both ends, whatever of it is there. */
export async function removeBack({ sources, nodes, coordinator }: CitusPlaces): Promise<void> {
  for (const source of sources) {
    const names = (await source.ask(BACK_SUBSCRIPTIONS_SQL)).split("\n").filter(Boolean);
    for (const name of names) {
      await source.ask(`${dropSubscriptionSql(name).join(";\n")};`);
    }
    await withoutLocks(() => source.ask(`SET client_min_messages = warning; ${forgetBackSql}`));
    await source.ask(mayWriteSql(false), "postgres");
  }
  await Promise.all(nodes.map(({ ask }) => ask(dropBackSlotsSql)));
  for (const { name } of sources)
    await coordinator.ask(`SET client_min_messages = warning; ${dropBackPublicationSql(name)}`);
  await Promise.all(nodes.map(({ ask }) => ask(captureSql(false), "postgres")));
}

/** Tries again where somebody else's lock is in the way, for a minute. */
async function withoutLocks(work: () => Promise<unknown>): Promise<void> {
  for (const until = Date.now() + 60_000; ; await sleep(500)) {
    try {
      await work();
      return;
    } catch (error) {
      if (Date.now() > until || !/lock timeout/.test(String(error))) throw error;
    }
  }
}
