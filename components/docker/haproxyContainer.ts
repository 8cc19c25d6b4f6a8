import * as docker from "@pulumi/docker";
import type * as pulumi from "@pulumi/pulumi";
import { CONFIG_DIRECTORY, ConfigFiles } from "./ConfigFiles.ts";
import { HEALTH, containerDefaults, onNetwork } from "./container.ts";
import type { Site } from "./DockerSite.ts";
import { dockerName } from "./names.ts";

/** HAProxy with this configuration, known on its network as `service` and by `aliases`. */
export function haproxyContainer(
  parent: pulumi.Resource,
  service: string,
  site: Site,
  config: string,
  more: Pick<docker.ContainerArgs, "ports" | "start" | "mustRun" | "wait">,
  aliases: readonly string[] = [],
): docker.Container {
  const name = site.named(service);
  const hostname = dockerName(site.stack, name);
  const files = new ConfigFiles(
    `${name}-config`,
    { site, image: site.servicesImage, group: "haproxy", files: { "haproxy.cfg": config } },
    { parent },
  );
  return new docker.Container(
    name,
    {
      ...containerDefaults(site, { cpus: 1, memoryMiB: 512 }),
      ...onNetwork(site, service, ...aliases),
      name: hostname,
      hostname,
      image: site.servicesImage.id,
      command: ["haproxy"],
      envs: ["CGRAPH_SERVICE=haproxy", `CGRAPH_TLS_NAMES=${service},${hostname}`, "CGRAPH_TLS_OWNER=haproxy"],
      volumes: [
        { volumeName: files.volumeName, containerPath: CONFIG_DIRECTORY },
        { volumeName: site.tlsVolumeName, containerPath: "/var/lib/cgraph-tls" },
      ],
      ...HEALTH,
      ...more,
      destroyGraceSeconds: 10,
    },
    { parent, deleteBeforeReplace: true, dependsOn: [files] },
  );
}
