import type * as docker from "@pulumi/docker";
import type * as pulumi from "@pulumi/pulumi";
import type { RegionPlan } from "../../stacks/regionPlan.ts";
import type { PoolPlan } from "../../stacks/topology.ts";
import { PgBouncerPool } from "../PgBouncerPool.ts";
import { DATABASE } from "../roles.ts";
import type { BackupRepository } from "../BackupRepository.ts";
import { ReadReplicaSet } from "../ReadReplicaSet.ts";
import { Router, type RouterArgs } from "../Router.ts";
import { Cluster, type ClusterArgs } from "./cluster.ts";
import { citusRegionRules } from "./citusFiles.ts";
import { nodeNames } from "./citusNames.ts";
import type { Site } from "./DockerSite.ts";
import { gatewayContainer } from "./gateway.ts";
import { haproxyContainer } from "./haproxyContainer.ts";
import { ROUTER, ROUTES, clusterRoutes, nodeConf } from "./haproxyFiles.ts";
import type { BuiltImage } from "./images.ts";
import { type StandbyUpstream, standbyUpstream } from "./patroniFiles.ts";
import { poolerNames, type PgbouncerContainers, type PgbouncerContainersArgs } from "./pgbouncerContainers.ts";
import type { MorePool } from "./pgbouncerFiles.ts";
import type { PostgresContainerArgs, PostgresServer } from "./postgresContainer.ts";
import { type Place, passages, routedRegions } from "./regionRoutes.ts";
import { regionAgent } from "./regionAgent.ts";
import { RegionSite } from "./RegionSite.ts";
import { FIRST_CLUSTER, regionScope } from "./shardRoutes.ts";
import { witnessContainer } from "./witness.ts";

export interface ContainerRegionsArgs
  extends
    Omit<PostgresContainerArgs, "site" | "node" | "place" | "repository">,
    Pick<ClusterArgs, "etcdMembers" | "synchronous" | "routerNames">,
    Pick<PgbouncerContainersArgs, "front" | "more" | "authDatabase">,
    Pick<RouterArgs, "maxReadLagBytes" | "maxConnections"> {
  /** Home's. */
  readonly site: Site;
  /** Where a cluster's backups and WAL are. */
  readonly repositoryOf: (cluster: string) => BackupRepository;
  /** Whether the clusters are nodes of a Citus cluster. */
  readonly citus: boolean;
  /** The image of gateways. */
  readonly gatewayImage: BuiltImage;
  /** Every place, home first. */
  readonly places: readonly Place[];
  /** The regions beside home, with the servers that each has. */
  readonly regions: readonly RegionPlan[];
  /** Home's clusters in the router's order, with their servers' names. */
  readonly homeClusters: readonly { readonly name: string; readonly nodes: readonly string[] }[];
  readonly pool: PoolPlan;
  readonly roundTripMs: (from: string, to: string) => number;
  /** Databases of a cluster that clients reach beside the application's. */
  readonly databasesOf: (cluster: string) => readonly string[];
  /** Logical slots that a cluster has wherever it takes writes. */
  readonly slotsOf: (cluster: string) => ClusterArgs["slots"];
}

/** A region beside home, as it has been made. */
export interface RegionContainers {
  readonly name: string;
  readonly site: Site;
  readonly clusters: readonly { readonly name: string; readonly servers: readonly PostgresServer[] }[];
  readonly etcd: readonly pulumi.Output<string>[];
  readonly router: Router;
  readonly pool: PgbouncerContainers;
  /** What has the nodes' names, of a Citus cluster with several servers for each node. */
  readonly nodeRouters: readonly pulumi.Output<string>[];
}

/** What a place has beside servers: who agrees where the primary is, who acts on it, the way to the others. */
export interface PlaceContainers {
  readonly place: Place;
  readonly witness: pulumi.Output<string>;
  readonly gateway: pulumi.Output<string>;
  /** Not of the arbiter, which has no servers. */
  readonly agent: pulumi.Output<string> | undefined;
}

export interface MadeRegions {
  readonly regions: readonly RegionContainers[];
  readonly places: readonly PlaceContainers[];
  /** Without its word home's router leads no writes to home's servers: it comes first. */
  readonly homeAgent: docker.Container;
}

function fail(cluster: string): never {
  throw new Error(`home has no cluster ${cluster}`);
}

