import * as docker from "@pulumi/docker";
import * as pulumi from "@pulumi/pulumi";
import type { PoolPlan } from "../stacks/topology.ts";
import type { Credentials } from "./Credentials.ts";
import { CONFIG_DIRECTORY, ConfigFiles } from "./docker/ConfigFiles.ts";
import { HEALTH, containerDefaults, onNetwork } from "./docker/container.ts";
import type { DockerSite } from "./docker/DockerSite.ts";
import { dockerName } from "./docker/names.ts";
import { pgbouncerIni, userlist } from "./docker/pgbouncerFiles.ts";
import { ROUTER } from "./Router.ts";

export interface PgBouncerPoolArgs {
  readonly site: DockerSite;
  readonly credentials: Credentials;
  readonly pool: PoolPlan;
}

/** Names of the poolers on the stack's network. */
export const poolerNames = (instances: number): string[] =>
  Array.from({ length: instances }, (_, index) => `pgbouncer${index}`);

/** PgBouncer, one or more: a thousand clients share few server connections, transaction by transaction. */
export class PgBouncerPool extends pulumi.ComponentResource {
  readonly containerNames: readonly pulumi.Output<string>[];

  constructor(name: string, args: PgBouncerPoolArgs, opts?: pulumi.ComponentResourceOptions) {
    super("cgraph:pool:PgBouncerPool", name, {}, opts);
    const { site, pool, credentials } = args;
    this.containerNames = poolerNames(pool.instances).map((pooler) => {
      const hostname = dockerName(site.stack, pooler);
      const files = new ConfigFiles(
        `${pooler}-config`,
        {
          site,
          image: site.servicesImage,
          group: "postgres",
          files: {
            "pgbouncer.ini": pgbouncerIni({ router: ROUTER, ...pool }),
            "userlist.txt": credentials.passwords.cgraph_pooler.apply(userlist),
          },
        },
        { parent: this },
      );
      const container = new docker.Container(
        pooler,
        {
          ...containerDefaults(site, { cpus: 1, memoryMiB: 256 }),
          ...onNetwork(site, pooler),
          name: hostname,
          hostname,
          image: site.servicesImage.id,
          command: ["pgbouncer"],
          envs: ["CGRAPH_SERVICE=pgbouncer", `CGRAPH_TLS_NAMES=localhost,127.0.0.1,${ROUTER},${pooler},${hostname}`],
          volumes: [
            { volumeName: files.volumeName, containerPath: CONFIG_DIRECTORY },
            { volumeName: site.tlsVolumeName, containerPath: "/var/lib/cgraph-tls" },
          ],
          // One connection, one file: a thousand clients and the servers' need more than the usual 1024.
          ulimits: [{ name: "nofile", soft: 16_384, hard: 16_384 }],
          ...HEALTH,
          // Waits for transactions under way.
          stopSignal: "SIGINT",
          stopTimeout: 60,
          destroyGraceSeconds: 60,
        },
        { parent: this, deleteBeforeReplace: true, dependsOn: [files] },
      );
      return container.name;
    });
    this.registerOutputs({ containerNames: this.containerNames });
  }
}
