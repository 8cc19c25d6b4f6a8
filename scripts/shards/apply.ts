/** `schema apply` at stage 4: tables everywhere, the first shard map, global tables to the shards, the router database. */
import { OWNER, ROUTER_DATABASE, type RoleName } from "../../components/roles.ts";
import { type TableFacts, FACTS_SQL, checkTables } from "../../sharding/checkTables.ts";
import { publishMap, readMap, readOwned, setOwned } from "../../sharding/publish.ts";
import {
  GLOBAL_SERVER,
  classViewsSql,
  routerServersSql,
  routerTablesSql,
  shardServer,
} from "../../sharding/routerSql.ts";
import { type ShardMap, firstAssignment, shardsOf } from "../../sharding/shardMap.ts";
import { filledTablesSql } from "../../sharding/shardSql.ts";
import { TABLES, globalTables } from "../../sharding/tables.ts";
import { EXIT, UserError } from "../../tuning/errors.ts";
import type { Step } from "../lib/progress.ts";
import { applyParts, globalSchema, shardParts, shardSchema, wholeSchema } from "../lib/schemaParts.ts";
import { subscribe } from "./follow.ts";
import { firstMonth, partitionEmpty } from "./partition.ts";
import { type ShardCluster, type ShardedPlaces, serverAt } from "./places.ts";

const CLIENT_ROLES: readonly RoleName[] = ["cgraph", OWNER, "cgraph_readonly", "cgraph_monitor"];

type Detail = Pick<Step, "detail">;

/** The map there is, or the first one, of which every shard is told before any client. */
async function bringMap({ global, shards }: ShardedPlaces, first: () => readonly number[]): Promise<ShardMap> {
  const found = await global.owner(readMap);
  const map = found ?? { version: 1, shards: first() };
  const unknown = shardsOf(map.shards).find((shard) => shard >= shards.length);
  if (unknown !== undefined) {
    throw new UserError(
      `the shard map gives buckets to shard ${unknown}, and the stack has ${shards.length} shards`,
      `set cgraph:shards to ${unknown + 1} or more`,
      EXIT.refused,
    );
  }
  for (const { number, owner } of shards) {
    await owner(async (client) => {
      if (!(await readOwned(client))) await setOwned(client, number, map);
    });
  }
  if (!found) await global.owner((client) => publishMap(client, map));
  return map;
}

/** The database and what only an administrator may make in it. */
async function makeRouter({ global, shards, loginOf, serverOwner }: ShardedPlaces): Promise<void> {
  const exists = await global.owner(
    async (client) =>
      (await client.query("SELECT FROM pg_database WHERE datname = $1", [ROUTER_DATABASE])).rowCount === 1,
  );
  await global.administer([
    ...(exists ? [] : [`CREATE DATABASE ${ROUTER_DATABASE} OWNER ${OWNER}`]),
    `REVOKE ALL ON DATABASE ${ROUTER_DATABASE} FROM PUBLIC`,
    `GRANT CONNECT, TEMPORARY ON DATABASE ${ROUTER_DATABASE} TO ${CLIENT_ROLES.join(", ")}`,
  ]);
  const authorities = await global.authorities();
  const servers = {
    [GLOBAL_SERVER]: serverAt(global.endpoint, authorities),
    ...Object.fromEntries(shards.map(({ number, endpoint }) => [shardServer(number), serverAt(endpoint, authorities)])),
  };
  // Sessions of either name of a role act as the role.
  const users = CLIENT_ROLES.map((role) => ({ role, options: { ...loginOf(role) } }));
  await global.administer(
    [
      routerServersSql(servers, users, serverOwner),
      `ALTER DEFAULT PRIVILEGES FOR ROLE ${OWNER} IN SCHEMA public GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO cgraph`,
      `ALTER DEFAULT PRIVILEGES FOR ROLE ${OWNER} IN SCHEMA public GRANT SELECT ON TABLES TO cgraph_readonly`,
    ],
    { database: ROUTER_DATABASE, secret: true },
  );
}

