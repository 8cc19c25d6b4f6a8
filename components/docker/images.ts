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

type Kind = "postgres" | "citus" | "services" | "monitoring" | "wan";

interface BuildArgs {
  readonly version: string;
  readonly baseImage: string;
  readonly buildArgs?: Readonly<Record<string, string>>;
}

const nameOf = (kind: Kind, { version, baseImage, buildArgs }: BuildArgs): string =>
  imageName(IMAGES, kind, version, ["common", kind], { BASE: baseImage, ...buildArgs });

/** What the image of PostgreSQL servers is built with. */
export const postgresBuild = (version: string, baseImage: string): BuildArgs => ({
  ...{ version, baseImage },
  buildArgs: { PG_MAJOR: version },
});

/** What that of servers with Citus is built with, on that of those without. */
export const citusBuild = (version: string, postgresImage: string, citus: string): BuildArgs => ({
  ...{ version, baseImage: postgresImage },
  buildArgs: { CITUS: citus },
});

/** The tag of the image of servers with Citus, on a base image. */
export const citusImageName = (version: string, baseImage: string, citus: string): string =>
  nameOf("citus", citusBuild(version, nameOf("postgres", postgresBuild(version, baseImage)), citus));

/**
 * Builds images/<kind> on a base. The tag names the content, so that stacks share an image and none is built twice.
 * `version` begins the tag; build arguments beside BASE are the Dockerfile's own.
 */
export function buildImage(kind: Kind, args: BuildArgs, opts: pulumi.CustomResourceOptions): BuiltImage {
  const buildArgs = { BASE: args.baseImage, ...args.buildArgs };
  const name = nameOf(kind, args);
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