/** The regions of a stack beside home, and what joins all of them. */
export function regionContainers(args: ContainerRegionsArgs, parent: pulumi.Resource): MadeRegions {
  const { site: home, places } = args;
  const child = { parent };
  const sites = new Map<number, Site>(
    places.map((place) => [place.number, place.number === 0 ? home : new RegionSite(place, home, child)]),
  );
  const siteOf = ({ number }: Place): Site => sites.get(number) ?? home;
  const clusterNames = args.homeClusters.map(({ name }) => name);
  // Its own region's router knows where the primary is.
  const upstreams = clusterNames.map((_, index) =>
    standbyUpstream(ROUTER, index === 0 ? ROUTES.write : clusterRoutes(index - 1).write),
  );
  const agentOf = (place: Place, clusters: ContainerRegionsArgs["homeClusters"]) =>
    regionAgent(
      {
        ...{ site: siteOf(place), place, places },
        clusters: clusters.map((one, index) => ({ ...one, upstream: upstreams[index] ?? fail(one.name) })),
      },
      parent,
    );
  const agents = places.map((place) => {
    const region = args.regions.find(({ name }) => name === place.name);
    const clusters =
      place.number === 0
        ? args.homeClusters
        : region?.clusters.map(({ name, nodes }) => ({ name, nodes: nodes.map((node) => node.name) }));
    return clusters && agentOf(place, clusters);
  });
  const [homeAgent] = agents;
  if (!homeAgent) throw new Error("home has no agent");
  const made = places.map((place, index): PlaceContainers => {
    const site = siteOf(place);
    return {
      place,
      witness: witnessContainer(site, place, places, parent).name,
      gateway: gatewayContainer(
        {
          ...{ site, image: args.gatewayImage, place },
          others: places.filter((one) => one !== place).map((one) => ({ place: one, site: siteOf(one) })),
          passages: passages(home.stack, place, places, clusterNames.length, args.roundTripMs),
        },
        parent,
      ).name,
      agent: agents[index]?.name,
    };
  });
  const regions = args.regions.map((region) => {
    const place = places.find(({ name }) => name === region.name);
    if (!place) throw new Error(`region ${region.name} has no place`);
    return oneRegion(region, { ...args, site: siteOf(place), place, upstreams }, parent);
  });
  return { regions, places: made, homeAgent };
}

/** What leads to a Citus cluster's node in a region, where that has several servers for it. */
const nodeRouter = (cluster: string): string => `${cluster}-node`;

/** The pool that reads beside one that writes. */
const readPool = (pool: string): string => (pool.endsWith("_ro") ? pool : `${pool}_ro`);

interface RegionArgs extends Omit<ContainerRegionsArgs, "site"> {
  readonly site: Site;
  readonly place: Place;
  readonly upstreams: readonly StandbyUpstream[];
}

/** A region's servers, each cluster following home's, and what leads to them. */
function oneRegion({ name, clusters, ports }: RegionPlan, args: RegionArgs, parent: pulumi.Resource): RegionContainers {
  const { site, place, places, postgresVersion, credentials, dataGenerations, dataVolumeOptions } = args;
  const child = { parent };
  const { routerNames } = args;
  let first: Cluster | undefined;
  const made = clusters.map(({ name: cluster, nodes }, index) => {
    const [leader] = nodes;
    if (!leader) throw new Error(`cluster ${cluster} in ${name} has no server`);
    const prefix = cluster === "" || cluster === FIRST_CLUSTER ? `${name}-` : `${name}-${cluster}-`;
    const state = new Cluster(
      `${prefix}cluster`,
      {
        ...{ site, credentials, postgresVersion, routerNames, settings: leader.settings },
        ...{ etcdMembers: args.etcdMembers, synchronous: args.synchronous, firstNode: leader.name },
        scope: regionScope(site.stack, cluster, dataGenerations.at(-1), name),
        slots: args.slotsOf(cluster),
        databases: args.databasesOf(cluster),
        regional: { upstream: args.upstreams[index] },
        ...(args.citus && {
          standsFor: {
            rules: citusRegionRules(site.stack, name),
            names: nodeNames(cluster),
            bearsNames: nodes.length === 1,
          },
        }),
        ...(first && { beside: first }),
      },
      child,
    );
    first ??= state;
    const replicas = new ReadReplicaSet(
      `${prefix}replicas`,
      {
        ...{ site, postgresVersion, credentials, dataGenerations, dataVolumeOptions },
        ...{ cluster: state, nodes, repository: args.repositoryOf(cluster) },
      },
      child,
    );
    return { name: cluster, servers: replicas.servers, component: replicas };
  });
  // Replicas have the verifiers too: who reads here can log in while the primary's region cannot be reached.
  const asksHere = (pools: readonly MorePool[] | undefined) =>
    pools?.map((one) => ({
      ...one,
      ...(one.authDatabase !== undefined && { authDatabase: readPool(one.authDatabase) }),
    }));
  const [front, more] = [asksHere(args.front), asksHere(args.more)];
  const pool = new PgBouncerPool(
    `${name}-pool`,
    {
      ...{
        site,
        credentials,
        pool: { ...args.pool, instances: 1 },
        authDatabase: readPool(args.authDatabase ?? DATABASE),
      },
      ...(front && { front }),
      ...(more && { more }),
    },
    child,
  );
  const nodeRouters = clusters
    .filter(({ nodes }) => args.citus && nodes.length > 1)
    .map(({ name: cluster, nodes }) => {
      const conf = nodeConf(
        nodes.map((node) => node.name),
        args.maxConnections,
      );
      return haproxyContainer(parent, nodeRouter(cluster), site, conf, {}, nodeNames(cluster));
    });
  const [main, ...others] = clusters;
  const router = new Router(
    `${name}-router`,
    {
      site,
      nodes: main?.nodes.map((node) => node.name) ?? [],
      clusters: others.map((one) => ({ name: one.name, nodes: one.nodes.map((node) => node.name) })),
      poolers: poolerNames(1),
      ports,
      regions: routedRegions(place, places, clusters.length),
      publishesShards: false,
      ...{ maxReadLagBytes: args.maxReadLagBytes, maxConnections: args.maxConnections, started: true },
    },
    { parent, dependsOn: [...made.map(({ component }) => component), ...nodeRouters, pool] },
  );
  return {
    ...{ name, site, clusters: made, etcd: first?.etcdContainerNames ?? [], router, pool: pool.pool },
    nodeRouters: nodeRouters.map((container) => container.name),
  };
}
