/** What a Pulumi run does to each resource, from its event stream. */
import type { EngineEvent } from "@pulumi/pulumi/automation/index.js";

export interface Change {
  readonly urn: string;
  readonly type: string;
  /** create, update, replace, delete, … as Pulumi names it; `same` is left out. */
  readonly op: string;
  /** Whether the resource holds data or a secret that opens data. */
  readonly stateful: boolean;
}

/** What a set of changes means: nothing to do, harmless, a restart of servers, or data lost. */
export type Verdict = "none" | "safe" | "restarts" | "unsafe";

const STATEFUL = new Set([
  "docker:index/volume:Volume",
  "random:index/randomPassword:RandomPassword",
  "random:index/randomId:RandomId",
  "aws:rds/instance:Instance",
  "aws:kms/key:Key",
  "aws:secretsmanager/secret:Secret",
]);
export const isStateful = (type: string): boolean => STATEFUL.has(type);

/** The change that an event announces; undefined for other events and for resources that stay as they are. */
export function changeOf(event: EngineEvent): Change | undefined {
  const metadata = event.resourcePreEvent?.metadata;
  if (!metadata || metadata.op === "same" || metadata.op === "read" || metadata.op === "refresh") return undefined;
  // A replacement comes as three events; one is enough.
  if (metadata.op === "create-replacement" || metadata.op === "delete-replaced") return undefined;
  return { urn: metadata.urn, type: metadata.type, op: metadata.op, stateful: isStateful(metadata.type) };
}

/** The last part of a URN. */
export const resourceName = (urn: string): string => urn.split("::").at(-1) ?? urn;

const destroys = (change: Change): boolean => change.op === "delete" || change.op === "replace";

/** A one-shot container that writes a configuration anew, which its server then reads. */
const writesConfig = (change: Change): boolean => /(-writer|^cluster-config)$/.test(resourceName(change.urn));

export function verdictOf(changes: readonly Change[]): Verdict {
  if (changes.length === 0) return "none";
  if (changes.some((change) => change.stateful && destroys(change))) return "unsafe";
  const restarts = changes.some(
    (change) => change.type.endsWith(":Container") && change.op !== "create" && !writesConfig(change),
  );
  return restarts ? "restarts" : "safe";
}
