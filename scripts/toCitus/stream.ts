/** How rows come to the Citus cluster: copied and followed into staging, copied on into Citus, then followed there too. */
import { setTimeout as sleep } from "node:timers/promises";
import {
  type KeyedTable,
  type SourceTable,
  appliersSql,
  copyStateSql,
  dropSlotSql,
  lagSql,
  fillOrder,
  publishSql,
  sourceTablesSql,
  stagingOf,
  stagingTablesSql,
  streamOf,
  subscribeSql,
  sumSql,
  triggersSql,
  unpublishSql,
} from "../../citus/moveSql.ts";
import { DATABASE } from "../../components/roles.ts";
import { dropSubscriptionSql } from "../../sharding/moveSql.ts";
import { EXIT, UserError } from "../../tuning/errors.ts";
import { currentPrimary } from "../lib/cluster.ts";
import { docker } from "../lib/docker.ts";
import { bytes } from "../lib/print.ts";
import type { Progress } from "../migrate/runner.ts";
import { type CitusPlaces, type Source, isReference, keyOf } from "./places.ts";

type Detail = Pick<Progress, "detail">;

export async function tablesOf(source: Source): Promise<KeyedTable[]> {
  const tables = JSON.parse((await source.ask(sourceTablesSql(source.tables))) || "[]") as SourceTable[];
  const without = tables.find(({ primaryKey }) => primaryKey === null);
  if (without) {
    throw new UserError(
      `table ${without.name} has no primary key: its changes cannot be followed`,
      "apply the schema: ./cgraph-db schema apply",
      EXIT.refused,
    );
  }
  const keyed = tables.flatMap(({ primaryKey, ...table }): KeyedTable[] =>
    primaryKey ? [{ ...table, primaryKey }] : [],
  );
  return fillOrder(keyed, isReference);
}

const hasStaging = async ({ name, node }: Source): Promise<boolean> =>
  (await node.ask(`SELECT count(*) FROM pg_database WHERE datname = '${stagingOf(name)}'`)) === "1";

/** Whether all of them have what is staged. */
export const areStaged = async ({ sources }: CitusPlaces): Promise<boolean> =>
  (await Promise.all(sources.map(hasStaging))).every(Boolean);

const hasSubscription = async ({ name, node }: Source): Promise<boolean> =>
  (await node.ask(`SELECT count(*) FROM pg_subscription WHERE subname = '${streamOf(name)}'`)) === "1";

/** Begins a source's copy into its staging database, whatever of it is there already. */
async function begin(source: Source, streamRole: string): Promise<void> {
  const { name, ask, node, staging, conninfo } = source;
  const tables = await tablesOf(source);
  if (!(await hasStaging(source))) await node.ask(`CREATE DATABASE ${stagingOf(name)}`, "postgres");
  if (await hasSubscription(source)) return;
  await ask(
    publishSql(
      tables.map((table) => table.name),
      streamRole,
    ),
  );
  // Of an earlier try whose subscription was never there.
  await ask(dropSlotSql(name));
  await staging(stagingTablesSql(tables));
  await staging(subscribeSql(name, conninfo));
}

/** Copies every source into staging; ends when all are copied and followed. */
export async function copyToStaging({ sources }: CitusPlaces, streamRole: string, progress: Detail): Promise<void> {
  for (const source of sources) await begin(source, streamRole);
  for (;;) {
    const states = await Promise.all(
      sources.map(async ({ name, staging }) => (await staging(copyStateSql(name))).split("|").map(Number)),
    );
    const sum = (index: number): number => states.reduce((total, state) => total + (state[index] ?? 0), 0);
    const [tables, copied, rows] = [sum(0), sum(1), sum(2)];
    progress.detail(`${copied} of ${tables} tables${rows > 0 ? `, ${rows} rows of those at work` : ""}`);
    if (tables > 0 && copied === tables) return;
    await sleep(500);
  }
}

/** Stops what fills staging, so that it stays as it is; what changes meanwhile waits at the source. */
export async function hold({ sources }: CitusPlaces): Promise<void> {
  await Promise.all(
    sources.map(async ({ name, staging }) => {
      await staging(`ALTER SUBSCRIPTION ${streamOf(name)} DISABLE`);
      for (const until = Date.now() + 60_000; (await staging(appliersSql(name))) !== "0"; await sleep(100)) {
        if (Date.now() > until)
          throw new UserError("a subscription does not stop", "see ./cgraph-db logs", EXIT.failed);
      }
    }),
  );
}

