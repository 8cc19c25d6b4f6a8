/** What it costs to be watched: Prometheus and the exporters by the minute, and a call of `doctor`. */
import { DATABASE } from "../components/roles.ts";
import { currentPrimary, superuserSql } from "../scripts/lib/cluster.ts";
import { cgraph } from "../test/support/cli.ts";
import { cpuSeconds, docker } from "./docker.ts";
import { preparePgbench, runPgbench } from "./pgbenchLoad.ts";
import type { Group, Panel, Report } from "./report.ts";
import { type BenchStack, asOwner, withStack } from "./stack.ts";

export interface MonitoringOptions {
  readonly runs: number;
  /** Of pgbench; monitoring by itself is watched for six times as long. */
  readonly seconds: number;
  readonly tables: number;
  readonly onProgress: (text: string) => void;
}

const PARTS = ["exporters", "prometheus", "alertmanager"] as const;
const WORKLOADS = [
  { name: "reads by key", options: ["--select-only", "--protocol=prepared"] },
  { name: "writes", options: ["--skip-some-updates", "--protocol=extended"] },
] as const;
const CLIENTS = 8;
const ON = "with monitoring";
const OFF = "without";
const DOCTOR = "doctor";

/** Everything that was measured, by panel, group and series. */
class Figures {
  readonly #values = new Map<string, number[]>();

  add(panel: string, group: string, series: string, value: number): void {
    const key = JSON.stringify([panel, group, series]);
    this.#values.set(key, [...(this.#values.get(key) ?? []), value]);
  }

  groups(panel: string): Group[] {
    const found = [...this.#values].map(([key, values]) => {
      const [of, title, name] = JSON.parse(key) as [string, string, string];
      return { of, title, name, values };
    });
    const mine = found.filter(({ of }) => of === panel);
    return [...new Set(mine.map(({ title }) => title))].map((title) => ({
      title,
      series: mine.filter((one) => one.title === title).map(({ name, values }) => ({ name, values })),
    }));
  }
}

const containerOf = ({ values }: BenchStack, part: string): string =>
  values.services.find(({ name }) => name === part)?.container ?? "";

interface Asked {
  readonly queries: number;
  readonly milliseconds: number;
}

/** What roles have asked the primary so far, by pg_stat_statements. */
async function asked(stack: BenchStack, roles: readonly string[]): Promise<Asked> {
  const { container } = await currentPrimary(stack.values);
  const sql = `SELECT json_build_object('queries', coalesce(sum(calls), 0), 'milliseconds', coalesce(sum(total_exec_time), 0))
    FROM pg_stat_statements s JOIN pg_roles r ON r.oid = s.userid WHERE rolname IN (${roles.map((role) => `'${role}'`).join(", ")})`;
  return JSON.parse(await superuserSql(container, sql, DATABASE)) as Asked;
}

async function whileAsked<T>(
  stack: BenchStack,
  roles: readonly string[],
  work: () => Promise<T>,
): Promise<Asked & { result: T }> {
  const before = await asked(stack, roles);
  const result = await work();
  const after = await asked(stack, roles);
  return {
    queries: after.queries - before.queries,
    milliseconds: after.milliseconds - before.milliseconds,
    result,
  };
}

/** Whether monitoring works or stands still; what is paused takes no CPU and asks nothing. */
const watch = async (stack: BenchStack, on: boolean): Promise<unknown> =>
  docker([on ? "unpause" : "pause", ...PARTS.map((part) => containerOf(stack, part))]);

/** What monitoring takes by the minute while nobody else does anything. */
async function idle(stack: BenchStack, figures: Figures, group: string, seconds: number): Promise<string> {
  const used = (): Promise<number[]> => Promise.all(PARTS.map((part) => cpuSeconds(containerOf(stack, part))));
  const began = performance.now();
  const before = await used();
  const { queries, milliseconds } = await whileAsked(
    stack,
    ["cgraph_monitor"],
    () => new Promise((resolve) => setTimeout(resolve, seconds * 1000)),
  );
  const after = await used();
  const minutes = (performance.now() - began) / 60_000;
  PARTS.forEach((part, index) => {
    figures.add("cpu", `${part}, ${group}`, ON, ((after[index] ?? 0) - (before[index] ?? 0)) / minutes);
  });
  figures.add("queries", `a minute, ${group}`, ON, queries / minutes);
  figures.add("time", `a minute, ${group}`, ON, milliseconds / minutes);
  return `${Math.round(queries / minutes)} queries a minute, ${Math.round(milliseconds / minutes)} ms of the primary's`;
}

