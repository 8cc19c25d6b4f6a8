/** The steps of a move from one database to shards beside those of every move; migration/toShards.ts says what each means. */
import type { Client } from "pg";
import { dockerHost } from "../../components/docker/engine.ts";
import { GLOBAL_CLUSTER, clusterScope, clustersBesideFirst, globalSlot } from "../../components/docker/shardRoutes.ts";
import { DATABASE } from "../../components/roles.ts";
import { MESSAGES, oldName } from "../../migration/partitions/sql.ts";
import { type TableFacts, FACTS_SQL, checkTables } from "../../sharding/checkTables.ts";
import { firstAssignment } from "../../sharding/shardMap.ts";
import { GLOBAL_PUBLICATION, globalTriggersSql } from "../../sharding/shardSql.ts";
import { enterMissingSql, followUsersSql, unfollowUsersSql } from "../../sharding/joinSql.ts";
import { dropSubscriptionSql } from "../../sharding/moveSql.ts";
import { TABLES, globalTables } from "../../sharding/tables.ts";
import type { StackConfig } from "../../stacks/config.ts";
import type { StackValues } from "../../stacks/outputs.ts";
import { planTopology } from "../../stacks/topology.ts";
import { EXIT, UserError } from "../../tuning/errors.ts";
import { settle } from "../lib/cluster.ts";
import { clusterView, withoutRegion } from "../lib/clusters.ts";
import { drainReplicas } from "../lib/drain.ts";
import { restartPending } from "../lib/heldRestart.ts";
import { checkMove } from "../migrate/checks.ts";
import type { MoveContext } from "../migrate/context.ts";
import { discard } from "../migrate/discard.ts";
import type { Facts } from "../migrate/journal.ts";
import type { MoveStep } from "../migrate/runner.ts";
import type { BucketsMove } from "../reshard/move.ts";
import { placesOf, shardPlace } from "../reshard/places.ts";
import { bucketWorks, livesIn } from "../reshard/steps.ts";
import { applyAroundFirst, followGlobal } from "../shards/apply.ts";
import { lockedBriefly } from "../shards/briefly.ts";
import { dockerPlaces } from "../shards/dockerPlaces.ts";
import { firstMonth } from "../shards/partition.ts";
import { forgetClusters } from "../shards/forget.ts";
import { asClusterOwner, superuserScript } from "../shards/owner.ts";
import { type Kept, convert, readKept, revert } from "./convert.ts";
import { type JoinLife, type JoinPlaces, join, missingOf, unjoin, whileJoined } from "./join.ts";
import { frontOf, leadPools } from "./switchPools.ts";

type Work = Pick<MoveStep, "run" | "undo">;

/** Clients wait behind each of these. */
const ARRIVAL_MS = 2000;
/** What only the clusters beside the first one have. */
const BESIDE_FIRST = /^(global|shard\d+)-/;

/** The first map of a database that was whole, and the one to which its buckets are to go. */
function bucketsOf({ sharding }: StackConfig): BucketsMove {
  return {
    before: Array<number>(sharding.buckets).fill(0),
    after: firstAssignment(sharding.buckets, sharding.shards),
  };
}

const globalOf = (values: StackValues): StackValues => clusterView(values, { cluster: GLOBAL_CLUSTER }).values;
/** The first cluster, as if it were all. */
const firstOf = (values: StackValues): StackValues => clusterView(values, {}).values;

function joinPlaces(context: MoveContext, values: StackValues): JoinPlaces {
  const places = placesOf(context.name, values);
  return {
    first: shardPlace(places, 0),
    global: places.global,
    globalSuperuser: (statements) => superuserScript(globalOf(values), DATABASE, `${statements.join(";\n")};`),
    streamRole: places.streamRole,
  };
}

