/** What the plan of a move depends on, read from what runs. */
import { DATABASE } from "../../components/roles.ts";
import { dockerHost } from "../../components/docker/engine.ts";
import { legsOf } from "../../migration/moves.ts";
import type { MoveFacts } from "../../migration/moveSteps.ts";
import type { StackConfig } from "../../stacks/config.ts";
import type { StackValues } from "../../stacks/outputs.ts";
import { planTopology } from "../../stacks/topology.ts";
import { confText } from "../../tuning/setting.ts";
import { currentPrimary, superuserSql } from "../lib/cluster.ts";
import { checkedConfig } from "../lib/stackConfig.ts";

interface Sizes {
  readonly database: number;
  readonly messages: number;
  readonly partitioned: boolean;
}

async function sizesOf(values: StackValues): Promise<Sizes> {
  const { container } = await currentPrimary(values);
  const row = await superuserSql(
    container,
    `SELECT json_build_object('database', (SELECT sum(pg_database_size(oid)) FROM pg_database WHERE datallowconn),
       'messages', coalesce(pg_total_relation_size(to_regclass('public.messages')), 0),
       'partitioned', coalesce((SELECT relkind <> 'r' FROM pg_class WHERE oid = to_regclass('public.messages')), true))`,
    DATABASE,
  );
  return JSON.parse(row) as Sizes;
}

/** Settings of a stage that differ from another's and need a restart, by their names. */
function restartsBetween(from: StackConfig, to: StackConfig, host: Awaited<ReturnType<typeof dockerHost>>): string[] {
  const [before] = planTopology(from, host).nodes;
  const [after] = planTopology(to, host).nodes;
  return Object.entries(after?.settings ?? {})
    .filter(([name, setting]) => {
      const old = before?.settings[name];
      return setting.restart && (!old || confText(old) !== confText(setting));
    })
    .map(([name]) => name);
}

/** Reads it; the database's size needs a server that answers. */
export async function factsOf(stack: string, values: StackValues, to: number): Promise<MoveFacts> {
  const host = await dockerHost();
  const at = (stage: number): StackConfig => checkedConfig(stack, { stage: String(stage) });
  const stages = [values.stage, ...legsOf(values.stage, to)];
  const { database, messages, partitioned } = await sizesOf(values);
  const sharded = stages.slice(1).includes(4) ? planTopology(at(4), host) : undefined;
  const distributed = stages.slice(1).includes(5) ? planTopology(at(5), host) : undefined;
  return {
    databaseBytes: database,
    messagesBytes: messages,
    partitioned,
    servers: Object.fromEntries(stages.map((stage) => [stage, planTopology(at(stage), host).nodes.length])),
    ...(sharded?.sharding && {
      sharding: {
        shards: sharded.sharding.shards,
        buckets: sharded.sharding.buckets,
        replicas: sharded.nodes.length - 1,
      },
    }),
    ...(distributed?.citus && {
      citus: { workers: distributed.citus.workers, replicas: distributed.nodes.length - 1 },
    }),
    restarts: Object.fromEntries(
      stages.slice(1).map((stage, index) => {
        const before = at(stages[index] ?? stage);
        // A Citus cluster's servers are new: those before it are what may need one.
        const after = stage === 5 ? checkedConfig(stack, { stage: String(before.stage), fromStage: "3" }) : at(stage);
        return [stage, restartsBetween(before, after, host)];
      }),
    ),
  };
}
