import * as pulumi from "@pulumi/pulumi";
import * as random from "@pulumi/random";
import { ROLE_NAMES, type RoleName, rolesSql } from "./roles.ts";
import { scramVerifier } from "./scram.ts";

export interface CredentialsArgs {
  /** Whether the stage has a cache. */
  readonly cache: boolean;
  /** Whether the servers have an administrator with a password (RDS); default no: in Docker it is inside the container. */
  readonly administrator?: boolean;
}

/**
 * Every generated secret of a stack: a password for each database role and the key that encrypts backups.
 * They are protected like the volumes they open: a new password would meet an old volume, a new key old backups.
 */
export class Credentials extends pulumi.ComponentResource {
  /** Password of each role: 32 letters and digits (190 bits), fit for a URL as they are. */
  readonly passwords: Readonly<Record<RoleName, pulumi.Output<string>>>;
  /** The key of the backup repository (AES-256): 48 letters and digits. */
  readonly backupKey: pulumi.Output<string>;
  /** The cache's password: 48 letters and digits. Made with the first stage that has a cache. */
  readonly cachePassword: pulumi.Output<string> | undefined;
  /** The administrator's password: 48 letters and digits. */
  readonly administratorPassword: pulumi.Output<string> | undefined;
  /** SQL that brings a server's roles up to date; it holds verifiers, no passwords. */
  readonly rolesSql: pulumi.Output<string>;

  constructor(name: string, args: CredentialsArgs, opts?: pulumi.ComponentResourceOptions) {
    super("cgraph:security:Credentials", name, {}, opts);
    const secret = (child: string, length: number): pulumi.Output<string> =>
      new random.RandomPassword(child, { length, special: false }, { parent: this, protect: true }).result;

    this.passwords = Object.fromEntries(ROLE_NAMES.map((role) => [role, secret(`password-${role}`, 32)])) as Record<
      RoleName,
      pulumi.Output<string>
    >;
    this.backupKey = secret("backup-key", 48);
    this.cachePassword = args.cache ? secret("password-cache", 48) : undefined;
    this.administratorPassword = args.administrator === true ? secret("password-administrator", 48) : undefined;
    this.rolesSql = pulumi
      .all(ROLE_NAMES.map((role) => this.passwords[role].apply((password) => [role, scramVerifier(role, password)])))
      .apply((verifiers) => rolesSql(Object.fromEntries(verifiers) as Record<RoleName, string>));
    this.registerOutputs({ passwords: this.passwords, backupKey: this.backupKey });
  }
}