export async function goOn({ sources }: CitusPlaces): Promise<void> {
  await Promise.all(sources.map(({ name, staging }) => staging(`ALTER SUBSCRIPTION ${streamOf(name)} ENABLE`)));
}

/** A table of staging into Citus' of the same name, on the same node: whole or not at all. Gives how many rows it has. */
async function copyOn(
  { container, source }: { readonly container: string; readonly source: string },
  { name, columns }: SourceTable,
  again: boolean,
): Promise<number> {
  const list = columns.map((column) => `"${column.name}"`).join(", ");
  const copy = `COPY public.${name} (${list})`;
  // A try that was broken off may have come to its end: rows that are there already are left as they are.
  const into = again
    ? `CREATE TEMP TABLE again (LIKE public.${name}); COPY again (${list}) FROM STDIN; INSERT INTO public.${name} (${list}) SELECT ${list} FROM again ON CONFLICT DO NOTHING`
    : `${copy} FROM STDIN`;
  const psql = "psql -XAt -v ON_ERROR_STOP=1 --single-transaction";
  const script = `set -o pipefail; ${psql} -d ${stagingOf(source)} -c '${copy} TO STDOUT' | ${psql} -d ${DATABASE} ${into
    .split("; ")
    .map((statement) => `-c '${statement}'`)
    .join(" ")}`;
  const said = await docker(["exec", "--user", "postgres", container, "bash", "-c", script]);
  return Number(/^COPY (\d+)$/m.exec(said)?.[1] ?? 0);
}

/** What has been copied on, over all tries. */
export interface Filled {
  /** `SOURCE/TABLE` of those that are in Citus. */
  readonly done: readonly string[];
  readonly rows: number;
  readonly seconds: number;
}

/** Copies what is staged into Citus while it is held, and has what changes from then on go the same way. */
export async function fillCitus(
  places: CitusPlaces,
  before: Filled & { readonly begun: readonly string[] },
  progress: Progress,
): Promise<Filled> {
  const begun = new Set(before.begun);
  const done = new Set(before.done);
  let { rows } = before;
  const startedAt = Date.now();
  const filled = (): Filled => ({
    done: [...done],
    rows,
    seconds: before.seconds + (Date.now() - startedAt) / 1000,
  });
  await hold(places);
  for (const source of places.sources) {
    const tables = await tablesOf(source);
    const { container } = await currentPrimary(source.node.values);
    for (const table of tables) {
      const id = `${source.name}/${table.name}`;
      if (done.has(id)) continue;
      const again = begun.has(id);
      progress.remember({ begun: [...begun.add(id)] });
      progress.detail(`${table.name} of ${source.name}`);
      rows += await copyOn({ container, source: source.name }, table, again);
      done.add(id);
      progress.remember({ ...filled() });
    }
    await source.staging(`SET client_min_messages = warning; ${triggersSql(tables, keyOf)}`);
  }
  return filled();
}

interface Sum {
  rows: bigint;
  checksum: bigint;
}

const parse = (text: string): Sum => {
  const [rows = "0", checksum = "0"] = text.split("|");
  return { rows: BigInt(rows), checksum: BigInt(checksum) };
};

const total = (sums: readonly Sum[]): Sum =>
  sums.reduce((all, one) => ({ rows: all.rows + one.rows, checksum: all.checksum + one.checksum }), {
    ...{ rows: 0n, checksum: 0n },
  });

const said = ({ rows, checksum }: Sum): string => `${rows} rows, checksum ${checksum}`;

/** Tables that are compared at a time: to ask takes longer than most of them do. */
const AT_ONCE = 3;

