/** Regions that a stack is to have no more: what they hold are copies of what the primary's has, and goes with them. */
import type { Stack } from "@pulumi/pulumi/automation/index.js";
import { placesOf, witnessName } from "../../components/docker/regionRoutes.ts";
import { resourceName } from "../../migration/change.ts";
import type { StackConfig } from "../../stacks/config.ts";
import type { StackValues } from "../../stacks/outputs.ts";
import { EXIT, UserError } from "../../tuning/errors.ts";
import { unprotect } from "../lib/allow.ts";
import { configCopy } from "../lib/configCopy.ts";
import { docker, listLabelled } from "../lib/docker.ts";
import { changesOf } from "../lib/plan.ts";
import { stateValues } from "../lib/state.ts";
import { agreed, askAgent, regionNames, regionStates } from "./states.ts";

/** Places, an arbiter among them, that are there and will not be. */
const goneOf = (before: readonly string[], after: readonly string[]): string[] => {
  const stay = new Set(after.length > 1 ? placesOf(after).map(({ name }) => name) : []);
  return placesOf(before).flatMap(({ name }, index) => (index === 0 || stay.has(name) ? [] : [name]));
};

/** Throws a UserError, refused, where a region that stays would have another place: its ports, by which others find it, follow from that. Pure. */
export function requireSamePlaces(before: readonly string[], after: readonly string[]): void {
  const moved = after.find((name, index) => before.includes(name) && before[index] !== name);
  if (moved === undefined) return;
  throw new UserError(
    `${moved} would be region ${after.indexOf(moved) + 1} and is region ${before.indexOf(moved) + 1} of the stack: its ports, and its witness's, would be others`,
    `regions come and go at the end of cgraph:regions; take ${before.slice(after.indexOf(moved)).join(" and ")} out first, then name the ones that stay anew`,
    EXIT.refused,
  );
}

/** Has the witnesses of these places, and no others, be members no more, so that others can join. */
async function haveLeave({ regions }: StackValues, places: readonly string[]): Promise<void> {
  const at = regions?.all.find(({ name }) => name === regions.primary);
  if (!at) return;
  try {
    await askAgent(at.agent, "leave", ...places.map((name) => witnessName({ name })));
  } catch (error) {
    if (places.length === 0) return;
    throw new UserError(
      `the regions do not agree that ${places.join(" and ")} leave: ${(error as Error).message}`,
      "see ./cgraph-db region list: those that stay must reach each other",
      EXIT.refused,
    );
  }
}

/**
 * Takes the protection off what regions hold that go, and gives the volumes that can be deleted afterwards. `wanted`:
 * configuration that is not written yet. Throws a UserError, refused, where the primary is in a region that goes, or home
 * would be another one.
 */
export async function releaseRegions(
  stack: Stack,
  config: StackConfig,
  wanted: Readonly<Record<string, string>> = {},
): Promise<string[]> {
  const before = (await stateValues(stack)) as StackValues | undefined;
  if (!before?.regions) return [];
  const [home = ""] = regionNames(before);
  if (config.regions.all[0] !== home) {
    throw new UserError(
      `cgraph:regions begins with ${config.regions.all[0]}, but the stack began in ${home}`,
      `name ${home} first: where the primary is, ./cgraph-db region promote says`,
      EXIT.refused,
    );
  }
  const gone = goneOf(regionNames(before), config.regions.all);
  requireSamePlaces(regionNames(before), config.regions.all);
  if (gone.length === 0) {
    await haveLeave(before, []);
    return [];
  }
  const primary = agreed(await regionStates(before))?.region;
  if (primary === undefined || gone.includes(primary)) {
    throw new UserError(
      primary === undefined
        ? `nobody knows where the primary is, and ${gone.join(", ")} would go`
        : `the primary is in ${primary}, which would go`,
      primary === undefined
        ? "see ./cgraph-db region list"
        : `move it first: ./cgraph-db region promote ${home} --force`,
      EXIT.refused,
    );
  }
  if (config.regions.all.length > 1) await haveLeave(before, gone);
  const copy = configCopy(stack.name, wanted);
  try {
    const leaving = (await changesOf(stack, copy.file)).filter(
      ({ op, stateful, urn }) =>
        op === "delete" && stateful && gone.some((name) => resourceName(urn).startsWith(`${name}-`)),
    );
    if (leaving.length > 0) await unprotect(stack, new Set(leaving.map(({ urn }) => urn)));
    return leaving
      .filter(({ type }) => type === "docker:index/volume:Volume")
      .map((change) => String(change.before["name"]));
  } finally {
    copy.remove();
  }
}

/** Deletes volumes that nothing of the stack uses any more. */
export async function discardVolumes(stack: Stack, volumes: readonly string[]): Promise<void> {
  if (volumes.length === 0) return;
  const there = new Set((await listLabelled("volume", stack.name)).map(({ name }) => name));
  for (const volume of volumes) if (there.has(volume)) await docker(["volume", "rm", volume]);
}
