import * as docker from "@pulumi/docker";
import type * as pulumi from "@pulumi/pulumi";
import { CONFIG_DIRECTORY, ConfigFiles } from "./ConfigFiles.ts";
import { HEALTH, containerDefaults } from "./container.ts";
import type { Site } from "./DockerSite.ts";
import type { BuiltImage } from "./images.ts";
import { dockerName } from "./names.ts";
import { GATEWAY, type Passage, type Place, witnessName } from "./regionRoutes.ts";

export interface GatewayArgs {
  readonly site: Site;
  readonly image: BuiltImage;
  readonly place: Place;
  /** All other places, and their networks. */
  readonly others: readonly { readonly place: Place; readonly site: Site }[];
  readonly passages: readonly Passage[];
}

/** A place's way to the others, as far as they are away: the only container of its network that is on theirs too. */
export function gatewayContainer(args: GatewayArgs, parent: pulumi.Resource): docker.Container {
  const { site, image, others } = args;
  const name = site.named(GATEWAY);
  const hostname = dockerName(site.stack, name);
  const files = new ConfigFiles(
    `${name}-config`,
    { site, image, group: "nogroup", files: { "wan.json": `${JSON.stringify(args.passages, null, 2)}\n` } },
    { parent },
  );
  return new docker.Container(
    name,
    {
      ...containerDefaults(site, { cpus: 1, memoryMiB: 256 }),
      networkMode: "bridge",
      networksAdvanced: [
        // The others' witnesses are where the gateway is.
        { name: site.networkName, aliases: [GATEWAY, ...others.map(({ place }) => witnessName(place))] },
        ...others.map((other) => ({ name: other.site.networkName })),
      ],
      name: hostname,
      hostname,
      image: image.id,
      command: ["run"],
      volumes: [{ volumeName: files.volumeName, containerPath: CONFIG_DIRECTORY }],
      ...HEALTH,
      destroyGraceSeconds: 5,
    },
    { parent, deleteBeforeReplace: true, dependsOn: [files] },
  );
}
