/** What replicas add to the reads: one primary alone, and with three replicas, on the CPUs there are. */
import { cpus } from "node:os";
import { docker } from "./docker.ts";
import { preparePgbench, runPgbench } from "./pgbenchLoad.ts";
import type { Report } from "./report.ts";
import { type BenchStack, withStack } from "./stack.ts";

export interface ReadsOptions {
  readonly runs: number;
  readonly seconds: number;
  readonly onProgress: (text: string) => void;
}

/** Of each server in the second part: four of them, the router and pgbench then fit the machine. */
const LITTLE_CPU = 0.2;
const CLIENTS = 16;
const SELECT = ["--select-only", "--protocol=prepared"];

async function alone(stack: BenchStack, seconds: number): Promise<number> {
  const run = { route: "primary", clients: CLIENTS, seconds, options: SELECT } as const;
  return (await runPgbench(stack, run)).transactionsPerSecond;
}

/** A quarter of the clients on the primary, the others on the replicas. */
async function together(stack: BenchStack, seconds: number): Promise<number> {
  const figures = await Promise.all([
    runPgbench(stack, { route: "primary", clients: CLIENTS / 4, seconds, options: SELECT }),
    runPgbench(stack, { route: "replicas", clients: (CLIENTS / 4) * 3, seconds, options: SELECT }),
  ]);
  return figures.reduce((sum, { transactionsPerSecond }) => sum + transactionsPerSecond, 0);
}

/** `bench reads`: throughput of reads by key, with all of the machine for everyone, and with a little CPU for each. */
export function benchReads({ runs, seconds, onProgress }: ReadsOptions): Promise<Report> {
  return withStack({ stage: 3 }, async (stack) => {
    onProgress("filling pgbench's tables");
    await preparePgbench(stack, 20);
    const all = new Map<string, number[]>();
    const parts = [
      { title: `no limit: ${cpus().length} CPUs for all`, limit: undefined },
      { title: `${LITTLE_CPU} CPU for each server`, limit: LITTLE_CPU },
    ] as const;
    for (const part of parts) {
      if (part.limit !== undefined) {
        await docker(["update", "--cpus", String(part.limit), ...stack.values.nodes.map(({ container }) => container)]);
      }
      for (let round = 1; round <= runs; round++) {
        for (const [name, measure] of [
          ["1 primary", alone],
          ["1 primary and 3 replicas", together],
        ] as const) {
          const value = await measure(stack, seconds);
          all.set(`${part.title} ${name}`, [...(all.get(`${part.title} ${name}`) ?? []), value]);
          onProgress(`round ${round}, ${part.title}, ${name}: ${Math.round(value)} reads/s`);
        }
      }
    }
    return {
      name: "reads",
      title: "Reads with and without replicas",
      date: new Date().toISOString(),
      method: [
        `pgbench --select-only, ${CLIENTS} clients, ${seconds} s a run, prepared statements, TLS, through HAProxy; with replicas a quarter of the clients reads from the primary.`,
        "Servers, router and pgbench share this machine's CPUs: without a limit one server can use them all, so replicas add nothing here.",
        `With ${LITTLE_CPU} CPU for each server the CPUs are no longer shared, as on servers of their own: what each replica adds then shows.`,
      ],
      panels: parts.map(({ title }) => ({
        title: `Reads a second, ${title}`,
        unit: "transactions/s" as const,
        groups: [
          {
            title,
            series: ["1 primary", "1 primary and 3 replicas"].map((name) => ({
              name,
              values: all.get(`${title} ${name}`) ?? [],
            })),
          },
        ],
      })),
      facts: {},
    };
  });
}
