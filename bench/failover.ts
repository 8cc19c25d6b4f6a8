/** How long writes pause when a server is lost or handed over, under load through the pool. */
import pg from "pg";
import { currentPrimary, settle } from "../scripts/lib/cluster.ts";
import { environment } from "../scripts/lib/connection.ts";
import { openStack, stackValues } from "../scripts/lib/stack.ts";
import { switchover } from "../scripts/lib/switchover.ts";
import type { NodeOutput, StackValues } from "../stacks/outputs.ts";
import { docker } from "./docker.ts";
import { WriteLoad } from "./load.ts";
import { median } from "./results.ts";

/** What is done to the primary. */
interface Event {
  readonly name: string;
  readonly title: string;
  run(primary: NodeOutput, values: StackValues): Promise<unknown>;
  /** Brings the server back. */
  restore(primary: NodeOutput): Promise<unknown>;
}

const nothing = async (): Promise<void> => undefined;

export const EVENTS: readonly Event[] = [
  {
    name: "container",
    title: "kill -9 of the primary's whole container",
    run: ({ container }) => docker(["kill", "--signal", "KILL", container]),
    restore: ({ container }) => docker(["start", container]),
  },
  {
    name: "process",
    title: "kill -9 of the postgres process",
    run: ({ container }) =>
      docker(["exec", container, "sh", "-c", "kill -9 $(head -n 1 /var/lib/postgresql/*/data/postmaster.pid)"]),
    restore: nothing,
  },
  {
    name: "stop",
    title: "graceful stop of the primary's container",
    run: ({ container }) => docker(["stop", "--time", "120", container]),
    restore: ({ container }) => docker(["start", container]),
  },
  {
    name: "switchover",
    title: "switchover",
    run: (_, values) => switchover(values),
    restore: nothing,
  },
];

export interface FailoverRun {
  /** Longest time without an acknowledged write. */
  readonly pauseMs: number;
  readonly clientErrors: number;
  /** Acknowledged rows that are gone. */
  readonly lostRows: number;
  readonly messages: readonly string[];
}

export interface FailoverCell {
  readonly event: string;
  readonly title: string;
  readonly medianPauseMs: number;
  readonly minPauseMs: number;
  readonly maxPauseMs: number;
  readonly runs: readonly FailoverRun[];
}

export interface FailoverResult {
  readonly date: string;
  readonly stage: number;
  readonly synchronous: string;
  readonly clients: number;
  readonly cells: readonly FailoverCell[];
}

export interface FailoverOptions {
  readonly stack: string;
  readonly runs: number;
  readonly clients: number;
  readonly events: readonly string[];
  readonly synchronous: string;
  readonly onProgress: (text: string) => void;
}

const TABLE = "bench_failover";
/** Writes must go on again within this time, or the run fails. */
const LIMIT_MS = 120_000;

async function once(
  event: Event,
  values: StackValues,
  env: Record<string, string>,
  clients: number,
): Promise<FailoverRun> {
  await settle(values);
  const owner = new pg.Client({ connectionString: env["DATABASE_OWNER_URL"] });
  owner.on("error", () => undefined);
  await owner.connect();
  await owner.query(`DROP TABLE IF EXISTS ${TABLE}; ${WriteLoad.tableSql(TABLE)}`);
  await owner.end();
  const primary = await currentPrimary(values);
  const load = new WriteLoad(env["DATABASE_URL"] ?? "", { clients, table: TABLE }).start();
  if (!(await load.progress(500, 30_000))) throw new Error("writes do not begin");
  load.mark();
  await event.run(primary, values);
  const again = await load.progress(500, LIMIT_MS);
  const report = await load.stop();
  if (!again) throw new Error(`${event.title}: no writes after ${LIMIT_MS / 1000} s: ${report.messages.join("; ")}`);
  await event.restore(primary);
  await settle(values);
  const after = new pg.Client({ connectionString: env["DATABASE_OWNER_URL"] });
  await after.connect();
  try {
    return {
      pauseMs: report.longestPauseMs,
      clientErrors: report.errors,
      lostRows: await load.lost(after),
      messages: report.messages,
    };
  } finally {
    await after.end();
  }
}

/** Runs every event so many times on a running stack, in turn. */
export async function benchFailover(options: FailoverOptions): Promise<FailoverResult> {
  const values = await stackValues(await openStack(options.stack));
  const env = await environment(options.stack, values);
  const all = new Map<string, FailoverRun[]>();
  const events = EVENTS.filter(({ name }) => options.events.includes(name));
  for (let round = 1; round <= options.runs; round++) {
    for (const event of events) {
      const run = await once(event, values, env, options.clients);
      all.set(event.name, [...(all.get(event.name) ?? []), run]);
      options.onProgress(
        `round ${round}, ${event.title}: writes paused ${(run.pauseMs / 1000).toFixed(2)} s, ${run.clientErrors} errors, ${run.lostRows} rows lost`,
      );
    }
  }
  return {
    date: new Date().toISOString(),
    stage: values.stage,
    synchronous: options.synchronous,
    clients: options.clients,
    cells: events.map((event) => {
      const runs = all.get(event.name) ?? [];
      const pauses = runs.map(({ pauseMs }) => pauseMs);
      return {
        event: event.name,
        title: event.title,
        medianPauseMs: median(pauses),
        minPauseMs: Math.min(...pauses),
        maxPauseMs: Math.max(...pauses),
        runs,
      };
    }),
  };
}
