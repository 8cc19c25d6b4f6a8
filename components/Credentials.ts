import * as pulumi from "@pulumi/pulumi";
import * as random from "@pulumi/random";
import { type Generations, loginName, loginVerifiers, refusedGeneration, serverRoles } from "./logins.ts";
import { ROLE_NAMES, type RoleName, rolesSql } from "./roles.ts";

export interface CredentialsArgs {
  /** Whether the stage has a cache. */
  readonly cache: boolean;
  /** Whether the servers have an administrator with a password (RDS); default no: in Docker it is inside the container. */
  readonly administrator?: boolean;
  /** The key of a backup repository that is there already; default: one is made. */
  readonly backupKey?: pulumi.Output<string> | undefined;
  /** Generations of passwords that are accepted, the one in use first. */
  readonly generations: Generations;
}

/** How a role logs in. */
export interface Login {
  readonly name: string;
  /** Secret. */
  readonly password: pulumi.Output<string>;
}

/** One generation of a stack's passwords. */
interface Generation {
  readonly number: number;
  readonly logins: Readonly<Record<RoleName, Login>>;
  readonly cache: pulumi.Output<string> | undefined;
  readonly administrator: pulumi.Output<string> | undefined;
}

/**
 * Every generated secret of a stack: a password for each database role and the key that encrypts backups.
 * They are protected like the volumes they open: a new password would meet an old volume, a new key old backups. A
 * rotation makes a generation beside the one before, which loses its protection when servers refuse it, and goes with the
 * rotation after that.
 */
export class Credentials extends pulumi.ComponentResource {
  /** What servers accept, the generation in use first. */
  readonly accepted: readonly Generation[];
  /** Numbers of the accepted generations. */
  readonly generations: Generations;
  /** How each role logs in now. Passwords: 32 letters and digits (190 bits), fit for a URL as they are. */
  readonly logins: Readonly<Record<RoleName, Login>>;
  /** The key of the backup repository (AES-256): 48 letters and digits, where it is made here. Never rotated: backups need it. */
  readonly backupKey: pulumi.Output<string>;
  /** The cache's password in use: 48 letters and digits. Made with the first stage that has a cache. */
  readonly cachePassword: pulumi.Output<string> | undefined;
  /** The administrator's password: 48 letters and digits. */
  readonly administratorPassword: pulumi.Output<string> | undefined;
  /** SQL that brings a server's roles up to date; it holds verifiers, no passwords. */
  readonly rolesSql: pulumi.Output<string>;

  constructor(name: string, args: CredentialsArgs, opts?: pulumi.ComponentResourceOptions) {
    super("cgraph:security:Credentials", name, {}, opts);
    const secret = (child: string, length: number, protect = true): pulumi.Output<string> =>
      new random.RandomPassword(child, { length, special: false }, { parent: this, protect }).result;
    const generation = (number: number, protect = true): Generation => {
      const own = (child: string, length: number): pulumi.Output<string> =>
        secret(number === 1 ? child : `${child}-${number}`, length, protect);
      return {
        number,
        logins: Object.fromEntries(
          ROLE_NAMES.map((role) => [role, { name: loginName(role, number), password: own(`password-${role}`, 32) }]),
        ) as Record<RoleName, Login>,
        cache: args.cache ? own("password-cache", 48) : undefined,
        administrator: args.administrator === true ? own("password-administrator", 48) : undefined,
      };
    };
    const { generations } = args;
    const accepted = generations.map((number) => generation(number));
    const [inUse] = accepted;
    if (!inUse) throw new Error("no generation of passwords");
    const refused = refusedGeneration(generations);
    if (refused !== undefined) generation(refused, false);
    this.generations = generations;
    this.accepted = accepted;
    this.logins = inUse.logins;
    this.backupKey = args.backupKey ?? secret("backup-key", 48);
    this.cachePassword = inUse.cache;
    this.administratorPassword = inUse.administrator;
    this.rolesSql = pulumi
      .all(this.accepted.map(passwordsOf))
      .apply((passwords) => rolesSql(serverRoles(generations), loginVerifiers(generations, passwords)));
    this.registerOutputs({ passwords: this.passwords, backupKey: this.backupKey });
  }

  /** Password of each role in use. */
  get passwords(): pulumi.Output<Record<RoleName, string>> {
    return pulumi.secret(passwordsOf({ logins: this.logins }));
  }

  /** The same of the generation that is accepted beside; null where there is none. */
  get otherPasswords(): pulumi.Output<Record<RoleName, string>> | null {
    const [, other] = this.accepted;
    return other ? pulumi.secret(passwordsOf(other)) : null;
  }

  /** Every login of a role that is accepted, the one in use first. */
  loginsOf(role: RoleName): readonly Login[] {
    return this.accepted.map(({ logins }) => logins[role]);
  }
}

const passwordsOf = ({ logins }: Pick<Generation, "logins">): pulumi.Output<Record<RoleName, string>> =>
  pulumi
    .all(ROLE_NAMES.map((role) => logins[role].password.apply((password) => [role, password] as const)))
    .apply((pairs) => Object.fromEntries(pairs) as Record<RoleName, string>);