/** Compares tables of several databases with what should be the same; gives how many rows that were. Throws where they differ. */
async function compare(
  names: readonly string[],
  one: (table: string) => Promise<readonly Sum[]>,
  other: (table: string) => Promise<readonly Sum[]>,
  words: { readonly one: string; readonly other: string },
  progress: Detail,
): Promise<number> {
  let rows = 0;
  const wrong: string[] = [];
  const queue = [...names];
  const work = async (): Promise<void> => {
    for (let name = queue.shift(); name !== undefined; name = queue.shift()) {
      progress.detail(name);
      const [a, b] = (await Promise.all([one(name), other(name)])).map(total) as [Sum, Sum];
      if (a.rows !== b.rows || a.checksum !== b.checksum) {
        wrong.push(`${name}: ${said(a)} in ${words.one}, ${said(b)} in ${words.other}`);
      }
      rows += Number(a.rows);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
  if (wrong.length === 0) return rows;
  throw new UserError(
    `the rows are not the same: ${wrong.join("; ")}`,
    "look at both before you go on: ./cgraph-db migrate --rollback takes the move back",
    EXIT.failed,
  );
}

const sumsAt =
  (sources: readonly Source[], tables: ReadonlyMap<string, SourceTable>, ask: (source: Source) => Source["ask"]) =>
  (name: string): Promise<Sum[]> =>
    Promise.all(
      sources
        .filter((source) => source.tables.includes(name))
        .map(async (source) => parse(await ask(source)(sumSql(tables.get(name) ?? missing(name))))),
    );
const missing = (name: string): never => {
  throw new Error(`table ${name} is not known`);
};

async function knownTables({ sources }: CitusPlaces): Promise<Map<string, SourceTable>> {
  const all = await Promise.all(sources.map(tablesOf));
  return new Map(all.flat().map((table) => [table.name, table]));
}

/** Whether Citus has what is staged, every row of every table: while both are held. */
export async function compareCitus(places: CitusPlaces, progress: Detail): Promise<number> {
  const tables = await knownTables(places);
  const citus = async (name: string): Promise<Sum[]> => [
    parse(await places.coordinator.ask(sumSql(tables.get(name) ?? missing(name)))),
  ];
  const staged = sumsAt(places.sources, tables, (source) => source.staging);
  return compare([...tables.keys()], staged, citus, { one: "what was copied", other: "the Citus cluster" }, progress);
}

/** Whether staging has what the sources have: when nobody writes there any more. */
export async function compareSources(places: CitusPlaces, progress: Detail): Promise<number> {
  const tables = await knownTables(places);
  const there = sumsAt(places.sources, tables, (source) => source.ask);
  const staged = sumsAt(places.sources, tables, (source) => source.staging);
  return compare(
    [...tables.keys()],
    there,
    staged,
    { one: "the databases before", other: "what was copied" },
    progress,
  );
}

/**
 * What is behind by less than this arrives while clients wait for a moment: each of its transactions is one over several nodes. Where
 * more is written than that at any time, four times as much.
 */
const NEAR_BYTES = 16 * 1024;
const NEAR_MS = 30_000;
const CATCH_UP_MS = 30 * 60_000;

/** Waits until the Citus cluster has nearly all that sources write. Throws where they write faster than it takes it. */
export async function catchUp({ sources }: CitusPlaces, progress: Detail): Promise<void> {
  const began = Date.now();
  for (const until = began + CATCH_UP_MS; ; await sleep(200)) {
    const lags = await Promise.all(sources.map(async ({ name, ask }) => Number(await ask(lagSql(name), "postgres"))));
    const behind = Math.max(0, ...lags);
    if (behind < (Date.now() - began < NEAR_MS ? NEAR_BYTES : 4 * NEAR_BYTES)) return;
    progress.detail(`${bytes(behind)} of WAL to go`);
    if (Date.now() < until) continue;
    throw new UserError(
      `the Citus cluster is still ${bytes(behind)} of WAL behind: more is written than it is told of in the same time`,
      "call --resume at an hour of fewer writes; clients go on as before",
      EXIT.failed,
    );
  }
}

/** Removes streams and staging, at both ends. */
export async function removeStreams({ sources }: CitusPlaces): Promise<void> {
  for (const source of sources) {
    if (await hasStaging(source)) {
      if (await hasSubscription(source)) {
        await source.staging(`${dropSubscriptionSql(streamOf(source.name)).join(";\n")};`);
      }
      await source.node.ask(`DROP DATABASE ${stagingOf(source.name)} WITH (FORCE)`, "postgres");
    }
    await source.ask(unpublishSql(source.name));
  }
}
