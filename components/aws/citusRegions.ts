/** Regions of a Citus cluster on EC2 beside home: where they are, what joins them, and which of them is read. */
import * as route53 from "@pulumi/aws/route53/index.js";
import type * as pulumi from "@pulumi/pulumi";
import { SEVERITIES } from "../../monitoring/alerts/alert.ts";
import { behindWatchName, citusRegionWatches, wayWatchName } from "../../stacks/aws/citusAlarms.ts";
import type { CitusAwsPlan, CitusRegion } from "../../stacks/aws/citusPlan.ts";
import { READ_TTL_SECONDS, acrossName, acrossZone, linkPort, readLabel } from "../../stacks/aws/readNames.ts";
import { ZONES } from "../../stacks/aws/zones.ts";
import { alarmTopic } from "./alarmTopic.ts";
import { AwsSite } from "./AwsSite.ts";
import { DATABASE_LABEL, READ_PORT } from "./citusBalancer.ts";
import type { CitusOnEc2 } from "./citusOnEc2.ts";
import { watchedNames } from "./citusWatch.ts";
import { metricAlarm } from "./metricAlarm.ts";
import { POSTGRES_PORT, awsName } from "./names.ts";
import { healthOf } from "./nearestReads.ts";
import { type Peer, openTo, peerAll } from "./peering.ts";
import type { OpenService } from "./regionSite.ts";

export interface CitusSitesArgs {
  readonly target: "aws";
  readonly sites: {
    readonly stack: string;
    readonly regions: readonly CitusRegion[];
    /** Addresses outside of the VPCs that may connect, in every region. */
    readonly clientCidrs: readonly string[];
    readonly keepData: boolean;
  };
}

/** A region beside home: what its servers stand on. */
export interface CitusSite {
  readonly name: string;
  readonly plan: CitusRegion;
  readonly site: AwsSite;
}

/** A provider, network and key for each region: they are there before home's authority, which is copied there. */
export const citusSites = ({ sites }: CitusSitesArgs, parent: pulumi.Resource): { readonly regions: CitusSite[] } => ({
  regions: sites.regions.map((plan) => {
    const { name, cidr } = plan;
    const { stack, clientCidrs, keepData } = sites;
    const site = new AwsSite(
      `${name}-site`,
      {
        ...{ stack, region: name, network: { cidr, zones: ZONES }, clientCidrs },
        ...{ keepData, prefix: `${name}-`, holdsCopies: true },
      },
      { parent },
    );
    return { name, plan, site };
  }),
});

/** A region with what was made there. */
export interface MadeRegion {
  readonly site: AwsSite;
  readonly cidr: string;
  /** Addresses of its nodes. */
  readonly nodes: string;
  readonly made: CitusOnEc2;
}

export interface JoinedRegionsArgs {
  readonly plan: CitusAwsPlan;
  readonly home: MadeRegion;
  readonly regions: readonly (MadeRegion & { readonly plan: CitusRegion })[];
  /** Home's pool, and whatever else others reach there. */
  readonly services: readonly OpenService[];
  /** Who hears of alarms by e-mail. */
  readonly email: string | undefined;
  /** Home's alarms. */
  readonly watched: pulumi.Resource;
}

/**
 * Ways between the VPCs of every pair of regions: applications write wherever the primary is and read wherever they want;
 * nodes follow each other over the balancers, whichever region leads.
 */
function connect({ plan, home, regions, services }: JoinedRegionsArgs, parent: pulumi.Resource): void {
  const made = [home, ...regions];
  const peerOf = ({ site, cidr, made: its }: MadeRegion): Peer => ({
    ...{ site, cidr },
    more: { nodes: its.network.routeTableId },
  });
  peerAll(peerOf(home), regions.map(peerOf), parent);
  for (const to of made) {
    const opts = { parent, provider: to.site.provider };
    const database = { name: `${to.site.prefix}database`, securityGroupId: to.made.balancerGroupId };
    for (const from of made.filter((one) => one !== to)) {
      openTo({ ...database, port: POSTGRES_PORT, lastPort: READ_PORT }, peerOf(from), opts);
      const links = { name: `${to.site.prefix}links`, securityGroupId: to.made.balancerGroupId };
      const nodes = { ...peerOf(from), cidr: from.nodes };
      openTo({ ...links, port: linkPort(0), lastPort: linkPort(plan.workers) }, nodes, opts);
    }
  }
  for (const service of services) {
    for (const from of regions) openTo(service, peerOf(from), { parent, provider: home.site.provider });
  }
}

