/** What the servers of a plan cost a month: on-demand list prices of AWS, us-east-1 for every region, without support. Pure. */
import { CACHE_NODES } from "../stacks/aws/cacheNodes.ts";
import { HOURS_PER_MONTH, PRICES_AS_OF } from "../stacks/aws/classes.ts";
import type { CostLine } from "../stacks/aws/cost.ts";
import { BACKUPS, GUIDE } from "../stacks/guide.ts";
import { ASSUMED, SECONDS_PER_MONTH } from "./load.ts";
import { type CapacityPlan, NODE } from "./nodes.ts";

export interface Price {
  readonly usd: number;
  readonly per: string;
  /** Where it could be looked up. `null`: from memory of AWS's list, not confirmed; look before you rely on it. */
  readonly confirmed: string | null;
}

const price = (usd: number, per: string, confirmed: string | null): Price => ({ usd, per, confirmed });
const COST = `stacks/aws/cost.ts, ${PRICES_AS_OF}`;
const GP3 = "saisci.com, gp3 Throughput Explained, 2021";
const TRANSFER = "usage.ai, AWS Data Transfer Costs Explained, June 2026";

export const PRICES = {
  node: price(1.6128, `hour of a ${NODE.class}`, null),
  /** etcd's three in each region. */
  etcd: price(0.1008, "hour of a m7i.large", null),
  gp3GiB: price(0.08, "GiB and month of gp3", GP3),
  gp3Iops: price(0.005, "IOPS and month of gp3 above 3000", "webuildup.live, EBS gp2 vs gp3, April 2026"),
  gp3MiBs: price(0.04, "MiB/s and month of gp3 above 125", GP3),
  s3GB: price(0.023, "GB and month of S3 Standard (less from 50 TB on)", "devnotes.tech, Understanding AWS S3 Pricing"),
  betweenZones: price(0.02, "GB between two zones, paid on both sides", TRANSFER),
  betweenRegions: price(
    0.02,
    "GB from us-east-1 to another region",
    "billspike.io, AWS Data Transfer Costs, March 2026",
  ),
  balancerHour: price(0.0225, "hour of a network load balancer", COST),
  balancerGB: price(0.006, "GB through a network load balancer (one NLCU and hour)", null),
  fargateCpu: price(0.04048, "hour of a CPU in Fargate", COST),
  fargateGiB: price(0.004445, "hour and GiB in Fargate", COST),
  cacheNode: price(CACHE_NODES.at(-1)?.usdPerHour ?? 0, `hour of a ${CACHE_NODES.at(-1)?.name}`, COST),
} as const;

const ETCD_PER_REGION = 3;
/** PgBouncer's tasks: one CPU, which it cannot share, and 2 GiB. */
const POOLER_GIB = 2;
const REGIONS = GUIDE[5].regions.value.length;
/** A volume's IOPS and throughput beyond what is free. */
const VOLUME_USD =
  (NODE.diskBytes / 1024 ** 3) * PRICES.gp3GiB.usd +
  (NODE.iops - 3000) * PRICES.gp3Iops.usd +
  (NODE.diskBytesPerSecond / 1024 ** 2 - 125) * PRICES.gp3MiBs.usd;
/** One full backup a week and one more until the older may go. */
const FULL_BACKUPS = 2;
/** Of three zones, the share of traffic that leaves its own. */
const OTHER_ZONE = 2 / 3;
/** From a worker to the router, from there to a pooler. */
const HOPS = 2;

const hourly = (usd: number): number => usd * HOURS_PER_MONTH;
const gb = (bytesPerSecondAtPeak: number): number =>
  (bytesPerSecondAtPeak / ASSUMED.peakToMean / 1e9) * SECONDS_PER_MONTH;

function transferLines({ load, routing }: CapacityPlan): CostLine[] {
  const [wal, result] = [gb(load.walBytesPerSecond), gb(load.resultBytesPerSecond)];
  const crossing = wal + result * HOPS * OTHER_ZONE;
  const way = routing === "coordinator" ? "worker, coordinator, pooler" : "worker, another node, pooler";
  return [
    {
      part: "transfer",
      what: `${tb(crossing)} between zones: WAL to the standbys, rows from ${way}`,
      usdPerMonth: crossing * PRICES.betweenZones.usd,
    },
    {
      part: "transfer",
      what: `${tb(wal * (REGIONS - 1))} of WAL to ${REGIONS - 1} regions`,
      usdPerMonth: wal * (REGIONS - 1) * PRICES.betweenRegions.usd,
    },
    {
      part: "balancers",
      what: `${REGIONS} network load balancers, ${tb(result)} through them`,
      usdPerMonth: hourly(REGIONS * PRICES.balancerHour.usd) + result * PRICES.balancerGB.usd,
    },
  ];
}

const tb = (gigabytes: number): string => `${(gigabytes / 1000).toFixed(gigabytes < 10_000 ? 1 : 0)} TB`;

/** Every part of a plan with its price. */
export function moneyOf(plan: CapacityPlan): CostLine[] {
  const { servers, load } = plan;
  const days = BACKUPS.retentionDays.value;
  const walKept = (gb(load.walBytesPerSecond) / (SECONDS_PER_MONTH / 86_400)) * days;
  const stored = ((load.databaseBytes / 1e9) * FULL_BACKUPS + walKept) * ASSUMED.compressedShare;
  const poolers = servers.poolers * REGIONS;
  const caches = servers.cacheNodes * 2 * REGIONS;
  return [
    {
      part: "servers",
      what: `${servers.total} × ${NODE.class}`,
      usdPerMonth: hourly(servers.total * PRICES.node.usd),
    },
    {
      part: "disks",
      what: `${servers.total} × ${NODE.diskBytes / 1024 ** 3} GiB gp3, ${NODE.iops} IOPS, ${NODE.diskBytesPerSecond / 1024 ** 2} MiB/s`,
      usdPerMonth: servers.total * VOLUME_USD,
    },
    {
      part: "backups",
      what: `${tb(stored)} in S3: ${FULL_BACKUPS} full ones and ${days} days of WAL`,
      usdPerMonth: stored * PRICES.s3GB.usd,
    },
    ...transferLines(plan),
    {
      part: "poolers",
      what: `${poolers} PgBouncers on Fargate, ${servers.poolers} a region`,
      usdPerMonth: hourly(poolers * (PRICES.fargateCpu.usd + POOLER_GIB * PRICES.fargateGiB.usd)),
    },
    {
      part: "cache",
      what: `${caches} × ${CACHE_NODES.at(-1)?.name}: ${servers.cacheNodes} and as many standbys, a region`,
      usdPerMonth: hourly(caches * PRICES.cacheNode.usd),
    },
    {
      part: "etcd",
      what: `${ETCD_PER_REGION * REGIONS} × m7i.large`,
      usdPerMonth: hourly(ETCD_PER_REGION * REGIONS * PRICES.etcd.usd),
    },
  ];
}
