/** What a plan costs a month, part by part: on-demand list prices, us-east-1, without transfer and support. */
import { VALKEY_FACTOR } from "./cacheNodes.ts";
import { HOURS_PER_MONTH } from "./classes.ts";
import { alarmCount, chargedFigures } from "./alarms.ts";
import { citusRegionAlarmCount, citusRegionFigures } from "./citusAlarms.ts";
import type { CitusPlace, CitusRegion, Ec2Node } from "./citusPlan.ts";
import { EBS_BASELINE } from "./ec2Classes.ts";
import type { AwsNode, AwsPlan, AwsPool, AwsProxy, AwsRegion } from "./plan.ts";
import { homeReadWatches, regionAlarmCount } from "./regionAlarms.ts";
import { endpointsOf } from "./services.ts";

export interface CostLine {
  readonly part: string;
  /** What is paid for. */
  readonly what: string;
  readonly usdPerMonth: number;
}

/** US dollars a month (see classes.ts for the date). */
const PRICES = {
  gp3PerGiB: 0.115,
  gp3PerIops: 0.02,
  gp3PerMiBs: 0.08,
  /** gp3 from 400 GiB on has these without extra cost. */
  gp3Baseline: { iops: 12_000, throughput: 500 },
  /** EBS, whose gp3 is not priced as that of RDS. */
  ebsPerGiB: 0.08,
  ebsPerIops: 0.005,
  ebsPerMiBs: 0.04,
  /** An instance's seven figures every minute. */
  detailedFigures: 2.1,
  /** A NAT gateway by the hour, without what goes through. */
  nat: 0.045,
  s3PerGB: 0.023,
  /** For each figure that it looks at. */
  alarm: 0.1,
  /** A figure that is not AWS's own. */
  figure: 0.3,
  dashboard: 3,
  key: 1,
  /** What changed since the one before, and a copy of it in the other region. */
  snapshotPerGB: 0.095,
  secret: 0.4,
  /** Fargate on x86, by the hour. */
  fargateCpu: 0.04048,
  fargateGiB: 0.004445,
  /** A network load balancer by the hour, without the capacity it uses. */
  balancer: 0.0225,
  /** An interface endpoint in one zone, by the hour. */
  endpoint: 0.01,
  /** RDS Proxy, by the hour and CPU of its server, two CPUs at the least. */
  proxyCpu: 0.015,
  /** t4g.nano with 8 GiB gp3. */
  accessHost: { hour: 0.0042, disk: 0.64 },
  /** A GB of images in the registry; ours is a fifth of one. */
  image: 0.02,
  /** A hosted zone of Route 53, without questions. */
  zone: 0.5,
  /** A health check within AWS; one of an alarm, or of other checks, counts as such. */
  healthCheck: 0.5,
} as const;

/** The nodes' authority: its key, and its certificate. */
const AUTHORITY_SECRETS = 2;
/** Of an instance's own disk (components/aws/ec2Server.ts). */
const ROOT_GIB = 20;

const hourly = (usd: number): number => usd * HOURS_PER_MONTH;

function serverLines(node: AwsNode): CostLine[] {
  const copies = node.multiAz ? 2 : 1;
  const twice = node.multiAz ? ", twice for Multi-AZ" : "";
  const iops = Math.max(0, (node.storageIops ?? 0) - PRICES.gp3Baseline.iops) * PRICES.gp3PerIops;
  const throughput = Math.max(0, (node.storageThroughputMiBs ?? 0) - PRICES.gp3Baseline.throughput) * PRICES.gp3PerMiBs;
  return [
    { part: node.name, what: `${node.class.name}${twice}`, usdPerMonth: copies * hourly(node.class.usdPerHour) },
    {
      part: node.name,
      what: `${node.storageGiB} GiB gp3${twice}`,
      usdPerMonth: copies * (node.storageGiB * PRICES.gp3PerGiB + iops + throughput),
    },
  ];
}

