/** What the pool costs and gains: many clients through PgBouncer beside the same clients directly. */
import { currentPrimary, superuserSql } from "../scripts/lib/cluster.ts";
import { type PgbenchFigures, preparePgbench, runPgbench } from "./pgbenchLoad.ts";
import type { Report } from "./report.ts";
import { type BenchStack, withStack } from "./stack.ts";

export interface PoolOptions {
  readonly runs: number;
  readonly seconds: number;
  readonly onProgress: (text: string) => void;
}

const CLIENTS = [50, 1000] as const;
const WORKLOADS = [
  { name: "reads", options: ["--select-only", "--protocol=prepared"] },
  // pgbench waits for each PREPARE before it goes on with its other clients: of those that hold a server connection in an
  // open transaction none would ever give it back.
  { name: "writes", options: ["--skip-some-updates", "--protocol=extended"] },
] as const;
const SERIES = [
  { name: "direct", route: "primary" },
  { name: "through the pool", route: "pool" },
] as const;

/** The most connections of the application's role that the primary had while something ran. */
async function mostConnections(stack: BenchStack, work: () => Promise<PgbenchFigures>) {
  const { container } = await currentPrimary(stack.values);
  let [most, running] = [0, true];
  const watching = (async () => {
    while (running) {
      const sql = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'cgraph'";
      most = Math.max(most, Number(await superuserSql(container, sql).catch(() => "0")));
      await new Promise((resolve) => setTimeout(resolve, 1000));
    }
  })();
  const figures = await work().finally(() => {
    running = false;
    return watching;
  });
  return { ...figures, most };
}

/** `bench pool`: throughput, 99th percentile and server connections, at 50 and at 1000 clients. */
export function benchPool({ runs, seconds, onProgress }: PoolOptions): Promise<Report> {
  // A thousand direct connections, for comparison's sake only.
  return withStack({ stage: 2, config: { maxConnections: "1100" } }, async (stack) => {
    onProgress("filling pgbench's tables");
    await preparePgbench(stack, 20);
    const all = new Map<string, { tps: number; p99: number; connections: number }[]>();
    for (let round = 1; round <= runs; round++) {
      for (const workload of WORKLOADS) {
        for (const clients of CLIENTS) {
          for (const series of round % 2 ? SERIES : [...SERIES].reverse()) {
            const found = await mostConnections(stack, () =>
              runPgbench(stack, {
                route: series.route,
                clients,
                // A thousand connections take ten seconds to open, which count.
                seconds: clients > 100 ? 2.5 * seconds : seconds,
                options: workload.options,
              }),
            );
            const key = `${workload.name} ${clients} ${series.name}`;
            const figures = { tps: found.transactionsPerSecond, p99: found.p99Ms, connections: found.most };
            all.set(key, [...(all.get(key) ?? []), figures]);
            onProgress(
              `round ${round}, ${workload.name}, ${clients} clients ${series.name}: ${Math.round(figures.tps)} tx/s, p99 ${figures.p99.toFixed(1)} ms, ${figures.connections} server connections`,
            );
          }
        }
      }
    }
    const groups = (figure: "tps" | "p99" | "connections") =>
      WORKLOADS.flatMap((workload) =>
        CLIENTS.map((clients) => ({
          title: `${workload.name}, ${clients} clients`,
          series: SERIES.map(({ name }) => ({
            name,
            values: (all.get(`${workload.name} ${clients} ${name}`) ?? []).map((one) => one[figure]),
          })),
        })),
      );
    const pool = stack.values.pool;
    return {
      name: "pool",
      title: "PgBouncer beside direct connections",
      date: new Date().toISOString(),
      method: [
        `pgbench in a container on the stack's network, ${seconds} s a run (${2.5 * seconds} s with 1000 clients, who take ten to connect), TLS; both ways lead through HAProxy, the pool's through PgBouncer and HAProxy once more.`,
        "reads: pgbench --select-only with prepared statements; writes: pgbench --skip-some-updates with the extended protocol; scale 20.",
        "Server, pool, router and pgbench share this machine's CPUs: what the pool's own work costs is taken from the server.",
      ],
      panels: [
        { title: "Transactions a second", unit: "transactions/s", groups: groups("tps") },
        { title: "99th percentile, milliseconds", unit: "ms", groups: groups("p99") },
        {
          title: "Server connections, at most",
          unit: "connections",
          ...(pool ? { limit: pool.poolSize + pool.reserveSize } : {}),
          groups: groups("connections"),
        },
      ],
      facts: { pool },
    };
  });
}
