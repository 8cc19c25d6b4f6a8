/** Leads the application's pools elsewhere while its clients wait for a moment: nobody has to connect anew. */
import { setTimeout as sleep } from "node:timers/promises";
import { dockerHost } from "../../components/docker/engine.ts";
import { containerPgbouncerIni } from "../../components/docker/pgbouncerContainers.ts";
import { shardedPools } from "../../components/docker/shardRoutes.ts";
import { DATABASE, GLOBAL_DATABASE, READ_DATABASE, ROUTER_DATABASE } from "../../components/roles.ts";
import type { StackConfig } from "../../stacks/config.ts";
import type { StackValues } from "../../stacks/outputs.ts";
import { planTopology } from "../../stacks/topology.ts";
import { docker } from "../lib/docker.ts";
import { loginOf } from "../lib/login.ts";
import { PoolPause, consoleRows } from "../lib/pooler.ts";
import { EXIT, UserError } from "../../tuning/errors.ts";

/** Where the application's names of the database lead: to shard 0, which was the whole database, or to all shards. */
export type Front = "first" | "router";

/** As cgraph-write-config does it, but for telling the pooler: that is done while its clients are held. */
const WRITE = `cat >/etc/cgraph/.pgbouncer.ini.new && chown root:postgres /etc/cgraph/.pgbouncer.ini.new &&
  chmod 0640 /etc/cgraph/.pgbouncer.ini.new && mv /etc/cgraph/.pgbouncer.ini.new /etc/cgraph/pgbouncer.ini`;

/** pgbouncer.ini of a stack's pools that lead there. */
async function frontIni(values: StackValues, config: StackConfig, front: Front): Promise<string> {
  const { pool, sharding } = planTopology(config, await dockerHost());
  if (!pool || !sharding) throw new Error("only a sharded stack has pools that lead to all shards");
  const pools = shardedPools(sharding, front === "router");
  return containerPgbouncerIni(pool, loginOf(values, "cgraph_pooler").user, pools);
}

async function writeIni(values: StackValues, ini: string): Promise<void> {
  const poolers = values.services.filter(({ kind }) => kind === "pgbouncer");
  await Promise.all(
    poolers.map(({ container }) =>
      docker(["exec", "--interactive", "--user", "root", container, "sh", "-c", WRITE], { input: ini }),
    ),
  );
}

/** Where the pools lead now; `router` as soon as one of them does: some clients may have written there since. */
export async function frontOf(values: StackValues): Promise<Front> {
  const poolers = values.services.filter(({ kind }) => kind === "pgbouncer");
  const shown = await Promise.all(poolers.map(({ container }) => consoleRows(container, "SHOW DATABASES")));
  const leads = shown.flat().filter(({ name }) => name === DATABASE);
  return leads.some(({ database }) => database === ROUTER_DATABASE) ? "router" : "first";
}

const TRIES = 30;

/**
 * Works while the application's clients are held, then leads them there. Where the work says that somebody else's lock is in
 * its way (false), they go on as before, and it is tried again a little later; where it fails, they go on as before too.
 * Gives for how long they were held, in milliseconds. `config`: of stage 4.
 */
export async function leadPools(
  values: StackValues,
  config: StackConfig,
  front: Front,
  work: () => Promise<boolean>,
): Promise<number> {
  const ini = (to: Front): Promise<string> => frontIni(values, config, to);
  const inis = { to: await ini(front), back: await ini(front === "router" ? "first" : "router") };
  return leadPoolsBy(values, inis, [DATABASE, READ_DATABASE, GLOBAL_DATABASE], work);
}

/**
 * The same by the poolers' whole configuration: where they are to lead, and where they led before. `databases`: whose clients are
 * held; undefined: all.
 */
export async function leadPoolsBy(
  values: StackValues,
  inis: { readonly to: string; readonly back: string },
  databases: readonly string[] | undefined,
  work: () => Promise<boolean>,
): Promise<number> {
  for (let tries = 0; tries < TRIES; tries++) {
    await writeIni(values, inis.to);
    const pause = new PoolPause(values, databases);
    let ready = false;
    try {
      await pause.begin();
      try {
        ready = await work();
        if (ready) await pause.reload();
      } finally {
        await pause.end();
      }
    } finally {
      // What a pooler has not read must not be what it reads when it starts anew.
      if (!ready) await writeIni(values, inis.back);
    }
    if (ready) return pause.heldMs;
    await sleep(1000);
  }
  throw new UserError(
    "transactions that are open leave no moment in which the pools could be led elsewhere",
    "end those that are open for long (./cgraph-db inspect activity), then call this again",
    EXIT.refused,
  );
}
