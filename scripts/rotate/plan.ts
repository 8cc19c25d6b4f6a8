/** The way of a rotation through generations of passwords. Pure. */
import { type Generations, generationInUse, loginName } from "../../components/logins.ts";
import { ROLE_NAMES, type RoleName } from "../../components/roles.ts";

/** Between rotations; the new passwords accepted, the old ones in use; the new ones in use, the old ones accepted. */
export type Phase = "settled" | "accepting" | "using";

export function phaseOf(generations: Generations): Phase {
  const [first = 0, second] = generations;
  if (second === undefined) return "settled";
  return first < second ? "accepting" : "using";
}

/** What comes after: new ones are accepted, then used, then the old ones refused. */
export function next(generations: Generations): Generations {
  const inUse = generationInUse(generations);
  const [, other = inUse + 1] = generations;
  return { settled: [inUse, other], accepting: [other, inUse], using: [inUse] }[phaseOf(generations)];
}

/**
 * What a call of `secrets rotate` brings a stack to, one after the other. `whole`: whether the stack is known to be what
 * its configuration says; where it may not be, that is first.
 */
export function stepsTo(goal: "using" | "settled", generations: Generations, whole: boolean): Generations[] {
  if (goal === "settled") {
    if (phaseOf(generations) !== "using") return [generations];
    // The old ones are refused only when all of the stack is known to use the new ones.
    return [...(whole ? [] : [generations]), next(generations)];
  }
  switch (phaseOf(generations)) {
    case "settled": {
      const accepting = next(generations);
      return [...(whole ? [] : [generations]), accepting, next(accepting)];
    }
    case "accepting":
      return [...(whole ? [] : [generations]), next(generations)];
    case "using":
      return [generations];
  }
}

/** Roles whose passwords people and applications hold; the others' are the stack's own affair. */
export const CLIENT_ROLES: readonly RoleName[] = ["cgraph", "cgraph_owner", "cgraph_readonly", "cgraph_monitor"];

/** Names by which no generation in use logs in: those of the generation before. */
export const olderNames = (generations: Generations, roles: readonly RoleName[] = ROLE_NAMES): string[] =>
  roles.map((role) => loginName(role, generationInUse(generations) + 1));
