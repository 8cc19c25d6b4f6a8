/** `schema apply` at stage 4: tables everywhere, the first shard map, global tables to the shards, the router database. */
import { DATABASE, OWNER, ROUTER_DATABASE, type RoleName } from "../../components/roles.ts";
import { literal } from "../../components/sqlText.ts";
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
import { GLOBAL_PUBLICATION } from "../../sharding/shardSql.ts";
import { TABLES, globalTables } from "../../sharding/tables.ts";
import type { StackValues } from "../../stacks/outputs.ts";
import { GLOBAL_CLUSTER, globalSlot, shardNumber } from "../../components/docker/shardRoutes.ts";
import { EXIT, UserError } from "../../tuning/errors.ts";
import { clusterViews } from "../lib/clusters.ts";
import { loginOf } from "../lib/login.ts";
import type { Step } from "../lib/progress.ts";
import { applyParts, globalSchema, shardParts, shardSchema, wholeSchema } from "../lib/schemaParts.ts";
import { checkedConfig } from "../lib/stackConfig.ts";
import { asClusterOwner, superuserScript } from "./owner.ts";
import { firstMonth, partitionEmpty } from "./partition.ts";
import { clusterPlace, conninfoOf } from "./reach.ts";

const CLIENT_ROLES: readonly RoleName[] = ["cgraph", OWNER, "cgraph_readonly", "cgraph_monitor"];

interface Shard {
  readonly number: number;
  readonly name: string;
  readonly values: StackValues;
}

/** The map there is, or the first one, of which every shard is told before any client. */
async function bringMap(
  stack: string,
  global: StackValues,
  shards: readonly Shard[],
  first: () => readonly number[],
): Promise<ShardMap> {
  const found = await asClusterOwner(stack, global, readMap);
  const map = found ?? { version: 1, shards: first() };
  const unknown = shardsOf(map.shards).find((shard) => shard >= shards.length);
  if (unknown !== undefined) {
    throw new UserError(
      `the shard map gives buckets to shard ${unknown}, and the stack has ${shards.length} shards`,
      `set cgraph:shards to ${unknown + 1} or more`,
      EXIT.refused,
    );
  }
  for (const { number, values } of shards) {
    await asClusterOwner(stack, values, async (client) => {
      if (!(await readOwned(client))) await setOwned(client, number, map);
    });
  }
  if (!found) await asClusterOwner(stack, global, (client) => publishMap(client, map));
  return map;
}

/** Looks again and again for two minutes. Throws a UserError that says what is missing. */
async function until(missing: string, look: () => Promise<boolean>): Promise<void> {
  const end = Date.now() + 120_000;
  while (!(await look())) {
    if (Date.now() > end) throw new UserError(missing, "see ./cgraph-db status and ./cgraph-db logs", EXIT.failed);
    await new Promise((resolve) => setTimeout(resolve, 500));
  }
}

/** A shard's subscription to the global tables and the map: with a first copy, or with what is written there from now on. */
async function subscribe(
  { number, values }: Shard,
  global: StackValues,
  whole: StackValues,
  what: "all" | "only what is new" = "all",
): Promise<void> {
  const slot = globalSlot(number);
  const conninfo = literal(conninfoOf(whole, GLOBAL_CLUSTER));
  // Patroni makes the slot, and keeps it through a failover.
  await until(
    `the global database has no slot ${slot}`,
    async () =>
      (await superuserScript(
        global,
        DATABASE,
        `SELECT count(*) FROM pg_replication_slots WHERE slot_name = '${slot}'`,
      )) === "1",
  );
  const exists = await superuserScript(
    values,
    DATABASE,
    `SELECT count(*) FROM pg_subscription WHERE subname = '${GLOBAL_PUBLICATION}'`,
  );
  await superuserScript(
    values,
    DATABASE,
    exists === "0"
      ? `CREATE SUBSCRIPTION ${GLOBAL_PUBLICATION} CONNECTION ${conninfo} PUBLICATION ${GLOBAL_PUBLICATION}
         WITH (create_slot = false, slot_name = '${slot}'${what === "all" ? "" : ", copy_data = false, origin = none"})`
      : `ALTER SUBSCRIPTION ${GLOBAL_PUBLICATION} CONNECTION ${conninfo};
         ALTER SUBSCRIPTION ${GLOBAL_PUBLICATION} REFRESH PUBLICATION`,
  );
  await until(
    `shard ${number} does not get the global tables`,
    async () =>
      (await superuserScript(values, DATABASE, "SELECT count(*) FROM pg_subscription_rel WHERE srsubstate <> 'r'")) ===
      "0",
  );
}

