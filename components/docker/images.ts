import { createHash } from "node:crypto";
import { readFileSync, readdirSync } from "node:fs";
import { join, relative } from "node:path";
import * as docker from "@pulumi/docker";
import type * as pulumi from "@pulumi/pulumi";

const IMAGES = join(import.meta.dirname, "..", "..", "images");

export interface BuiltImage {
  /** Id (not tag), so that a container is replaced exactly when the image's content changes. */
  readonly id: pulumi.Output<string>;
  /** Tag, for people. */
  readonly name: string;
}

/**
 * Builds images/<kind> on a base. The tag names the content, so that stacks share an image and none is built twice.
 * `version` begins the tag; build arguments beside BASE are the Dockerfile's own.
 */
export function buildImage(
  kind: "postgres" | "services",
  args: { readonly version: string; readonly baseImage: string; readonly buildArgs?: Readonly<Record<string, string>> },
  opts: pulumi.CustomResourceOptions,
): BuiltImage {
  const buildArgs = { BASE: args.baseImage, ...args.buildArgs };
  const name = `cgraph-${kind}:${args.version}-${contentHash(IMAGES, ["common", kind], buildArgs)}`;
  const image = new docker.RemoteImage(
    `${kind}-image`,
    {
      name,
      // Relative to Pulumi.yaml, so that no path of a machine gets into the state.
      build: { context: "images", dockerfile: `${kind}/Dockerfile`, buildArgs, forceRemove: true },
      // Other stacks share the image.
      keepLocally: true,
    },
    opts,
  );
  return { id: image.imageId, name };
}

/** First 12 hex digits of SHA-256 over the files of some folders (names, modes do not count) and build arguments. */
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
