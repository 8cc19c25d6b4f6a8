/** Names and ports between the regions of a stack in Docker, as components and commands need them. Pure. */
import { ROUTER, ROUTES, clusterRoutes, primaryHerePort, type RoutedRegions } from "./haproxyFiles.ts";
import { dockerName } from "./names.ts";

/** The way out of a region's network: the gateway to the others. */
export const GATEWAY = "wan";
/** The region's voice in where the primary is, and what acts on it. */
export const WITNESS = "witness";
export const AGENT = "region-agent";
/** Where the agent says whether the region may take writes. */
export const AGENT_PORT = 8480;
/** Two regions could not agree when one is lost: a third place, which has a witness and nothing else. */
export const ARBITER = "arbiter";

/** The most regions that a stack may have. Each has ports of its own, and a member that votes on where the primary is. */
export const MOST_REGIONS = 7;

/** A place on the map: a region, or the arbiter. Its number tells its ports from others'. */
export interface Place {
  readonly name: string;
  readonly number: number;
}

/** Every place where a witness is: an odd number. */
export const placesOf = (regions: readonly string[]): Place[] => [
  ...regions.map((name, number) => ({ name, number })),
  // No region's number, however many there will be.
  ...(regions.length % 2 === 0 ? [{ name: ARBITER, number: MOST_REGIONS }] : []),
];

/** What belongs to a place beside home begins with its name; home has the names that it had when it was alone. */
export const namedIn =
  (place: Place) =>
  (name: string): string =>
    place.number === 0 ? name : `${place.name}-${name}`;

/** A witness's ports, for clients and for its like: each has its own, since one gateway leads to all of them. */
export const witnessPorts = ({ number }: Place): { readonly client: number; readonly peer: number } => ({
  client: 2400 + number,
  peer: 2420 + number,
});

/** What stands in the witnesses, by its prefix. */
export const WITNESS_KEYS = "/cgraph/regions/";

/** A witness's name in every network. */
export const witnessName = ({ name }: Pick<Place, "name">): string => `${WITNESS}-${name}`;

/** A gateway's ports for a cluster of another region: to the way of its writes, and to whether its primary is there. */
export const gatewayPorts = (
  { number }: Place,
  cluster: number,
): { readonly write: number; readonly primaryHere: number } => ({
  write: 7000 + 200 * number + 2 * cluster,
  primaryHere: 7001 + 200 * number + 2 * cluster,
});

/** What one gateway passes on. */
export interface Passage {
  readonly name: string;
  /** The gateway's port. */
  readonly port: number;
  /** Where to, by the container's name, which is the same in every network. */
  readonly upstream: string;
  readonly roundTripMs: number;
}

/** Everything that a place's gateway passes on to the other places. `clusters`: how many each region has. */
export function passages(
  stack: string,
  from: Place,
  places: readonly Place[],
  clusters: number,
  roundTripMs: (from: string, to: string) => number,
): Passage[] {
  return places
    .filter(({ number }) => number !== from.number)
    .flatMap((to): Passage[] => {
      const delay = roundTripMs(from.name, to.name);
      const at = (name: string, port: number): string => `${dockerName(stack, namedIn(to)(name))}:${port}`;
      const passage = (name: string, port: number, upstream: string): Passage => ({
        ...{ name: `${to.name}-${name}`, port, upstream, roundTripMs: delay },
      });
      const witness = witnessPorts(to);
      const witnesses = [
        passage("witness-client", witness.client, at(WITNESS, witness.client)),
        passage("witness-peer", witness.peer, at(WITNESS, witness.peer)),
      ];
      if (to.name === ARBITER || from.name === ARBITER) return witnesses;
      const routes = Array.from({ length: clusters }, (_, cluster) => {
        const ports = gatewayPorts(to, cluster);
        const write = cluster === 0 ? ROUTES.write : clusterRoutes(cluster - 1).write;
        return [
          passage(`write-${cluster}`, ports.write, at(ROUTER, write)),
          passage(`primary-${cluster}`, ports.primaryHere, at(ROUTER, primaryHerePort(cluster))),
        ];
      });
      return [...witnesses, ...routes.flat()];
    });
}

/** What a region's router knows of the others. */
export const routedRegions = (from: Place, places: readonly Place[], clusters: number): RoutedRegions => ({
  guard: { host: AGENT, port: AGENT_PORT },
  others: places
    .filter(({ name, number }) => name !== ARBITER && number !== from.number)
    .map((to) => ({
      name: to.name,
      host: GATEWAY,
      ports: Array.from({ length: clusters }, (_, cluster) => gatewayPorts(to, cluster)),
    })),
});
