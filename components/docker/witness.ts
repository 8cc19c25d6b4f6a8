import type * as docker from "@pulumi/docker";
import type * as pulumi from "@pulumi/pulumi";
import type { Site } from "./DockerSite.ts";
import { etcdContainer } from "./etcdContainer.ts";
import { dockerName } from "./names.ts";
import { type Place, WITNESS, WITNESS_KEYS, witnessName, witnessPorts } from "./regionRoutes.ts";

/**
 * A place's member of the etcd that spans all of them, in which it stands where the primary is. An old primary that comes back
 * asks here whether it still is one.
 */
export const witnessContainer = (
  site: Site,
  place: Place,
  places: readonly Place[],
  parent: pulumi.Resource,
): docker.Container =>
  etcdContainer(
    {
      site,
      service: WITNESS,
      member: witnessName(place),
      members: places.map((one) => {
        const { client, peer } = witnessPorts(one);
        return `${witnessName(one)}:${client}:${peer}`;
      }),
      token: dockerName(site.stack, "witnesses"),
      memoryMiB: 256,
      envs: [
        `CGRAPH_ETCD_CLIENTS=${witnessPorts(place).client}`,
        "CGRAPH_ETCD_FAR=yes",
        `CGRAPH_ETCD_WANTED=${WITNESS_KEYS}members`,
      ],
    },
    parent,
  );