const applyGlobal = ({ global }: ShardedPlaces, progress: Detail): Promise<void> =>
  global.owner(async (client) => {
    await applyParts(client, globalSchema(), (part) => progress.detail(`global database: ${part}`));
    const tables = globalTables(TABLES).map(({ name }) => name);
    // For the shards' first copy.
    await client.query(
      `GRANT USAGE ON SCHEMA public TO cgraph_changes; GRANT SELECT ON ${tables.join(", ")} TO cgraph_changes`,
    );
  });

/** Tables of these shards; messages by month, from the first shard's first month on, where they are made only now. */
async function applyShards(
  { shards, messages }: ShardedPlaces,
  which: readonly ShardCluster[],
  progress: Detail,
): Promise<void> {
  const since = (await shards[0]?.owner(firstMonth)) ?? new Date();
  for (const { name, owner } of which) {
    const detail = (part: string): void => progress.detail(`${name}: ${part}`);
    await owner(async (client) => {
      await applyParts(client, wholeSchema(), detail);
      await partitionEmpty(client, since, messages);
      await applyParts(client, shardParts(), detail);
      const { rows } = await client.query<{ facts: TableFacts[] }>(FACTS_SQL);
      checkTables(TABLES, rows[0]?.facts ?? []);
    });
  }
}

/**
 * Refuses to make shards of databases that hold rows already: the first map would give most of them to shards that do not
 * have them.
 */
async function checkEmpty({ global, shards }: ShardedPlaces): Promise<void> {
  if (await global.owner(readMap)) return;
  for (const { name, owner } of shards) {
    const held = await owner(async (client) => {
      const { rows: made } = await client.query<{ name: string }>(
        "SELECT relname AS name FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')",
      );
      const there = TABLES.filter((table) => made.some((one) => one.name === table.name));
      if (there.length === 0) return [];
      return (await client.query<{ name: string }>(filledTablesSql(there))).rows;
    });
    if (held.length === 0) continue;
    throw new UserError(
      `there is no shard map yet, and ${name} holds rows: ${held.map((table) => table.name).join(", ")}`,
      "schema apply does not move rows to their shards; in Docker ./cgraph-db migrate --stage 4 does, from stage 3",
      EXIT.refused,
    );
  }
}

/** Global tables to these shards, views for the router on all, and the router database. */
async function lead(
  places: ShardedPlaces,
  map: ShardMap,
  followers: readonly ShardCluster[],
  progress: Detail,
): Promise<void> {
  for (const shard of followers) {
    progress.detail(`${shard.name}: global tables`);
    await subscribe(places, shard);
  }
  for (const { number, owner } of places.shards) {
    await owner((client) => client.query(classViewsSql(number, map.shards)));
  }
  progress.detail("router database");
  await makeRouter(places);
  await places.global.owner((client) => client.query(routerTablesSql(map)), ROUTER_DATABASE);
}

/** Brings all clusters to what they should be; run again, it changes nothing. Gives the names of what was applied. */
export async function applyShardedSchema(places: ShardedPlaces, progress: Detail): Promise<string[]> {
  const { shards, buckets } = places;
  await applyGlobal(places, progress);
  await checkEmpty(places);
  await applyShards(places, shards, progress);
  progress.detail("shard map");
  const map = await bringMap(places, () => firstAssignment(buckets, shards.length));
  await lead(places, map, shards, progress);
  return [
    ...globalSchema().map(({ name }) => `global: ${name}`),
    ...shardSchema().map(({ name }) => `shards: ${name}`),
  ];
}

/**
 * The same around a first shard that has everything and is in use: it is left as it is, and does not follow the global
 * database yet. `fill`: brings the global tables there before anybody follows them.
 */
export async function applyAroundFirst(
  places: ShardedPlaces,
  progress: Detail,
  fill: () => Promise<void>,
): Promise<void> {
  const others = places.shards.filter(({ number }) => number > 0);
  await applyGlobal(places, progress);
  await applyShards(places, others, progress);
  progress.detail("shard map");
  const map = await bringMap(places, () => Array<number>(places.buckets).fill(0));
  await fill();
  await lead(places, map, others, progress);
}

/** Has shard 0, which has the rows of the global tables, follow what is written in the global database from now on. */
export async function followGlobal(places: ShardedPlaces): Promise<void> {
  const [first] = places.shards;
  if (first) await subscribe(places, first, "only what is new");
}
