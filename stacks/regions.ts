/** The regions of a stack in Docker beside home, composed of what home is made of. */
import * as pulumi from "@pulumi/pulumi";
import type { BackupsArgs } from "../components/Backups.ts";
import type { ClusterArgs } from "../components/docker/cluster.ts";
import type { RoutedRegions } from "../components/docker/haproxyFiles.ts";
import { buildImage } from "../components/docker/images.ts";
import { dockerName } from "../components/docker/names.ts";
import type { ContainerRegionsArgs, MadeRegions } from "../components/docker/regionContainers.ts";
import { AGENT, GATEWAY, WITNESS, namedIn, placesOf, routedRegions } from "../components/docker/regionRoutes.ts";
import { MultiRegion } from "../components/MultiRegion.ts";
import type { StackConfig } from "./config.ts";
import type { Foundation } from "./foundation.ts";
import {
  type Endpoint,
  type RegionOutput,
  type RegionsOutput,
  type ServiceOutput,
  describeNode,
  describeService,
} from "./outputs.ts";
import { roundTripMs } from "./regionDelays.ts";
import { type Topology, clustersOf } from "./topology.ts";

/** What home's parts need to know of other regions; where there are none, what they always were. */
export interface HomeRegional {
  readonly router: RoutedRegions | undefined;
  /** What has to be there before home's router. */
  readonly first: readonly pulumi.Resource[];
  readonly farOf: (cluster: string) => NonNullable<BackupsArgs["far"]>;
  readonly services: readonly pulumi.Output<ServiceOutput>[];
  readonly output: pulumi.Output<RegionsOutput> | null;
}

export const ALONE: HomeRegional = {
  router: undefined,
  first: [],
  farOf: () => [],
  services: [],
  output: null,
};

/** What home's clusters know of other regions: that there are some. */
export const regionalClusters = ({ regions }: Topology): ClusterArgs["regional"] =>
  regions.length === 0 ? undefined : { upstream: undefined };

export type RegionsNeeds = Pick<
  ContainerRegionsArgs,
  | "front"
  | "more"
  | "authDatabase"
  | "maxConnections"
  | "maxReadLagBytes"
  | "databasesOf"
  | "slotsOf"
  | "routerNames"
  | "citus"
  | "repositoryOf"
>;

/** Makes the regions beside home, if the stack has some. */
export function regionsOf(
  stack: string,
  config: StackConfig,
  topology: Topology,
  {
    credentials,
    site,
  }: Pick<Foundation, "credentials"> & { readonly site: ContainerRegionsArgs["site"] & pulumi.Resource },
  needs: RegionsNeeds,
): HomeRegional {
  const places = topology.regions.length === 0 ? [] : placesOf(config.regions.all);
  const [home] = places;
  if (!home || !topology.pool) return ALONE;
  const clusters = clustersOf(topology).map(({ name, nodes }) => ({ name, nodes: nodes.map((node) => node.name) }));
  const { postgresVersion, dataGenerations, dataVolumeOptions, etcdMembers, synchronous } = config;
  const gatewayImage = buildImage(
    "wan",
    { version: "1", baseImage: config.baseImage, buildArgs: { TOXIPROXY: config.toxiproxyImage } },
    { parent: site },
  );
  const { made } = new MultiRegion("regions", {
    ...{ site, credentials, postgresVersion, dataGenerations, dataVolumeOptions, etcdMembers, synchronous },
    ...{ gatewayImage, places, regions: topology.regions, homeClusters: clusters, pool: topology.pool, roundTripMs },
    ...needs,
  });
  return {
    router: routedRegions(home, places, clusters.length),
    first: [made.homeAgent],
    farOf: (cluster) =>
      made.regions.map((region) => ({
        site: region.site,
        servers: region.clusters.find(({ name }) => name === cluster)?.servers ?? [],
      })),
    services: services(stack, made),
    output: describeRegions(stack, config, topology, made, site.postgresImage.name),
  };
}

function services(stack: string, { regions, places }: MadeRegions): pulumi.Output<ServiceOutput>[] {
  return [
    ...places.flatMap(({ place, witness, gateway, agent }) => {
      const named = namedIn(place);
      return [
        describeService("witness", named(WITNESS), witness),
        describeService("gateway", named(GATEWAY), gateway),
        ...(agent ? [describeService("region-agent", named(AGENT), agent)] : []),
      ];
    }),
    ...regions.flatMap(({ name, etcd, router, pool, nodeRouters }) => [
      ...etcd.map((container, index) => describeService("etcd", `${name}-etcd${index}`, container)),
      describeService("haproxy", `${name}-haproxy`, router.containerName),
      ...nodeRouters.map((container) =>
        pulumi
          .output(container)
          .apply((of) => ({ name: of.slice(dockerName(stack, "").length), kind: "haproxy" as const, container: of })),
      ),
      ...pool.containerNames.map((container, index) =>
        describeService("pgbouncer", `${name}-pgbouncer${index}`, container),
      ),
    ]),
  ];
}

function describeRegions(
  stack: string,
  { regions: { primary, all }, ports }: StackConfig,
  topology: Topology,
  made: MadeRegions,
  image: string,
): pulumi.Output<RegionsOutput> {
  const local = (port: number): Endpoint => ({ host: "localhost", port });
  const described = all.map((name): pulumi.Output<RegionOutput> => {
    const plan = topology.regions.find((region) => region.name === name);
    const region = made.regions.find((one) => one.name === name);
    const place = made.places.find((one) => one.place.name === name);
    const clusters = (plan?.clusters ?? []).map((cluster, at) => ({
      name: cluster.name,
      nodes: cluster.nodes.map((node, index) => {
        const server = region?.clusters[at]?.servers[index];
        if (!server) throw new Error(`${node.name} was not made`);
        return describeNode(node, server, { host: dockerName(stack, node.name), port: 5432, image });
      }),
    }));
    const at = plan?.ports ?? ports;
    return pulumi.output({
      ...{ name, clusters, write: local(at.write), read: local(at.read), pool: local(at.pool) },
      ...{ agent: place?.agent ?? "", gateway: place?.gateway ?? "" },
    });
  });
  return pulumi.all(described).apply((regions) => ({ primary, all: regions }));
}
