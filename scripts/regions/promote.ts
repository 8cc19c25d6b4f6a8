/** `region promote` in Docker: the primary moves to another region. */
import { citusGroup } from "../../components/docker/citusNames.ts";
import { ROUTER, ROUTES, primaryHerePort } from "../../components/docker/haproxyFiles.ts";
import { namedIn, placesOf } from "../../components/docker/regionRoutes.ts";
import type { RegionOutput, StackValues } from "../../stacks/outputs.ts";
import { EXIT, UserError } from "../../tuning/errors.ts";
import { DATABASE } from "../../components/roles.ts";
import { GLOBAL_SLOTS } from "../../components/docker/shardRoutes.ts";
import { superuserSql } from "../lib/cluster.ts";
import { allNodes, citusOf } from "../lib/clusters.ts";
import { PoolPause } from "../lib/pooler.ts";
import { bytes } from "../lib/print.ts";
import { step } from "../lib/progress.ts";
import { run } from "../lib/run.ts";
import {
  HEARD_SECONDS,
  type PastPromotion,
  type PrimaryRecord,
  type RegionState,
  agreed,
  askAgent,
  isHeard,
  lostBytes,
  regionNames,
  regionStates,
} from "./states.ts";

export interface Promotion {
  readonly from: string;
  readonly to: string;
  readonly epoch: number;
  /** Handed over with the clients of the pools waiting, or taken over from a region that was lost. */
  readonly planned: boolean;
  /** From the command until the new region's router led writes to it. */
  readonly seconds: number;
  /** Bytes of WAL that the old region had and the new one did not; null while the old one cannot tell. */
  readonly lostBytes: number | null;
}

export interface PromotionPlan {
  readonly from: PrimaryRecord;
  readonly target: RegionOutput;
  readonly planned: boolean;
  /** How far the old region was, where it has given the writes up already. */
  readonly givenUp: Readonly<Record<string, number>> | null;
  /** What a person should know before. */
  readonly warnings: readonly string[];
}

/** What a region that has been cut off takes to give up, and the others to agree without it. */
const SETTLE_MS = (HEARD_SECONDS + 5) * 1000;
const CATCH_UP_MS = 10_000;
/** The agents wait 16 seconds for an old region that does not answer; Patroni promotes in a few. */
const WRITABLE_MS = 60_000;
const LOST_KNOWN_MS = 3_000;
const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

const refused = (message: string, remedy: string): UserError => new UserError(message, remedy, EXIT.refused);

/**
 * What the regions say, once it is settled whether the primary's takes writes: one that has just been cut off thinks so for some
 * seconds more, and the others may be without a majority as long.
 */
export async function settledStates(values: StackValues, region: string): Promise<RegionState[]> {
  const until = Date.now() + SETTLE_MS;
  for (;;) {
    const states = await regionStates(values);
    const own = states.find(({ name }) => name === region);
    const old = states.find(({ name }) => name === agreed(states)?.region);
    const follows = own?.state?.clusters.every(({ streams }) => streams) === true;
    // One that can be asked says so when it has given up, and how far it was.
    const settled = own && isHeard(own) && (follows || !old?.state || old.state.givenUp !== null);
    if (settled || old === own || Date.now() > until) return states;
    await sleep(300);
  }
}

