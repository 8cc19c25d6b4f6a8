import * as docker from "@pulumi/docker";
import type * as pulumi from "@pulumi/pulumi";
import { CONFIG_DIRECTORY, ConfigFiles } from "./ConfigFiles.ts";
import { HEALTH, containerDefaults, onNetwork } from "./container.ts";
import type { Site } from "./DockerSite.ts";
import { dockerName } from "./names.ts";
import { type StandbyUpstream } from "./patroniFiles.ts";
import { AGENT, type Place, WITNESS_KEYS, witnessName, witnessPorts } from "./regionRoutes.ts";

export interface RegionAgentArgs {
  readonly site: Site;
  readonly place: Place;
  /** Every place, home first. */
  readonly places: readonly Place[];
  /** This region's clusters: their servers, and whom they follow while the primary is elsewhere. */
  readonly clusters: readonly {
    readonly name: string;
    readonly nodes: readonly string[];
    readonly upstream: StandbyUpstream;
  }[];
}

/** What says whether a region may take writes, and has its servers do so or not (images/postgres/bin/cgraph-region-agent). */
export function regionAgent(args: RegionAgentArgs, parent: pulumi.Resource): docker.Container {
  const { site, place, places } = args;
  const name = site.named(AGENT);
  const hostname = dockerName(site.stack, name);
  // Its own region's first.
  const witnesses = [place, ...places.filter(({ number }) => number !== place.number)];
  const region = {
    region: place.name,
    home: places[0]?.name,
    prefix: WITNESS_KEYS,
    witnesses: witnesses.map((one) => `https://${witnessName(one)}:${witnessPorts(one).client}`),
    members: places.map(witnessName),
    clusters: args.clusters,
  };
  const files = new ConfigFiles(
    `${name}-config`,
    {
      site,
      image: site.postgresImage,
      group: "postgres",
      files: { "region.json": `${JSON.stringify(region, null, 2)}\n` },
    },
    { parent },
  );
  return new docker.Container(
    name,
    {
      ...containerDefaults(site, { cpus: 1, memoryMiB: 128 }),
      ...onNetwork(site, AGENT),
      name: hostname,
      hostname,
      image: site.postgresImage.id,
      command: ["region-agent"],
      envs: [`CGRAPH_TLS_NAMES=${AGENT},${hostname}`],
      volumes: [
        { volumeName: files.volumeName, containerPath: CONFIG_DIRECTORY },
        { volumeName: site.tlsVolumeName, containerPath: "/var/lib/cgraph-tls" },
      ],
      ...HEALTH,
      destroyGraceSeconds: 5,
    },
    { parent, deleteBeforeReplace: true, dependsOn: [files] },
  );
}
