import * as docker from "@pulumi/docker";
import * as pulumi from "@pulumi/pulumi";
import type { CachePlan } from "../stacks/topology.ts";
import { CONFIG_DIRECTORY, ConfigFiles } from "./docker/ConfigFiles.ts";
import { HEALTH, containerDefaults, onNetwork } from "./docker/container.ts";
import type { DockerSite } from "./docker/DockerSite.ts";
import { dockerName } from "./docker/names.ts";
import { redisConf } from "./docker/redisFiles.ts";

/** The cache's name on the stack's network. */
export const CACHE = "redis";

export interface RedisCacheArgs {
  readonly site: DockerSite;
  readonly password: pulumi.Output<string>;
  readonly cache: CachePlan;
  /** Port on the host's 127.0.0.1. */
  readonly port: number;
}

/** Redis as a cache: bounded memory, no persistence, TLS, a password. */
export class RedisCache extends pulumi.ComponentResource {
  readonly containerName: pulumi.Output<string>;

  constructor(name: string, args: RedisCacheArgs, opts?: pulumi.ComponentResourceOptions) {
    super("cgraph:cache:RedisCache", name, {}, opts);
    const { site, cache } = args;
    const hostname = dockerName(site.stack, CACHE);
    const files = new ConfigFiles(
      `${CACHE}-config`,
      {
        site,
        image: site.servicesImage,
        group: "redis",
        files: {
          "redis.conf": args.password.apply((password) => redisConf({ password, maxMemoryMiB: cache.dataMiB })),
        },
      },
      { parent: this },
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
        ports: [{ internal: 6379, external: args.port, ip: "127.0.0.1" }],
        ...HEALTH,
        destroyGraceSeconds: 10,
      },
      { parent: this, deleteBeforeReplace: true, dependsOn: [files] },
    );
    this.containerName = container.name;
    this.registerOutputs({ containerName: this.containerName });
  }
}