/** A region's alarms, to a topic there; and a check for each that says whether its copies may be read. */
function watchRegion(region: JoinedRegionsArgs["regions"][number], email: string | undefined, parent: pulumi.Resource) {
  const { site, plan, made } = region;
  const { stack, prefix } = site;
  const opts = { parent, provider: site.provider };
  const topic = alarmTopic(prefix, site, email, opts);
  const names = watchedNames(made);
  const readable = new Set([
    ...plan.clusters.map(({ name }) => behindWatchName(name)),
    `${prefix}${wayWatchName("read")}`,
  ]);
  return citusRegionWatches(stack, plan).flatMap((watch) => {
    const dimensions = names(watch.place);
    const alarms = new Map(
      SEVERITIES.map((severity) => [
        severity,
        metricAlarm({ stack, watch, severity, topicArn: topic.arn, dimensions }, opts),
      ]),
    );
    const critical = alarms.get("critical");
    if (!critical || !readable.has(watch.name)) return [];
    const alarm = { name: critical.name, threshold: watch.critical };
    return [healthOf({ name: watch.name, alarm }, site.region, stack, opts).id];
  });
}

/**
 * Joins the regions: ways, alarms, and a zone that all of them know. In it `*.REGION` is a region's balancer, and `read` the
 * region nearest to whoever asks, of those whose coordinator answers and whose clusters all keep up: one that misses shards
 * does not count.
 */
export function joinRegions(
  args: JoinedRegionsArgs,
  parent: pulumi.Resource,
): { readonly zoneId: pulumi.Output<string> } {
  const { home, regions, email, watched } = args;
  const { stack, region: homeRegion, provider } = home.site;
  const made = [home, ...regions];
  connect(args, parent);
  const inHome = { parent, provider };
  const name = acrossZone(stack);
  const zone = new route53.Zone(
    "across",
    {
      ...{ name, comment: `Regions of stack ${stack}` },
      vpcs: made.map(({ site }) => ({ vpcId: site.network.vpcId, vpcRegion: site.region })),
    },
    inHome,
  );
  const atHome = {
    name: wayWatchName("read"),
    alarm: { name: awsName(stack, wayWatchName("read"), "critical"), threshold: 1 },
  };
  const checks = new Map([
    [homeRegion, healthOf(atHome, homeRegion, stack, { ...inHome, dependsOn: [watched] }).id],
    ...regions.map((one) => {
      const { region, prefix, provider: its } = one.site;
      const all = watchRegion(one, email, parent);
      const check = new route53.HealthCheck(
        `${prefix}reads`,
        {
          ...{ type: "CALCULATED", childHealthThreshold: all.length, childHealthchecks: all },
          tags: { Name: awsName(stack, prefix, "reads") },
        },
        { parent, provider: its },
      );
      return [region, check.id] as const;
    }),
  ]);
  for (const { site, made: its } of made) {
    const { region, prefix } = site;
    const opts = { parent, provider: site.provider };
    new route53.Record(
      `${prefix}across`,
      {
        ...{ zoneId: zone.zoneId, name: acrossName(stack, "*", region), type: "A" },
        aliases: [{ ...its.balancer.alias, evaluateTargetHealth: false }],
      },
      opts,
    );
    new route53.Record(
      `${prefix}nearest`,
      {
        ...{ zoneId: zone.zoneId, name: `${readLabel(null)}.${name}`, type: "CNAME", ttl: READ_TTL_SECONDS },
        ...{ records: [acrossName(stack, DATABASE_LABEL, region)], setIdentifier: region },
        latencyRoutingPolicies: [{ region }],
        healthCheckId: checks.get(region) ?? "",
      },
      opts,
    );
  }
  return { zoneId: zone.zoneId };
}