/** The database and what only a superuser may make in it. */
async function makeRouter(global: StackValues, shards: readonly Shard[], whole: StackValues): Promise<void> {
  await superuserScript(
    global,
    "postgres",
    `SELECT 'CREATE DATABASE ${ROUTER_DATABASE} OWNER ${OWNER}'
       WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = '${ROUTER_DATABASE}') \\gexec
     REVOKE ALL ON DATABASE ${ROUTER_DATABASE} FROM PUBLIC;
     GRANT CONNECT, TEMPORARY ON DATABASE ${ROUTER_DATABASE} TO ${CLIENT_ROLES.join(", ")};`,
  );
  const servers = {
    [GLOBAL_SERVER]: clusterPlace(whole, GLOBAL_CLUSTER),
    ...Object.fromEntries(shards.map(({ number, name }) => [shardServer(number), clusterPlace(whole, name)])),
  };
  // Sessions of either name of a role act as the role.
  const users = CLIENT_ROLES.map((role) => ({ role, options: { ...loginOf(global, role) } }));
  await superuserScript(
    global,
    ROUTER_DATABASE,
    `${routerServersSql(servers, users, OWNER)}
     ALTER DEFAULT PRIVILEGES FOR ROLE ${OWNER} IN SCHEMA public GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO cgraph;
     ALTER DEFAULT PRIVILEGES FOR ROLE ${OWNER} IN SCHEMA public GRANT SELECT ON TABLES TO cgraph_readonly;`,
  );
}

interface Clusters {
  readonly global: StackValues;
  readonly shards: readonly Shard[];
  readonly buckets: number;
}

function clustersOf(values: StackValues): Clusters {
  const views = clusterViews(values);
  const global = views.find(({ name }) => name === GLOBAL_CLUSTER)?.values;
  if (!global || !values.sharding) throw new Error("the stack has no global database");
  const shards = views
    .filter(({ name }) => name !== GLOBAL_CLUSTER)
    .map((view): Shard => ({ ...view, number: shardNumber(view.name) }));
  return { global, shards, buckets: values.sharding.buckets };
}

const applyGlobal = (stack: string, { global }: Clusters, progress: Detail): Promise<void> =>
  asClusterOwner(stack, global, async (client) => {
    await applyParts(client, globalSchema(), (part) => progress.detail(`global database: ${part}`));
    const tables = globalTables(TABLES).map(({ name }) => name);
    // For the shards' first copy.
    await client.query(
      `GRANT USAGE ON SCHEMA public TO cgraph_changes; GRANT SELECT ON ${tables.join(", ")} TO cgraph_changes`,
    );
  });

/** Tables of these shards; messages by month, from the first shard's first month on, where they are made only now. */
async function applyShards(stack: string, all: readonly Shard[], which: readonly Shard[], progress: Detail) {
  const [first] = all;
  const since = (first && (await asClusterOwner(stack, first.values, firstMonth))) ?? new Date();
  const { messages } = checkedConfig(stack);
  for (const { name, values } of which) {
    const detail = (part: string): void => progress.detail(`${name}: ${part}`);
    await asClusterOwner(stack, values, async (client) => {
      await applyParts(client, wholeSchema(), detail);
      await partitionEmpty(client, since, messages);
      await applyParts(client, shardParts(), detail);
      const { rows } = await client.query<{ facts: TableFacts[] }>(FACTS_SQL);
      checkTables(TABLES, rows[0]?.facts ?? []);
    });
  }
}

/** Global tables to these shards, views for the router on all, and the router database. */
async function lead(
  stack: string,
  { global, shards }: Clusters,
  values: StackValues,
  map: ShardMap,
  followers: readonly Shard[],
  progress: Detail,
): Promise<void> {
  for (const shard of followers) {
    progress.detail(`${shard.name}: global tables`);
    await subscribe(shard, global, values);
  }
  for (const shard of shards) {
    await asClusterOwner(stack, shard.values, (client) => client.query(classViewsSql(shard.number, map.shards)));
  }
  progress.detail("router database");
  await makeRouter(global, shards, values);
  await asClusterOwner(stack, global, (client) => client.query(routerTablesSql(map)), {
    database: ROUTER_DATABASE,
  });
}

type Detail = Pick<Step, "detail">;

/** Brings all clusters to what they should be; run again, it changes nothing. Gives the names of what was applied. */
export async function applyShardedSchema(stack: string, values: StackValues, progress: Detail): Promise<string[]> {
  const clusters = clustersOf(values);
  const { global, shards, buckets } = clusters;
  await applyGlobal(stack, clusters, progress);
  await applyShards(stack, shards, shards, progress);
  progress.detail("shard map");
  const map = await bringMap(stack, global, shards, () => firstAssignment(buckets, shards.length));
  await lead(stack, clusters, values, map, shards, progress);
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
  stack: string,
  values: StackValues,
  progress: Detail,
  fill: () => Promise<void>,
): Promise<void> {
  const clusters = clustersOf(values);
  const { global, shards, buckets } = clusters;
  const others = shards.filter(({ number }) => number > 0);
  await applyGlobal(stack, clusters, progress);
  await applyShards(stack, shards, others, progress);
  progress.detail("shard map");
  const map = await bringMap(stack, global, shards, () => Array<number>(buckets).fill(0));
  await fill();
  await lead(stack, clusters, values, map, others, progress);
}

/** Has shard 0, which has the rows of the global tables, follow what is written in the global database from now on. */
export async function followGlobal(values: StackValues): Promise<void> {
  const { global, shards } = clustersOf(values);
  const [first] = shards;
  if (first) await subscribe(first, global, values, "only what is new");
}
