/** How a stack's roles log in, as its outputs say. */
import { type Generations, generationInUse, loginName } from "../../components/logins.ts";
import type { RoleName } from "../../components/roles.ts";

/** The outputs that say it, of a stack on either target. */
interface Credentials {
  /** Missing in the outputs of a stack that this version has not brought up yet. */
  readonly passwordGenerations?: Generations;
  readonly passwords: Readonly<Record<RoleName, string>>;
  readonly otherPasswords?: Readonly<Record<RoleName, string>> | null;
}

export interface RoleLogin {
  readonly user: string;
  readonly password: string;
}

/** Accepted generations of passwords, the one in use first. */
export const generationsOf = ({ passwordGenerations }: Credentials): Generations => passwordGenerations ?? [1];

/** Passwords of each accepted generation, in the same order. */
export const passwordsOf = ({ passwords, otherPasswords }: Credentials): Readonly<Record<RoleName, string>>[] =>
  otherPasswords ? [passwords, otherPasswords] : [passwords];

/** The login of a role that is in use. */
export const loginOf = (values: Credentials, role: RoleName): RoleLogin => ({
  user: loginName(role, generationInUse(generationsOf(values))),
  password: values.passwords[role],
});

/** Every login that is accepted, with its role; those in use first. */
export const acceptedLogins = (values: Credentials): (RoleLogin & { readonly role: RoleName })[] =>
  generationsOf(values).flatMap((generation, index) =>
    Object.entries(passwordsOf(values)[index] ?? {}).map(([role, password]) => ({
      role: role as RoleName,
      user: loginName(role as RoleName, generation),
      password,
    })),
  );
