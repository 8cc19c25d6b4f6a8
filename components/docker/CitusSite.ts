import * as pulumi from "@pulumi/pulumi";
import { CITUS_VERSION } from "./citusNames.ts";
import type { DockerSite, Site } from "./DockerSite.ts";
import { type BuiltImage, buildImage, citusBuild } from "./images.ts";

/** A stack's place with PostgreSQL servers that have Citus. All else is the stack's. */
export class CitusSite extends pulumi.ComponentResource implements Site {
  readonly stack: string;
  readonly labels: Site["labels"];
  readonly networkName: pulumi.Output<string>;
  readonly postgresImage: BuiltImage;
  readonly tlsVolumeName: pulumi.Output<string>;
  readonly #site: DockerSite;

  constructor(name: string, site: DockerSite, version: string, opts?: pulumi.ComponentResourceOptions) {
    super("cgraph:docker:CitusSite", name, {}, opts);
    this.#site = site;
    this.stack = site.stack;
    this.labels = site.labels;
    this.networkName = site.networkName;
    this.tlsVolumeName = site.tlsVolumeName;
    this.postgresImage = buildImage("citus", citusBuild(version, site.postgresImage.name, CITUS_VERSION), {
      parent: this,
      dependsOn: [site],
    });
    this.registerOutputs({ postgresImageId: this.postgresImage.id });
  }

  get servicesImage(): BuiltImage {
    return this.#site.servicesImage;
  }

  get monitoringImage(): BuiltImage {
    return this.#site.monitoringImage;
  }

  named(name: string): string {
    return name;
  }
}
