/** The moment in which the application's pools are led to the Citus cluster. */
import { dockerHost } from "../../components/docker/engine.ts";
import { COORDINATOR_ROUTES, ROUTER } from "../../components/docker/haproxyFiles.ts";
import { containerPgbouncerIni } from "../../components/docker/pgbouncerContainers.ts";
import { type ShardedPools, shardedPools } from "../../components/docker/shardRoutes.ts";
import { DATABASE, READ_DATABASE, ROUTER_DATABASE } from "../../components/roles.ts";
import { closeSql, openSql } from "../../citus/moveSql.ts";
import type { StackConfig } from "../../stacks/config.ts";
import type { StackValues } from "../../stacks/outputs.ts";
import { planTopology } from "../../stacks/topology.ts";
import { EXIT, UserError } from "../../tuning/errors.ts";
import { loginOf } from "../lib/login.ts";
import { consoleRows } from "../lib/pooler.ts";
import { leadPoolsBy } from "../toShards/switchPools.ts";
import { type CitusPlaces, type Source } from "./places.ts";
import { arrived } from "./stream.ts";

/** Clients wait behind this. */
const ARRIVAL_MS = 5000;

/** Databases of a source in which clients write. */
const writtenIn = ({ name }: Source): string[] => (name === "global" ? [DATABASE, ROUTER_DATABASE] : [DATABASE]);

/** Whether any pooler leads there: some clients may have written there since. */
export async function leadsToCitus(values: StackValues): Promise<boolean> {
  const poolers = values.services.filter(({ kind }) => kind === "pgbouncer");
  const shown = await Promise.all(poolers.map(({ container }) => consoleRows(container, "SHOW DATABASES")));
  return shown.flat().some(({ name, port }) => name === DATABASE && Number(port) === COORDINATOR_ROUTES.write);
}

/** Nobody writes to the sources any more; gives up to where they have written. */
async function closeSources({ sources }: CitusPlaces): Promise<Map<string, string>> {
  const closed = await Promise.all(
    sources.map(async (source) => {
      let last = "";
      for (const database of writtenIn(source)) last = await source.ask(closeSql(database), "postgres");
      return [source.name, last.split("\n").at(-1) ?? ""] as const;
    }),
  );
  return new Map(closed);
}

export async function openSources({ sources }: CitusPlaces): Promise<void> {
  await Promise.all(
    sources.flatMap((source) => writtenIn(source).map((database) => source.ask(openSql(database), "postgres"))),
  );
}

/** Leads the application's two names to the coordinator; gives for how long clients were held, in milliseconds. */
export async function leadToCitus(values: StackValues, config: StackConfig, places: CitusPlaces): Promise<number> {
  const { pool, sharding } = planTopology(config, await dockerHost());
  if (!pool) throw new Error("a stage with pools");
  const user = loginOf(values, "cgraph_pooler").user;
  const back: Partial<ShardedPools> = sharding ? shardedPools(sharding, true) : {};
  const at = (port: number) => ({ hosts: [ROUTER], port });
  const to = {
    more: back.more ?? [],
    front: [
      { name: DATABASE, upstream: at(COORDINATOR_ROUTES.write), database: DATABASE },
      { name: READ_DATABASE, upstream: at(COORDINATOR_ROUTES.read), database: DATABASE },
    ],
  };
  const inis = { to: containerPgbouncerIni(pool, user, to), back: containerPgbouncerIni(pool, user, back) };
  return leadPoolsBy(values, inis, [DATABASE, READ_DATABASE], async () => {
    const positions = await closeSources(places);
    if (await arrived(places, positions, ARRIVAL_MS)) return true;
    await openSources(places);
    throw new UserError(
      `what was written last is not in the Citus cluster after ${ARRIVAL_MS / 1000} s`,
      "clients go on as before; ./cgraph-db logs of the coordinator says why, --resume tries again, --rollback takes the move back",
      EXIT.failed,
    );
  });
}
