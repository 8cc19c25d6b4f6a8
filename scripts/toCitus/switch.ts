/** The moments in which the application's pools are led to the Citus cluster, and back. */
import { setTimeout as sleep } from "node:timers/promises";
import { dockerHost } from "../../components/docker/engine.ts";
import { COORDINATOR_ROUTES } from "../../components/docker/haproxyFiles.ts";
import { containerPgbouncerIni } from "../../components/docker/pgbouncerContainers.ts";
import {
  GLOBAL_CLUSTER,
  type ShardedPools,
  coordinatorPools,
  shardedPools,
} from "../../components/docker/shardRoutes.ts";
import { DATABASE, GLOBAL_DATABASE, ROUTER_DATABASE } from "../../components/roles.ts";
import { CHANGED_USERS_SQL, enterChangedSql } from "../../citus/backSql.ts";
import { asShardSql } from "../../citus/routingSql.ts";
import { arrivedSql, closeSql, openSql } from "../../citus/moveSql.ts";
import type { StackConfig } from "../../stacks/config.ts";
import type { StackValues } from "../../stacks/outputs.ts";
import { type PoolPlan, planTopology } from "../../stacks/topology.ts";
import { EXIT, UserError } from "../../tuning/errors.ts";
import type { MorePool } from "../../components/docker/pgbouncerFiles.ts";
import { loginOf } from "../lib/login.ts";
import { consoleRows } from "../lib/pooler.ts";
import { leadPoolsBy } from "../toShards/switchPools.ts";
import { backArrived, beginHere } from "./back.ts";
import type { CitusPlaces, Source } from "./places.ts";
import { type Sessions, sessionOf, withSessions } from "./sessions.ts";

/** Clients wait behind this. */
const ARRIVAL_MS = 5000;

/** Databases of a source in which clients write. */
const writtenIn = ({ name }: Pick<Source, "name">): string[] =>
  name === GLOBAL_CLUSTER ? [DATABASE, ROUTER_DATABASE] : [DATABASE];

/** Whether any pooler leads there: some clients may have written there since. */
export async function leadsToCitus(values: StackValues): Promise<boolean> {
  const poolers = values.services.filter(({ kind }) => kind === "pgbouncer");
  const shown = await Promise.all(poolers.map(({ container }) => consoleRows(container, "SHOW DATABASES")));
  return shown.flat().some(({ name, port }) => name === DATABASE && Number(port) === COORDINATOR_ROUTES.write);
}

/** Nobody writes to the sources any more; gives up to where they have written. */
async function closeSources({ sources }: Sessions): Promise<Map<string, string>> {
  const closed = await Promise.all(
    [...sources].map(async ([name, session]) => {
      const last = await session.ask(writtenIn({ name }).map(closeSql).join("\n"));
      return [name, last.split("\n").at(-1) ?? ""] as const;
    }),
  );
  return new Map(closed);
}

/** Lets clients write at the sources again, at once; gives the names of those that do not answer. */
async function openAgain({ sources }: Sessions): Promise<string[]> {
  const answers = [...sources].map(async ([name, session]) => {
    try {
      await session.ask(writtenIn({ name }).map(openSql).join("\n"));
      return [];
    } catch {
      return [name];
    }
  });
  return (await Promise.all(answers)).flat();
}

/** The same, waiting for those that do not answer yet. */
export async function openSources({ sources }: Pick<CitusPlaces, "sources">): Promise<void> {
  await Promise.all(
    sources.flatMap((source) => writtenIn(source).map((database) => source.ask(openSql(database), "postgres"))),
  );
}

/** Waits until what sources have written up to these positions is in Citus; gives whether it is, in time. */
async function arrived({ sources }: Sessions, positions: ReadonlyMap<string, string>): Promise<boolean> {
  const until = Date.now() + ARRIVAL_MS;
  const waits = [...sources].map(async ([name, session]) => {
    while (Date.now() < until) {
      if ((await session.ask(arrivedSql(name, positions.get(name) ?? ""))) === "t") return true;
      await sleep(10);
    }
    return false;
  });
  return (await Promise.all(waits)).every(Boolean);
}

/** `cgraph_shard1`, `cgraph_shard1_ro`: 1. */
const shardOfPool = (name: string): number => Number(/\d+/.exec(name)?.[0]);

