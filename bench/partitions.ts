/** Turning a populated messages table into one by month while it is in use, beside copying the same rows and no more. */
import { MESSAGES, createSql, monthsBetween, oldName } from "../migration/partitions/sql.ts";
import { cgraphOk } from "../test/support/cli.ts";
import { ChatLoad } from "./chatLoad.ts";
import type { Report } from "./report.ts";
import { type BenchStack, asOwner, withStack } from "./stack.ts";

export interface PartitionsOptions {
  readonly runs: number;
  readonly rows: number;
  readonly onProgress: (text: string) => void;
}

const CLIENTS = 20;
const INDEXES = ["conversation", "sender", "content_search", "unread"].map((name) => `idx_messages_${name}`);

interface Outcome {
  readonly copyRowsPerSecond: number;
  readonly bareRowsPerSecond: number;
  readonly longestPauseMs: number;
  readonly swapMs: number;
  readonly totalSeconds: number;
}

/** Rows a second of a bare INSERT … SELECT of the old table into one of the same months, with the key only. */
async function bareCopy(stack: BenchStack): Promise<number> {
  const table = { ...MESSAGES, name: "bare" };
  return asOwner(stack, async (owner) => {
    const { rows } = await owner.query<{ first: Date }>(
      `SELECT min(inserted_at) AT TIME ZONE 'UTC' AS first FROM ${oldName(MESSAGES)}`,
    );
    await owner.query(`CREATE TABLE bare (LIKE ${oldName(MESSAGES)} INCLUDING DEFAULTS)`);
    await owner.query(createSql(table, monthsBetween(rows[0]?.first ?? new Date(), new Date())));
    const began = performance.now();
    const { rowCount } = await owner.query(`INSERT INTO bare_partitioned SELECT * FROM ${oldName(MESSAGES)}`);
    const perSecond = (rowCount ?? 0) / ((performance.now() - began) / 1000);
    await owner.query("DROP TABLE bare_partitioned, bare");
    return perSecond;
  });
}

async function once(rows: number, facts: unknown[], onProgress: (text: string) => void): Promise<Outcome> {
  return withStack({ stage: 3, config: { replicas: "1" } }, async (stack) => {
    const apply = () => cgraphOk("schema", "apply", "--stack", stack.name);
    await apply();
    await asOwner(stack, async (owner) => {
      await owner.query(`DROP INDEX ${INDEXES.join(", ")}`);
      await owner.query(ChatLoad.seedSql(rows));
    });
    await apply();
    await asOwner(stack, (owner) => owner.query("ANALYZE messages"));
    onProgress(`${rows} messages are there`);
    const { DATABASE_URL = "", DATABASE_REPLICA_URL = "" } = stack.env;
    const load = new ChatLoad(DATABASE_URL, { clients: CLIENTS, oldMessages: rows, readUrl: DATABASE_REPLICA_URL });
    load.start();
    if (!(await load.progress(500, 60_000))) throw new Error("writes do not begin");
    load.mark();
    const began = performance.now();
    const conversion = JSON.parse(await cgraphOk("partitions", "convert", "--stack", stack.name, "--json")) as {
      rows: number;
      copySeconds: number;
      swapMs: number;
    };
    const totalSeconds = (performance.now() - began) / 1000;
    const during = await load.stop();
    onProgress(`converted in ${totalSeconds.toFixed(0)} s; longest pause ${during.longestPauseMs} ms`);
    const difference = await asOwner(stack, (owner) => load.difference(owner));
    // Under the same load, on the table from before, which nobody writes any more.
    const again = new ChatLoad(DATABASE_URL, { clients: CLIENTS, oldMessages: 0, readUrl: DATABASE_REPLICA_URL });
    again.start();
    const bareRowsPerSecond = await bareCopy(stack);
    await again.stop();
    const outcome = {
      copyRowsPerSecond: conversion.rows / conversion.copySeconds,
      bareRowsPerSecond,
      longestPauseMs: during.longestPauseMs,
      swapMs: conversion.swapMs,
      totalSeconds,
    };
    facts.push({ ...outcome, rows: conversion.rows, load: during, difference });
    return outcome;
  });
}

/** `bench partitions`: rows a second of the copy, and what twenty writers notice. */
export async function benchPartitions({ runs, rows, onProgress }: PartitionsOptions): Promise<Report> {
  const outcomes: Outcome[] = [];
  const facts: unknown[] = [];
  for (let round = 1; round <= runs; round++) {
    outcomes.push(await once(rows, facts, (text) => onProgress(`round ${round}: ${text}`)));
  }
  const title = `${rows} messages, ${CLIENTS} writers`;
  const values = (figure: keyof Outcome): number[] => outcomes.map((outcome) => outcome[figure]);
  return {
    name: "partitions",
    title: "Messages by month, while they are in use",
    date: new Date().toISOString(),
    method: [
      `${CLIENTS} clients write, change, delete and read through PgBouncer all the while; stage 3 with one replica.`,
      "The copy's rate counts its batches only, not indexes, keys and the comparison; the bare one is a single INSERT … SELECT of the same rows into the same months, with the key only, under a load of the same kind.",
    ],
    panels: [
      {
        title: "Rows copied a second",
        unit: "rows/s",
        groups: [
          {
            title,
            series: [
              { name: "conversion", values: values("copyRowsPerSecond") },
              { name: "bare INSERT … SELECT", values: values("bareRowsPerSecond") },
            ],
          },
        ],
      },
      {
        title: "Longest time without a write, milliseconds",
        unit: "ms",
        limit: 1000,
        groups: [{ title, series: [{ name: "conversion", values: values("longestPauseMs") }] }],
      },
    ],
    facts: { runs: facts },
  };
}