/** Refuses tables that cannot be sharded as they are, before anything is done. */
async function checkShardable(context: MoveContext): Promise<void> {
  const values = await context.values();
  await asClusterOwner(context.name, values, async (client) => {
    if ((await firstMonth(client)) === null) {
      throw new UserError(
        "messages is not partitioned by month, as it is on shards",
        "do that first, while it is in use: ./cgraph-db partitions convert --drop-old",
        EXIT.refused,
      );
    }
    const old = await client.query("SELECT FROM pg_class WHERE oid = to_regclass($1)", [`public.${oldName(MESSAGES)}`]);
    if (old.rowCount !== 0) {
      throw new UserError(
        `${oldName(MESSAGES)}, the table from before messages was partitioned, is still there`,
        "drop it when you are sure that it is not needed: ./cgraph-db partitions convert --drop-old",
        EXIT.refused,
      );
    }
    const { rows } = await client.query<{ facts: TableFacts[] }>(FACTS_SQL);
    checkTables(TABLES, rows[0]?.facts ?? []);
  });
}

/** Waits until shard 0 has applied what was written in the global database. Gives whether it has, in this time. */
async function firstHasGlobal(values: StackValues, withinMs: number): Promise<boolean> {
  const global = globalOf(values);
  const lsn = await superuserScript(global, DATABASE, "SELECT pg_current_wal_lsn()");
  for (const until = Date.now() + withinMs; Date.now() < until;) {
    const there = await superuserScript(
      global,
      DATABASE,
      `SELECT confirmed_flush_lsn >= '${lsn}' FROM pg_replication_slots WHERE slot_name = '${globalSlot(0)}'`,
    );
    if (there === "t") return true;
  }
  return false;
}

const dropGlobalTriggersSql = globalTables(TABLES)
  .map(({ name }) => `DROP TRIGGER IF EXISTS sharding_global ON public.${name}`)
  .join("; ");

/** Shard 0 refuses writes of global tables, and the directory is no longer its own affair. False: a lock is in the way. */
const closeFirst = async (first: Client): Promise<boolean> =>
  (await lockedBriefly(first, "COMMIT", () => first.query(`${globalTriggersSql()}; ${unfollowUsersSql}`))) !==
  undefined;
const openFirst = async (first: Client): Promise<boolean> =>
  (await lockedBriefly(first, "COMMIT", () => first.query(dropGlobalTriggersSql))) !== undefined;

/** Leads the application to the router database, in a moment in which the global database has all that is to be its own. */
async function leadToRouter(context: MoveContext, values: StackValues, life: JoinLife): Promise<number> {
  const config = context.config(4);
  const heldMs = await whileJoined(joinPlaces(context, values), life, (clients) =>
    leadPools(values, config, "router", async () => {
      if (!(await closeFirst(clients.first))) return false;
      const missing = await missingOf(clients, ARRIVAL_MS).catch((error: unknown) => [String(error)]);
      if (missing.length === 0) return true;
      await clients.first.query(`${dropGlobalTriggersSql}; ${followUsersSql}`);
      throw new UserError(
        `the global database does not have what shard 0 has: ${missing.join("; ")}`,
        "nothing was changed: --resume tries again, --rollback takes the move back",
        EXIT.failed,
      );
    }),
  );
  if (heldMs !== undefined) return heldMs;
  throw new UserError("a server was replaced just now", "call --resume: it goes on", EXIT.failed);
}

/** Leads it back to shard 0, in a moment in which that has applied all that was written in the global database. */
const leadToFirst = (context: MoveContext, values: StackValues): Promise<number> =>
  asClusterOwner(context.name, firstOf(values), (first) =>
    leadPools(values, context.config(4), "first", async () => {
      if (!(await firstHasGlobal(values, ARRIVAL_MS))) {
        throw new UserError(
          "shard 0 has not applied in time what was written in the global database",
          "call --rollback again",
          EXIT.failed,
        );
      }
      return openFirst(first);
    }),
  );

/** Ends shard 0's following of the global database. */
async function unfollowGlobal(first: StackValues): Promise<void> {
  const there = await superuserScript(
    first,
    DATABASE,
    `SELECT count(*) FROM pg_subscription WHERE subname = '${GLOBAL_PUBLICATION}'`,
  );
  if (there === "0") return;
  await superuserScript(first, DATABASE, `${dropSubscriptionSql(GLOBAL_PUBLICATION).join(";\n")};`);
}

