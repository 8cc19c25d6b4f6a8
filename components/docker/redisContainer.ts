import * as docker from "@pulumi/docker";
import * as pulumi from "@pulumi/pulumi";
import type { CachePlan } from "../../stacks/topology.ts";
import { CONFIG_DIRECTORY, ConfigFiles } from "./ConfigFiles.ts";
import { HEALTH, containerDefaults, onLocalhost, onNetwork } from "./container.ts";
import type { Site } from "./DockerSite.ts";
import { dockerName } from "./names.ts";
import { redisConf, redisUsers } from "./redisFiles.ts";

/** The cache's name on the stack's network. */
export const CACHE = "redis";

export interface RedisContainerArgs {
  readonly site: Site;
  /** Whoever knows one of them is let in. */
  readonly passwords: readonly pulumi.Output<string>[];
  readonly cache: CachePlan;
  /** Port on the host's 127.0.0.1. */
  readonly port: number;
}

export interface RedisServer {
  readonly containerName: pulumi.Output<string>;
  readonly containerId: pulumi.Output<string>;
}

/** Redis in a container: bounded memory, no persistence, TLS, a password. */
export function redisContainer(args: RedisContainerArgs, parent: pulumi.Resource): RedisServer {
  const { site, cache } = args;
  const hostname = dockerName(site.stack, CACHE);
  const files = new ConfigFiles(
    `${CACHE}-config`,
    {
      site,
      image: site.servicesImage,
      group: "redis",
      files: {
        "redis.conf": redisConf({ maxMemoryMiB: cache.dataMiB }),
        "users.acl": pulumi.all([...args.passwords]).apply(redisUsers),
      },
    },
    { parent },
  );
  const container = new docker.Container(
    CACHE,
    {
      ...containerDefaults(site, { cpus: 1, memoryMiB: cache.memoryMiB }),
      ...onNetwork(site, CACHE),
      name: hostname,
      hostname,
      image: site.servicesImage.id,
      command: ["redis"],
      envs: [
        "CGRAPH_SERVICE=redis",
        `CGRAPH_TLS_NAMES=localhost,127.0.0.1,${CACHE},${hostname}`,
        "CGRAPH_TLS_OWNER=redis",
      ],
      volumes: [
        { volumeName: files.volumeName, containerPath: CONFIG_DIRECTORY },
        { volumeName: site.tlsVolumeName, containerPath: "/var/lib/cgraph-tls" },
      ],
      ports: [onLocalhost(6379, args.port)],
      ...HEALTH,
      destroyGraceSeconds: 10,
    },
    { parent, deleteBeforeReplace: true, dependsOn: [files] },
  );
  return { containerName: container.name, containerId: container.id };
}
