/** How long writes pause when a server is lost or handed over, under load through the pool. */
import { clusterMembers, currentPrimary, settle, superuserSql } from "../scripts/lib/cluster.ts";
import { switchover } from "../scripts/lib/switchover.ts";
import type { NodeOutput, StackValues } from "../stacks/outputs.ts";
import { cgraphOk, setConfig } from "../test/support/cli.ts";
import { docker } from "./docker.ts";
import { lsnValue } from "../scripts/lib/restoreTarget.ts";
import { WriteLoad } from "./load.ts";
import type { Report } from "./report.ts";
import { type BenchStack, asOwner, withStack } from "./stack.ts";

/** What is done to the primary. */
interface Event {
  readonly name: string;
  readonly title: string;
  /** What is promised. */
  readonly limitSeconds: number;
  run(primary: NodeOutput, values: StackValues): Promise<unknown>;
  /** Brings the server back. */
  restore(primary: NodeOutput): Promise<unknown>;
}

const nothing = async (): Promise<void> => undefined;

const EVENTS: readonly Event[] = [
  {
    name: "container",
    title: "kill -9 of the primary's whole container",
    limitSeconds: 25,
    run: ({ container }) => docker(["kill", "--signal", "KILL", container]),
    restore: ({ container }) => docker(["start", container]),
  },
  {
    name: "process",
    title: "kill -9 of the postgres process",
    limitSeconds: 8,
    run: ({ container }) =>
      docker(["exec", container, "sh", "-c", "kill -9 $(head -n 1 /var/lib/postgresql/*/data/postmaster.pid)"]),
    restore: nothing,
  },
  {
    name: "stop",
    title: "graceful stop of the primary's container",
    limitSeconds: 5,
    run: ({ container }) => docker(["stop", "--time", "120", container]),
    restore: ({ container }) => docker(["start", container]),
  },
  {
    name: "switchover",
    title: "switchover",
    limitSeconds: 2,
    run: (_, values) => switchover(values),
    restore: nothing,
  },
];

/** What one event did to the clients. */
interface Outcome {
  readonly pauseMs: number;
  readonly clientErrors: number;
  /** Acknowledged rows that are gone, and how much WAL was acknowledged beyond the point where the new primary took over. */
  readonly lostRows: number;
  readonly lostBytes: number;
}

export interface FailoverOptions {
  readonly runs: number;
  readonly clients: number;
  readonly onProgress: (text: string) => void;
}

const TABLE = "bench_failover";
/** Writes must go on again within this time, or the run fails. */
const LIMIT_MS = 120_000;

/** The history of the timeline that a server is on, as PostgreSQL keeps it: each line one that was left, and where. */
const HISTORY = `SELECT pg_read_file('pg_wal/' || left(pg_walfile_name(pg_current_wal_lsn()), 8) || '.history')`;

/** Bytes of WAL that had been acknowledged, but are not on the new primary's timeline. */
async function lostBytes(values: StackValues, lastAcknowledged: bigint): Promise<number> {
  const { container } = await currentPrimary(values);
  const lines = (await superuserSql(container, HISTORY)).split("\n").filter((line) => line.trim() !== "");
  // timeline, position, reason
  const left = lines.at(-1)?.split("\t")[1];
  if (left === undefined) throw new Error("the history does not tell where the new timeline begins");
  return Math.max(0, Number(lastAcknowledged - lsnValue(left)));
}

async function once(event: Event, stack: BenchStack, clients: number): Promise<Outcome> {
  const { values, env } = stack;
  await settle(values);
  await asOwner(stack, (owner) => owner.query(`DROP TABLE IF EXISTS ${TABLE}; ${WriteLoad.tableSql(TABLE)}`));
  const primary = await currentPrimary(values);
  const load = new WriteLoad(env["DATABASE_URL"] ?? "", { clients, table: TABLE }).start();
  if (!(await load.progress(500, 30_000))) throw new Error("writes do not begin");
  load.mark();
  await event.run(primary, values);
  const again = await load.progress(500, LIMIT_MS);
  const report = await load.stop();
  if (!again) throw new Error(`${event.title}: no writes after ${LIMIT_MS / 1000} s: ${report.messages.join("; ")}`);
  const bytes = await lostBytes(values, report.lsnBeforePause);
  await event.restore(primary);
  await settle(values);
  return {
    pauseMs: report.longestPauseMs,
    clientErrors: report.errors,
    lostRows: await asOwner(stack, (owner) => load.lost(owner)),
    lostBytes: bytes,
  };
}

async function awaitSynchronous(values: StackValues): Promise<void> {
  for (let tries = 0; tries < 300; tries++) {
    if ((await clusterMembers(values)).some(({ role }) => role === "sync_standby")) return;
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
  throw new Error("no replica has become synchronous within a minute");
}

/** Every event so many times on a stage 2 of its own, in turn, first asynchronous, then synchronous. */
export function benchFailover({ runs, clients, onProgress }: FailoverOptions): Promise<Report> {
  return withStack({ stage: 2 }, async (stack) => {
    const outcomes = new Map<string, Outcome[]>();
    for (const synchronous of ["off", "on"]) {
      if (synchronous === "on") {
        await setConfig(stack.name, { synchronous });
        await cgraphOk("config", "apply", "--stack", stack.name);
        await awaitSynchronous(stack.values);
      }
      for (let round = 1; round <= runs; round++) {
        for (const event of EVENTS) {
          if (synchronous === "on") await awaitSynchronous(stack.values);
          const outcome = await once(event, stack, clients);
          const key = `${event.name} ${synchronous}`;
          outcomes.set(key, [...(outcomes.get(key) ?? []), outcome]);
          onProgress(
            `synchronous ${synchronous}, round ${round}, ${event.title}: writes paused ${(outcome.pauseMs / 1000).toFixed(2)} s, ` +
              `${outcome.clientErrors} errors, ${outcome.lostRows} rows and ${outcome.lostBytes} bytes lost`,
          );
        }
      }
    }
    const seconds = (key: string): number[] => (outcomes.get(key) ?? []).map(({ pauseMs }) => pauseMs / 1000);
    return {
      name: "failover",
      title: "How long writes pause",
      date: new Date().toISOString(),
      method: [
        `${clients} clients insert through PgBouncer all the while; a pause is the longest time in which no insert of any of them is acknowledged.`,
        "The events take turns on one stage 2: primary and one replica under Patroni, etcd, HAProxy, PgBouncer.",
        "Lost bytes: WAL that had been acknowledged beyond the point where the new primary took over.",
      ],
      panels: EVENTS.map(({ name, title, limitSeconds }) => ({
        title: `${title}: seconds without a write`,
        unit: "s" as const,
        limit: limitSeconds,
        groups: [
          {
            title,
            series: [
              { name: "asynchronous", values: seconds(`${name} off`) },
              { name: "synchronous", values: seconds(`${name} on`) },
            ],
          },
        ],
      })),
      facts: Object.fromEntries(outcomes),
    };
  });
}
