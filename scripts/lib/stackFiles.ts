import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { randomBytes } from "node:crypto";
import { join } from "node:path";
import { UserError } from "../../tuning/errors.ts";
import { HOME, PULUMI_HOME, ROOT } from "./paths.ts";

/** The Pulumi project's name, as in Pulumi.yaml. */
export const PROJECT = "cgraph";
export const DEFAULT_STACK = "dev";

const LOCAL_STATE = join(HOME, "state");
const PASSPHRASE = join(HOME, "passphrase");

/** Refuses names that Pulumi or Docker would refuse later, or that would lead out of a folder. */
export function checkStackName(stack: string): void {
  if (!/^[a-z0-9][a-z0-9-]{0,39}$/.test(stack)) {
    throw new UserError(
      `"${stack}" is no name for a stack`,
      "use up to 40 lower-case letters, digits and hyphens, beginning with a letter or digit",
    );
  }
}

/** The file in which the local backend keeps a stack's state. */
export const localStateFile = (stack: string): string =>
  join(LOCAL_STATE, ".pulumi", "stacks", PROJECT, `${stack}.json`);

/** Where the local backend keeps the lock of whoever works on a stack. */
export const localLockFolder = (stack: string): string =>
  join(LOCAL_STATE, ".pulumi", "locks", "organization", PROJECT, stack);

function loggedIn(): boolean {
  if (process.env["PULUMI_BACKEND_URL"] || process.env["PULUMI_ACCESS_TOKEN"]) return true;
  try {
    const file = JSON.parse(readFileSync(join(PULUMI_HOME, "credentials.json"), "utf8")) as { current?: string };
    return Boolean(file.current);
  } catch {
    return false;
  }
}

/** Whether a stack lives in this checkout's own state (default), rather than where `pulumi login` says. */
export const usesLocalBackend = (stack: string): boolean => existsSync(localStateFile(stack)) || !loggedIn();

/** Environment of the Pulumi CLI: quiet, and with this checkout's state and passphrase where the user has no other. */
export function pulumiEnvironment(stack: string): Record<string, string> {
  const env: Record<string, string> = {
    PULUMI_HOME,
    PULUMI_SKIP_UPDATE_CHECK: "true",
    // The set-up has checked the version; asking again at every command costs a process.
    PULUMI_AUTOMATION_API_SKIP_VERSION_CHECK: "true",
  };
  if (process.env["DOCKER_HOST"]) env["DOCKER_HOST"] = process.env["DOCKER_HOST"];
  const local = usesLocalBackend(stack);
  if (local) {
    mkdirSync(LOCAL_STATE, { recursive: true, mode: 0o700 });
    env["PULUMI_BACKEND_URL"] = `file://${LOCAL_STATE}`;
  }
  const own = process.env["PULUMI_CONFIG_PASSPHRASE"] ?? process.env["PULUMI_CONFIG_PASSPHRASE_FILE"];
  if (own === undefined && (local || !process.env["PULUMI_ACCESS_TOKEN"])) {
    env["PULUMI_CONFIG_PASSPHRASE_FILE"] = passphraseFile();
  }
  return env;
}

/** The generated passphrase's file, made at first use. It encrypts every secret in this checkout's state. */
export function passphraseFile(): string {
  if (!existsSync(PASSPHRASE)) {
    mkdirSync(HOME, { recursive: true, mode: 0o700 });
    // Exclusive: of two first calls at once, one wins and both use its passphrase.
    try {
      writeFileSync(PASSPHRASE, `${randomBytes(32).toString("base64url")}\n`, { mode: 0o600, flag: "wx" });
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
    }
  }
  return PASSPHRASE;
}

/** Pulumi.<stack>.yaml. */
export const stackConfigFile = (stack: string): string => join(ROOT, `Pulumi.${stack}.yaml`);
