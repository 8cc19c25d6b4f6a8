/** Whether a stack's regions reach each other, for commands that need it: said beforehand, or when something has failed. */
import type { StackValues } from "../../stacks/outputs.ts";
import { EXIT, UserError } from "../../tuning/errors.ts";
import { currentPrimaryRegion } from "../lib/clusters.ts";
import { readStackConfig } from "../lib/stackConfig.ts";
import { type RegionState, agreed, isHeard, regionNames, regionStates } from "./states.ts";

/** A region that is not as the others need it. */
export interface RegionTrouble {
  readonly region: string;
  /** What it does, or does not. */
  readonly what: string;
  /** Whether the primary is there. */
  readonly hasPrimary: boolean;
}

/** Also for a moment in a failover within its region. */
const NO_WRITES = "takes no writes";

/** What is wrong between regions. `primary`: where the primary was last known to be. Pure. */
export function troublesOf(states: readonly RegionState[], primary: string): RegionTrouble[] {
  const there = agreed(states)?.region ?? primary;
  return states.flatMap((one): RegionTrouble[] => {
    const hasPrimary = one.name === there;
    const trouble = (what: string): RegionTrouble[] => [{ region: one.name, what, hasPrimary }];
    if (!one.state) return trouble("does not answer");
    if (!isHeard(one)) return trouble("is cut off from the others");
    return hasPrimary && !one.state.writable ? trouble(NO_WRITES) : [];
  });
}

/** The same in words; undefined where nothing is wrong. Pure. */
export function troubleText(troubles: readonly RegionTrouble[]): string | undefined {
  if (troubles.length === 0) return undefined;
  return troubles
    .map(({ region, what, hasPrimary }) => `${region}${hasPrimary ? ", which has the primary," : ""} ${what}`)
    .join("; ");
}

/** What a person can do about it. Pure. */
export function troubleRemedy(troubles: readonly RegionTrouble[], names: readonly string[]): string {
  const lost = troubles.find(({ hasPrimary }) => hasPrimary);
  const other = names.find((name) => troubles.every(({ region }) => region !== name));
  const back = `bring ${troubles.map(({ region }) => region).join(" and ")} back (./cgraph-db region list; one that was cut on purpose: region heal)`;
  if (!lost) return back;
  return other === undefined ? back : `${back}, or move the primary: ./cgraph-db region promote ${other}`;
}

const LOOK_EVERY_MS = 3_000;
/** How long a region may be out of reach before nothing begins any more: agents on a busy machine miss an answer. */
const PASSING_MS = 8_000;
/** The same before waiting for it is given up; it is known to be out of reach after eight seconds. */
const PATIENCE_MS = 15_000;
/** The same of one that takes no writes for a moment. */
const FAILOVER_MS = 60_000;

const patienceMs = (troubles: readonly RegionTrouble[], otherwiseMs: number): number =>
  troubles.every(({ what }) => what === NO_WRITES) ? FAILOVER_MS : otherwiseMs;

/** What is wrong between a stack's regions now; of a stack with one nothing. */
export async function regionTroubles(values: StackValues): Promise<RegionTrouble[]> {
  const primary = currentPrimaryRegion(values);
  return primary === undefined ? [] : troublesOf(await regionStates(values), primary);
}

/** Throws a UserError, refused, where a region cannot be reached, and stays so for a moment. `doing`: what needs all of them. */
async function requireRegions(values: StackValues, doing: string): Promise<void> {
  const began = Date.now();
  for (;;) {
    const troubles = await regionTroubles(values);
    const text = troubleText(troubles);
    if (text === undefined) return;
    if (Date.now() - began < patienceMs(troubles, PASSING_MS)) {
      await new Promise((resolve) => setTimeout(resolve, 1000));
      continue;
    }
    throw new UserError(
      `${text}: ${doing} needs every region`,
      `${troubleRemedy(troubles, regionNames(values))}; then call this again`,
      EXIT.refused,
    );
  }
}

/** Also true of a stack with one region. */
export const isPrimaryAtHome = (values: StackValues): boolean =>
  currentPrimaryRegion(values) === regionNames(values)[0];

/** Throws a UserError, refused, where the primary is not at home. `doing`: what works there only. */
function requirePrimaryAtHome(values: StackValues, doing: string): void {
  if (isPrimaryAtHome(values)) return;
  const [home] = regionNames(values);
  throw new UserError(
    `the primary is in ${currentPrimaryRegion(values)}: ${doing} works while it is in ${home}, where the stack began`,
    `hand it over first: ./cgraph-db region promote ${home} --force`,
    EXIT.refused,
  );
}

/** Throws a UserError, refused, where a stack of several regions is not as a move between stages, or of buckets, needs it. */
export async function requireRegionsForMove(values: StackValues): Promise<void> {
  requirePrimaryAtHome(values, "a move");
  await requireRegions(values, "a move");
}

/** Already says what is wrong between regions. */
const said = new WeakSet<Error>();

/** An error of a region that is out of reach, while `doing`. */
export function outOfReach(troubles: readonly RegionTrouble[], values: StackValues, doing: string): UserError {
  const error = new UserError(
    `${troubleText(troubles)}: ${doing}`,
    `${troubleRemedy(troubles, regionNames(values))}; then call this again: it goes on`,
    EXIT.failed,
  );
  said.add(error);
  return error;
}

/** Looks at a stack's regions, while something is waited for that may need them. */
export class RegionWatch {
  readonly #values: StackValues;
  #looked = 0;
  #since: number | undefined;

  constructor(values: StackValues) {
    this.#values = values;
  }

  /** What has been wrong for so long that nobody should wait for it; nothing of a stack with one region. Looks now and then. */
  async lasting(): Promise<readonly RegionTrouble[]> {
    if (currentPrimaryRegion(this.#values) === undefined || Date.now() - this.#looked < LOOK_EVERY_MS) return [];
    this.#looked = Date.now();
    const troubles = await regionTroubles(this.#values);
    if (troubles.length === 0) this.#since = undefined;
    else this.#since ??= Date.now();
    return this.#since !== undefined && Date.now() - this.#since > patienceMs(troubles, PATIENCE_MS) ? troubles : [];
  }
}

/**
 * A command's error, with what is wrong between the stack's regions where something is: what failed in the middle seldom
 * knows why. Any other error comes back as it is.
 */
export async function withRegionsSaid(stack: string, error: unknown): Promise<unknown> {
  if (!(error instanceof Error) || said.has(error)) return error;
  if (error instanceof UserError && error.exitCode === EXIT.wrongUse) return error;
  try {
    const config = readStackConfig(stack);
    if (config["regions"] === undefined || config["target"] === "aws") return error;
    const { openStack, stackValues } = await import("../lib/stack.ts");
    const values = await stackValues(await openStack(stack));
    const troubles = await regionTroubles(values);
    const text = troubleText(troubles);
    if (text === undefined || error.message.includes(text)) return error;
    const remedy = `${troubleRemedy(troubles, regionNames(values))}; then call this again`;
    return error instanceof UserError
      ? new UserError(`${error.message}\n${text}`, `${remedy}. Otherwise: ${error.remedy}`, error.exitCode)
      : new UserError(`${error.message}\n${text}`, remedy, EXIT.failed);
  } catch {
    return error;
  }
}
