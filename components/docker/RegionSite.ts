import * as docker from "@pulumi/docker";
import * as pulumi from "@pulumi/pulumi";
import type { Site } from "./DockerSite.ts";
import type { BuiltImage } from "./images.ts";
import { dockerName } from "./names.ts";
import { type Place, namedIn } from "./regionRoutes.ts";

/** A further place of a stack: a network of its own, which only gateways join to the others. Images and the CA are the stack's. */
export class RegionSite extends pulumi.ComponentResource implements Site {
  readonly stack: string;
  readonly labels: Site["labels"];
  readonly networkName: pulumi.Output<string>;
  readonly postgresImage: BuiltImage;
  readonly tlsVolumeName: pulumi.Output<string>;
  readonly #home: Site;
  readonly #place: Place;

  constructor(place: Place, home: Site, opts?: pulumi.ComponentResourceOptions) {
    super("cgraph:docker:RegionSite", place.name, {}, opts);
    this.#home = home;
    this.#place = place;
    this.stack = home.stack;
    this.labels = home.labels;
    this.postgresImage = home.postgresImage;
    this.tlsVolumeName = home.tlsVolumeName;
    const network = new docker.Network(
      `${place.name}-network`,
      { name: dockerName(home.stack, place.name), driver: "bridge", labels: home.labels },
      { parent: this },
    );
    this.networkName = network.name;
    this.registerOutputs({ networkName: this.networkName });
  }

  get servicesImage(): BuiltImage {
    return this.#home.servicesImage;
  }

  get monitoringImage(): BuiltImage {
    return this.#home.monitoringImage;
  }

  named(name: string): string {
    return namedIn(this.#place)(name);
  }
}
