/** How applications reach a database on AWS. */
import { GLOBAL_CLUSTER } from "../../components/docker/shardRoutes.ts";
import { DATABASE, READ_DATABASE, ROUTER_DATABASE, type RoleName } from "../../components/roles.ts";
import { regionSuffix } from "../../regions/names.ts";
import { type AwsRegionOutput, type AwsStackValues, furtherRegions } from "../../stacks/aws/outputs.ts";
import type { Endpoint } from "../../stacks/outputs.ts";
import { shardEnvironment } from "../lib/connection.ts";
import { loginOf } from "../lib/login.ts";

interface Trust {
  readonly sslmode: string;
  readonly sslrootcert?: string;
}

function url(
  values: AwsStackValues,
  role: RoleName,
  hosts: readonly Endpoint[],
  trust: Trust,
  more: { readonly database?: string; readonly parameters?: Readonly<Record<string, string>> } = {},
): string {
  const parameters = new URLSearchParams({ ...trust, ...more.parameters });
  const places = hosts.map(({ host, port }) => `${host}:${port}`).join(",");
  const query = parameters.toString().replaceAll("%2F", "/");
  const { user, password } = loginOf(values, role);
  return `postgresql://${user}:${password}@${places}/${more.database ?? DATABASE}?${query}`;
}

/** Reads of further regions' replicas, by their own names; at stage 4 from each cluster. */
function replicasElsewhere(
  region: AwsRegionOutput,
  reads: (hosts: readonly Endpoint[], database?: string) => string,
): Record<string, string> {
  const { read, shards } = region;
  const global = shards.find(({ name }) => name === GLOBAL_CLUSTER);
  // What has all shards in it is the router database, which is in the global one.
  if (!global) return { DATABASE_REPLICA_URL: reads(read) };
  const ofShards = shards
    .filter(({ name }) => name !== GLOBAL_CLUSTER)
    .map(({ name, read: hosts }) => [`${name.replace("shard", "SHARD_")}_REPLICA_URL`, reads(hosts)] as const);
  return {
    DATABASE_REPLICA_URL: reads(global.read, ROUTER_DATABASE),
    DATABASE_GLOBAL_REPLICA_URL: reads(global.read),
    SHARD_0_REPLICA_URL: reads(read),
    ...Object.fromEntries(ofShards),
  };
}

/**
 * In several regions: for each of them what home has for writes, and its own replicas for reads; and the nearest replica of
 * all. `home`: the variables of home.
 */
function regionEnvironment(
  values: AwsStackValues,
  home: Readonly<Record<string, string>>,
  verified: Trust,
): Record<string, string> {
  const { across } = values;
  if (!across) return {};
  const reads = (hosts: readonly Endpoint[], database = DATABASE): string =>
    url(values, "cgraph", hosts, verified, { database, parameters: { load_balance_hosts: "random" } });
  const some = (pattern: RegExp): Record<string, string> =>
    Object.fromEntries(Object.entries(home).filter(([key]) => pattern.test(key)));
  const writes = some(/^(DATABASE|DATABASE_GLOBAL|SHARD_MAP|SHARD_\d+)_URL$/);
  const named = (region: string, of: Readonly<Record<string, string>>): [string, string][] =>
    Object.entries(of).map(([key, value]) => [`${key}_${regionSuffix(region)}`, value]);
  const nearest = { database: values.sharding ? ROUTER_DATABASE : DATABASE };
  return {
    ...Object.fromEntries([
      ...named(values.region, { ...writes, ...some(/_REPLICA_URL$/) }),
      ...furtherRegions(values).flatMap((region) =>
        named(region.name, { ...writes, ...replicasElsewhere(region, reads) }),
      ),
    ]),
    // A name of ours, which no certificate has: the authority is verified, the name is not.
    DATABASE_NEAREST_REPLICA_URL: url(
      values,
      "cgraph",
      [across.nearest],
      { ...verified, sslmode: "verify-ca" },
      nearest,
    ),
  };
}

/**
 * The same keys as in Docker. `authorities`: the file with the authorities of RDS's certificates. Direct reads name every
 * replica, of which libpq takes one at random: each has a certificate for its own name, which a common name of ours would
 * not match. PgBouncer's certificate is its own (sslmode require); RDS Proxy's is by a public authority.
 */
export function environmentAws(values: AwsStackValues, authorities: string): Record<string, string> {
  const { write, read, pool, cache } = values.endpoints;
  const verified: Trust = { sslmode: "verify-full", sslrootcert: authorities };
  const trust: Trust =
    pool?.kind === "pgbouncer"
      ? { sslmode: "require" }
      : pool
        ? { sslmode: "verify-full", sslrootcert: "system" }
        : verified;
  const direct = (role: RoleName): string => url(values, role, [write], verified);
  const reads = (role: RoleName): string =>
    url(values, role, read, verified, { parameters: { load_balance_hosts: "random" } });
  const pooledReads =
    pool?.kind === "pgbouncer" ? url(values, "cgraph", [pool], trust, { database: READ_DATABASE }) : undefined;
  const pooled = (database: string): string => url(values, "cgraph", [pool ?? write], trust, { database });
  const replica = pooledReads ?? (read.length > 0 ? reads("cgraph") : undefined);
  const home = {
    DATABASE_URL: url(values, "cgraph", [pool ?? write], trust),
    ...(replica === undefined ? {} : { DATABASE_REPLICA_URL: replica }),
    DATABASE_DIRECT_URL: direct("cgraph"),
    DATABASE_READONLY_URL: read.length > 0 ? reads("cgraph_readonly") : direct("cgraph_readonly"),
    DATABASE_OWNER_URL: direct("cgraph_owner"),
    DATABASE_MONITOR_URL: direct("cgraph_monitor"),
    ...shardEnvironment(values.sharding?.shards ?? 0, pooled),
  };
  return {
    ...home,
    ...regionEnvironment(values, home, verified),
    ...(cache && { REDIS_URL: `rediss://:${values.cachePassword}@${cache.host}:${cache.port}/0` }),
    PGSSLROOTCERT: authorities,
  };
}
