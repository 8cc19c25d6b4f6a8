/** What a set of changes means. Pure: fed by Pulumi's plan, or by a recorded one. */
import { awsEffect, isReplica, losesInPlace } from "./awsEffect.ts";
import { type Change, isElsewhere, resourceName } from "./change.ts";
import { dockerEffect } from "./dockerEffect.ts";
import { type Effect, isDestroyed } from "./effect.ts";

/** What a set of changes means: nothing to do, harmless, a restart of servers, or data lost. */
export type Verdict = "none" | "safe" | "restarts" | "unsafe";

export const MEANING: Readonly<Record<Verdict, string>> = {
  none: "nothing would change",
  safe: "nothing restarts, no data is touched",
  restarts: "servers restart: clients reconnect; no data is touched",
  unsafe: "REFUSED: something that holds data, or that it stands on, would be deleted, replaced or shut",
};

/** What a change means. */
export function effectOf(change: Change): Effect {
  if (change.stateful && isDestroyed(change)) {
    const reasons = change.properties.filter(({ replaces }) => replaces).map(({ path }) => path);
    const because = reasons.length > 0 ? [`because of ${reasons.join(", ")}`] : [];
    return {
      happens: change.op === "delete" ? "delete" : "replace",
      clients: isReplica(change.before) || isElsewhere(change.urn) ? "reads pause" : "writes pause",
      why: [...because, ...(change.allowed === true ? ["the stack loses what it holds, as allowed"] : [])].join("; "),
    };
  }
  return /^(pulumi:providers:)?aws\b/.test(change.type) ? awsEffect(change) : dockerEffect(change);
}

/** What databases stand on: with another they would have to move, which AWS does not do. */
const FOUNDATIONS = new Set(["aws:ec2/vpc:Vpc", "aws:ec2/subnet:Subnet", "aws:rds/subnetGroup:SubnetGroup"]);

/** The ground of a whole region goes after the replicas on it, which are told of by themselves. */
const goesWithItsRegion = ({ op, urn }: Change): boolean => op === "delete" && isElsewhere(urn);

/** Whether a change deletes or replaces data, or the ground under it, or shuts it in place. */
const loses = (change: Change): boolean =>
  losesInPlace(change) ||
  (isDestroyed(change) && (change.stateful || (FOUNDATIONS.has(change.type) && !goesWithItsRegion(change))));
const isUnsafe = (change: Change): boolean => loses(change) && change.allowed !== true;

/** Changes that lose data and that nobody has allowed. */
export const unsafeOf = (changes: readonly Change[]): Change[] => changes.filter(isUnsafe);
/** Changes that lose data because somebody has allowed it. */
export const allowedLosses = (changes: readonly Change[]): Change[] =>
  changes.filter((change) => loses(change) && change.allowed === true);

export function verdictOf(changes: readonly Change[]): Verdict {
  if (changes.length === 0) return "none";
  if (changes.some(isUnsafe)) return "unsafe";
  return changes.map(effectOf).some(({ clients }) => clients !== "nothing") ? "restarts" : "safe";
}

/** The verdict in words; what is lost because it was allowed is named, since "no data is touched" would be a lie. */
export function meaningOf(changes: readonly Change[]): string {
  const verdict = verdictOf(changes);
  const lost = allowedLosses(changes).map(({ urn }) => resourceName(urn));
  if (verdict !== "restarts" || lost.length === 0) return MEANING[verdict];
  return `servers restart: clients reconnect; LOST to the stack, as allowed, is what these hold: ${lost.join(", ")}`;
}
