/** What is measured: five workloads on one server, one after the other. */
import type { Disk, Traffic } from "./disk.ts";
import { MESSAGE_COLUMNS, type Scale } from "./golden.ts";
import { type Counters, counters, pgbench, sql } from "./server.ts";

export interface Workload {
  readonly name: string;
  readonly title: string;
  readonly unit: "transactions/s" | "s";
  /** Tables that are read into memory beforehand, with their indexes: a server that runs for a while has them there. */
  readonly warm: readonly string[];
  run(signal: AbortSignal, scale: Scale): Promise<Figure>;
}

/** One measured value, and the parts that it is made of. */
export interface Figure {
  readonly value: number;
  readonly details: Readonly<Record<string, number>>;
}

export interface Measurement extends Figure {
  readonly counters: Counters;
  /** What went to and from the disk meanwhile, where that can be told. */
  readonly traffic?: Traffic;
}

const CLIENTS = ["--client=16", "--jobs=2", "--protocol=prepared"];
const round = (value: number, digits = 3): number => Number(value.toFixed(digits));

/** Writes all that is still only in memory to its place on the disk; gives the seconds that takes. */
async function checkpoint(signal: AbortSignal): Promise<number> {
  const [seconds] = await timed(signal, ["CHECKPOINT"]);
  return seconds ?? 0;
}

/** Runs statements in one session; gives the seconds of each, by the server's clock. */
async function timed(signal: AbortSignal, statements: readonly string[]): Promise<number[]> {
  const clock = "SELECT 'clock ' || extract(epoch FROM clock_timestamp());\n";
  const text = await sql(signal, clock + statements.map((statement) => `${statement};\n${clock}`).join(""));
  const clocks = text
    .split("\n")
    .filter((line) => line.startsWith("clock "))
    .map((line) => Number(line.slice(6)));
  return statements.map((_, index) => (clocks[index + 1] ?? NaN) - (clocks[index] ?? NaN));
}

const tpcb: Workload = {
  name: "tpcb",
  title: "TPC-B-like, 16 clients",
  unit: "transactions/s",
  warm: ["pgbench_accounts", "pgbench_tellers", "pgbench_branches"],
  async run(signal, scale) {
    const { transactions, seconds } = await pgbench(signal, [...CLIENTS, `--time=${scale.tpcbSeconds}`]);
    return { value: transactions / seconds, details: { transactions } };
  },
};

const readonly: Workload = {
  name: "readonly",
  title: "reads by key, 16 clients",
  unit: "transactions/s",
  warm: ["pgbench_accounts"],
  async run(signal, scale) {
    const { transactions, seconds } = await pgbench(signal, [
      ...CLIENTS,
      "--select-only",
      `--time=${scale.readonlySeconds}`,
    ]);
    return { value: transactions / seconds, details: { transactions } };
  },
};

/** Someone reads a message, answers, and the conversation moves to the top: rows all over a table larger than memory for it. */
const chatScript = (scale: Scale): string => `\\set n random(1, ${scale.messages})
\\set c random(0, ${scale.conversations - 1})
\\set u random(0, ${scale.users - 1})
BEGIN;
UPDATE messages SET read_at = localtimestamp WHERE id = md5('m' || :n)::uuid;
INSERT INTO messages (id, conversation_id, sender_id, content, inserted_at)
  VALUES (gen_random_uuid(), md5('c' || :c)::uuid, md5('u' || :u)::uuid, 'well i think that is a good idea, see you there at eight', localtimestamp);
UPDATE conversations SET last_message_at = localtimestamp WHERE id = md5('c' || :c)::uuid;
END;
`;

/**
 * Its figure counts the checkpoint after it too: who put off writing, pays here. So a configuration gains nothing by
 * checkpoints that fall behind the end of the measurement.
 */
const writeheavy: Workload = {
  name: "writeheavy",
  title: "chat writes, 16 clients",
  unit: "transactions/s",
  warm: ["messages", "conversations"],
  async run(signal, scale) {
    const { transactions, seconds } = await pgbench(
      signal,
      [...CLIENTS, `--time=${scale.writeSeconds}`],
      chatScript(scale),
    );
    const checkpointSeconds = await checkpoint(signal);
    return {
      value: transactions / (seconds + checkpointSeconds),
      details: {
        transactions,
        checkpointSeconds: round(checkpointSeconds),
        perSecondWithoutCheckpoint: round(transactions / seconds, 1),
      },
    };
  },
};

/**
 * Reports as a chat's operators ask for them: who was active on each day of half a year, who stayed, the busiest
 * conversations of a month's days, how long answers took in a week. No index serves them.
 */
