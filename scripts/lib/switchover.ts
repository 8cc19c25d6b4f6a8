/** Handing the writes from one healthy server to another, with clients of the pools waiting, not failing. */
import type { StackValues } from "../../stacks/outputs.ts";
import { EXIT, UserError } from "../../tuning/errors.ts";
import {
  type Member,
  type PatroniAnswer,
  clusterMembers,
  currentPrimary,
  isCluster,
  isLeader,
  isServing,
  preparePatroni,
  superuserSql,
} from "./cluster.ts";
import { routerOf } from "./clusters.ts";
import { docker } from "./docker.ts";
import { PoolPause } from "./pooler.ts";
import { step } from "./progress.ts";

/** Bytes of WAL that a candidate may lack: it must replay them while clients wait. */
export const MAX_LAG_BYTES = 16 * 1024 * 1024;

export interface Switchover {
  readonly from: string;
  readonly to: string;
  /** How long clients of the pools waited. */
  readonly waitedMs: number;
}

/** Throws a UserError (refused) where the stack is a single server. */
export function requireCluster(values: StackValues): void {
  if (isCluster(values)) return;
  throw new UserError(
    `stack stage ${values.stage} is a single server: there is nothing to switch to`,
    "stage 2 adds a replica: ./cgraph-db up --stage 2",
    EXIT.refused,
  );
}

const lagOf = (member: Member): number => (typeof member.lag === "number" ? member.lag : Infinity);

/** Runs, if only on what it has: a replica without a primary looks for more in the archive. */
export const isRunning = (member: Member): boolean => isServing(member) || member.state === "in archive recovery";

/**
 * The replica that may take over: the named one, or the one that lags least. Throws a UserError where it must not.
 * `isFit`: what its state must be; default: it serves.
 */
export function chooseCandidate(members: readonly Member[], wanted?: string, isFit = isServing): Member {
  const replicas = members.filter((member) => !isLeader(member));
  if (wanted !== undefined && !members.some(({ name }) => name === wanted)) {
    throw new UserError(
      `there is no server ${wanted}`,
      `use one of ${replicas.map(({ name }) => name).join(", ")}`,
      EXIT.refused,
    );
  }
  if (wanted !== undefined && members.some((member) => member.name === wanted && isLeader(member))) {
    throw new UserError(`${wanted} is the primary already`, "nothing was changed", EXIT.refused);
  }
  const candidates = replicas
    .filter(({ name }) => wanted === undefined || name === wanted)
    // In synchronous mode only the synchronous replica has everything.
    .filter((member) => !members.some(({ role }) => role === "sync_standby") || member.role === "sync_standby")
    .sort((a, b) => lagOf(a) - lagOf(b));
  const [best] = candidates;
  if (!best) {
    throw new UserError(
      wanted === undefined ? "there is no replica to switch to" : `${wanted} is not the synchronous replica`,
      "see ./cgraph-db status",
      EXIT.refused,
    );
  }
  if (!isFit(best) || lagOf(best) > MAX_LAG_BYTES) {
    const why = isFit(best) ? `lags ${best.lag ?? "unknown"} bytes behind` : `is ${best.state}`;
    throw new UserError(
      `${best.name} ${why}: it must not take over (at most ${MAX_LAG_BYTES} bytes)`,
      "wait until it has caught up: ./cgraph-db status",
      EXIT.refused,
    );
  }
  return best;
}

/**
 * Switches over; `pooled`: pools that lead to this cluster, default all. Throws a UserError where no replica may take over,
 * or where clients would have to wait too long.
 */
export async function switchover(
  values: StackValues,
  wanted?: string,
  pooled?: readonly string[],
): Promise<Switchover> {
  requireCluster(values);
  const candidate = chooseCandidate(await clusterMembers(values), wanted);
  const from = await currentPrimary(values);
  return step(`switchover from ${from.name} to ${candidate.name}`, async () => {
    // Its shutdown checkpoint then has little left to write.
    await superuserSql(from.container, "CHECKPOINT");
    const body = { leader: from.name, candidate: candidate.name };
    const request = preparePatroni(from.container, "/switchover", body, 60);
    const pools = new PoolPause(values, pooled);
    let answer: Promise<PatroniAnswer>;
    try {
      await pools.begin();
    } catch (error) {
      request.drop();
      throw error;
    }
    try {
      answer = request.send();
      // Patroni answers a while after the fact; a refusal comes at once.
      const refusal = answer.then((result) => {
        if (result.status !== 200) throw refused(result);
        return new Promise<never>(() => undefined);
      });
      await Promise.race([awaitRoute(values, candidate.name), refusal]);
    } finally {
      await pools.end();
    }
    const waitedMs = pools.heldMs;
    const result = await answer;
    if (result.status !== 200) throw refused(result);
    return {
      value: { from: from.name, to: candidate.name, waitedMs },
      done: `clients waited ${(waitedMs / 1000).toFixed(1)} s`,
    };
  });
}

const refused = ({ status, text }: PatroniAnswer): UserError =>
  new UserError(`Patroni did not switch over: ${text || status}`, "see ./cgraph-db status", EXIT.failed);

/** Waits until the router sends writes to this server. */
export async function awaitRoute(values: StackValues, node: string): Promise<void> {
  const router = routerOf(values);
  if (router) await docker(["exec", router.container, "cgraph-await-primary", node]);
}