/** Whether the primary may move to this region. Throws a UserError, refused, where it may not. */
export function planPromotion(
  values: StackValues,
  states: readonly RegionState[],
  region: string,
  force: boolean,
): PromotionPlan {
  const target = regionNamed(values, region);
  const from = agreed(states);
  const own = states.find(({ name }) => name === region);
  if (!from || !own?.state || !isHeard(own)) {
    throw refused(
      `${region} does not hear a majority of the regions: nobody could be sure that the old primary takes no writes`,
      "see ./cgraph-db region list; bring another region back first",
    );
  }
  if (from.region === region) throw refused(`the primary is in ${region} already`, "nothing is to be done");
  const lost = own.state.clusters.find(({ role }) => role !== "standby_leader");
  if (lost) {
    throw refused(
      `${region} has no server of ${lost.name || "the cluster"} that could take over`,
      `see ./cgraph-db status, or promote another region`,
    );
  }
  const old = states.find(({ name }) => name === from.region)?.state;
  const planned = old?.writable === true && own.state.clusters.every(({ streams }) => streams);
  if (old?.writable === true && !force) {
    throw refused(
      `${from.region} is healthy and takes the writes`,
      planned
        ? "to hand the writes over all the same, with the clients of the pools waiting: --force"
        : `${region} does not follow it, and would lose what it lacks: see ./cgraph-db region list`,
    );
  }
  const ahead = states
    .filter((one) => one.name !== region && one.name !== from.region && one.state)
    .filter((one) => received(one) > received(own));
  return {
    ...{ from, target, planned, givenUp: old?.givenUp ?? null },
    warnings: ahead.map(
      (one) =>
        `${one.name} has ${bytes(received(one) - received(own))} more of what ${from.region} wrote than ${region}`,
    ),
  };
}

/** A region of the stack. Throws a UserError for one that is none. */
export function regionNamed(values: StackValues, region: string): RegionOutput {
  const found = values.regions?.all.find(({ name }) => name === region);
  if (found) return found;
  throw new UserError(`there is no region ${region}`, `use one of ${regionNames(values).join(", ")}`);
}

const received = ({ state }: RegionState): number =>
  (state?.clusters ?? []).reduce((sum, cluster) => sum + (cluster.received ?? 0), 0);

/** Containers of the servers that lead a region's clusters. */
async function leadersOf(values: StackValues, region: string): Promise<string[]> {
  const state = (await regionStates(values)).find(({ name }) => name === region)?.state;
  return (state?.clusters ?? []).map(
    ({ leader }) => allNodes(values).find(({ name }) => name === leader)?.container ?? "",
  );
}

/** Bytes of WAL that these servers have written, or replayed. */
const positions = (leaders: readonly string[], sql: string): Promise<bigint[]> =>
  Promise.all(
    leaders.map(async (container) => BigInt(await superuserSql(container, `SELECT (${sql} - '0/0')::bigint`))),
  );

/** Waits until something has everything. Throws a UserError, refused, where it does not come. */
async function caughtUp(who: string, remedy: string, look: () => Promise<boolean>): Promise<void> {
  const until = Date.now() + CATCH_UP_MS;
  while (!(await look())) {
    if (Date.now() > until) throw refused(`${who} not catch up: nothing was changed`, remedy);
    await sleep(100);
  }
}

/** Shards have their copies of the global tables by slots, which do not move along: the other region's begin where it begins. */
async function subscribersCaughtUp(leaders: readonly string[]): Promise<void> {
  const written = await positions(leaders, "pg_current_wal_lsn()");
  await caughtUp(
    "copies of the global tables do",
    "see ./cgraph-db status, and ./cgraph-db logs of the shards: what keeps their subscriptions",
    async () => {
      const confirmed = await positions(
        leaders,
        `coalesce((SELECT min(confirmed_flush_lsn) FROM pg_replication_slots WHERE slot_name ^@ '${GLOBAL_SLOTS}'), pg_current_wal_lsn())`,
      );
      return written.every((position, index) => (confirmed[index] ?? 0n) >= position);
    },
  );
}

/** Waits until the one side has everything that the other has written. */
async function regionCaughtUp(from: readonly string[], to: readonly string[], region: string): Promise<void> {
  const written = await positions(from, "pg_current_wal_lsn()");
  await caughtUp(`${region} does`, "see ./cgraph-db region list for what it lacks", async () => {
    const replayed = await positions(to, "pg_last_wal_replay_lsn()");
    return written.every((position, index) => (replayed[index] ?? 0n) >= position);
  });
}

