/** What a plan costs a month, part by part: on-demand list prices, us-east-1, without transfer and support. */
import { VALKEY_FACTOR } from "./cacheNodes.ts";
import { HOURS_PER_MONTH } from "./classes.ts";
import type { AwsNode, AwsPlan, AwsPool } from "./plan.ts";
import { ENDPOINT_ZONES, INTERFACE_SERVICES } from "./services.ts";

const POOL_ENDPOINTS = INTERFACE_SERVICES.length;

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
  alarm: 0.1,
  dashboard: 3,
  key: 1,
  secret: 0.4,
  /** Fargate on x86, by the hour. */
  fargateCpu: 0.04048,
  fargateGiB: 0.004445,
  /** A network load balancer by the hour, without the capacity it uses. */
  balancer: 0.0225,
  /** An interface endpoint in one zone, by the hour. */
  endpoint: 0.01,
} as const;

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

function poolLines(pool: AwsPool): CostLine[] {
  const task = (pool.cpuUnits / 1024) * PRICES.fargateCpu + (pool.memoryMiB / 1024) * PRICES.fargateGiB;
  return [
    {
      part: "pool",
      what: `${pool.tasks} tasks of ${pool.cpuUnits / 1024} CPU and ${pool.memoryMiB / 1024} GiB (up to ${pool.maxTasks}), a balancer`,
      usdPerMonth: hourly(pool.tasks * task + PRICES.balancer),
    },
    {
      part: "pool",
      what: `${POOL_ENDPOINTS} ways to AWS's services in ${ENDPOINT_ZONES} zones`,
      usdPerMonth: hourly(POOL_ENDPOINTS * ENDPOINT_ZONES * PRICES.endpoint),
    },
  ];
}

/** Every part of a plan with its price, the dearest kinds first. `alarms`: how many there are. */
export function costOf(plan: AwsPlan, alarms: number): CostLine[] {
  const { cache, pool } = plan;
  return [
    ...plan.nodes.flatMap(serverLines),
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
    {
      part: "monitoring",
      what: `${alarms} alarms, a dashboard`,
      usdPerMonth: alarms * PRICES.alarm + PRICES.dashboard,
    },
    {
      part: "security",
      what: pool ? "a key, the secrets of administrator and pool" : "a key, the administrator's secret",
      usdPerMonth: PRICES.key + PRICES.secret * (pool ? 2 : 1),
    },
  ];
}

export const totalCost = (lines: readonly CostLine[]): number =>
  lines.reduce((sum, { usdPerMonth }) => sum + usdPerMonth, 0);