/** The pools for clusters of their own lead to the coordinator too, with as many connections as the application's pool has. */
function ledToCoordinator(more: readonly MorePool[], { poolSize }: PoolPlan): MorePool[] {
  const size = Math.max(2, Math.floor((2 * poolSize) / more.length));
  const [write, read] = coordinatorPools();
  return more.map((pool) => ({
    ...pool,
    ...{ size, database: DATABASE, upstream: (pool.name.endsWith("_ro") ? read : write).upstream },
    ...(pool.name.startsWith(GLOBAL_DATABASE) ? {} : { connectQuery: asShardSql(shardOfPool(pool.name)) }),
  }));
}

/** The poolers' configurations: one that leads to the coordinator, one that leads where the stage before does. */
async function inisOf(values: StackValues, config: StackConfig): Promise<{ citus: string; before: string }> {
  const { pool, sharding } = planTopology(config, await dockerHost());
  if (!pool) throw new Error("a stage with pools");
  const user = loginOf(values, "cgraph_pooler").user;
  const before: Partial<ShardedPools> = sharding ? shardedPools(sharding, true) : {};
  const citus = { more: ledToCoordinator(before.more ?? [], pool), front: coordinatorPools() };
  return { citus: containerPgbouncerIni(pool, user, citus), before: containerPgbouncerIni(pool, user, before) };
}

const late = (what: string, then: string): UserError =>
  new UserError(`${what} after ${ARRIVAL_MS / 1000} s`, `clients go on as before; ${then}`, EXIT.failed);

/** Leads the application's two names to the coordinator; gives for how long clients were held, in milliseconds. */
export async function leadToCitus(values: StackValues, config: StackConfig, places: CitusPlaces): Promise<number> {
  const { citus, before } = await inisOf(values, config);
  // Of an interrupted try: who is led there already may have written.
  if (await leadsToCitus(values))
    return leadPoolsBy(values, { to: citus, back: citus }, undefined, () => Promise.resolve(true));
  return withSessions(places, async (sessions) => {
    let closed: string[] = [];
    try {
      return await leadPoolsBy(values, { to: citus, back: before }, undefined, async () => {
        try {
          const positions = await closeSources(sessions);
          if (!(await arrived(sessions, positions))) {
            throw late(
              "what was written last is not in the Citus cluster",
              "./cgraph-db logs of the coordinator says why, --resume tries again, --rollback takes the move back",
            );
          }
          if (await beginHere(places, sessions)) return true;
          closed = await openAgain(sessions);
          return false;
        } catch (error) {
          closed = await openAgain(sessions);
          throw error;
        }
      });
    } finally {
      // Those that could not be asked while clients waited: the others must not stay without them.
      if (closed.length > 0) await openSources({ sources: places.sources.filter(({ name }) => closed.includes(name)) });
    }
  });
}

/** Leads them back to the databases before, which have all by then; gives for how long clients were held. */
export function leadBack(values: StackValues, config: StackConfig, places: CitusPlaces): Promise<number> {
  return withSessions(places, async (sessions) => {
    const { citus, before } = await inisOf(values, config);
    const coordinator = sessionOf(sessions.nodes, places.coordinator.name);
    return leadPoolsBy(values, { to: before, back: citus }, undefined, async () => {
      try {
        await coordinator.ask(closeSql(DATABASE));
        if (!(await backArrived(places, sessions, ARRIVAL_MS))) {
          throw late(
            "what was written last in the Citus cluster is not in the databases before",
            "./cgraph-db logs of their servers says why, --rollback tries again",
          );
        }
        await enterChangedUsers(sessions);
        const closed = await openAgain(sessions);
        if (closed.length > 0)
          throw new UserError(`${closed.join(", ")} does not answer`, "call --rollback again", EXIT.failed);
        return true;
      } catch (error) {
        await coordinator.ask(openSql(DATABASE));
        throw error;
      }
    });
  });
}

/** Where there are shards: the directory of names knows the users that have come, changed or gone. */
async function enterChangedUsers({ inside }: Sessions): Promise<void> {
  const global = inside.get(GLOBAL_CLUSTER);
  if (!global) return;
  const shards = [...inside].filter(([name]) => name !== GLOBAL_CLUSTER);
  const changed = await Promise.all(
    shards.map(async ([, session]) => JSON.parse(await session.ask(CHANGED_USERS_SQL)) as unknown[]),
  );
  const users = changed.flat();
  if (users.length > 0) await global.ask(enterChangedSql(JSON.stringify(users)));
}
