import { join } from "node:path";
import * as docker from "@pulumi/docker";
import type * as pulumi from "@pulumi/pulumi";
import { imageName } from "../contentHash.ts";

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
  kind: "postgres" | "citus" | "services" | "monitoring" | "wan",
  args: { readonly version: string; readonly baseImage: string; readonly buildArgs?: Readonly<Record<string, string>> },
  opts: pulumi.CustomResourceOptions,
): BuiltImage {
  const buildArgs = { BASE: args.baseImage, ...args.buildArgs };
  const name = imageName(IMAGES, kind, args.version, ["common", kind], buildArgs);
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