/** Tables with a hundred rows, a key and an index each. */
async function makeTables(stack: BenchStack, tables: number): Promise<void> {
  await asOwner(stack, async (client) => {
    // A hundred at a time: a transaction holds a lock for each of them.
    for (let first = 1; first <= tables; first += 100) {
      await client.query(`DO $$ BEGIN FOR n IN ${first}..${Math.min(tables, first + 99)} LOOP
        EXECUTE format('CREATE TABLE bench_%1$s (id bigint PRIMARY KEY, kind int, content text);
          INSERT INTO bench_%1$s SELECT i, i %% 10, md5(i::text) FROM generate_series(1, 100) i;
          CREATE INDEX ON bench_%1$s (kind)', n);
        END LOOP; END $$`);
    }
    await client.query("ANALYZE");
  });
}

async function doctor(stack: BenchStack, figures: Figures, group: string): Promise<string> {
  // The roles by which it asks; monitoring, which has one of them, stands still meanwhile.
  const began = performance.now();
  const { queries, milliseconds, result } = await whileAsked(stack, ["cgraph_monitor", "cgraph_readonly"], () =>
    cgraph([DOCTOR, "--stack", stack.name, "--json"]),
  );
  if (result.code > 2 || result.code < 0) throw new Error(`doctor ended with ${result.code}: ${result.stderr}`);
  const seconds = (performance.now() - began) / 1000;
  figures.add("doctor", group, DOCTOR, seconds);
  figures.add("queries", `a call, ${group}`, DOCTOR, queries);
  figures.add("time", `a call, ${group}`, DOCTOR, milliseconds);
  return `${seconds.toFixed(1)} s, ${queries} queries, ${Math.round(milliseconds)} ms of the primary's`;
}

/** `bench monitoring`: CPU, queries and their time; throughput with monitoring and without; the same of `doctor`. */
export function benchMonitoring({ runs, seconds, tables, onProgress }: MonitoringOptions): Promise<Report> {
  return withStack({ stage: 3, config: { monitoring: "true", grafana: "false" } }, async (stack) => {
    const figures = new Figures();
    onProgress("filling pgbench's tables");
    await preparePgbench(stack, 10);
    const few = "few tables";
    const many = `${tables} tables`;
    for (let round = 1; round <= runs; round++) {
      onProgress(`round ${round}, ${few}: ${await idle(stack, figures, few, 6 * seconds)}`);
      for (const { name, options } of WORKLOADS) {
        for (const on of round % 2 ? [true, false] : [false, true]) {
          if (!on) await watch(stack, false);
          const run = { route: "primary", clients: CLIENTS, seconds, options } as const;
          const { transactionsPerSecond } = await runPgbench(stack, run).finally(() => !on && watch(stack, true));
          figures.add("throughput", name, on ? ON : OFF, transactionsPerSecond);
          onProgress(`round ${round}, ${name}, ${on ? ON : OFF}: ${Math.round(transactionsPerSecond)} tx/s`);
        }
      }
    }
    const doctorRounds = async (group: string): Promise<void> => {
      await watch(stack, false);
      for (let round = 1; round <= runs; round++)
        onProgress(`round ${round}, doctor, ${group}: ${await doctor(stack, figures, group)}`);
      await watch(stack, true);
    };
    await doctorRounds(few);
    onProgress(`making ${tables} tables`);
    await makeTables(stack, tables);
    await doctorRounds(many);
    for (let round = 1; round <= runs; round++)
      onProgress(`round ${round}, ${many}: ${await idle(stack, figures, many, 6 * seconds)}`);
    const panel = (title: string, unit: Panel["unit"], name: string): Panel => ({
      title,
      unit,
      groups: figures.groups(name),
    });
    return {
      name: "monitoring",
      title: "What it costs to be watched",
      date: new Date().toISOString(),
      method: [
        `Stage 3 (four servers), looked at every 15 s as by default; monitoring by itself for ${6 * seconds} s a run, with nobody else at the database.`,
        "CPU by each container's control group; queries and their time by pg_stat_statements of the primary, of the roles that ask.",
        `Throughput: pgbench with ${CLIENTS} clients on the primary, ${seconds} s a run, scale 10, taking turns with monitoring at work and paused (docker pause).`,
        `doctor: monitoring paused; wall time of the whole command, and what it asked the primary. ${tables} tables with 100 rows, a key and an index each.`,
      ],
      panels: [
        panel("CPU seconds a minute", "s", "cpu"),
        panel("Transactions a second", "transactions/s", "throughput"),
        panel("Queries to the primary", "queries", "queries"),
        panel("Time of these queries, milliseconds", "ms", "time"),
        panel("doctor, seconds", "s", "doctor"),
      ],
      facts: { tables, servers: stack.values.nodes.length },
    };
  });
}
