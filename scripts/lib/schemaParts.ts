/** The SQL of a stack's databases, in the order in which it is applied. */
import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import type { Client } from "pg";
import { globalPublicationSql, shardTablesSql } from "../../sharding/shardSql.ts";
import { ROOT } from "./paths.ts";

/** A piece of SQL that is applied whole or not at all, with the name that people know it by. */
export interface SchemaPart {
  readonly name: string;
  readonly sql: string;
}

const FOLDER = join(ROOT, "schema");
const part = (name: string): SchemaPart => ({ name, sql: readFileSync(join(FOLDER, name), "utf8") });
const numbered = (folder: string): string[] =>
  readdirSync(join(FOLDER, folder))
    .filter((file) => /^\d+.*\.sql$/.test(file))
    .sort();

/** CGraph's tables in one database: stages 1 to 3, and what a shard begins with. */
export const wholeSchema = (): SchemaPart[] => numbered(".").map(part);

/** The global database: the global tables, the shard map, the directory, the publication for the shards. */
export const globalSchema = (): SchemaPart[] => [
  part("005_global.sql"),
  part("sharding/010_functions.sql"),
  part("sharding/020_global.sql"),
  { name: "publication of the global tables", sql: globalPublicationSql() },
];

/** What a shard has beside its tables: placement of ids, which buckets are its own, the refusal of others' rows. */
export const shardFunctions = (): SchemaPart[] => [part("sharding/010_functions.sql"), part("sharding/030_shard.sql")];

/** What turns the tables into a shard's: the shard key in their keys, the refusal of other shards' rows. */
export const shardParts = (): SchemaPart[] => [
  ...shardFunctions(),
  { name: "keys and triggers of the sharded tables", sql: shardTablesSql() },
];

/** A shard: all tables, with the shard key in their keys and refusing rows of other shards. */
export const shardSchema = (): SchemaPart[] => [...wholeSchema(), ...shardParts()];

/** Any number that nobody else uses: two `schema apply` at once take turns. */
const ADVISORY_LOCK = 7_239_410_551;

/**
 * The statements of a text, apart: comments, quoted text and bodies in dollar quotes may have semicolons in them. Of what SQL
 * allows, escapes in E'' strings and nested comments are not understood: schema/ has none.
 */
export const statementsOf = (sql: string): string[] =>
  sql
    .match(/(?:--[^\n]*|\/\*[\s\S]*?\*\/|'[^']*'|"[^"]*"|(\$\w*\$)[\s\S]*?\1|[^;])+/g)
    ?.map((statement) => statement.trim())
    .filter((statement) => statement.replace(/--[^\n]*/g, "").trim() !== "") ?? [];

/** How a part is applied: whole or not at all. */
type Apply = (client: Client, sql: string) => Promise<unknown>;

/** Several statements in one query run as one transaction. */
const atOnce: Apply = (client, sql) => client.query(sql);

/** One at a time, as Citus takes statements that it passes on to other nodes. */
export const oneByOne: Apply = async (client, sql) => {
  await client.query("BEGIN");
  for (const statement of statementsOf(sql)) await client.query(statement);
  await client.query("COMMIT");
};

/** Applies parts in turn; `progress` is told each one's name. */
export async function applyParts(
  client: Client,
  parts: readonly SchemaPart[],
  progress: (part: string) => void,
  apply = atOnce,
): Promise<void> {
  await client.query("SELECT pg_advisory_lock($1)", [ADVISORY_LOCK]);
  for (const { name, sql } of parts) {
    progress(name);
    await apply(client, sql);
  }
}
