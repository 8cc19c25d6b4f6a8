/** Makes Citus tables of schema/'s tables, as far as they are none yet. */
import type { Client } from "pg";
import { EXIT, UserError } from "../tuning/errors.ts";
import {
  FACTS_SQL,
  type TableFacts,
  addForeignKeysSql,
  distributeSql,
  dropForeignKeysSql,
  primaryKeySql,
} from "./distributeSql.ts";
import { type CitusTable, citusTables } from "./tables.ts";

export async function tableFacts(client: Client): Promise<TableFacts[]> {
  const { rows } = await client.query<{ facts: TableFacts }>(FACTS_SQL);
  return rows.map(({ facts }) => facts);
}

const factsOf = (facts: readonly TableFacts[], { name }: CitusTable): TableFacts => {
  const found = facts.find((one) => one.name === name);
  if (found) return found;
  throw new UserError(
    `table ${name} is not there, which is to be distributed`,
    "apply the schema first: ./cgraph-db schema apply",
    EXIT.refused,
  );
};

/** What a table is to be, in a person's words. */
const placeOf = ({ distributedBy }: Pick<CitusTable, "distributedBy">): string =>
  distributedBy === null ? "a reference table" : `distributed by ${distributedBy}`;

/**
 * Refuses tables that cannot become what they are to be: without their distribution column, or distributed in another way
 * already.
 */
export function checkTables(tables: readonly CitusTable[], facts: readonly TableFacts[]): void {
  for (const table of tables) {
    const { columns, kind, distributedBy } = factsOf(facts, table);
    if (table.distributedBy !== null && !columns.includes(table.distributedBy)) {
      throw new UserError(
        `table ${table.name} has no column ${table.distributedBy}, by which it is to be distributed`,
        `add the column, with a value in every row, or rename it back: it has ${columns.join(", ")}`,
        EXIT.refused,
      );
    }
    const made = kind === "distributed" || kind === "reference";
    if (made && distributedBy !== table.distributedBy) {
      throw new UserError(
        `table ${table.name} is ${placeOf({ distributedBy })}, and should be ${placeOf(table)}`,
        `change it while little is written: SELECT undistribute_table('${table.name}'), then ./cgraph-db schema apply`,
        EXIT.refused,
      );
    }
  }
}

/** Tables that are on the coordinator alone, though not ours: nobody has said where their rows belong. */
export const localTables = (tables: readonly CitusTable[], facts: readonly TableFacts[]): string[] =>
  facts
    .filter(({ name, kind }) => kind !== "distributed" && kind !== "reference" && !tables.some((t) => t.name === name))
    .map(({ name }) => name);

/**
 * Distributes what is not distributed yet, rows and all; `client` is the tables' owner, on the coordinator. While a table
 * that holds rows is distributed, writes to it wait. Broken off, it goes on where it was when it is called again.
 */
export async function distributeTables(
  client: Client,
  shardCount: number,
  progress: (what: string) => void,
): Promise<TableFacts[]> {
  const tables = citusTables();
  const before = await tableFacts(client);
  checkTables(tables, before);
  // Citus says much about tables that it takes along by their foreign keys, of which there are none a moment later.
  await client.query("SET client_min_messages = warning");
  const todo = tables.filter((table) => !["distributed", "reference"].includes(factsOf(before, table).kind ?? ""));
  const foreign = before.filter(({ name, foreignKeys }) =>
    todo.some((table) => table.name === name || foreignKeys.some(({ references }) => references === table.name)),
  );
  for (const sql of foreign.flatMap(dropForeignKeysSql)) await client.query(sql);
  for (const table of todo) {
    progress(`${table.name}: ${placeOf(table)}`);
    for (const sql of primaryKeySql(table, factsOf(before, table))) await client.query(sql);
    await client.query(distributeSql(table, shardCount));
  }
  const after = await tableFacts(client);
  for (const table of tables) {
    for (const sql of addForeignKeysSql(table, factsOf(after, table))) {
      progress(`${table.name}: foreign keys`);
      await client.query(sql);
    }
  }
  return after;
}
