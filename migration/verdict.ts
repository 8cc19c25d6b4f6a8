/** What a set of changes means. Pure: fed by Pulumi's plan, or by a recorded one. */
import { awsEffect, isReplica, losesInPlace } from "./awsEffect.ts";
import type { Change } from "./change.ts";
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
    return {
      happens: change.op === "delete" ? "delete" : "replace",
      clients: isReplica(change.before) ? "reads pause" : "writes pause",
      why: reasons.length > 0 ? `because of ${reasons.join(", ")}` : "",
    };
  }
  return /^(pulumi:providers:)?aws\b/.test(change.type) ? awsEffect(change) : dockerEffect(change);
}

/** What databases stand on: with another they would have to move, which AWS does not do. */
const FOUNDATIONS = new Set(["aws:ec2/vpc:Vpc", "aws:ec2/subnet:Subnet", "aws:rds/subnetGroup:SubnetGroup"]);

/** Whether data would be lost, or the ground under it. */
const isUnsafe = (change: Change): boolean =>
  losesInPlace(change) || (isDestroyed(change) && (change.stateful || FOUNDATIONS.has(change.type)));

export function verdictOf(changes: readonly Change[]): Verdict {
  if (changes.length === 0) return "none";
  if (changes.some(isUnsafe)) return "unsafe";
  return changes.map(effectOf).some(({ clients }) => clients !== "nothing") ? "restarts" : "safe";
}
