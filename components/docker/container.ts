import type * as docker from "@pulumi/docker";
import type { Site } from "./DockerSite.ts";

/** Resources of one container. */
export interface ContainerLimits {
  readonly cpus: number;
  readonly memoryMiB: number;
}

/** Arguments that all our containers share: bounded resources and logs, least privilege, back after a reboot. */
export function containerDefaults(site: Site, { cpus, memoryMiB }: ContainerLimits) {
  return {
    labels: site.labels,
    restart: "unless-stopped",
    // As the provider reads it back: a plain "2" shows a difference for ever.
    cpus: Number.isInteger(cpus) ? `${cpus}.0` : String(cpus),
    memory: memoryMiB,
    // Equal to memory: no swap. Without it the provider shows a difference for ever.
    memorySwap: memoryMiB,
    init: true,
    // With their prefix, as the engine reports them.
    capabilities: {
      drops: ["ALL"],
      adds: ["CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_KILL", "CAP_SETGID", "CAP_SETUID"],
    },
    securityOpts: ["no-new-privileges:true"],
    logDriver: "json-file",
    logOpts: { "max-size": "50m", "max-file": "4" },
  } satisfies Partial<docker.ContainerArgs>;
}

/** A port of the container's that this machine alone reaches. */
export const onLocalhost = (internal: number, external: number) => ({ internal, external, ip: "127.0.0.1" });

/** Arguments of a container on several networks, which the others of each reach by these names. */
export const onNetworks = (sites: readonly Site[], ...aliases: string[]) => ({
  networkMode: "bridge",
  networksAdvanced: sites.map((site) => ({ name: site.networkName, aliases })),
});

/** The same on one. */
export const onNetwork = (site: Site, ...aliases: string[]) => onNetworks([site], ...aliases);

/**
 * Health as the image's cgraph-healthcheck tells it, awaited at creation. The check itself waits: until the service
 * answers while it starts, and between looks once it has.
 */
export const HEALTH = {
  healthcheck: {
    tests: ["CMD", "cgraph-healthcheck"],
    interval: "500ms",
    timeout: "30s",
    retries: 6,
    startPeriod: "10m0s",
  },
  wait: true,
  waitTimeout: 600,
} satisfies Partial<docker.ContainerArgs>;
