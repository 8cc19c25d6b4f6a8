/** How far each node of a Citus cluster has got: its coordinator's word alone says nothing of rows that are on workers. */
import type pg from "pg";
import { literal } from "../components/sqlText.ts";
import { type Token, lsnNumber } from "./token.ts";

/** A table that is distributed by a column of uuids, whose values are looked for without reading much: an index begins with it. */
export interface ProbedTable {
  readonly table: string;
  readonly column: string;
}

/** CGraph's: with the shards of all other tables, small, and not by month. */
export const CGRAPH_PROBE: ProbedTable = { table: "conversation_members", column: "user_id" };

/** What there is to ask: for each node that has shards a value of the column that leads there; and the last placement of a shard when that was so. */
interface Probes {
  readonly keys: readonly string[];
  readonly placement: string | null;
}

/** `node`: PostgreSQL's own identifier of it, the same on all its standbys. `at`: null where it takes writes, and has all. */
export interface Position {
  readonly node: string;
  readonly at: string | null;
  /** Of the coordinator's only. */
  readonly placement?: string | null;
}

const NODE = "(pg_control_system()).system_identifier::text AS node";
const WRITTEN = "pg_current_wal_insert_lsn()::text AS at";
const REPLAYED = "CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() END::text AS at";
/** Values that are tried for each shard, so that hardly any is missed; a node has several. */
const TRIED = 16;

/**
 * Asks the coordinator for the positions of all nodes that have shards, itself first. Each is asked by a statement that goes to one
 * of its shards, over the connection that the session has to it already: `run_command_on_all_nodes` would make new ones each time.
 */
export class CitusNodes {
  readonly #probe: ProbedTable;
  #probes: Probes | undefined;

  constructor(probe: ProbedTable) {
    this.#probe = probe;
  }

  /** What asks for the positions, to be sent together with other statements; `written`: at the primary, else at a standby. */
  async sql(client: pg.ClientBase, of: "written" | "replayed"): Promise<string> {
    const { keys } = (this.#probes ??= await this.#learn(client));
    const at = of === "written" ? WRITTEN : REPLAYED;
    const { table, column } = this.#probe;
    return [
      `SELECT ${NODE}, ${at}, (SELECT max(placementid) FROM pg_dist_placement)::text AS placement`,
      ...keys.map((key) => `SELECT count(*), ${NODE}, ${at} FROM ${table} WHERE ${column} = ${literal(key)}::uuid`),
    ].join("; ");
  }

  /** The answer to that; undefined where shards have been moved since, and it has to be asked again. */
  positions(results: readonly pg.QueryResult[]): readonly Position[] | undefined {
    const found = results.map(({ rows }) => rows[0] as Position);
    if (found[0]?.placement === this.#probes?.placement) return found;
    this.#probes = undefined;
    return undefined;
  }

  /** In one go, so that the values and the placement are of one moment. */
  async #learn(client: pg.ClientBase): Promise<Probes> {
    const { table, column } = this.#probe;
    const regclass = `${literal(table)}::regclass`;
    const { rows } = await client.query<{ keys: string[] | null; placement: string | null }>(
      `SELECT (SELECT max(placementid) FROM pg_dist_placement)::text AS placement,
              (SELECT array_agg(key) FROM (
                 SELECT DISTINCT ON (p.groupid) md5(i::text)::uuid::text AS key
                   FROM generate_series(1, ${TRIED} * (SELECT count(*) FROM pg_dist_shard WHERE logicalrelid = ${regclass})) i
                   JOIN pg_dist_placement p ON p.shardid = get_shard_id_for_distribution_column(${regclass}, md5(i::text)::uuid)
                  ORDER BY p.groupid, i) one) AS keys`,
    );
    const [found] = rows;
    if (!found?.keys) throw new Error(`${table} is not distributed by ${column}: there is no node to ask`);
    return { keys: found.keys, placement: found.placement };
  }
}

/** What a client has that has written when the nodes were there. `name`: the database's, which stands for the coordinator. */
export const tokenOf = (name: string, [coordinator, ...workers]: readonly Position[]): Token =>
  Object.fromEntries([
    [name, coordinator?.at ?? ""],
    ...workers.map(({ node, at }) => [`${name}.${node}`, at ?? ""] as const),
  ]);

/** Whether the nodes, where they are, have all that this token's owner has written. */
export function haveAll(name: string, token: Token, [coordinator, ...workers]: readonly Position[]): boolean {
  const has = (wanted: string | undefined, position: Position | undefined): boolean =>
    wanted === undefined ||
    (position !== undefined && (position.at === null || lsnNumber(position.at) >= lsnNumber(wanted)));
  return (
    has(token[name], coordinator) &&
    Object.entries(token)
      .filter(([key]) => key.startsWith(`${name}.`))
      .every(([key, wanted]) =>
        has(
          wanted,
          workers.find(({ node }) => `${name}.${node}` === key),
        ),
      )
  );
}
