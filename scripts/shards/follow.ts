/** Shards follow the global database: each has a copy of its tables and of the shard map, by a subscription of its own. */
import type { Client } from "pg";
import { globalSlot } from "../../components/docker/shardRoutes.ts";
import { literal } from "../../components/sqlText.ts";
import { dropSubscriptionSql } from "../../sharding/moveSql.ts";
import { GLOBAL_PUBLICATION } from "../../sharding/shardSql.ts";
import { globalTables } from "../../sharding/tables.ts";
import { EXIT, UserError } from "../../tuning/errors.ts";
import { type ClusterPlace, type ShardCluster, type ShardedPlaces, conninfoText, serverAt } from "./places.ts";

/** Looks again and again for two minutes. Throws a UserError that says what is missing. */
async function until(missing: string, look: () => Promise<boolean>): Promise<void> {
  const end = Date.now() + 120_000;
  while (!(await look())) {
    if (Date.now() > end) throw new UserError(missing, "see ./cgraph-db status and ./cgraph-db logs", EXIT.failed);
    await new Promise((resolve) => setTimeout(resolve, 500));
  }
}

const follows = (shard: ClusterPlace): Promise<boolean> =>
  shard.owner(
    async (client) =>
      (await client.query("SELECT FROM pg_subscription WHERE subname = $1", [GLOBAL_PUBLICATION])).rowCount === 1,
  );

/** Whether the server still keeps what the slot's reader lacks; undefined: there is no such slot. */
async function keepsAll(client: Client, slot: string): Promise<boolean | undefined> {
  const { rows } = await client.query<{ keeps: boolean }>(
    "SELECT wal_status IS DISTINCT FROM 'lost' AS keeps FROM pg_replication_slots WHERE slot_name = $1",
    [slot],
  );
  return rows[0]?.keeps;
}

/**
 * Ends a shard's following, and clears its copy away: nothing remembers how far that had come, and the next first copy wants
 * empty tables.
 */
export async function letGo(shard: ClusterPlace): Promise<void> {
  const tables = ["sharding.maps", ...globalTables().map(({ name }) => `public.${name}`)];
  await shard.administer([
    ...((await follows(shard)) ? dropSubscriptionSql(GLOBAL_PUBLICATION) : []),
    "BEGIN",
    // As what applies changes does: triggers and foreign keys are for clients.
    "SET LOCAL session_replication_role = replica",
    ...tables.map((table) => `DELETE FROM ${table}`),
    "COMMIT",
  ]);
}

/**
 * Makes a shard's slot where the global database has none that can be read on. A shard that has followed by one has missed
 * what was written since, and so gets its copy anew.
 */
async function makeSlot(global: ClusterPlace, shard: ShardCluster, slot: string): Promise<void> {
  const keeps = await global.owner((client) => keepsAll(client, slot));
  if (keeps === true) return;
  if (await follows(shard)) await letGo(shard);
  await global.administer([
    ...(keeps === false ? [`SELECT pg_drop_replication_slot('${slot}')`] : []),
    `SELECT pg_create_logical_replication_slot('${slot}', 'pgoutput')`,
  ]);
}

/** A shard's subscription to the global tables and the map: with a first copy, or with what is written there from now on. */
export async function subscribe(
  { global, loginOf, slotsBy }: ShardedPlaces,
  shard: ShardCluster,
  what: "all" | "only what is new" = "all",
): Promise<void> {
  const slot = globalSlot(shard.number);
  if (slotsBy === "us") await makeSlot(global, shard, slot);
  else {
    await until(
      `the global database has no slot ${slot}`,
      async () => (await global.owner((client) => keepsAll(client, slot))) !== undefined,
    );
  }
  const conninfo = literal(
    conninfoText(serverAt(global.endpoint, await shard.authorities()), loginOf("cgraph_changes")),
  );
  const options = what === "all" ? "" : ", copy_data = false, origin = none";
  if (await follows(shard)) {
    await shard.administer([`ALTER SUBSCRIPTION ${GLOBAL_PUBLICATION} CONNECTION ${conninfo}`], { secret: true });
    await shard.administer([`ALTER SUBSCRIPTION ${GLOBAL_PUBLICATION} REFRESH PUBLICATION`]);
  } else {
    await shard.administer(
      [
        `CREATE SUBSCRIPTION ${GLOBAL_PUBLICATION} CONNECTION ${conninfo} PUBLICATION ${GLOBAL_PUBLICATION}
         WITH (create_slot = false, slot_name = '${slot}'${options})`,
      ],
      { secret: true },
    );
  }
  await until(`shard ${shard.number} does not get the global tables`, () =>
    shard.owner(
      async (client) =>
        (await client.query("SELECT FROM pg_subscription_rel WHERE srsubstate <> 'r' LIMIT 1")).rowCount === 0,
    ),
  );
}
