/** How servers of a stack in Docker reach a cluster's primary, and trust it. */
import { ROUTER } from "../../components/docker/haproxyFiles.ts";
import { routesOf } from "../../components/docker/shardRoutes.ts";
import type { Endpoint, StackValues } from "../../stacks/outputs.ts";
import { loginOf } from "../lib/login.ts";
import { conninfoText, serverAt } from "./places.ts";

export const AUTHORITY = "/run/cgraph-tls/ca.crt";

/** Where a cluster's primary is for them; `values`: the whole stack's. */
export const routeTo = ({ sharding }: StackValues, cluster: string): Endpoint => ({
  host: ROUTER,
  port: routesOf(sharding ?? { others: [] }, cluster).write,
});

/** A conninfo for a subscription to a cluster; it holds a password. */
export const conninfoOf = (values: StackValues, cluster: string): string =>
  conninfoText(serverAt(routeTo(values, cluster), AUTHORITY), loginOf(values, "cgraph_changes"));
