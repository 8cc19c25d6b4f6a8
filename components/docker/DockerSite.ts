import { createHash } from "node:crypto";
import { readFileSync, readdirSync } from "node:fs";
import { join, relative } from "node:path";
import * as docker from "@pulumi/docker";
import * as pulumi from "@pulumi/pulumi";
import * as random from "@pulumi/random";
import type { PostgresMajor } from "../../tuning/hardware.ts";
import { dockerName, stackLabels } from "./names.ts";

const IMAGES = join(import.meta.dirname, "..", "..", "images");

export interface DockerSiteArgs {
  /** The Pulumi stack; part of every name. */
  readonly stack: string;
  readonly postgresVersion: PostgresMajor;
  /** Image that ours are built on, such as debian:trixie-slim. */
  readonly baseImage: string;
}

/** What all containers of a stack share: a network, the PostgreSQL image, the volume of the local certificate authority. */
export class DockerSite extends pulumi.ComponentResource {
  readonly stack: string;
  /** Labels for everything that the stack makes in Docker. */
  readonly labels: { label: string; value: pulumi.Input<string> }[];
  readonly networkName: pulumi.Output<string>;
  /** Id (not tag) of the PostgreSQL image, so that a container is replaced exactly when its content changes. */
  readonly postgresImageId: pulumi.Output<string>;
  /** Tag of the PostgreSQL image, for people. */
  readonly postgresImageName: string;
  readonly tlsVolumeName: pulumi.Output<string>;

  constructor(name: string, args: DockerSiteArgs, opts?: pulumi.ComponentResourceOptions) {
    super("cgraph:docker:Site", name, {}, opts);
    this.stack = args.stack;
    const installation = new random.RandomId("installation", { byteLength: 8 }, { parent: this, protect: true });
    this.labels = stackLabels(args.stack, installation.hex);
    const network = new docker.Network(
      "network",
      { name: dockerName(args.stack), driver: "bridge", labels: this.labels },
      { parent: this },
    );
    const buildArgs = { BASE: args.baseImage, PG_MAJOR: String(args.postgresVersion) };
    const context = join(IMAGES, "postgres");
    this.postgresImageName = `cgraph-postgres:${args.postgresVersion}-${contentHash(context, buildArgs)}`;
    const image = new docker.RemoteImage(
      "postgres-image",
      {
        name: this.postgresImageName,
        // Relative to Pulumi.yaml, so that no path of a machine gets into the state.
        build: { context: "images/postgres", buildArgs, forceRemove: true },
        // Other stacks share the image: its tag names its content.
        keepLocally: true,
      },
      { parent: this },
    );
    const tls = new docker.Volume(
      "tls",
      { name: dockerName(args.stack, "tls"), labels: this.labels },
      { parent: this, protect: true, retainOnDelete: true, ignoreChanges: ["labels"] },
    );
    this.networkName = network.name;
    this.postgresImageId = image.imageId;
    this.tlsVolumeName = tls.name;
    this.registerOutputs({
      networkName: this.networkName,
      postgresImageId: this.postgresImageId,
      tlsVolumeName: this.tlsVolumeName,
    });
  }
}

/** First 12 hex digits of SHA-256 over a build context's files (names, modes do not count) and its build arguments. */
export function contentHash(context: string, buildArgs: Readonly<Record<string, string>>): string {
  const hash = createHash("sha256").update(JSON.stringify(buildArgs));
  const files = readdirSync(context, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => relative(context, join(entry.parentPath, entry.name)))
    .sort();
  for (const file of files) hash.update(`\0${file}\0`).update(readFileSync(join(context, file)));
  return hash.digest("hex").slice(0, 12);
}
