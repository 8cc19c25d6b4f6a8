import * as docker from "@pulumi/docker";
import * as pulumi from "@pulumi/pulumi";
import { HEALTH, containerDefaults, onNetwork } from "./container.ts";
import type { Site } from "./DockerSite.ts";
import { dockerName } from "./names.ts";

export interface EtcdArgs {
  readonly site: Site;
  /** What it is called on its network, the others of it too; its name in the stack follows from the site's. */
  readonly service: string;
  /** Its name among the members, and on the network. */
  readonly member: string;
  /** All members, the first one first, as images/services/bin/cgraph-etcd takes them. */
  readonly members: readonly string[];
  readonly token: string;
  readonly memoryMiB: number;
  /** More of the container's environment; default none. */
  readonly envs?: readonly string[];
  /** Types of those in whose midst it was before, as an URN has them; default: it was always where it is. */
  readonly formerly?: string | undefined;
}

/** A member of an etcd, with a volume that outlives it: what was decided must not be forgotten with a container. */
export function etcdContainer(args: EtcdArgs, parent: pulumi.Resource): docker.Container {
  const { site, member } = args;
  const name = site.named(args.service);
  const hostname = dockerName(site.stack, name);
  const aliases = (type: string, child: string): string[] =>
    args.formerly === undefined
      ? []
      : [`urn:pulumi:${pulumi.getStack()}::${pulumi.getProject()}::${args.formerly}$${type}::${child}`];
  const volume = new docker.Volume(
    `${name}-data`,
    { name: dockerName(site.stack, name, "data"), labels: site.labels },
    {
      ...{ parent, protect: true, retainOnDelete: true, ignoreChanges: ["labels"] },
      aliases: aliases("docker:index/volume:Volume", `${name}-data`),
    },
  );
  return new docker.Container(
    name,
    {
      ...containerDefaults(site, { cpus: 1, memoryMiB: args.memoryMiB }),
      ...onNetwork(site, member),
      name: hostname,
      hostname,
      image: site.servicesImage.id,
      command: ["etcd"],
      envs: [
        "CGRAPH_SERVICE=etcd",
        `CGRAPH_TLS_NAMES=${member},localhost,127.0.0.1,${hostname}`,
        "CGRAPH_TLS_OWNER=etcd",
        `CGRAPH_ETCD_NAME=${member}`,
        `CGRAPH_ETCD_MEMBERS=${args.members.join(" ")}`,
        ...(args.envs ?? []),
        `CGRAPH_ETCD_TOKEN=${args.token}`,
      ],
      volumes: [
        { volumeName: volume.name, containerPath: "/var/lib/etcd" },
        { volumeName: site.tlsVolumeName, containerPath: "/var/lib/cgraph-tls" },
      ],
      ...HEALTH,
      destroyGraceSeconds: 30,
    },
    { parent, deleteBeforeReplace: true, aliases: aliases("docker:index/container:Container", name) },
  );
}