/** Whether a region's router leads writes to its own servers. */
async function leadsHere(values: StackValues, region: RegionOutput): Promise<boolean> {
  const place = placesOf(regionNames(values)).find(({ name }) => name === region.name);
  const name = place && namedIn(place)(ROUTER);
  const router = values.services.find((service) => service.name === name)?.container ?? "";
  const curl = ["curl", "--silent", "--fail", "--output", "/dev/null", "--max-time", "2"];
  const urls = [`http://127.0.0.1:${primaryHerePort(0)}/primary`, `http://127.0.0.1:${ROUTES.health}/healthy`];
  const answers = await Promise.all(urls.map((url) => run("docker", ["exec", router, ...curl, url])));
  return answers.every(({ code }) => code === 0);
}

/** Carries a promotion out. */
export async function promote(values: StackValues, plan: PromotionPlan): Promise<Promotion> {
  const { from, target, planned, givenUp } = plan;
  const began = performance.now();
  const pools = planned ? new PoolPause(values) : undefined;
  const { epoch } = await step(`the primary moves to ${target.name}`, async (progress) => {
    // Looked for before anybody waits.
    const [old, next] = planned
      ? await Promise.all([leadersOf(values, from.region), leadersOf(values, target.name)])
      : [[], []];
    if (pools) {
      progress.detail("clients of the pools wait");
      await pools.begin();
    }
    try {
      if (planned) {
        if (values.sharding) await subscribersCaughtUp(old);
        await regionCaughtUp(old, next, target.name);
      }
      const record = await askAgent<PrimaryRecord>(
        target.agent,
        "promote",
        ...(givenUp ? [JSON.stringify(givenUp)] : []),
      );
      progress.detail(
        planned ? `${from.region} ends its writes` : `waiting for ${from.region} to have ended its writes`,
      );
      const until = Date.now() + WRITABLE_MS;
      while (!((await leadsHere(values, target)) && (await knowsLeaders(values, target)))) {
        if (Date.now() > until) {
          throw new UserError(
            `${target.name} does not take writes`,
            `see ./cgraph-db region list and ./cgraph-db logs ${target.name}-region-agent`,
            EXIT.failed,
          );
        }
        await sleep(100);
      }
      return { value: record, done: `epoch ${record.epoch}` };
    } finally {
      await pools?.end();
    }
  });
  const seconds = (performance.now() - began) / 1000;
  await decidePrepared(values, target);
  return { from: from.region, to: target.name, epoch, planned, seconds, lostBytes: await lostIn(target.agent, epoch) };
}

/**
 * Whether a coordinator at home knows who leads each of its nodes: Patroni tells it a moment after they have become primaries. Elsewhere
 * the names in its tables lead to who does.
 */
async function knowsLeaders(values: StackValues, target: RegionOutput): Promise<boolean> {
  if (!citusOf(values) || target.name !== regionNames(values)[0]) return true;
  const state = (await regionStates(values)).find(({ name }) => name === target.name)?.state;
  const leaders = (state?.clusters ?? []).map(({ name, leader }) => `${citusGroup(name)} ${leader}`);
  const [coordinator] = await leadersOf(values, target.name);
  const sql = "SELECT string_agg(groupid || ' ' || nodename, ',') FROM pg_dist_node WHERE noderole = 'primary'";
  const known = await superuserSql(coordinator ?? "", sql, DATABASE).catch(() => "");
  return known.split(",").sort().join() === leaders.sort().join();
}

/**
 * What the old region's coordinator had prepared on workers and not ended holds its locks until the new one decides; by itself it does
 * so once a minute. Of a stack without Citus there is nothing to do.
 */
async function decidePrepared(values: StackValues, target: RegionOutput): Promise<void> {
  if (!citusOf(values)) return;
  const [coordinator] = await leadersOf(values, target.name);
  if (coordinator === undefined) return;
  await superuserSql(coordinator, "SELECT recover_prepared_transactions()", DATABASE).catch(() => undefined);
}

/** What a promotion has lost; null where the old region does not tell within a moment. */
async function lostIn(agent: string, epoch: number): Promise<number | null> {
  const until = Date.now() + LOST_KNOWN_MS;
  for (;;) {
    const history = await askAgent<PastPromotion[]>(agent, "history");
    const past = history.find((one) => one.epoch === epoch);
    const lost = past ? lostBytes(past) : null;
    if (lost !== null || Date.now() > until) return lost;
    await sleep(300);
  }
}
