import * as docker from "@pulumi/docker";
import * as pulumi from "@pulumi/pulumi";
import type { PoolPlan } from "../../stacks/topology.ts";
import type { Credentials } from "../Credentials.ts";
import { DATABASE } from "../roles.ts";
import { CONFIG_DIRECTORY, ConfigFiles } from "./ConfigFiles.ts";
import { HEALTH, containerDefaults, onNetwork } from "./container.ts";
import type { Site } from "./DockerSite.ts";
import { ROUTER, ROUTES } from "./haproxyFiles.ts";
import { dockerName } from "./names.ts";
import { type MorePool, pgbouncerIni, userlist } from "./pgbouncerFiles.ts";

export interface PgbouncerContainersArgs {
  readonly site: Site;
  readonly credentials: Credentials;
  readonly pool: PoolPlan;
  /** Where the application's two names lead; default: to the first cluster, its primary and its replicas. */
  readonly front?: readonly MorePool[];
  /** Pools for other clusters; default none. */
  readonly more?: readonly MorePool[];
  /** The pool through which clients' passwords are looked up; default the application's, at the primary. */
  readonly authDatabase?: string;
}

/** Where PgBouncers run, one or more. */
export interface PgbouncerContainers {
  readonly containerNames: readonly pulumi.Output<string>[];
  readonly containerIds: readonly pulumi.Output<string>[];
}

/** Names of the poolers on the stack's network. */
export const poolerNames = (instances: number): string[] =>
  Array.from({ length: instances }, (_, index) => `pgbouncer${index}`);

/** pgbouncer.ini of a pooler behind the router. `lookUpAs`: by which name it asks for clients' passwords. */
export const containerPgbouncerIni = (
  pool: PoolPlan,
  lookUpAs: string,
  { front, more, authDatabase = DATABASE }: Pick<PgbouncerContainersArgs, "front" | "more" | "authDatabase">,
): string =>
  pgbouncerIni({
    ...pool,
    write: { hosts: [ROUTER], port: ROUTES.write },
    read: { hosts: [ROUTER], port: ROUTES.read },
    auth: { lookUpAs, at: authDatabase },
    ...(front && { front }),
    more: more ?? [],
  });

/** PgBouncer in containers, behind the router. */
export function pgbouncerContainers(args: PgbouncerContainersArgs, parent: pulumi.Resource): PgbouncerContainers {
  const { site, pool, credentials } = args;
  const containers = poolerNames(pool.instances).map((pooler) => {
    const name = site.named(pooler);
    const hostname = dockerName(site.stack, name);
    const files = new ConfigFiles(
      `${name}-config`,
      {
        site,
        image: site.servicesImage,
        group: "postgres",
        files: {
          "pgbouncer.ini": containerPgbouncerIni(pool, credentials.logins.cgraph_pooler.name, args),
          "userlist.txt": pulumi
            .all(
              credentials
                .loginsOf("cgraph_pooler")
                .map((login) => login.password.apply((password) => [login.name, password] as const)),
            )
            .apply(userlist),
        },
      },
      { parent },
    );
    const container = new docker.Container(
      name,
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
      { parent, deleteBeforeReplace: true, dependsOn: [files] },
    );
    return container;
  });
  return { containerNames: containers.map(({ name }) => name), containerIds: containers.map(({ id }) => id) };
}
