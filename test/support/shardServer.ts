/** A PostgreSQL 17 in a container of our image, with databases that stand for a global database and shards. */
import { randomBytes } from "node:crypto";
import type pg from "pg";
import { docker } from "../../scripts/lib/docker.ts";
import { ensureImage } from "../../scripts/lib/image.ts";
import type { Places } from "../../scripts/reshard/places.ts";
import { type SchemaPart, globalSchema, shardSchema } from "../../scripts/lib/schemaParts.ts";
import { findBaseImage } from "../../scripts/setup/baseImage.ts";
import { publishMap, setOwned } from "../../sharding/publish.ts";
import {
  GLOBAL_SERVER,
  classViewsSql,
  routerServersSql,
  routerTablesSql,
  shardServer,
} from "../../sharding/routerSql.ts";
import type { ShardMap } from "../../sharding/shardMap.ts";
import { uniqueStack } from "./cli.ts";
import { ask, withUrl } from "./client.ts";
import { eventually } from "./eventually.ts";

export interface DatabaseServer {
  /** URL of a database as the superuser. */
  readonly url: (database: string) => string;
  /** How its own databases reach each other. */
  readonly conninfo: (database: string) => string;
  readonly query: <T extends pg.QueryResultRow>(database: string, sql: string, values?: unknown[]) => Promise<T[]>;
  /** Runs a script of bash in its container; its own tools reach the databases through /tmp. */
  readonly bash: (script: string) => Promise<string>;
  readonly stop: () => Promise<void>;
}

/** The image that stacks use; built where no stack has been up yet. */
export async function postgresImage(): Promise<string> {
  const base = await findBaseImage();
  if (base === undefined) throw new Error("there is no Debian base image: run ./cgraph-db setup");
  return ensureImage({
    kind: "postgres",
    version: "17",
    folders: ["common", "postgres"],
    buildArgs: { BASE: base, PG_MAJOR: "17" },
  });
}

/** Starts one on a port of 127.0.0.1. `settings`: as postgres takes them, in place of a test's, which keep nothing for good. */
export async function startShardServer(port: number, settings = "-c fsync=off"): Promise<DatabaseServer> {
  const stack = uniqueStack();
  const container = `cgraph-${stack}`;
  const password = randomBytes(16).toString("hex");
  await docker([
    ...["run", "--detach", "--name", container, "--label", `cgraph.stack=${stack}`, "--user", "postgres"],
    ...["--publish", `127.0.0.1:${port}:5432`, "--shm-size", "256m", "--env", `PASSWORD=${password}`],
    ...["--entrypoint", "bash", await postgresImage(), "-c"],
    `set -e; initdb -D /tmp/data -U postgres --auth-local=trust --auth-host=scram-sha-256 --pwfile=<(echo "$PASSWORD") --no-sync >/dev/null
     echo "host all all all scram-sha-256" >>/tmp/data/pg_hba.conf
     exec postgres -D /tmp/data -c listen_addresses='*' -c unix_socket_directories=/tmp -c wal_level=logical ${settings} \
       -c max_connections=200 -c max_wal_senders=20 -c max_replication_slots=20 -c max_logical_replication_workers=12 -c max_worker_processes=20`,
  ]);
  const url = (database: string): string => `postgresql://postgres:${password}@127.0.0.1:${port}/${database}`;
  const query: DatabaseServer["query"] = (database, sql, values) => ask(url(database), sql, values);
  await eventually("PostgreSQL answers", async () => (await query("postgres", "SELECT 1")).length === 1);
  const conninfo = (database: string): string => `host=/tmp user=postgres dbname=${database}`;
  const bash = (script: string): Promise<string> => docker(["exec", container, "bash", "-ec", script]);
  return {
    url,
    conninfo,
    query,
    bash,
    stop: () => docker(["rm", "--force", "--volumes", container]).then(() => undefined),
  };
}

export const GLOBAL = "global";

export const insertUser = (client: pg.ClientBase, id: string): Promise<pg.QueryResult> =>
  client.query("INSERT INTO users (id, username, email) VALUES ($1, $2, $3)", [id, `u-${id}`, `${id}@example.org`]);
export const shardName = (shard: number): string => `shard${shard}`;

/** Works with a client of a database. */
export const withClient = <T>(
  server: DatabaseServer,
  database: string,
  work: (client: pg.Client) => Promise<T>,
): Promise<T> => withUrl(server.url(database), work);

/** Makes a database with a schema. */
export async function makeDatabase(server: DatabaseServer, name: string, parts: readonly SchemaPart[]): Promise<void> {
  await server.query("postgres", `CREATE DATABASE ${name}`);
  await withClient(server, name, async (client) => {
    for (const { sql } of parts) await client.query(sql);
  });
}

/** Makes the global database and so many shards, and tells everybody of the first map. */
export async function makeShards(server: DatabaseServer, map: ShardMap, count: number): Promise<void> {
  await makeDatabase(server, GLOBAL, globalSchema());
  for (let shard = 0; shard < count; shard++) {
    await makeDatabase(server, shardName(shard), shardSchema());
    await withClient(server, shardName(shard), (client) => setOwned(client, shard, map));
  }
  await withClient(server, GLOBAL, (client) => publishMap(client, map));
}

export const ROUTER = "router";

/** Makes the router database over these shards. */
export async function makeRouter(server: DatabaseServer, map: ShardMap, count: number): Promise<void> {
  await server.query("postgres", `CREATE DATABASE ${ROUTER}`);
  const at = (dbname: string) => ({ host: "/tmp", dbname });
  const shards = Object.fromEntries(
    Array.from({ length: count }, (_, shard) => [shardServer(shard), at(shardName(shard))]),
  );
  await withClient(server, ROUTER, async (client) => {
    await client.query(globalSchema()[1]?.sql ?? "");
    await client.query(
      routerServersSql(
        { ...shards, [GLOBAL_SERVER]: at(GLOBAL) },
        [{ role: "postgres", options: { password_required: "false" } }],
        "postgres",
      ),
    );
  });
  await buildRouter(server, map, count);
}

/** The shards as a move of buckets reaches them. */
export const placesOn = (server: DatabaseServer, count: number): Places => ({
  shards: Array.from({ length: count }, (_, number) => ({
    number,
    owner: (work) => withClient(server, shardName(number), work),
    superuser: (statements) =>
      withClient(server, shardName(number), async (client) => {
        for (const statement of statements) await client.query(statement);
        return "";
      }),
    conninfo: server.conninfo(shardName(number)),
  })),
  global: (work) => withClient(server, GLOBAL, work),
  router: (work) => withClient(server, ROUTER, work),
  streamRole: "postgres",
  holdRouter: async (work) => ({ value: await work(), heldMs: 0 }),
});

/** Has the router database follow the map. */
export async function buildRouter(server: DatabaseServer, map: ShardMap, count: number): Promise<void> {
  for (let shard = 0; shard < count; shard++) await server.query(shardName(shard), classViewsSql(shard, map.shards));
  await server.query(ROUTER, routerTablesSql(map));
}
