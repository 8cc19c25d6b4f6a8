/**
 * By which names a stack's roles log in. PostgreSQL keeps one password for a role; so that an old and a new one hold side
 * by side, each role has two names that take turns, one for each generation of passwords. Pure.
 */
import { MEMBERSHIPS, ROLES, type RoleName } from "./roles.ts";
import { scramVerifier } from "./scram.ts";

/**
 * Generations of passwords that servers accept, the one in use first: `[1]`; while they are rotated `[1, 2]`, then
 * `[2, 1]`; then `[2]`.
 */
export type Generations = readonly number[];

/** A role's second name: a member of the role, which every session of it acts as. */
export const secondName = (role: RoleName): string => `${role}_b`;

/** Both names of a role, whether or not there is a second one yet. */
export const namesOf = (role: RoleName): readonly string[] => [role, secondName(role)];

/** The name that goes with a generation's password. */
export const loginName = (role: RoleName, generation: number): string =>
  generation % 2 === 1 ? role : secondName(role);

/** The generation in use. */
export function generationInUse([first]: Generations): number {
  if (first === undefined) throw new Error("no generation of passwords");
  return first;
}

/** The one that is refused already but not forgotten, so that Pulumi need not delete what it protected a moment ago. */
export const refusedGeneration = (generations: Generations): number | undefined => {
  const inUse = generationInUse(generations);
  return generations.length === 1 && inUse > 1 ? inUse - 1 : undefined;
};

/** A role as servers have it. */
export interface ServerRole {
  readonly name: string;
  /** SQL attributes beside LOGIN. */
  readonly attributes: string;
  /** Session defaults. A second name acts as the role itself: what it makes belongs to the role. */
  readonly defaults: Readonly<Record<string, string>>;
  readonly memberOf: readonly string[];
}

/** Every role that servers have: second names from generation 2 on. */
export function serverRoles(generations: Generations): readonly ServerRole[] {
  const rotated = Math.max(...generations) > 1;
  return ROLES.flatMap(({ name, attributes, defaults }) => [
    { name, attributes, defaults, memberOf: MEMBERSHIPS[name] ?? [] },
    ...(rotated
      ? [{ name: secondName(name), attributes, defaults: { ...defaults, role: name }, memberOf: [name] }]
      : []),
  ]);
}

/**
 * What servers know of each name's password: a SCRAM verifier, or null for a name that is refused. `passwords`: of each
 * accepted generation, in the order of `generations`.
 */
export function loginVerifiers(
  generations: Generations,
  passwords: readonly Readonly<Record<RoleName, string>>[],
): Record<string, string | null> {
  const refused = serverRoles(generations).map(({ name }) => [name, null] as const);
  const accepted = generations.flatMap((generation, index) =>
    ROLES.map(({ name: role }) => {
      const name = loginName(role, generation);
      const password = passwords[index]?.[role];
      if (password === undefined) throw new Error(`no password of ${role} in generation ${generation}`);
      return [name, scramVerifier(name, password)] as const;
    }),
  );
  return Object.fromEntries([...refused, ...accepted]);
}