/** The work of the steps that only this move has, by name. `recall`: what another step of the leg remembers. */
export function toShardsWorks(context: MoveContext, recall: (step: string) => Facts): Readonly<Record<string, Work>> {
  const config = context.config(4);
  const buckets = bucketsOf(config);
  return {
    check: {
      async run() {
        await checkShardable(context);
        const values = await context.values();
        const { nodes } = planTopology(config, await dockerHost());
        const { shards } = config.sharding;
        return checkMove(values, { count: ((shards - 1) / shards) * nodes.length, what: `${shards} shards` });
      },
    },
    extend: {
      async run(progress, known) {
        const before = await context.values();
        const { nodes } = planTopology(config, await dockerHost());
        const leaving = before.nodes.slice(nodes.length).map(({ name }) => name);
        if (leaving.length > 0) progress.detail(`${leaving.join(", ")} serve nobody any more`);
        await drainReplicas(before, leaving);
        let left = (known["left"] as readonly string[] | undefined) ?? [];
        const { values, changed } = await context.bringTo(4, {
          phase: "prepare",
          remember: (now) => progress.remember({ left: (left = [...new Set([...left, ...now])]) }),
        });
        await settle(values);
        await discard(context, left);
        return { changed };
      },
      async undo() {
        const before = await context.values();
        const { values, left } = await context.bringTo(3, {
          mayGo: (name) => BESIDE_FIRST.test(withoutRegion(before, name)),
        });
        await settle(values);
        await restartPending(values);
        await discard(context, left);
        const names = clustersBesideFirst(config.sharding.shards);
        const generation = config.dataGenerations.at(-1);
        await forgetClusters(
          values,
          names.map((name) => clusterScope(context.name, name, generation)),
        );
      },
    },
    tables: {
      async run(progress, before) {
        const values = await context.values();
        return asClusterOwner(context.name, firstOf(values), async (client) => {
          // At once: what is dropped must be known, or nobody makes it again.
          const kept = (before["kept"] as Kept | undefined) ?? (await readKept(client));
          progress.remember({ kept });
          await convert(client, config.sharding.buckets, (text) => progress.detail(text));
          return { kept };
        });
      },
      async undo(progress, facts) {
        const kept = facts["kept"] as Kept | undefined;
        if (!kept) return;
        const values = await context.values();
        await asClusterOwner(context.name, firstOf(values), (client) =>
          revert(client, kept, (text) => progress.detail(text)),
        );
      },
    },
    global: {
      async run(progress, before) {
        const values = await context.values();
        const detail = (text: string): void => progress.detail(text);
        let life = before["life"] as JoinLife | undefined;
        await applyAroundFirst(dockerPlaces(context.name, values), progress, async () => {
          life = await join(joinPlaces(context, values), life, detail);
          progress.remember({ life });
        });
        return { life };
      },
      async undo() {
        await unjoin(joinPlaces(context, await context.values()));
      },
    },
    switch: {
      async run(progress, before) {
        const values = await context.values();
        const places = joinPlaces(context, values);
        let heldMs = Number(before["heldMs"] ?? 0);
        if ((await frontOf(values)) === "router") {
          // An interrupted try: whoever is not led there yet is, and who came meanwhile gets an entry in the directory.
          await leadPools(values, config, "router", () => Promise.resolve(true));
          await placesOf(context.name, values).router((client) => client.query(enterMissingSql));
        } else {
          // A server that was replaced meanwhile may lack what had arrived: then once more.
          const life = await join(places, recall("global")["life"] as JoinLife | undefined, (text) =>
            progress.detail(text),
          );
          heldMs = await leadToRouter(context, values, life);
          progress.remember({ heldMs });
        }
        await followGlobal(dockerPlaces(context.name, values));
        await unjoin(places);
        const { values: now, changed } = await context.bringTo(4);
        await settle(now);
        return { heldMs, changed };
      },
      async undo() {
        const values = await context.values();
        if ((await frontOf(values)) === "router") await leadToFirst(context, values);
        await unfollowGlobal(firstOf(values));
        await context.bringTo(4, { phase: "prepare" });
      },
    },
    ...bucketWorks(context, buckets, () => livesIn(recall)),
  };
}
