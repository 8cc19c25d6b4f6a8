/** The databases that rows come from, and the Citus cluster that they go to, as a stack has them while it moves. */
import { COORDINATOR, workerCluster } from "../../components/docker/citusNames.ts";
import { FIRST_CLUSTER, GLOBAL_CLUSTER } from "../../components/docker/shardRoutes.ts";
import { DATABASE, type RoleName } from "../../components/roles.ts";
import { citusTables } from "../../citus/tables.ts";
import { stagingOf } from "../../citus/moveSql.ts";
import { TABLES, globalTables, shardedTables } from "../../sharding/tables.ts";
import type { StackValues } from "../../stacks/outputs.ts";
import { EXIT, UserError } from "../../tuning/errors.ts";
import { clusterViews, shardingOf } from "../lib/clusters.ts";
import { loginOf } from "../lib/login.ts";
import { patiently } from "../reshard/places.ts";
import { superuserScript } from "../shards/owner.ts";
import { conninfoText, serverAt } from "../shards/places.ts";
import { AUTHORITY, conninfoOf } from "../shards/reach.ts";

/** As whom streams log in, both ways. */
export const STREAM_ROLE = "cgraph_changes" satisfies RoleName;

/** SQL of the superuser in a database; tried again while a cluster is without a primary. Gives what psql prints. */
export type Ask = (sql: string, database?: string) => Promise<string>;

export interface Source {
  /** `shard0`, `shard1`, …, `global`; `shard0` too where there is one database. */
  readonly name: string;
  /** As if it were a stack of its own. */
  readonly values: StackValues;
  readonly ask: Ask;
  /** How the cluster's subscriptions reach it; secret. */
  readonly conninfo: string;
  /** Those of its tables that move from here. */
  readonly tables: readonly string[];
  /** Where its changes are staged. */
  readonly node: Node;
  /** In the staging database there. */
  readonly staging: Ask;
}

export interface Node {
  /** `coordinator`, `worker1`, … */
  readonly name: string;
  readonly values: StackValues;
  readonly ask: Ask;
  /** A conninfo by which the databases before reach the server that takes its writes; secret. */
  readonly conninfo: string;
}

export interface CitusPlaces {
  readonly sources: readonly Source[];
  readonly coordinator: Node;
  readonly nodes: readonly Node[];
}

export const isReference = (table: string): boolean =>
  citusTables().some(({ name, distributedBy }) => name === table && distributedBy === null);

export function keyOf(table: string): readonly string[] {
  const found = citusTables().find(({ name }) => name === table);
  if (!found) throw new Error(`there is no table ${table}`);
  return found.primaryKey;
}

const asker =
  (values: StackValues): Ask =>
  (sql, database = DATABASE) =>
    patiently(() => superuserScript(values, database, sql));

/** The Citus cluster's nodes, while a move is prepared. */
export function arrivingNodes(values: StackValues): Node[] {
  // Outputs of earlier versions have no such key.
  const arriving = values.arriving as StackValues["arriving"] | undefined;
  return (arriving ?? []).map(({ name, nodes, write, read, backupContainer }) => {
    const view: StackValues = {
      ...{ ...values, nodes, backupContainer, sharding: null, arriving: null },
      endpoints: { ...values.endpoints, write, read },
    };
    const hosts = nodes.map((node) => node.name);
    const server = {
      ...serverAt({ host: hosts.join(","), port: 5432 }, AUTHORITY),
      port: hosts.map(() => 5432).join(","),
    };
    const conninfo = `${conninfoText(server, loginOf(values, STREAM_ROLE))} target_session_attrs=primary`;
    return { name, values: view, ask: asker(view), conninfo };
  });
}

/**
 * One database is staged on the coordinator, which has room: it holds reference tables only. Of several, each shard is staged
 * on a worker in turn, so that no node needs room for all.
 */
export function citusPlaces(values: StackValues): CitusPlaces {
  const nodes = arrivingNodes(values);
  const at = (name: string): Node => {
    const found = nodes.find((node) => node.name === name);
    if (found) return found;
    throw new UserError("the Citus cluster is not there", "see ./cgraph-db status", EXIT.failed);
  };
  const workers = nodes.length - 1;
  const sharded = shardingOf(values) !== null && shardingOf(values) !== undefined;
  const all = TABLES.map(({ name }) => name);
  const tablesOf = (cluster: string): string[] =>
    !sharded ? all : (cluster === GLOBAL_CLUSTER ? globalTables() : shardedTables()).map(({ name }) => name);
  const sources = clusterViews({ ...values, arriving: null }).map(({ name, values: view }, index): Source => {
    const cluster = name === "" ? FIRST_CLUSTER : name;
    const node = at(!sharded || cluster === GLOBAL_CLUSTER ? COORDINATOR : workerCluster(1 + (index % workers)));
    const ask = asker(view);
    return {
      name: cluster,
      values: view,
      ask,
      conninfo: conninfoOf(values, cluster),
      tables: tablesOf(cluster),
      node,
      staging: (sql) => node.ask(sql, stagingOf(cluster)),
    };
  });
  // What others refer to comes first: forums, of the global database.
  const rank = ({ name }: Source): number => (name === GLOBAL_CLUSTER ? 0 : 1);
  return { sources: sources.sort((a, b) => rank(a) - rank(b)), coordinator: at(COORDINATOR), nodes };
}
