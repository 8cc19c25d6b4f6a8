import * as docker from "@pulumi/docker";
import * as pulumi from "@pulumi/pulumi";
import { containerDefaults } from "./container.ts";
import type { Site } from "./DockerSite.ts";
import type { BuiltImage } from "./images.ts";
import { dockerName } from "./names.ts";

/** Where a server finds its configuration volume. */
export const CONFIG_DIRECTORY = "/etc/cgraph";
/** Where a one-shot container is given files. */
export const GIVEN_DIRECTORY = "/run/cgraph-config";

export interface ConfigFilesArgs {
  readonly site: Site;
  readonly image: BuiltImage;
  /** Group in the image that may read the files. */
  readonly group: string;
  /** Contents by file name. */
  readonly files: Readonly<Record<string, pulumi.Input<string>>>;
}

/**
 * A server's configuration on a volume of its own, apart from the server's container: a one-shot container writes it,
 * and the server notices and reloads. So a changed setting replaces the one-shot, never the server.
 */
export class ConfigFiles extends pulumi.ComponentResource {
  /** The volume's name. Who uses it depends on this component too, so as to start when the files are there. */
  readonly volumeName: pulumi.Output<string>;

  constructor(name: string, args: ConfigFilesArgs, opts?: pulumi.ComponentResourceOptions) {
    super("cgraph:docker:ConfigFiles", name, {}, opts);
    const { site } = args;
    const volume = new docker.Volume(
      name,
      { name: dockerName(site.stack, name), labels: site.labels },
      { parent: this },
    );
    oneShot(
      `${name}-writer`,
      {
        site,
        image: args.image,
        command: ["write-config"],
        envs: [`CGRAPH_CONFIG_GROUP=${args.group}`],
        files: args.files,
        volumes: [{ volumeName: volume.name, containerPath: CONFIG_DIRECTORY }],
        network: false,
      },
      { parent: this },
    );
    this.volumeName = volume.name;
    this.registerOutputs({ volumeName: this.volumeName });
  }
}

export interface OneShotArgs {
  readonly site: Site;
  readonly image: BuiltImage;
  readonly command: readonly string[];
  readonly envs: readonly string[];
  readonly files: Readonly<Record<string, pulumi.Input<string>>>;
  readonly volumes: readonly { volumeName: pulumi.Input<string>; containerPath: string }[];
  /** Whether it talks to the stack's other containers. */
  readonly network: boolean;
}

/** A container that does one thing whenever its files change, and ends. */
export function oneShot(name: string, args: OneShotArgs, opts: pulumi.CustomResourceOptions): docker.Container {
  const { site } = args;
  return new docker.Container(
    name,
    {
      ...containerDefaults(site, { cpus: 1, memoryMiB: 128 }),
      restart: "no",
      name: dockerName(site.stack, name),
      image: args.image.id,
      command: [...args.command],
      envs: [...args.envs],
      uploads: Object.entries(args.files).map(([file, content]) => ({
        file: `${GIVEN_DIRECTORY}/${file}`,
        content,
        permissions: "0600",
      })),
      volumes: [...args.volumes],
      ...(args.network
        ? { networkMode: "bridge", networksAdvanced: [{ name: site.networkName }] }
        : { networkMode: "none" }),
      mustRun: false,
      attach: true,
      logs: true,
    },
    { ...opts, deleteBeforeReplace: true },
  );
}
