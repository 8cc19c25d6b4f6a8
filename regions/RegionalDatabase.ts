/** One database in several regions: reads near whoever asks, writes where the primary is, and what was written is read. */
import type { EventEmitter } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import pg from "pg";
import { inTransaction, using, usingClient } from "../sharding/work.ts";
import { UserError } from "../tuning/errors.ts";
import { CitusNodes, type ProbedTable, haveAll, tokenOf } from "./CitusNodes.ts";
import { regionSuffix } from "./names.ts";
import { type Token, lsnNumber } from "./token.ts";

export interface RegionalDatabaseOptions {
  /** Its name in tokens; default `DATABASE`. */
  readonly name?: string;
  /** Leads to the primary, wherever it is. */
  readonly primary: pg.PoolConfig;
  /** Leads to the region's own replicas. */
  readonly replica: pg.PoolConfig;
  /** Of a Citus cluster: a table by which its nodes are asked how far they are (`CGRAPH_PROBE`); default: it is one server's. */
  readonly citus?: ProbedTable;
  /** Milliseconds for which a read waits for a replica to have a write before it goes to the primary; default 200. */
  readonly waitMs?: number;
  /** Connections of each of the two pools at most; default pg's, 10. */
  readonly maxConnections?: number;
  /** Told of connections that break while nothing is asked over them; default nobody. */
  readonly onError?: (error: Error) => void;
}

export interface Written<T> {
  readonly value: T;
  /** Give it to `read` for whoever has made this write. */
  readonly token: Token;
}

const POLL_MS = 5;
/** How often nodes are asked once more because shards have moved meanwhile. */
const ASKED_AGAIN = 3;

/** What `write` did is there, but how far the nodes of the Citus cluster are by then is not known: read it at the primary. */
export class WrittenWithoutToken<T> extends Error {
  readonly value: T;

  constructor(value: T, cause: unknown) {
    super("it is written, but how far the nodes are is not known: read it at the primary", { cause });
    this.value = value;
  }
}

/** The replica does not have it in time. */
class NotYet extends Error {}

/** The URL of a region's own replicas, from the environment that `cgraph-db env` prints. Throws a UserError where there is none. */
export function nearestReplica(
  region: string,
  env: Readonly<Record<string, string | undefined>> = process.env,
  name = "DATABASE",
): string {
  const key = `${name}_REPLICA_URL_${regionSuffix(region)}`;
  const url = env[key];
  if (url === undefined) throw new UserError(`${key} is not set`, "./cgraph-db env > .env");
  return url;
}

/**
 * Reads and writes of one region. Work may be done again at the primary where the replica has it only later: let `read`'s be
 * whole, without effects elsewhere.
 */
export class RegionalDatabase {
  readonly name: string;
  readonly #primary: pg.Pool;
  readonly #replica: pg.Pool;
  readonly #waitMs: number;
  /** What is known of the nodes at the primary, and at the region's standbys, which may be behind in that too. */
  readonly #nodes: { readonly primary: CitusNodes; readonly replica: CitusNodes } | undefined;

  constructor(options: RegionalDatabaseOptions) {
    const onError = options.onError ?? (() => undefined);
    const pool = (config: pg.PoolConfig): pg.Pool =>
      new pg.Pool({
        connectionTimeoutMillis: 5000,
        ...(options.maxConnections !== undefined && { max: options.maxConnections }),
        ...config,
      })
        .on("error", onError)
        .on("connect", (client) => client.on("error", onError));
    this.name = options.name ?? "DATABASE";
    this.#primary = pool(options.primary);
    this.#replica = pool(options.replica);
    this.#waitMs = options.waitMs ?? 200;
    const { citus } = options;
    this.#nodes = citus && { primary: new CitusNodes(citus), replica: new CitusNodes(citus) };
  }

  /**
   * From DATABASE_URL_<REGION> and DATABASE_REPLICA_URL_<REGION> as `cgraph-db env` prints them; `name`: `SHARD_0` and so on
   * for a shard. Throws a UserError where one is missing.
   */
  static fromEnvironment(
    region: string,
    env: Readonly<Record<string, string | undefined>> = process.env,
    { name = "DATABASE", ...options }: Omit<RegionalDatabaseOptions, "primary" | "replica"> = {},
  ): RegionalDatabase {
    const key = `${name}_URL_${regionSuffix(region)}`;
    const primary = env[key];
    if (primary === undefined) throw new UserError(`${key} is not set`, "./cgraph-db env > .env");
    const replica = nearestReplica(region, env, name);
    return new RegionalDatabase({
      ...options,
      ...{ name, primary: { connectionString: primary }, replica: { connectionString: replica } },
    });
  }

