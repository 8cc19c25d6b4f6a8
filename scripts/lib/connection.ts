/** How clients reach a stack's database: URLs, the certificate authority's file, the password file. */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { DATABASE, GLOBAL_DATABASE, READ_DATABASE, type RoleName, shardDatabase } from "../../components/roles.ts";
import type { Endpoint, StackValues } from "../../stacks/outputs.ts";
import { regionSuffix } from "../../regions/names.ts";
import { EXIT, UserError } from "../../tuning/errors.ts";
import { regionsOf, shardingOf } from "./clusters.ts";
import { acceptedLogins, loginOf } from "./login.ts";
import { run } from "./run.ts";
import { writeWhole } from "./files.ts";
import { stackFolder } from "./paths.ts";

/** Writes a file, and leaves it alone where it already says so. */
function keepFile(path: string, content: string, mode: number): string {
  if (!existsSync(path) || readFileSync(path, "utf8") !== content) writeWhole(path, content, mode);
  return path;
}

/** The stack's certificate authority as a file for libpq's sslrootcert; fetched from any server that runs. */
export async function certificateFile(stack: string, values: StackValues): Promise<string> {
  const path = join(stackFolder(stack), "ca.crt");
  for (const { container } of values.nodes) {
    const { code, stdout } = await run("docker", ["exec", container, "cat", "/run/cgraph-tls/ca.crt"]);
    if (code === 0) return keepFile(path, stdout, 0o644);
  }
  // The one fetched before serves while the servers are down.
  if (existsSync(path)) return path;
  throw new UserError("no server runs", `run ./cgraph-db up --stack ${stack}`, EXIT.failed);
}

interface Credential {
  readonly certificate: string;
  /** libpq's passfile, which has the password; default: the password stands in the URL. */
  readonly passwordFile?: string;
}

/** The connection URL of a role at an endpoint. */
export function connectionUrl(
  values: StackValues,
  role: RoleName,
  { host, port }: Endpoint,
  { certificate, passwordFile }: Credential,
  database = DATABASE,
): string {
  const login = loginOf(values, role);
  const user = passwordFile === undefined ? `${login.user}:${login.password}` : login.user;
  const parameters = new URLSearchParams({ sslmode: "verify-full", sslrootcert: certificate });
  if (passwordFile !== undefined) parameters.set("passfile", passwordFile);
  // libpq reads %2F and / alike, people do not.
  return `postgresql://${user}@${host}:${port}/${database}?${parameters.toString().replaceAll("%2F", "/")}`;
}

/** At stage 4: a pool for each shard and for the global database. `shards`: 0 where there are none. */
export function shardEnvironment(shards: number, url: (database: string) => string): Record<string, string> {
  if (shards === 0) return {};
  const each = Array.from({ length: shards }, (_, shard) => [
    [`SHARD_${shard}_URL`, url(shardDatabase(shard))],
    [`SHARD_${shard}_REPLICA_URL`, url(`${shardDatabase(shard)}_ro`)],
  ]);
  return {
    DATABASE_GLOBAL_URL: url(GLOBAL_DATABASE),
    SHARD_MAP_URL: url(GLOBAL_DATABASE),
    ...(Object.fromEntries(each.flat()) as Record<string, string>),
  };
}

/**
 * In several regions: for each of them its own pools, which lead to the primary wherever it is, and to the region's replicas.
 */
function regionEnvironment(values: StackValues, certificate: string): Record<string, string> {
  const shards = shardingOf(values)?.shards ?? 0;
  return Object.fromEntries(
    (regionsOf(values)?.all ?? []).flatMap(({ name, pool }) => {
      const url = (database: string): string => connectionUrl(values, "cgraph", pool, { certificate }, database);
      const all = {
        DATABASE_URL: url(DATABASE),
        DATABASE_REPLICA_URL: url(READ_DATABASE),
        ...shardEnvironment(shards, url),
      };
      return Object.entries(all).map(([key, value]) => [`${key}_${regionSuffix(name)}`, value]);
    }),
  );
}

/**
 * The environment that applications get: the same keys in dotenv and in JSON. From stage 2 on DATABASE_URL and
 * DATABASE_REPLICA_URL lead to the pools, and at stage 4 through these to the router database, where all shards look like
 * one; the others to the primary itself, which LISTEN, advisory locks and schema changes need.
 */
export async function environment(stack: string, values: StackValues): Promise<Record<string, string>> {
  const certificate = await certificateFile(stack, values);
  const { write, pool, cache } = values.endpoints;
  const direct = (role: RoleName): string => connectionUrl(values, role, write, { certificate });
  return {
    DATABASE_URL: connectionUrl(values, "cgraph", pool ?? write, { certificate }),
    ...(pool && { DATABASE_REPLICA_URL: connectionUrl(values, "cgraph", pool, { certificate }, READ_DATABASE) }),
    DATABASE_DIRECT_URL: direct("cgraph"),
    DATABASE_READONLY_URL: direct("cgraph_readonly"),
    DATABASE_OWNER_URL: direct("cgraph_owner"),
    DATABASE_MONITOR_URL: direct("cgraph_monitor"),
    ...(pool &&
      shardEnvironment(shardingOf(values)?.shards ?? 0, (database) =>
        connectionUrl(values, "cgraph", pool, { certificate }, database),
      )),
    ...regionEnvironment(values, certificate),
    ...(cache && { REDIS_URL: `rediss://:${values.cachePassword}@${cache.host}:${cache.port}/0` }),
    PGSSLROOTCERT: certificate,
  };
}

/** URL for people: psql connects with it as it is, and it can be shown, since the password is in a file of its own. */
export async function printableUrl(
  stack: string,
  values: StackValues,
  role: RoleName = "cgraph",
  endpoint: Endpoint = values.endpoints.write,
): Promise<string> {
  const endpoints = [values.endpoints.write, values.endpoints.read, values.endpoints.pool].filter(
    (one) => one !== null,
  );
  const lines = endpoints.flatMap(({ host, port }) =>
    acceptedLogins(values).map(({ user, password }) => `${host}:${port}:*:${user}:${password}\n`),
  );
  const passwordFile = keepFile(join(stackFolder(stack), "pgpass"), lines.join(""), 0o600);
  return connectionUrl(values, role, endpoint, { certificate: await certificateFile(stack, values), passwordFile });
}
