import * as pulumi from "@pulumi/pulumi";
import { onLocalhost } from "./docker/container.ts";
import { haproxyContainer } from "./docker/haproxyContainer.ts";
import type { Site } from "./docker/DockerSite.ts";
import {
  ROUTER,
  ROUTES,
  type RoutedCluster,
  type RoutedRegions,
  SHARD_PORTS,
  clusterPorts,
  haproxyConf,
  routesAt,
  shardPortsConf,
} from "./docker/haproxyFiles.ts";

export interface RouterPorts {
  /** Ports of 127.0.0.1: the primary, the replicas, the pools. */
  readonly write: number;
  readonly read: number;
  readonly pool: number;
  /** Of the clusters beside the first, two each from here on; needed where there are some. */
  readonly shards: number;
}

export interface RouterArgs {
  readonly site: Site;
  /** PostgreSQL servers and poolers by their names on the network. */
  readonly nodes: readonly string[];
  readonly poolers: readonly string[];
  /** Further ports inside of the network that lead to the first cluster; default none. */
  readonly alias?: { readonly write: number; readonly read: number };
  /** Clusters beside the first; default none. */
  readonly clusters?: readonly RoutedCluster[];
  readonly ports: RouterPorts;
  /** What the router knows of other regions; default: there are none. */
  readonly regions?: RoutedRegions | undefined;
  /** Whether this machine's ports lead to the clusters beside the first; default true. */
  readonly publishesShards?: boolean;
  readonly maxReadLagBytes: number;
  readonly maxConnections: number;
  /** False: made, but not started yet, while another container still has its port. */
  readonly started: boolean;
}

const NOT_STARTED = { start: false, mustRun: false, wait: false } as const;

/** HAProxy: one place that clients know, whoever is primary: writes there, reads to the replicas that keep up. */
export class Router extends pulumi.ComponentResource {
  readonly containerName: pulumi.Output<string>;
  readonly containerId: pulumi.Output<string>;
  /** What passes this machine's ports on to it for clusters beside the first; where there are some. */
  readonly shardPortsName: pulumi.Output<string> | undefined;

  constructor(name: string, args: RouterArgs, opts?: pulumi.ComponentResourceOptions) {
    super("cgraph:network:Router", name, {}, opts);
    const { site, ports, clusters = [] } = args;
    const container = haproxyContainer(this, ROUTER, site, haproxyConf(args), {
      ports: [
        onLocalhost(ROUTES.write, ports.write),
        onLocalhost(ROUTES.read, ports.read),
        onLocalhost(ROUTES.pool, ports.pool),
      ],
      ...(args.started ? {} : NOT_STARTED),
    });
    const shardPorts =
      clusters.length === 0 || args.publishesShards === false
        ? undefined
        : haproxyContainer(this, SHARD_PORTS, site, shardPortsConf(clusters, args.maxConnections), {
            ports: clusters.flatMap((cluster, index) => {
              const [inside, outside] = [routesAt(cluster, index), clusterPorts(ports.shards, index)];
              return [onLocalhost(inside.write, outside.write), onLocalhost(inside.read, outside.read)];
            }),
          });
    this.shardPortsName = shardPorts?.name;
    this.containerName = container.name;
    this.containerId = container.id;
    this.registerOutputs({ containerName: this.containerName });
  }
}
