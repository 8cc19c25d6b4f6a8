import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { acceptedLogins } from "../lib/login.ts";
import { HOME } from "../lib/paths.ts";
import { print, printJson } from "../lib/print.ts";
import { anyStackValues, openStack } from "../lib/stack.ts";
import { usesLocalBackend } from "../lib/stackFiles.ts";

/** `secrets export`: what must be kept outside this machine to open its state and its backups. */
export async function exportSecrets(flags: { stack: string; json?: boolean }): Promise<void> {
  const values = await anyStackValues(await openStack(flags.stack));
  const file = join(HOME, "passphrase");
  const passphrase = usesLocalBackend(flags.stack) && existsSync(file) ? readFileSync(file, "utf8").trim() : null;
  // Backups of RDS are encrypted by the stack's key in KMS, and the administrator has a password.
  const keys = values.backupKey === undefined ? {} : { backupKey: values.backupKey };
  const password = values.target === "aws" ? values.administratorPassword : null;
  const administrator = password === null ? {} : { administratorPassword: password };
  // By the names that log in with them; both of a role's while its password is rotated.
  const logins = Object.fromEntries(acceptedLogins(values).map(({ user, password }) => [user, password]));
  if (flags.json) {
    printJson({ stack: flags.stack, passphrase, ...keys, ...administrator, passwords: values.passwords, logins });
    return;
  }
  const passwords = {
    ...logins,
    ...(password !== null && { cgraph_admin: password }),
  };
  print(`# Keep these somewhere safe and away from this machine.
# Without the passphrase, this stack's state (and the passwords in it) cannot be read.
PULUMI_CONFIG_PASSPHRASE=${passphrase ?? "(your own: Pulumi's login or PULUMI_CONFIG_PASSPHRASE)"}
${values.backupKey === undefined ? "" : `# Without the backup key, no backup can be restored.\nBACKUP_KEY=${values.backupKey}\n`}${Object.entries(
    passwords,
  )
    .map(([role, password]) => `PASSWORD_${role.toUpperCase()}=${password}`)
    .join("\n")}`);
}