export const REPORTS: Readonly<Record<string, string>> = {
  activePerDayHalfYear: `SELECT date_trunc('day', inserted_at) AS day, count(*) AS messages,
      count(DISTINCT sender_id) AS senders, count(DISTINCT conversation_id) AS conversations
    FROM messages WHERE inserted_at < '2025-06-30' GROUP BY 1 ORDER BY 1`,
  retentionHalfYear: `WITH first AS (
      SELECT sender_id, min(date_trunc('week', inserted_at)) AS joined FROM messages GROUP BY sender_id),
    active AS (SELECT DISTINCT sender_id, date_trunc('week', inserted_at) AS week FROM messages)
    SELECT joined, week, count(*) FROM first JOIN active USING (sender_id) GROUP BY 1, 2 ORDER BY 1, 2`,
  busiestPerDayMonth: `WITH daily AS (
      SELECT conversation_id, date_trunc('day', inserted_at) AS day, count(*) AS messages, count(DISTINCT sender_id) AS senders
      FROM messages WHERE inserted_at >= '2025-05-31' AND inserted_at < '2025-06-30' GROUP BY 1, 2)
    SELECT * FROM (SELECT *, rank() OVER (PARTITION BY day ORDER BY messages DESC, conversation_id) AS place FROM daily) ranked
    WHERE place <= 10 ORDER BY day, place`,
  answerTimesWeek: `SELECT date_trunc('day', inserted_at) AS day, count(*) AS answers,
      percentile_cont(ARRAY[0.5, 0.95]) WITHIN GROUP (ORDER BY extract(epoch FROM inserted_at - previous)) AS seconds
    FROM (SELECT inserted_at, sender_id, lag(inserted_at) OVER talk AS previous, lag(sender_id) OVER talk AS previous_sender
          FROM messages WHERE inserted_at >= '2025-06-23' AND inserted_at < '2025-06-30'
          WINDOW talk AS (PARTITION BY conversation_id ORDER BY inserted_at)) answers
    WHERE sender_id <> previous_sender GROUP BY 1 ORDER BY 1`,
};

const sort: Workload = {
  name: "sort",
  title: "four reports that sort",
  unit: "s",
  warm: ["messages"],
  async run(signal) {
    const seconds = await timed(signal, Object.values(REPORTS));
    const details = Object.fromEntries(Object.keys(REPORTS).map((name, index) => [name, round(seconds[index] ?? NaN)]));
    return { value: seconds.reduce((sum, part) => sum + part, 0), details };
  },
};

/** A table of messages from a file, with its keys; counts the checkpoint after it, as writeheavy does. */
const bulkload: Workload = {
  name: "bulkload",
  title: "COPY and three indexes",
  unit: "s",
  warm: [],
  async run(signal) {
    await sql(signal, `CREATE TABLE imported (${MESSAGE_COLUMNS})`);
    const [copy = NaN, primaryKey = NaN, index1 = NaN, index2 = NaN, last = NaN] = await timed(signal, [
      // psql reads \\copy up to the end of its line, semicolon and all.
      "\\copy imported FROM '/golden/bulk.copy'",
      "ALTER TABLE imported ADD PRIMARY KEY (id)",
      "CREATE INDEX ON imported (conversation_id, inserted_at DESC)",
      "CREATE INDEX ON imported (inserted_at)",
      "CHECKPOINT",
    ]);
    await sql(signal, "DROP TABLE imported");
    const indexes = primaryKey + index1 + index2;
    return {
      value: copy + indexes + last,
      details: { copySeconds: round(copy), indexSeconds: round(indexes), checkpointSeconds: round(last) },
    };
  },
};

/** In the order in which they run: writeheavy last, because it changes what the reports read. */
export const WORKLOADS: readonly Workload[] = [tpcb, readonly, sort, bulkload, writeheavy];

/** Warms up, starts from a fresh checkpoint, runs the workload, and tells what the server's counters say of it. */
export async function measure(
  workload: Workload,
  scale: Scale,
  disk: Pick<Disk, "lift" | "apply" | "traffic">,
  signal: AbortSignal,
): Promise<Measurement> {
  await disk.lift();
  if (workload.warm.length) {
    const names = workload.warm.map((table) => `'${table}'::regclass`).join(", ");
    await sql(
      signal,
      `SELECT sum(pg_prewarm(relation)) FROM unnest(ARRAY[${names}]) AS t,
       LATERAL (SELECT t::regclass AS relation UNION ALL SELECT indexrelid::regclass FROM pg_index WHERE indrelid = t) r`,
    );
  }
  await checkpoint(signal);
  await disk.apply();
  const [before, trafficBefore] = [await counters(signal), await disk.traffic()];
  const figure = await workload.run(signal, scale);
  const [after, trafficAfter] = [await counters(signal), await disk.traffic()];
  const keys = Object.keys(before) as (keyof Counters)[];
  const difference = Object.fromEntries(keys.map((key) => [key, after[key] - before[key]])) as unknown as Counters;
  if (!Number.isFinite(figure.value) || figure.value <= 0) throw new Error(`${workload.name} measured ${figure.value}`);
  const traffic = trafficBefore &&
    trafficAfter && {
      readBytes: trafficAfter.readBytes - trafficBefore.readBytes,
      writtenBytes: trafficAfter.writtenBytes - trafficBefore.writtenBytes,
    };
  return {
    value: round(figure.value),
    details: figure.details,
    counters: difference,
    ...(traffic ? { traffic } : {}),
  };
}

/**
 * Fills and recycles WAL segments, as a server has done that is not new: otherwise whoever may keep more WAL would
 * write every segment twice during the measurement, once to make it.
 */
export async function ageWal(scale: Scale, signal: AbortSignal): Promise<void> {
  await sql(
    signal,
    `DO $$ BEGIN FOR i IN 1..${scale.agedSegments} LOOP
       PERFORM pg_logical_emit_message(false, 'bench', 'x'); PERFORM pg_switch_wal();
     END LOOP; END $$;
     CHECKPOINT; CHECKPOINT;`,
  );
}
