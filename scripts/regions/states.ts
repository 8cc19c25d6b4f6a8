/** What the regions of a stack in Docker say of themselves. */
import type { RegionsOutput, StackValues } from "../../stacks/outputs.ts";
import { docker } from "../lib/docker.ts";
import { run } from "../lib/run.ts";
import { bytes, table } from "../lib/print.ts";

/** Where the primary is, as a majority of the regions has agreed; `epoch` counts how often it has moved. */
export interface PrimaryRecord {
  readonly region: string;
  readonly epoch: number;
  /** Where it was before; null: it has never moved. */
  readonly before: string | null;
  readonly at: string;
}

/** One of a region's clusters. */
export interface RegionCluster {
  readonly name: string;
  /** The server that leads it here, and what it is: primary or standby_leader; null where there is none. */
  readonly leader: string | null;
  readonly role: string | null;
  /** Bytes of WAL: what has been written or replayed, and what has been received. */
  readonly location: number | null;
  readonly received: number | null;
  readonly timeline: number | null;
  /** Whether it gets what the primary writes. */
  readonly streams?: boolean;
}

/** What a region's agent knows. */
export interface AgentState {
  readonly region: string;
  readonly primary: PrimaryRecord | null;
  /** How old a majority's word is; null: there was none. */
  readonly heardSeconds: number | null;
  readonly writable: boolean;
  /** Bytes of WAL by cluster, of a region that has given the writes up; null while any of its servers may take some. */
  readonly givenUp: Readonly<Record<string, number>> | null;
  readonly clusters: readonly RegionCluster[];
}

/** One move of the primary from region to region: how far the new one was, and the old one, bytes of WAL by cluster. */
export interface PastPromotion {
  readonly epoch: number;
  readonly promoted: Position | null;
  readonly fenced: Position | null;
}
interface Position {
  readonly region: string;
  readonly locations: Readonly<Record<string, number | null>>;
  readonly at: string;
}

/** A region as `region list` and `status` show it. */
export interface RegionState {
  readonly name: string;
  /** Null where its agent does not answer. */
  readonly state: AgentState | null;
}

const AGENT = "cgraph-region-agent";

/** A question to a region's agent. Throws where it does not answer; the message is the agent's. */
export async function askAgent<T>(agent: string, ...question: readonly string[]): Promise<T> {
  return JSON.parse(await docker(["exec", "--user", "postgres", agent, AGENT, ...question])) as T;
}

/** The stack's regions, home first. */
export const regionNames = ({ regions }: StackValues): string[] => (regions?.all ?? []).map(({ name }) => name);

export async function regionStates({ regions }: StackValues): Promise<RegionState[]> {
  return Promise.all(
    (regions?.all ?? []).map(async ({ name, agent }) => ({
      name,
      state: await askAgent<AgentState>(agent, "state").catch(() => null),
    })),
  );
}

/** How old a majority's word may be, as the agents have it: a region that is cut off gives up by then. */
export const HEARD_SECONDS = 8;
export const isHeard = ({ state }: RegionState): boolean => (state?.heardSeconds ?? Infinity) < HEARD_SECONDS;

/** What a majority of the regions says of the primary; undefined where no region hears one. */
export const agreed = (states: readonly RegionState[]): PrimaryRecord | undefined =>
  states
    .filter(isHeard)
    .flatMap(({ state }) => state?.primary ?? [])
    .sort((a, b) => b.epoch - a.epoch)[0];

/** Bytes that a region's clusters lack of what the primary's have; null where either is unknown. */
export function lacking(states: readonly RegionState[], region: string): number | null {
  const locations = (name: string | undefined): readonly RegionCluster[] =>
    states.find((one) => one.name === name)?.state?.clusters ?? [];
  const primary = locations(agreed(states)?.region);
  const here = locations(region);
  if (primary.length === 0 || here.length === 0) return null;
  const missing = primary.map((cluster) => {
    const at = here.find(({ name }) => name === cluster.name)?.location ?? null;
    return cluster.location === null || at === null ? null : Math.max(0, cluster.location - at);
  });
  return missing.includes(null) ? null : missing.reduce<number>((sum, one) => sum + (one ?? 0), 0);
}

/**
 * What a move of the primary has lost, in bytes of WAL: what the old region had and the new one did not; null while the old one
 * has not told. A region that has come back tells.
 */
export function lostBytes({ promoted, fenced }: PastPromotion): number | null {
  if (!promoted || !fenced) return null;
  return Object.entries(fenced.locations).reduce(
    (sum, [cluster, location]) => sum + Math.max(0, (location ?? 0) - (promoted.locations[cluster] ?? 0)),
    0,
  );
}

const stateWords = (one: RegionState, primary: string | undefined): string => {
  if (!one.state) return "does not answer";
  if (one.name === primary) return one.state.writable ? "takes writes" : "takes no writes";
  if (!isHeard(one)) return "cut off";
  return one.state.clusters.every(({ streams }) => streams) ? "follows" : "does not follow";
};

/** The regions as a table. */
export function regionTable({ regions }: { regions: RegionsOutput | null }, states: readonly RegionState[]): string {
  const primary = agreed(states)?.region;
  return table([
    ["region", "primary", "state", "lacks", "writes", "reads", "pools"],
    ...states.map((one) => {
      const output = regions?.all.find(({ name }) => name === one.name);
      const lag = one.name === primary ? null : lacking(states, one.name);
      const place = (at: { host: string; port: number } | undefined): string => (at ? `${at.host}:${at.port}` : "");
      return [
        ...[one.name, one.name === primary ? "yes" : "", stateWords(one, primary), lag === null ? "" : bytes(lag)],
        ...[place(output?.write), place(output?.read), place(output?.pool)],
      ];
    }),
  ]);
}

/** Tells a region's gateway to end its passages to another, or to let them be again. */
export const passage = async (gateway: string, how: "cut" | "heal", region: string): Promise<boolean> =>
  (await run("docker", ["exec", gateway, "cgraph-wan", how, region])).code === 0;
