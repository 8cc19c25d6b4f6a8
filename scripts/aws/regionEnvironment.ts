/** How applications in several regions reach a database on AWS: writes at home, reads near. */
import { GLOBAL_CLUSTER } from "../../components/docker/shardRoutes.ts";
import { regionSuffix } from "../../regions/names.ts";
import { type AwsStackValues, furtherRegions } from "../../stacks/aws/outputs.ts";
import { readLabel } from "../../stacks/aws/readNames.ts";
import type { Endpoint } from "../../stacks/outputs.ts";
import { type Trust, url } from "./url.ts";

/** What a variable about a cluster begins with: `DATABASE`, at stage 4 `SHARD_0`, `DATABASE_GLOBAL`, … */
function prefixOf(cluster: string | null, sharded: boolean): string {
  if (cluster === null) return sharded ? "SHARD_0" : "DATABASE";
  return cluster === GLOBAL_CLUSTER ? "DATABASE_GLOBAL" : cluster.replace("shard", "SHARD_");
}

/**
 * In several regions: for each of them home's URLs for writes, and its own replicas for reads, under the names that the
 * library asks for; and for each cluster the nearest replica of all. All shards as one are in the router database, which asks
 * them at home wherever it is read: there, reads of it go home. `home`: home's variables.
 */
export function regionEnvironment(
  values: AwsStackValues,
  home: Readonly<Record<string, string>>,
  verified: Trust,
): Record<string, string> {
  const { across } = values;
  if (!across) return {};
  const others = (values.sharding?.others ?? []).map(({ name }) => name);
  const sharded = others.length > 0;
  const some = (pattern: RegExp): Record<string, string> =>
    Object.fromEntries(Object.entries(home).filter(([key]) => pattern.test(key)));
  const writes = some(/^(DATABASE|DATABASE_GLOBAL|SHARD_MAP|SHARD_\d+)_URL$/);
  const homeReads = some(/_REPLICA_URL$/);
  const named = (region: string, of: Readonly<Record<string, string>>): [string, string][] =>
    Object.entries(of).map(([key, value]) => [`${key}_${regionSuffix(region)}`, value]);
  const reads = (hosts: readonly Endpoint[]): string =>
    url(values, "cgraph", hosts, verified, { parameters: { load_balance_hosts: "random" } });
  const readsOf = (cluster: string | null, hosts: readonly Endpoint[]): [string, string] => [
    `${prefixOf(cluster, sharded)}_REPLICA_URL`,
    reads(hosts),
  ];
  // A name of ours, which no certificate has: the authority is verified, the name is not.
  const nearest = [null, ...others].map((cluster): [string, string] => [
    `${prefixOf(cluster, sharded)}_NEAREST_REPLICA_URL`,
    url(values, "cgraph", [{ ...across.nearest, host: `${readLabel(cluster)}.${across.zone}` }], {
      ...verified,
      sslmode: "verify-ca",
    }),
  ]);
  return Object.fromEntries([
    ...named(values.region, { ...writes, ...homeReads }),
    ...furtherRegions(values).flatMap(({ name, read, shards }) =>
      named(name, {
        ...writes,
        ...homeReads,
        ...Object.fromEntries([
          readsOf(null, read),
          ...shards.map(({ name: cluster, read: hosts }) => readsOf(cluster, hosts)),
        ]),
      }),
    ),
    ...nearest,
  ]);
}

/**
 * The same at stage 5: writes go to home's pool, reads to the region's own coordinator, straight. Its names are on the
 * coordinator's certificate, the nearest region's among them. And where each region takes writes once it is promoted.
 */
export function citusRegionEnvironment(
  values: AwsStackValues,
  home: Readonly<Record<string, string>>,
  verified: Trust,
): Record<string, string> {
  const { nearest, regions = [], home: own } = values.citus ?? {};
  if (!nearest || !own) return {};
  const { DATABASE_URL: writes = "", DATABASE_REPLICA_URL: reads = "" } = home;
  const at = (host: Endpoint): string => url(values, "cgraph", [host], verified);
  const named = (region: string, of: Readonly<Record<string, string>>): [string, string][] =>
    Object.entries(of).map(([key, value]) => [`${key}_${regionSuffix(region)}`, value]);
  return Object.fromEntries([
    ...named(values.region, {
      ...{ DATABASE_URL: writes, DATABASE_REPLICA_URL: reads, DATABASE_PROMOTED_URL: at(own.write) },
    }),
    ...regions.flatMap(({ name, write, read }) =>
      named(name, { DATABASE_URL: writes, DATABASE_REPLICA_URL: at(read), DATABASE_PROMOTED_URL: at(write) }),
    ),
    ["DATABASE_NEAREST_REPLICA_URL", at(nearest)],
  ]);
}
