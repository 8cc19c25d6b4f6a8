import * as docker from "@pulumi/docker";
import type * as pulumi from "@pulumi/pulumi";
import { HEALTH, containerDefaults, onNetwork } from "./container.ts";
import type { Site } from "./DockerSite.ts";
import { dockerName } from "./names.ts";
import { type Place, WITNESS, witnessName, witnessPorts } from "./regionRoutes.ts";

/** A place's member of the etcd that spans all of them, in which it stands where the primary is. */
export function witnessContainer(
  site: Site,
  place: Place,
  places: readonly Place[],
  parent: pulumi.Resource,
): docker.Container {
  const name = site.named(WITNESS);
  const hostname = dockerName(site.stack, name);
  const alias = witnessName(place);
  // What has been decided must outlive the container: an old primary that comes back asks here whether it still is one.
  const volume = new docker.Volume(
    `${name}-data`,
    { name: dockerName(site.stack, name, "data"), labels: site.labels },
    { parent, protect: true, retainOnDelete: true, ignoreChanges: ["labels"] },
  );
  const members = places.map((one) => {
    const { client, peer } = witnessPorts(one);
    return `${witnessName(one)}:${client}:${peer}`;
  });
  return new docker.Container(
    name,
    {
      ...containerDefaults(site, { cpus: 1, memoryMiB: 256 }),
      ...onNetwork(site, alias),
      name: hostname,
      hostname,
      image: site.servicesImage.id,
      command: ["etcd"],
      envs: [
        "CGRAPH_SERVICE=etcd",
        `CGRAPH_TLS_NAMES=${alias},localhost,127.0.0.1,${hostname}`,
        "CGRAPH_TLS_OWNER=etcd",
        `CGRAPH_ETCD_NAME=${alias}`,
        `CGRAPH_ETCD_MEMBERS=${members.join(" ")}`,
        `CGRAPH_ETCD_CLIENTS=${witnessPorts(place).client}`,
        "CGRAPH_ETCD_FAR=yes",
        `CGRAPH_ETCD_TOKEN=${dockerName(site.stack, "witnesses")}`,
      ],
      volumes: [
        { volumeName: volume.name, containerPath: "/var/lib/etcd" },
        { volumeName: site.tlsVolumeName, containerPath: "/var/lib/cgraph-tls" },
      ],
      ...HEALTH,
      destroyGraceSeconds: 30,
    },
    { parent, deleteBeforeReplace: true },
  );
}
