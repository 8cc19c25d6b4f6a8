/** Filling a Citus cluster from what a move has staged, beside COPY of the same rows from files. */
import { ChatLoad } from "./chatLoad.ts";
import type { Report } from "./report.ts";
import { asOwner, withStack } from "./stack.ts";
import { DATABASE } from "../components/roles.ts";
import { currentPrimary } from "../scripts/lib/cluster.ts";
import { docker } from "../scripts/lib/docker.ts";
import { wholeSchema } from "../scripts/lib/schemaParts.ts";
import { openStack, stackValues } from "../scripts/lib/stack.ts";
import { type CitusPlaces, type Source, citusPlaces } from "../scripts/toCitus/places.ts";
import { fillCitus, tablesOf } from "../scripts/toCitus/stream.ts";
import { citusBase } from "../test/support/citusBase.ts";
import { cgraphOk } from "../test/support/cli.ts";
import { UserError } from "../tuning/errors.ts";

export interface FillOptions {
  readonly runs: number;
  readonly messages: number;
  readonly onProgress: (text: string) => void;
}

const CONFIG = {
  ...{ workers: "2", shardCount: "16", replicas: "1", poolers: "1", maxConnections: "100" },
  ...{ cacheMemoryMiB: "64", messagesPremakeMonths: "1" },
};
const PLAIN = "cgraph_plain";
const FILES = "/tmp/cgraph-fill";

const secondsOf = async (work: () => Promise<unknown>): Promise<number> => {
  const began = performance.now();
  await work();
  return (performance.now() - began) / 1000;
};

interface Round {
  readonly rows: number;
  readonly fillSeconds: number;
  readonly copySeconds: number;
  readonly plainSeconds: number;
}

interface Ways {
  readonly places: CitusPlaces;
  readonly source: Source;
  readonly container: string;
  readonly tables: readonly { readonly name: string; readonly list: string }[];
}

/** A file of each table, and a database whose tables are PostgreSQL's own, with the same indexes. */
async function prepare(places: CitusPlaces): Promise<Ways> {
  const [source] = places.sources;
  if (!source) throw new Error("a move has a source");
  const { container } = await currentPrimary(source.node.values);
  const schema = wholeSchema()
    .map(({ sql }) => sql)
    .join("\n");
  // What others refer to comes first, as the schema has it.
  const place = (name: string): number => schema.indexOf(`CREATE TABLE IF NOT EXISTS ${name} `);
  const tables = (await tablesOf(source))
    .map(({ name, columns }) => ({ name, list: columns.map((column) => `"${column.name}"`).join(", ") }))
    .sort((a, b) => place(a.name) - place(b.name));
  await docker(["exec", "--user", "postgres", container, "mkdir", "-p", FILES]);
  for (const { name, list } of tables) {
    await source.staging(`COPY public.${name} (${list}) TO '${FILES}/${name}'`);
  }
  await source.node.ask(`CREATE DATABASE ${PLAIN}`, "postgres");
  await source.node.ask(schema, PLAIN);
  return { places, source, container, tables };
}

/** COPY of every file, each in a transaction of its own, as pg_restore does it. */
const copyInto = ({ source, tables }: Ways, database: string): Promise<string> =>
  source.node.ask(
    tables.map(({ name, list }) => `COPY public.${name} (${list}) FROM '${FILES}/${name}';`).join("\n"),
    database,
  );

const empty = ({ source, tables }: Ways, database: string): Promise<string> =>
  source.node.ask(
    `SET client_min_messages = warning; TRUNCATE ${tables.map(({ name }) => `public.${name}`).join(", ")} CASCADE;`,
    database,
  );

/** Each way once, into empty tables. */
async function measure(ways: Ways): Promise<Round> {
  const copySeconds = await secondsOf(() => copyInto(ways, DATABASE));
  await empty(ways, DATABASE);
  const plainSeconds = await secondsOf(() => copyInto(ways, PLAIN));
  await empty(ways, PLAIN);
  const nothing = { begun: [], done: [], rows: 0, seconds: 0 };
  const quiet = { detail: () => undefined, remember: () => undefined };
  const { rows, seconds: fillSeconds } = await fillCitus(ways.places, nothing, quiet);
  await empty(ways, DATABASE);
  return { rows, fillSeconds, copySeconds, plainSeconds };
}

/** `bench fill`: rows a second into a Citus cluster, by a move and by COPY, and by COPY into PostgreSQL's own tables. */
export async function benchFill({ runs, messages, onProgress }: FillOptions): Promise<Report> {
  const found = await citusBase();
  if ("missing" in found)
    throw new UserError(`there is no Citus: ${found.missing}`, "see docs/citus.md, How to get Citus");
  const config = { ...CONFIG, ...found };
  const rounds = await withStack({ stage: 3, config }, async (stack) => {
    await cgraphOk("schema", "apply", "--stack", stack.name);
    await cgraphOk("partitions", "convert", "--drop-old", "--yes", "--stack", stack.name);
    await asOwner(stack, (client) => client.query(ChatLoad.seedSql(messages)));
    await cgraphOk("migrate", "--stack", stack.name, "--yes", "--stage", "5", "--pause-after", "5:copy");
    const ways = await prepare(citusPlaces(await stackValues(await openStack(stack.name))));
    const all: Round[] = [];
    for (let run = 1; run <= runs; run++) {
      const round = await measure(ways);
      all.push(round);
      const told = Object.entries(round).map(([key, value]) => `${key} ${Math.round(Number(value) * 10) / 10}`);
      onProgress(`round ${run}: ${told.join(", ")}`);
    }
    return all;
  });
  const rate = (of: (round: Round) => number): number[] => rounds.map((round) => round.rows / of(round));
  return {
    name: "fill",
    title: "A Citus cluster is filled with what a move has staged",
    date: new Date().toISOString(),
    method: [
      `A coordinator and two workers, each with a standby, on one machine, ${CONFIG.shardCount} shards, messages by month; indexes are there before the rows come, in every way. COPY reads files on the coordinator, one table after the other; the move reads its staging database there, and ends with the triggers that follow it.`,
      "PostgreSQL's own tables: one database on the coordinator, the same tables and indexes, messages in one table.",
    ],
    panels: [
      {
        title: "Rows a second, indexes included",
        unit: "rows/s",
        groups: [
          {
            title: `${messages} messages`,
            series: [
              { name: "move (fill)", values: rate(({ fillSeconds }) => fillSeconds) },
              { name: "COPY into Citus", values: rate(({ copySeconds }) => copySeconds) },
              { name: "COPY into plain tables", values: rate(({ plainSeconds }) => plainSeconds) },
            ],
          },
        ],
      },
    ],
    facts: { rounds },
  };
}