  /** Works in a transaction at the primary. What it wrote is there for whoever reads with the token. */
  write<T>(work: (client: pg.PoolClient) => Promise<T>): Promise<Written<T>> {
    const nodes = this.#nodes?.primary;
    return using(this.#primary, async (client) => {
      if (nodes) return this.#writeOnNodes(client, nodes, work);
      await client.query("BEGIN");
      const value = await work(client);
      // In one message: the primary may be far.
      const ended = (await client.query("COMMIT; SELECT pg_current_wal_insert_lsn()::text AS lsn")) as unknown;
      const [commit, position] = ended as [pg.QueryResult, pg.QueryResult<{ lsn: string }>];
      if (commit.command !== "COMMIT") throw rolledBack();
      return { value, token: { [this.name]: position.rows[0]?.lsn ?? "" } };
    });
  }

  async #writeOnNodes<T>(
    client: pg.PoolClient,
    nodes: CitusNodes,
    work: (client: pg.PoolClient) => Promise<T>,
  ): Promise<Written<T>> {
    const asks = await nodes.sql(client, "written");
    await client.query("BEGIN");
    const value = await work(client);
    let positions = await this.#commit(client, asks).then((said) => said && nodes.positions(said));
    for (let tries = 0; !positions; tries++) {
      const said = client.query(await nodes.sql(client, "written")) as unknown as Promise<pg.QueryResult[]>;
      positions = nodes.positions(
        await said.catch((error: unknown) => {
          throw new WrittenWithoutToken(value, error);
        }),
      );
      if (!positions && tries >= ASKED_AGAIN) throw new WrittenWithoutToken(value, "shards move all the time");
    }
    return { value, token: tokenOf(this.name, positions) };
  }

  /** Commits and asks, in one message; gives no answer where it was committed and a node could not be asked. */
  async #commit(client: pg.PoolClient, asks: string): Promise<pg.QueryResult[] | undefined> {
    const { connection } = client as unknown as { readonly connection: EventEmitter };
    const done: string[] = [];
    const note = ({ text }: { readonly text: string }): unknown => done.push(text);
    connection.on("commandComplete", note);
    try {
      const [commit, ...said] = (await client.query(`COMMIT; ${asks}`)) as unknown as pg.QueryResult[];
      if (commit?.command !== "COMMIT") throw rolledBack();
      return said;
    } catch (error) {
      if (done[0] !== "COMMIT") throw error;
      return undefined;
    } finally {
      connection.off("commandComplete", note);
    }
  }

  /**
   * Works in a transaction that reads, at a replica of this region. `after`: only where it has what this token's owner has
   * written; at the primary where it does not have it in time, or cannot be reached. Throws a TypeError for a token that is none.
   */
  async read<T>(work: (client: pg.PoolClient) => Promise<T>, after: Token = {}): Promise<T> {
    const lsn = after[this.name];
    Object.values(after).forEach(lsnNumber);
    const nodes = this.#nodes?.replica;
    const replica = await this.#replica.connect().catch(() => undefined);
    if (replica) {
      try {
        return await usingClient(replica, (client) =>
          nodes && lsn !== undefined
            ? this.#readOnNodes(client, nodes, after, work)
            : this.#readAfter(client, lsn, work),
        );
      } catch (error) {
        if (!(error instanceof NotYet || isUnreachable(error))) throw error;
      }
    }
    return using(this.#primary, (client) => inTransaction(client, "BEGIN READ ONLY", () => work(client)));
  }

  /** In one transaction, so that it is one server that has been asked and that answers. */
  #readAfter<T>(
    client: pg.PoolClient,
    lsn: string | undefined,
    work: (client: pg.PoolClient) => Promise<T>,
  ): Promise<T> {
    if (lsn === undefined) return inTransaction(client, "BEGIN READ ONLY", () => work(client));
    // A primary has all that was written.
    const asks = `SELECT NOT pg_is_in_recovery() OR pg_last_wal_replay_lsn() >= '${lsn}' AS has`;
    // Each statement sees what is there by then.
    return inTransaction(client, `BEGIN READ ONLY ISOLATION LEVEL READ COMMITTED; ${asks}`, async (begun) => {
      const until = performance.now() + this.#waitMs;
      let has = (begun?.rows[0] as { has: boolean } | undefined)?.has;
      while (!has) {
        if (performance.now() > until) throw new NotYet();
        await sleep(POLL_MS);
        has = (await client.query<{ has: boolean }>(asks)).rows[0]?.has;
      }
      return work(client);
    });
  }

  /** The same of a Citus cluster, where the rows may be on any node. */
  async #readOnNodes<T>(
    client: pg.PoolClient,
    nodes: CitusNodes,
    token: Token,
    work: (client: pg.PoolClient) => Promise<T>,
  ): Promise<T> {
    const asks = await nodes.sql(client, "replayed");
    const begin = "BEGIN READ ONLY ISOLATION LEVEL READ COMMITTED";
    const until = performance.now() + this.#waitMs;
    let [, ...said] = (await client.query(`${begin}; ${asks}`)) as unknown as pg.QueryResult[];
    for (;;) {
      const positions = nodes.positions(said);
      if (positions && haveAll(this.name, token, positions)) break;
      if (performance.now() > until) throw new NotYet();
      if (positions) await sleep(POLL_MS);
      said = (await client.query(await nodes.sql(client, "replayed"))) as unknown as pg.QueryResult[];
    }
    const value = await work(client);
    if ((await client.query("COMMIT")).command !== "COMMIT") throw rolledBack();
    return value;
  }

  async close(): Promise<void> {
    await Promise.all([this.#primary.end(), this.#replica.end()]);
  }
}

const rolledBack = (): Error => new Error("the transaction was rolled back: a statement in it had failed");

/** Whether nobody was there to ask: errors of the network, of a server that starts or ends, of a pool that has no server. */
function isUnreachable(error: unknown): boolean {
  const { code } = error as { code?: unknown };
  return typeof code === "string" && /^(E[A-Z]+|57P0[123]|08\d{3})$/.test(code);
}