function poolLines(pool: AwsPool | AwsProxy): CostLine[] {
  if (pool.kind === "rds-proxy") {
    return [
      {
        part: "pool",
        what: `RDS Proxy for ${pool.cpus} CPUs`,
        usdPerMonth: hourly(Math.max(2, pool.cpus) * PRICES.proxyCpu),
      },
    ];
  }
  const task = (pool.cpuUnits / 1024) * PRICES.fargateCpu + (pool.memoryMiB / 1024) * PRICES.fargateGiB;
  return [
    {
      part: "pool",
      what: `${pool.tasks} tasks of ${pool.cpuUnits / 1024} CPU and ${pool.memoryMiB / 1024} GiB (up to ${pool.maxTasks}), a balancer, its image`,
      usdPerMonth: hourly(pool.tasks * task + PRICES.balancer) + PRICES.image,
    },
  ];
}

function networkLines(plan: AwsPlan): CostLine[] {
  const { interfaces } = endpointsOf(plan);
  const places = interfaces.reduce((sum, { zones }) => sum + zones, 0);
  const host = {
    part: "access",
    what: "t4g.nano, through which people reach the database",
    usdPerMonth: hourly(PRICES.accessHost.hour) + PRICES.accessHost.disk,
  };
  const ways = {
    part: "network",
    what: `ways to ${interfaces.length} of AWS's services, ${places} in all zones`,
    usdPerMonth: hourly(places * PRICES.endpoint),
  };
  return [...(plan.accessHost ? [host] : []), ...(places > 0 ? [ways] : [])];
}

/** Servers on EC2 in one region: alike ones in one line. `prefix`: what parts' names begin with beside home. */
function ec2Lines(place: CitusPlace, prefix = ""): CostLine[] {
  const lines = (part: string, nodes: readonly Ec2Node[]): CostLine[] => {
    const [first] = nodes;
    if (!first) return [];
    const { class: its, volume } = first;
    const iops = Math.max(0, volume.iops - EBS_BASELINE.iops) * PRICES.ebsPerIops;
    const throughput = Math.max(0, volume.throughputMiBs - EBS_BASELINE.throughputMiBs) * PRICES.ebsPerMiBs;
    const each = volume.sizeGiB * PRICES.ebsPerGiB + iops + throughput;
    return [
      {
        part,
        what: `${nodes.length} × ${its.name} with figures every minute`,
        usdPerMonth: nodes.length * (hourly(its.usdPerHour) + PRICES.detailedFigures + ROOT_GIB * PRICES.ebsPerGiB),
      },
      {
        part,
        what: `${nodes.length} × ${volume.sizeGiB} GiB gp3, ${volume.iops} IOPS, ${volume.throughputMiBs} MiB/s`,
        usdPerMonth: nodes.length * each,
      },
    ];
  };
  return [
    ...lines(`${prefix}etcd`, place.etcd),
    ...place.clusters.flatMap(({ name, nodes }) => lines(name, nodes)),
    {
      part: `${prefix}network`,
      what: "a balancer in front of the coordinator, a way out to package archives, a zone of names",
      usdPerMonth: hourly(PRICES.balancer + PRICES.nat) + PRICES.zone,
    },
    {
      part: `${prefix}backups`,
      what: `a bucket${prefix === "" ? "" : ", empty until the region is promoted"}: what it holds, $${PRICES.s3PerGB} per GB and month`,
      usdPerMonth: 0,
    },
  ];
}

/** A region of a Citus cluster beside home, at home's prices: there is one list. */
function citusRegionLines(region: CitusRegion): CostLine[] {
  const [alarms, figures] = [citusRegionAlarmCount(region), citusRegionFigures(region)];
  // Of each node its files, and copies of the authority's two.
  const secrets = region.clusters.flatMap(({ nodes }) => nodes).length + AUTHORITY_SECRETS;
  return [
    ...ec2Lines(region, `${region.name}-`),
    {
      part: region.name,
      what: `a key, ${secrets} secrets, ${alarms} alarms, ${figures} figures of our own`,
      usdPerMonth: PRICES.key + secrets * PRICES.secret + alarms * PRICES.alarm + figures * PRICES.figure,
    },
  ];
}

