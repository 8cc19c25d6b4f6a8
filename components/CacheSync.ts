import * as docker from "@pulumi/docker";
import * as pulumi from "@pulumi/pulumi";
import type { Credentials } from "./Credentials.ts";
import { CONFIG_DIRECTORY, ConfigFiles } from "./docker/ConfigFiles.ts";
import { HEALTH, containerDefaults, onNetwork } from "./docker/container.ts";
import type { Site } from "./docker/DockerSite.ts";
import { dockerName } from "./docker/names.ts";
import { CACHE } from "./docker/redisContainer.ts";
import { DATABASE } from "./roles.ts";
import { ROUTER } from "./docker/haproxyFiles.ts";

export interface CacheSyncArgs {
  readonly site: Site;
  readonly credentials: Credentials;
  readonly cachePassword: pulumi.Output<string>;
  /** The router's port that leads to the primary that is followed; default the first cluster's. */
  readonly port?: number;
}

/** Follows the database's changes and keeps the cache in step: drops entries, counts unread messages, announces new ones. */
export class CacheSync extends pulumi.ComponentResource {
  readonly containerName: pulumi.Output<string>;

  constructor(name: string, args: CacheSyncArgs, opts?: pulumi.ComponentResourceOptions) {
    super("cgraph:cache:CacheSync", name, {}, opts);
    const { site } = args;
    const hostname = dockerName(site.stack, name);
    const { cgraph_changes: changes } = args.credentials.logins;
    const files = new ConfigFiles(
      `${name}-config`,
      {
        site,
        image: site.postgresImage,
        group: "postgres",
        files: {
          "database-user": changes.name,
          "database-password": changes.password,
          "cache-password": args.cachePassword,
        },
      },
      { parent: this },
    );
    const container = new docker.Container(
      name,
      {
        ...containerDefaults(site, { cpus: 1, memoryMiB: 128 }),
        ...onNetwork(site, name),
        name: hostname,
        hostname,
        image: site.postgresImage.id,
        command: ["cache-sync"],
        envs: [
          `CGRAPH_TLS_NAMES=${hostname}`,
          `CGRAPH_DATABASE_HOST=${ROUTER}`,
          ...(args.port === undefined ? [] : [`CGRAPH_DATABASE_PORT=${args.port}`]),
          `CGRAPH_DATABASE=${DATABASE}`,
          `CGRAPH_CACHE_HOST=${CACHE}`,
        ],
        volumes: [
          { volumeName: files.volumeName, containerPath: CONFIG_DIRECTORY },
          { volumeName: site.tlsVolumeName, containerPath: "/var/lib/cgraph-tls" },
        ],
        ...HEALTH,
        destroyGraceSeconds: 10,
      },
      { parent: this, deleteBeforeReplace: true, dependsOn: [files] },
    );
    this.containerName = container.name;
    this.registerOutputs({ containerName: this.containerName });
  }
}
