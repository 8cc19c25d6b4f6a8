/** How servers of a stack reach a cluster's primary, and trust it. */
import { ROUTER } from "../../components/docker/haproxyFiles.ts";
import { routesOf } from "../../components/docker/shardRoutes.ts";
import { DATABASE } from "../../components/roles.ts";
import type { ForeignServer } from "../../sharding/routerSql.ts";
import type { StackValues } from "../../stacks/outputs.ts";
import { loginOf } from "../lib/login.ts";

const AUTHORITY = "/run/cgraph-tls/ca.crt";

/** A cluster's primary by libpq's keywords, without a login; `values`: the whole stack's. */
export const clusterPlace = ({ sharding }: StackValues, cluster: string): ForeignServer => ({
  host: ROUTER,
  port: String(routesOf(sharding ?? { others: [] }, cluster).write),
  dbname: DATABASE,
  sslmode: "verify-full",
  sslrootcert: AUTHORITY,
});

/** A conninfo for a subscription to a cluster; it holds a password. */
export const conninfoOf = (values: StackValues, cluster: string): string =>
  Object.entries({ ...clusterPlace(values, cluster), ...loginOf(values, "cgraph_changes") })
    .map(([key, value]) => `${key}=${value}`)
    .join(" ");
