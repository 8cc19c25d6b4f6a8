import type * as cloudwatch from "@pulumi/aws/cloudwatch/index.js";
import type * as pulumi from "@pulumi/pulumi";
import { SEVERITIES } from "../../monitoring/alerts/alert.ts";
import type { Watch } from "../../stacks/aws/alarms.ts";
import type { AwsPlan, AwsRegion } from "../../stacks/aws/plan.ts";
import { homeReadWatches, readWatchName, regionWatches } from "../../stacks/aws/regionAlarms.ts";
import { alarmTopic } from "./alarmTopic.ts";
import { metricAlarm } from "./metricAlarm.ts";
import { awsName } from "./names.ts";
import { type NearestReads, type Reader, type RegionReaders, nearestReads } from "./nearestReads.ts";
import type { RdsServer } from "./rdsInstance.ts";
import type { HomeRegion, RegionSite } from "./regionSite.ts";

export interface RegionReadsArgs {
  readonly plan: Pick<AwsPlan, "nodes" | "regions">;
  readonly home: HomeRegion;
  readonly regions: readonly (RegionSite & { readonly servers: readonly RdsServer[] })[];
  /** Who hears of alarms by e-mail. */
  readonly email: string | undefined;
}

type Alarms = ReadonlyMap<string, cloudwatch.MetricAlarm>;

/** Alarms of a region's replicas, to a topic there, since an alarm tells only its own region's; by their names. */
function watchRegion(
  planned: AwsRegion,
  { site }: RegionSite,
  email: string | undefined,
  parent: pulumi.Resource,
): { readonly watches: readonly Watch[]; readonly alarms: Alarms } {
  const { stack } = site;
  const opts = { parent, provider: site.provider };
  const topic = alarmTopic(`${planned.name}-`, site, email, opts);
  const watches = regionWatches(planned, (server) => awsName(stack, server));
  const alarms = new Map(
    watches.flatMap((watch) =>
      SEVERITIES.map((severity) => {
        const alarm = metricAlarm({ stack, watch, severity, topicArn: topic.arn }, opts);
        return [`${watch.name}-${severity}`, alarm] as const;
      }),
    ),
  );
  return { watches, alarms };
}

/** Replicas as Route 53 has to know them. `alarms`: by the watch's name and severity. */
const readersOf = (servers: readonly RdsServer[], watches: readonly Watch[], alarms: Alarms): Reader[] =>
  servers.map(({ name, address }) => {
    const watch = watches.find((one) => one.name === readWatchName(name));
    const alarm = alarms.get(`${readWatchName(name)}-critical`);
    if (!watch || !alarm) throw new Error(`nothing says whether ${name} may be read`);
    return { name, address, alarm: { name: alarm.name, threshold: watch.critical } };
  });

/** What watches the replicas of every region, and names that lead to the nearest of those that keep up. */
export function regionReads(args: RegionReadsArgs, parent: pulumi.Resource): NearestReads {
  const { plan, home, regions, email } = args;
  const { stack, provider } = home.site;
  const inHome = { parent, provider };
  const atHome = homeReadWatches(plan, (server) => awsName(stack, server));
  const homeAlarms: Alarms = new Map(
    atHome.map((watch) => [
      `${watch.name}-critical`,
      metricAlarm({ stack, watch, severity: "critical", topicArn: undefined }, inHome),
    ]),
  );
  const elsewhere = plan.regions.map((planned) => {
    const region = regions.find(({ name }) => name === planned.name);
    if (!region) throw new Error(`the region ${planned.name} was not made`);
    const { watches, alarms } = watchRegion(planned, region, email, parent);
    return { planned, readers: readersOf(region.servers, watches, alarms) };
  });
  const inRegions = (cluster: string | null): RegionReaders[] =>
    elsewhere.map(({ planned, readers }) => {
      const names = planned.nodes.filter((node) => node.cluster === cluster).map(({ name }) => name);
      return { region: planned.name, readers: readers.filter(({ name }) => names.includes(name)) };
    });
  return nearestReads(
    {
      stack,
      vpcs: [home.site, ...regions.map(({ site }) => site)].map(({ region, network }) => ({
        region,
        vpcId: network.vpcId,
      })),
      clusters: home.clusters.map(({ name, servers: [, ...replicas] }) => ({
        name,
        regions: [{ region: home.site.region, readers: readersOf(replicas, atHome, homeAlarms) }, ...inRegions(name)],
      })),
    },
    inHome,
  );
}
