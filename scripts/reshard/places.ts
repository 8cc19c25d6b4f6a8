/** The databases that a move of buckets works in, reached anew each time: a primary may have changed meanwhile. */
import { setTimeout as sleep } from "node:timers/promises";
import type { Client } from "pg";
import { DATABASE, READ_DATABASE, ROUTER_DATABASE, type RoleName } from "../../components/roles.ts";
import { GLOBAL_CLUSTER, shardNumber } from "../../components/docker/shardRoutes.ts";
import type { StackValues } from "../../stacks/outputs.ts";
import { UserError } from "../../tuning/errors.ts";
import { clusterViews } from "../lib/clusters.ts";
import { PoolPause } from "../lib/pooler.ts";
import { asClusterOwner, superuserScript } from "../shards/owner.ts";
import { conninfoOf } from "../shards/reach.ts";

/** Works with a client of the tables' owner. */
export type AsOwner = <T>(work: (client: Client) => Promise<T>) => Promise<T>;

export interface ShardPlace {
  readonly number: number;
  readonly owner: AsOwner;
  /** Runs statements one by one; gives what they print. */
  readonly superuser: (statements: readonly string[]) => Promise<string>;
  /** How the other shards' subscriptions reach it. */
  readonly conninfo: string;
}

export interface Places {
  /** By number. */
  readonly shards: readonly ShardPlace[];
  /** The global database, which has the shard map. */
  readonly global: AsOwner;
  readonly router: AsOwner;
  /** As whom subscriptions log in. */
  readonly streamRole: string;
  /** Holds the clients of the router database while it works; gives for how long, in milliseconds. */
  readonly holdRouter: <T>(work: () => Promise<T>) => Promise<{ value: T; heldMs: number }>;
}

export function shardPlace(places: Places, shard: number): ShardPlace {
  const place = places.shards[shard];
  if (!place)
    throw new UserError(`there is no shard ${shard}`, `the stack has shards 0 to ${places.shards.length - 1}`);
  return place;
}

/** Errors of a server that is just failing over or starting: the same question has an answer a little later. */
function isPassing(error: unknown): boolean {
  const { code, message } = error as { code?: unknown; message?: unknown };
  if (/^(08|57P|25006)/.test(String(code)) || /^E(CONN|PIPE|TIMEDOUT|HOSTUNREACH)/.test(String(code))) return true;
  return /does not answer|no primary|terminated|timeout expired|shutting down|starting up|connection to server/i.test(
    String(message),
  );
}

const PATIENCE_MS = 120_000;

/** Tries again while a cluster is without a primary, for two minutes at most. `work` must bear being repeated. */
export async function patiently<T>(work: () => Promise<T>): Promise<T> {
  for (const until = Date.now() + PATIENCE_MS; ;) {
    try {
      return await work();
    } catch (error) {
      if (!isPassing(error) || Date.now() > until) throw error;
      await sleep(1000);
    }
  }
}

/** The places of a stack at stage 4. */
export function placesOf(stack: string, values: StackValues): Places {
  const views = clusterViews(values);
  const global = views.find(({ name }) => name === GLOBAL_CLUSTER)?.values;
  if (!global) throw new UserError(`stack ${stack} has no shards`, "./cgraph-db migrate --stage 4");
  const shards = views
    .filter(({ name }) => name !== GLOBAL_CLUSTER)
    .map(({ name, values: view }): ShardPlace => ({
      number: shardNumber(name),
      owner: (work) => asClusterOwner(stack, view, work),
      superuser: (statements) => superuserScript(view, DATABASE, `${statements.join(";\n")};`),
      conninfo: conninfoOf(values, name),
    }));
  return {
    shards: shards.sort((a, b) => a.number - b.number),
    global: (work) => asClusterOwner(stack, global, work),
    router: (work) => asClusterOwner(stack, global, work, { database: ROUTER_DATABASE }),
    streamRole: "cgraph_changes" satisfies RoleName,
    async holdRouter(work) {
      const pause = new PoolPause(values, [DATABASE, READ_DATABASE]);
      await pause.begin();
      const value = await work().finally(() => pause.end());
      return { value, heldMs: pause.heldMs };
    },
  };
}
