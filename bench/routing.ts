/** What Citus adds to a statement: CPU of the node that routes and of the workers, by how many shards are asked. */
import { clusterViews } from "../scripts/lib/clusters.ts";
import { currentPrimary } from "../scripts/lib/cluster.ts";
import { cgraphOk } from "../test/support/cli.ts";
import { citusBase } from "../test/support/citusBase.ts";
import { UserError } from "../tuning/errors.ts";
import { cpuSeconds, docker } from "./docker.ts";
import type { Report } from "./report.ts";
import { median } from "./results.ts";
import { withStack } from "./stack.ts";

export interface RoutingOptions {
  readonly runs: number;
  readonly seconds: number;
  readonly onProgress: (text: string) => void;
}

const SHARDS = 16;
const WORKERS = 2;
const CLIENTS = 2;
const COLUMNS = "SELECT id, sender_id, content, read_at, inserted_at FROM messages WHERE";
const LAST = "ORDER BY inserted_at DESC LIMIT 50;";
const PICK = "\\set u random(1, 100000)\n";
const uuid = (text: string): string => `md5((${text})::text)::uuid`;
/** One connection to each worker, as a busy cluster wants it: without, every statement opens others, with TLS. */
const ONE_CONNECTION = "-c citus.max_adaptive_executor_pool_size=1";

interface Case {
  readonly name: string;
  readonly title: string;
  readonly text: string;
  readonly settings?: string;
}

const EVERY = `${PICK}${COLUMNS} conversation_id = ${uuid(":u")} ${LAST}`;
const CASES: readonly Case[] = [
  { name: "local", title: "no shard (SELECT 1)", text: "SELECT 1;" },
  { name: "one", title: "one shard", text: `${PICK}${COLUMNS} sender_id = ${uuid(":u")} ${LAST}` },
  {
    name: "two",
    title: "two senders' shards",
    text: `${PICK}${COLUMNS} conversation_id = ${uuid(":u")} AND sender_id IN (${uuid(":u")}, ${uuid(":u + 1")}) ${LAST}`,
    settings: ONE_CONNECTION,
  },
  { name: "every", title: `all ${SHARDS} shards`, text: EVERY, settings: ONE_CONNECTION },
  { name: "everyAsItComes", title: `all ${SHARDS}, 16 connections each`, text: EVERY },
];

interface Cost {
  readonly routerMs: number;
  readonly workersMs: number;
}

async function costOf(containers: readonly string[], one: Case, seconds: number): Promise<Cost> {
  const [router] = containers;
  if (router === undefined) throw new Error("the stack has no coordinator");
  const before = await Promise.all(containers.map(cpuSeconds));
  const settings = one.settings === undefined ? [] : ["--env", `PGOPTIONS=${one.settings}`];
  const text = await docker(
    [
      ...["exec", "--interactive", "--user", "postgres", ...settings, router, "pgbench", "--no-vacuum"],
      ...["--protocol=extended", `--client=${CLIENTS}`, `--time=${seconds}`, "--file", "-", "cgraph_production"],
    ],
    { input: `${one.text}\n` },
  );
  const done = Number(/transactions actually processed: (\d+)/.exec(text)?.[1]);
  if (!(done > 0) || !/failed transactions: 0 /.test(text)) throw new Error(`pgbench: ${text}`);
  const after = await Promise.all(containers.map(cpuSeconds));
  const used = after.map((value, index) => ((value - (before[index] ?? 0)) * 1000) / done);
  return { routerMs: used[0] ?? 0, workersMs: used.slice(1).reduce((sum, value) => sum + value, 0) };
}

const round = (value: number): number => Number(value.toFixed(3));

/** Measures between these servers: the coordinator, then the workers. */
export async function measureRouting(
  containers: readonly string[],
  { runs, seconds, onProgress }: RoutingOptions,
): Promise<Report> {
  const costs = new Map<string, Cost[]>(CASES.map(({ name }) => [name, []]));
  for (let run = 1; run <= runs; run++) {
    for (const one of CASES) costs.get(one.name)?.push(await costOf(containers, one, seconds));
    onProgress(`run ${run} of ${runs}`);
  }
  const values = (name: string, of: keyof Cost): number[] => (costs.get(name) ?? []).map((cost) => round(cost[of]));
  const mid = (name: string, of: keyof Cost): number => median(values(name, of));
  const both = (name: string): number => round(mid(name, "routerMs") + mid(name, "workersMs"));
  const further = (of: keyof Cost): number => round((mid("every", of) - mid("one", of)) / (SHARDS - 1));
  return {
    name: "routing",
    title: "What Citus adds to a statement",
    date: new Date().toISOString(),
    method: [
      `A stage 5 with ${WORKERS} workers, ${SHARDS} shards, messages in ten partitions, TLS between nodes; its tables are empty. pgbench with ${CLIENTS} clients in the coordinator's container, each statement parsed and planned anew.`,
      "CPU: of the control groups of the servers that lead, background processes and pgbench itself included, over the statements of a run.",
      "One connection to each worker (citus.max_adaptive_executor_pool_size = 1), but for the last: there Citus opens and closes others for every statement.",
    ],
    panels: [
      {
        title: "CPU a statement, milliseconds",
        unit: "ms",
        groups: CASES.map(({ name, title }) => ({
          title,
          series: [
            { name: "coordinator", values: values(name, "routerMs") },
            { name: "workers", values: values(name, "workersMs") },
          ],
        })),
      },
    ],
    facts: {
      routeCpuMs: round(mid("one", "routerMs") - mid("local", "routerMs")),
      fanOutCpuMs: further("routerMs"),
      shardCpuMs: mid("one", "workersMs"),
      furtherShardCpuMs: further("workersMs"),
      everyCpuMs: both("every"),
      everyAsItComesCpuMs: both("everyAsItComes"),
    },
  };
}

/** On a stage 5 of its own, with empty tables: what finding rows costs is `bench capacity`'s. */
export async function benchRouting(options: RoutingOptions): Promise<Report> {
  const base = await citusBase();
  if ("missing" in base)
    throw new UserError(
      `there is no Citus to measure: ${base.missing}`,
      "let Citus be fetched, or name an image that has it: CGRAPH_TEST_CITUS_IMAGE",
    );
  const config = { ...base, workers: String(WORKERS), shardCount: String(SHARDS) };
  return withStack({ stage: 5, config }, async (stack) => {
    await cgraphOk("schema", "apply", "--stack", stack.name);
    const views = clusterViews(stack.values);
    // The coordinator is the first.
    const leaders = await Promise.all(views.map(async ({ values }) => (await currentPrimary(values)).container));
    return measureRouting(leaders, options);
  });
}
