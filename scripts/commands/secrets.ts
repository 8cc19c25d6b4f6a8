import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { HOME } from "../lib/paths.ts";
import { print, printJson } from "../lib/print.ts";
import { openStack, stackValues } from "../lib/stack.ts";
import { usesLocalBackend } from "../lib/stackFiles.ts";

/** `secrets export`: what must be kept outside this machine to open its state and its backups. */
export async function exportSecrets(flags: { stack: string; json?: boolean }): Promise<void> {
  const values = await stackValues(await openStack(flags.stack));
  const file = join(HOME, "passphrase");
  const passphrase = usesLocalBackend(flags.stack) && existsSync(file) ? readFileSync(file, "utf8").trim() : null;
  if (flags.json) {
    printJson({ stack: flags.stack, passphrase, backupKey: values.backupKey, passwords: values.passwords });
    return;
  }
  print(`# Keep these somewhere safe and away from this machine.
# Without the passphrase, this stack's state (and the passwords in it) cannot be read.
PULUMI_CONFIG_PASSPHRASE=${passphrase ?? "(your own: Pulumi's login or PULUMI_CONFIG_PASSPHRASE)"}
# Without the backup key, no backup can be restored.
BACKUP_KEY=${values.backupKey}
${Object.entries(values.passwords)
  .map(([role, password]) => `PASSWORD_${role.toUpperCase()}=${password}`)
  .join("\n")}`);
}