/** Names that lead to the nearest region of a Citus cluster, each region checked by all of its clusters and its way. */
function citusReadsLines(regions: readonly CitusRegion[]): CostLine[] {
  if (regions.length === 0) return [];
  const checks = 1 + regions.reduce((sum, { clusters }) => sum + clusters.length + 2, 0);
  return [
    {
      part: "reads",
      what: `names for the nearest region: a private zone, ${checks} health checks`,
      usdPerMonth: PRICES.zone + checks * PRICES.healthCheck,
    },
  ];
}

/** A region beside home, at home's prices: there is one list. */
const regionLines = (region: AwsRegion): CostLine[] => [
  ...region.nodes.flatMap(serverLines),
  {
    part: region.name,
    what: `a key, ${regionAlarmCount(region)} alarms`,
    usdPerMonth: PRICES.key + regionAlarmCount(region) * PRICES.alarm,
  },
];

/** What leads reads to the nearest region. */
function readsLines(plan: AwsPlan): CostLine[] {
  if (plan.regions.length === 0) return [];
  const [clusters, atHome] = [
    plan.nodes.filter(({ role }) => role === "primary").length,
    homeReadWatches(plan, (server) => server).length,
  ];
  const replicas = [atHome, ...plan.regions.map(({ nodes }) => nodes.length)];
  // One for each replica, and one for each cluster in a region where it has several.
  const checks = replicas.reduce((sum, count) => sum + count + (count > clusters ? clusters : 0), 0);
  return [
    {
      part: "reads",
      what: `names for the nearest replica: a private zone, ${checks} health checks, ${atHome} alarms`,
      usdPerMonth: PRICES.zone + checks * PRICES.healthCheck + atHome * PRICES.alarm,
    },
  ];
}

/** Every part of a plan with its price. */
export function costOf(plan: AwsPlan): CostLine[] {
  const { cache, pool } = plan;
  const { watched, own } = chargedFigures(plan);
  const nodes = plan.citus?.clusters.flatMap((cluster) => cluster.nodes).length;
  const secrets = nodes === undefined ? (pool ? 2 : 1) : nodes + AUTHORITY_SECRETS + 1;
  return [
    ...plan.nodes.flatMap(serverLines),
    ...(plan.citus ? ec2Lines(plan.citus) : []),
    ...(pool ? poolLines(pool) : []),
    ...(cache
      ? [
          {
            part: "cache",
            what: `${cache.nodes} × ${cache.node.name} (${cache.engine})`,
            usdPerMonth: cache.nodes * hourly(cache.node.usdPerHour) * (cache.engine === "valkey" ? VALKEY_FACTOR : 1),
          },
        ]
      : []),
    ...networkLines(plan),
    ...plan.regions.flatMap(regionLines),
    ...readsLines(plan),
    ...(plan.citus?.regions ?? []).flatMap(citusRegionLines),
    ...citusReadsLines(plan.citus?.regions ?? []),
    ...(plan.backupCopyRegion === undefined
      ? []
      : [
          {
            part: "backups",
            what: `a key in ${plan.backupCopyRegion}; what its copies hold beside it, $${2 * PRICES.snapshotPerGB} per GB and month`,
            usdPerMonth: PRICES.key,
          },
        ]),
    {
      part: "monitoring",
      what: `${alarmCount(plan)} alarms, ${own} figures of our own, a dashboard`,
      usdPerMonth: watched * PRICES.alarm + own * PRICES.figure + PRICES.dashboard,
    },
    {
      part: "security",
      what: plan.citus
        ? `a key, ${secrets} secrets of nodes, their authority and the pool`
        : pool
          ? "a key, the secrets of administrator and pool"
          : "a key, the administrator's secret",
      usdPerMonth: PRICES.key + PRICES.secret * secrets,
    },
  ];
}

/** US dollars a month, in cents. */
export const totalCost = (lines: readonly CostLine[]): number =>
  Number(lines.reduce((sum, { usdPerMonth }) => sum + usdPerMonth, 0).toFixed(2));
