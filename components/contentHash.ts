import { createHash } from "node:crypto";
import { readFileSync, readdirSync } from "node:fs";
import { join, relative } from "node:path";

/** First 12 hex digits of SHA-256 over the files of some folders (names count, modes do not) and build arguments. */
export function contentHash(
  root: string,
  folders: readonly string[],
  buildArgs: Readonly<Record<string, string>>,
): string {
  const hash = createHash("sha256").update(JSON.stringify(buildArgs));
  const files = folders
    .flatMap((folder) => readdirSync(join(root, folder), { recursive: true, withFileTypes: true }))
    .filter((entry) => entry.isFile())
    .map((entry) => relative(root, join(entry.parentPath, entry.name)))
    .sort();
  for (const file of files) hash.update(`\0${file}\0`).update(readFileSync(join(root, file)));
  return hash.digest("hex").slice(0, 12);
}

/** The tag of an image, which names its content: `version`, then the hash of what it is built from. */
export const imageName = (
  root: string,
  kind: string,
  version: string,
  folders: readonly string[],
  buildArgs: Readonly<Record<string, string>>,
): string => `cgraph-${kind}:${version}-${contentHash(root, folders, buildArgs)}`;
