/** The clusters of a stack that has several, each looked at as if it were a stack of its own. */
import { COORDINATOR, isWorker } from "../../components/docker/citusNames.ts";
import { FIRST_CLUSTER, poolDatabase } from "../../components/docker/shardRoutes.ts";
import { DATABASE, READ_DATABASE } from "../../components/roles.ts";
import { ROUTER } from "../../components/docker/haproxyFiles.ts";
import type { NodeOutput, RegionOutput, ServiceOutput, StackValues } from "../../stacks/outputs.ts";
import { UserError } from "../../tuning/errors.ts";

export interface ClusterView {
  /** `shard0`, `global`, `shard1`, …; `coordinator`, `worker1`, …; empty where the stack is one cluster. */
  readonly name: string;
  /** The stack's values with this cluster's servers, endpoints and backups, and no other cluster. */
  readonly values: StackValues;
}

/** A stack's shards; outputs of earlier versions have no such key. */
export const shardingOf = (values: StackValues): StackValues["sharding"] | undefined => values.sharding;

/** A stack's Citus cluster; outputs of earlier versions have no such key. */
export const citusOf = (values: StackValues): StackValues["citus"] | undefined => values.citus;

/** A stack's regions; outputs of earlier versions have no such key. */
export const regionsOf = (values: StackValues): StackValues["regions"] | undefined => values.regions;

/** The region where the primary is, as the stack's configuration knows; undefined where there is one region. */
export const currentPrimaryRegion = (values: StackValues): string | undefined => regionsOf(values)?.primary;

/** Every cluster of a stack: one, below stage 4. Of one in several regions: those of the region where the primary is. */
export function clusterViews(values: StackValues): ClusterView[] {
  const regions = regionsOf(values);
  const home = homeViews(values);
  const primary = regions?.all.find(({ name }) => name === regions.primary);
  return primary && primary.clusters.length > 0 ? viewsIn(primary, home) : home;
}

/** Every cluster in every region; names of those beside home begin with the region's. */
export function regionalViews(values: StackValues): ClusterView[] {
  const home = homeViews(values);
  const far = (regionsOf(values)?.all ?? []).flatMap((region) =>
    viewsIn(region, home).map((view) => ({
      ...view,
      name: view.name === "" ? region.name : `${region.name} ${view.name}`,
    })),
  );
  return [...home, ...far];
}

/** A region's clusters, seen as home's are: backups and what leads to the primary are the stack's. */
const viewsIn = (region: RegionOutput, home: readonly ClusterView[]): ClusterView[] =>
  region.clusters.flatMap(({ name, nodes }) => {
    const same = home.find((view) => view.name === name);
    return same ? [{ name, values: { ...same.values, nodes } }] : [];
  });

function homeViews(values: StackValues): ClusterView[] {
  const others = shardingOf(values)?.others ?? citusOf(values)?.workers;
  if (!others) return [{ name: "", values }];
  const alone = { sharding: null, citus: null } as const;
  return [
    { name: citusOf(values) ? COORDINATOR : FIRST_CLUSTER, values: { ...values, ...alone } },
    ...others.map(({ name, nodes, write, read, backupContainer }) => ({
      name,
      values: { ...values, ...alone, nodes, backupContainer, endpoints: { ...values.endpoints, write, read } },
    })),
  ];
}

/** The router of the region where the primary is. */
export function routerOf(values: StackValues): ServiceOutput | undefined {
  const [home] = regionsOf(values)?.all ?? [];
  const primary = currentPrimaryRegion(values);
  const name = primary === undefined || primary === home?.name ? ROUTER : `${primary}-${ROUTER}`;
  return values.services.find((service) => service.name === name);
}

/** A resource's name without that of the region beside home to which it belongs. */
export function withoutRegion(values: StackValues, resource: string): string {
  const region = regionsOf(values)?.all.find(({ name }) => resource.startsWith(`${name}-`));
  return region ? resource.slice(region.name.length + 1) : resource;
}

/** The servers of all clusters, in every region. */
export const allNodes = (values: StackValues): NodeOutput[] =>
  regionalViews(values).flatMap((view) => view.values.nodes);

/**
 * One cluster of a stack: the named one, or the one that has this server, or the first. Throws a UserError for one that is
 * not there.
 */
export function clusterView(
  values: StackValues,
  { cluster, server }: { readonly cluster?: string | undefined; readonly server?: string | undefined },
): ClusterView {
  const views = clusterViews(values);
  const [first] = views;
  if (!first) throw new Error("a stack has a cluster");
  if (cluster !== undefined) {
    const found = views.find(({ name }) => name === cluster);
    if (found) return found;
    throw new UserError(
      `there is no cluster ${cluster}`,
      first.name === ""
        ? "leave --cluster out: the stack has one"
        : `use one of ${views.map(({ name }) => name).join(", ")}`,
    );
  }
  return views.find((view) => view.values.nodes.some(({ name }) => name === server)) ?? first;
}

/** The pools that lead to a cluster, as clients call them; undefined: all there are. */
export function poolsOf({ name }: ClusterView): string[] | undefined {
  if (name === "" || name === COORDINATOR) return undefined;
  // Clients' pools lead to the coordinator, which asks every worker.
  if (isWorker(name)) return [DATABASE, READ_DATABASE];
  const pool = poolDatabase(name);
  // These lead to the router database, which asks every cluster; while a move to shards is prepared, to the first one.
  return [DATABASE, READ_DATABASE, pool, `${pool}_ro`];
}
