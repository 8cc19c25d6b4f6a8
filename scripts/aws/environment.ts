/** How applications reach a database on AWS. */
import { READ_DATABASE, type RoleName } from "../../components/roles.ts";
import type { AwsStackValues } from "../../stacks/aws/outputs.ts";
import { shardEnvironment } from "../lib/connection.ts";
import { citusRegionEnvironment, regionEnvironment } from "./regionEnvironment.ts";
import { type Trust, url } from "./url.ts";

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
    ...citusRegionEnvironment(values, home, verified),
    ...(cache && { REDIS_URL: `rediss://:${values.cachePassword}@${cache.host}:${cache.port}/0` }),
    PGSSLROOTCERT: authorities,
  };
}
