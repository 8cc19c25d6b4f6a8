import * as docker from "@pulumi/docker";
import type * as pulumi from "@pulumi/pulumi";
import { grafanaFiles } from "../../monitoring/grafanaDashboard.ts";
import type { Pace } from "../../monitoring/rules.ts";
import { containerDefaults, onLocalhost, onNetwork } from "./container.ts";
import type { Site } from "./DockerSite.ts";
import type { Watched } from "./exporters.ts";
import { dockerName } from "./names.ts";

export interface GrafanaArgs {
  readonly site: Site;
  /** Grafana's own image. */
  readonly image: string;
  /** Port of 127.0.0.1. */
  readonly port: number;
  readonly pace: Pace;
  readonly watched: Watched;
}

/** Grafana with the dashboard; whoever reaches its port may look, nobody may change anything. */
export function grafanaContainer(args: GrafanaArgs, parent: pulumi.Resource): docker.Container {
  const { site, watched } = args;
  const hostname = dockerName(site.stack, "grafana");
  const image = new docker.RemoteImage("grafana-image", { name: args.image, keepLocally: true }, { parent });
  const has = { replicas: watched.nodes.length > 1, pool: watched.poolers.length > 0, cache: watched.cache };
  const files = grafanaFiles(site.stack, has, args.pace, "http://prometheus:9090");
  return new docker.Container(
    "grafana",
    {
      ...containerDefaults(site, { cpus: 1, memoryMiB: 512 }),
      ...onNetwork(site, "grafana"),
      name: hostname,
      hostname,
      image: image.imageId,
      envs: [
        "GF_AUTH_ANONYMOUS_ENABLED=true",
        "GF_AUTH_ANONYMOUS_ORG_ROLE=Viewer",
        "GF_AUTH_DISABLE_LOGIN_FORM=true",
        "GF_SECURITY_DISABLE_INITIAL_ADMIN_CREATION=true",
        "GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH=/etc/grafana/provisioning/dashboards/cgraph.json",
        "GF_ANALYTICS_REPORTING_ENABLED=false",
        "GF_ANALYTICS_CHECK_FOR_UPDATES=false",
        "GF_PLUGINS_PREINSTALL_DISABLED=true",
      ],
      uploads: Object.entries(files).map(([file, content]) => ({
        file: `/etc/grafana/provisioning/${file}`,
        content,
        permissions: "0644",
      })),
      ports: [onLocalhost(3000, args.port)],
    },
    { parent, deleteBeforeReplace: true },
  );
}
