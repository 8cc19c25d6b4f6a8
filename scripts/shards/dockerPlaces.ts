/** The clusters of a sharded stack in Docker. */
import { GLOBAL_CLUSTER, shardNumber } from "../../components/docker/shardRoutes.ts";
import { DATABASE, OWNER } from "../../components/roles.ts";
import type { StackValues } from "../../stacks/outputs.ts";
import { type ClusterView, clusterViews } from "../lib/clusters.ts";
import { loginOf } from "../lib/login.ts";
import { checkedConfig } from "../lib/stackConfig.ts";
import { asClusterOwner, superuserScript } from "./owner.ts";
import type { ClusterPlace, ShardedPlaces } from "./places.ts";
import { AUTHORITY, routeTo } from "./reach.ts";

export function dockerPlaces(stack: string, values: StackValues): ShardedPlaces {
  const { sharding } = values;
  const place = ({ name, values: view }: ClusterView): ClusterPlace => ({
    name,
    owner: (work, database) => asClusterOwner(stack, view, work, database === undefined ? {} : { database }),
    // Through standard input: no list of processes shows what is in it.
    administer: async (statements, { database = DATABASE } = {}) => {
      await superuserScript(view, database, statements.map((statement) => `${statement};\n`).join(""));
    },
    endpoint: routeTo(values, name),
    authorities: () => Promise.resolve(AUTHORITY),
  });
  const clusters = clusterViews(values).map(place);
  const global = clusters.find(({ name }) => name === GLOBAL_CLUSTER);
  if (!global || !sharding) throw new Error("the stack has no global database");
  return {
    global,
    shards: clusters
      .filter(({ name }) => name !== GLOBAL_CLUSTER)
      .map((cluster) => ({ ...cluster, number: shardNumber(cluster.name) })),
    buckets: sharding.buckets,
    messages: checkedConfig(stack).messages,
    loginOf: (role) => loginOf(values, role),
    slotsBy: "patroni",
    serverOwner: OWNER,
  };
}
