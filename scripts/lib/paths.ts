import { homedir } from "node:os";
import { join } from "node:path";

/** The repository: Pulumi.yaml and the stacks' configuration are here. */
export const ROOT = join(import.meta.dirname, "..", "..");

/** What belongs to this checkout's stacks and to nobody else: local state, passphrase, certificates, locks. */
export const HOME = join(ROOT, ".cgraph");

/** Downloads and builds, keyed by version; may be deleted at any time. */
export const CACHE = join(process.env["XDG_CACHE_HOME"] || join(homedir(), ".cache"), "cgraph-db");

/** Where Pulumi keeps plugins and credentials. */
export const PULUMI_HOME = process.env["PULUMI_HOME"] || join(homedir(), ".pulumi");

/** A stack's own folder: certificate of its authority, password file, lock. */
export const stackFolder = (stack: string): string => join(HOME, "stacks", stack);
