import * as docker from "@pulumi/docker";
import * as pulumi from "@pulumi/pulumi";
import * as random from "@pulumi/random";
import type { PostgresMajor } from "../../tuning/hardware.ts";
import { type BuiltImage, buildImage, postgresBuild } from "./images.ts";
import { dockerName, stackLabels } from "./names.ts";

export interface DockerSiteArgs {
  /** The Pulumi stack; part of every name. */
  readonly stack: string;
  readonly postgresVersion: PostgresMajor;
  /** Image that ours are built on, such as debian:trixie-slim. */
  readonly baseImage: string;
  /** Whether anything beside PostgreSQL runs (stage 2 and up): etcd, HAProxy, PgBouncer, Redis. */
  readonly services: boolean;
  /** Whether it is watched. */
  readonly monitoring: boolean;
}

/** Where containers are: what those of one network share. */
export interface Site {
  readonly stack: string;
  /** Labels for everything that the stack makes in Docker. */
  readonly labels: { label: string; value: pulumi.Input<string> }[];
  readonly networkName: pulumi.Output<string>;
  readonly postgresImage: BuiltImage;
  /** The image of etcd, HAProxy, PgBouncer and Redis. */
  readonly servicesImage: BuiltImage;
  /** The image of Prometheus, Alertmanager and the exporters. */
  readonly monitoringImage: BuiltImage;
  /** The volume of the stack's certificate authority. */
  readonly tlsVolumeName: pulumi.Output<string>;
  /** The name in the stack of something that is called `name` on this network. */
  named(name: string): string;
}

/** What all containers of a stack share: a network, the images, the volume of the local certificate authority. */
export class DockerSite extends pulumi.ComponentResource implements Site {
  readonly stack: string;
  readonly labels: { label: string; value: pulumi.Input<string> }[];
  readonly networkName: pulumi.Output<string>;
  readonly postgresImage: BuiltImage;
  readonly tlsVolumeName: pulumi.Output<string>;
  readonly #servicesImage: BuiltImage | undefined;
  readonly #monitoringImage: BuiltImage | undefined;

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
    const { baseImage } = args;
    const version = String(args.postgresVersion);
    this.postgresImage = buildImage("postgres", postgresBuild(version, baseImage), { parent: this });
    this.#servicesImage = args.services
      ? buildImage("services", { version: "1", baseImage }, { parent: this })
      : undefined;
    this.#monitoringImage = args.monitoring
      ? buildImage("monitoring", { version: "1", baseImage }, { parent: this })
      : undefined;
    const tls = new docker.Volume(
      "tls",
      { name: dockerName(args.stack, "tls"), labels: this.labels },
      { parent: this, protect: true, retainOnDelete: true, ignoreChanges: ["labels"] },
    );
    this.networkName = network.name;
    this.tlsVolumeName = tls.name;
    this.registerOutputs({
      networkName: this.networkName,
      postgresImageId: this.postgresImage.id,
      tlsVolumeName: this.tlsVolumeName,
    });
  }

  named(name: string): string {
    return name;
  }

  get servicesImage(): BuiltImage {
    if (!this.#servicesImage) throw new Error("this site was made without services");
    return this.#servicesImage;
  }

  get monitoringImage(): BuiltImage {
    if (!this.#monitoringImage) throw new Error("this site was made without monitoring");
    return this.#monitoringImage;
  }
}
