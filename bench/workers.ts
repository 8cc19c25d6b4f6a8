/** What workers add to a Citus cluster's throughput: one, two, three of them, on the CPUs there are. */
import { cpus } from "node:os";
import { currentPrimary } from "../scripts/lib/cluster.ts";
import { clusterViews } from "../scripts/lib/clusters.ts";
import { openStack, stackValues } from "../scripts/lib/stack.ts";
import { citusBase } from "../test/support/citusBase.ts";
import { cgraphOk } from "../test/support/cli.ts";
import { UserError } from "../tuning/errors.ts";
import { docker } from "./docker.ts";
import type { Report } from "./report.ts";
import { asOwner, withStack } from "./stack.ts";

export interface WorkersOptions {
  readonly runs: number;
  readonly seconds: number;
  /** Messages that are there before anything is measured. */
  readonly messages: number;
  readonly onProgress: (text: string) => void;
}

const WORKERS = [1, 2, 3] as const;
/** Divides by all of these numbers of workers. */
const SHARDS = 12;
const CLIENTS = 12;
const SENDERS = 10_000;
/** Of each of a worker's servers in the second part: with three workers, coordinator and pgbench then fit the machine. */
const LITTLE_CPU = 0.2;

const PICK = `\\set u random(1, ${SENDERS})\n`;
const SENDER = "md5((:u)::text)::uuid";
const LOADS = [
  {
    title: "reads of one sender",
    text: `${PICK}SELECT id, content, inserted_at FROM messages WHERE sender_id = ${SENDER} ORDER BY inserted_at DESC LIMIT 50;`,
  },
  {
    title: "writes",
    text: `${PICK}INSERT INTO messages (id, conversation_id, sender_id, content) VALUES (gen_random_uuid(), ${SENDER}, ${SENDER}, 'written by a benchmark');`,
  },
] as const;

const seedSql = (messages: number): string => `INSERT INTO users (id, username, email)
  SELECT md5((n)::text)::uuid, 'u' || n, 'u' || n || '@example.com' FROM generate_series(1, ${SENDERS}) n;
  INSERT INTO messages (id, conversation_id, sender_id, content)
  SELECT gen_random_uuid(), md5((n % 1000)::text)::uuid, md5((1 + n % ${SENDERS})::text)::uuid, repeat('words ', 20)
  FROM generate_series(1, ${messages}) n`;

/** Transactions a second, from a container's own pgbench. */
async function throughput(coordinator: string, text: string, seconds: number): Promise<number> {
  const said = await docker(
    [
      ...["exec", "--interactive", "--user", "postgres", coordinator, "pgbench", "--no-vacuum", "--protocol=prepared"],
      ...[`--client=${CLIENTS}`, `--time=${seconds}`, "--file", "-", "cgraph_production"],
    ],
    { input: text },
  );
  const rate = Number(/tps = ([\d.]+)/.exec(said)?.[1]);
  if (!(rate > 0) || !/failed transactions: 0 /.test(said)) throw new Error(`pgbench: ${said}`);
  return rate;
}

const named = (workers: number): string => `${workers} ${workers === 1 ? "worker" : "workers"}`;

/** `bench workers`: one cluster, which gets its second and third worker while the benchmark goes on. */
export async function benchWorkers({ runs, seconds, messages, onProgress }: WorkersOptions): Promise<Report> {
  const base = await citusBase();
  if ("missing" in base)
    throw new UserError(
      `there is no Citus to measure: ${base.missing}`,
      "let Citus be fetched, or name an image that has it: CGRAPH_TEST_CITUS_IMAGE",
    );
  const everything = cpus().length;
  const parts = [
    { title: `no limit: ${everything} CPUs for all`, cpu: everything },
    { title: `${LITTLE_CPU} CPU for each server of a worker`, cpu: LITTLE_CPU },
  ] as const;
  const found = new Map<string, number[]>();
  const keyOf = (part: string, load: string, workers: number): string => `${part}, ${load}, ${named(workers)}`;
  const moves: Record<string, number> = {};
  const config = { ...base, workers: "1", shardCount: String(SHARDS), poolers: "1", messagesPremakeMonths: "1" };
  await withStack({ stage: 5, config }, async (stack) => {
    await cgraphOk("schema", "apply", "--stack", stack.name);
    onProgress(`writing ${messages} messages`);
    await asOwner(stack, (client) => client.query(seedSql(messages)));
    for (const workers of WORKERS) {
      if (workers > 1) {
        const began = performance.now();
        await cgraphOk("workers", "add", "--stack", stack.name);
        moves[named(workers)] = Math.round((performance.now() - began) / 1000);
        onProgress(`${named(workers)} after ${moves[named(workers)]} s`);
      }
      await asOwner(stack, (client) => client.query("ANALYZE messages"));
      // The coordinator is the first.
      const [first, ...others] = clusterViews(await stackValues(await openStack(stack.name)));
      if (!first) throw new Error("the stack has no coordinator");
      const coordinator = (await currentPrimary(first.values)).container;
      const servers = others.flatMap(({ values }) => values.nodes.map(({ container }) => container));
      for (const part of parts) {
        await docker(["update", "--cpus", String(part.cpu), ...servers]);
        for (const load of LOADS) {
          const key = keyOf(part.title, load.title, workers);
          await throughput(coordinator, load.text, 2);
          for (let run = 1; run <= runs; run++) {
            const rate = await throughput(coordinator, load.text, seconds);
            found.set(key, [...(found.get(key) ?? []), Math.round(rate)]);
          }
          onProgress(`${key}: ${found.get(key)?.join(", ")} a second`);
        }
      }
      await docker(["update", "--cpus", String(everything), ...servers]);
    }
  });
  return {
    name: "workers",
    title: "Throughput by workers",
    date: new Date().toISOString(),
    method: [
      `One stage 5, ${SHARDS} shards, ${messages} messages of ${SENDERS} senders, each node with a standby; its workers are added by \`workers add\` between the measurements. pgbench in the coordinator's container, ${CLIENTS} clients, ${seconds} s a run, prepared statements, TLS between nodes.`,
      `Coordinator, workers, standbys and pgbench share this machine's ${everything} CPUs: without a limit one worker can use them all, so more workers add nothing here.`,
      `With ${LITTLE_CPU} CPU for each server of a worker these CPUs are no longer shared, as on servers of their own: what each worker adds then shows, for as long as the coordinator keeps up.`,
    ],
    panels: parts.map((part) => ({
      title: `A second, ${part.title}`,
      unit: "transactions/s" as const,
      groups: LOADS.map((load) => ({
        title: load.title,
        series: WORKERS.map((workers) => ({
          name: named(workers),
          values: found.get(keyOf(part.title, load.title, workers)) ?? [],
        })),
      })),
    })),
    facts: { workersAddSeconds: moves },
  };
}
