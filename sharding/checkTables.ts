/** Refuses tables that cannot be sharded as they are said to be. Pure; the facts come from FACTS_SQL. */
import { EXIT, UserError } from "../tuning/errors.ts";
import type { TablePlacement } from "./tables.ts";

/** A table as a database has it. */
export interface TableFacts {
  readonly name: string;
  /** Type by column. */
  readonly columns: Readonly<Record<string, string>>;
  readonly primaryKey: readonly string[];
  readonly foreignKeys: readonly { readonly columns: readonly string[]; readonly references: string }[];
}

/** One row with one column `facts`: every table of the schema public as TableFacts; partitions and extensions' left out. */
export const FACTS_SQL = `SELECT coalesce(json_agg(json_build_object(
    'name', c.relname,
    'columns', (SELECT json_object_agg(a.attname, format_type(a.atttypid, a.atttypmod)) FROM pg_attribute a
      WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped),
    'primaryKey', coalesce((SELECT json_agg(a.attname ORDER BY k.place) FROM pg_constraint p,
      unnest(p.conkey) WITH ORDINALITY k (number, place), pg_attribute a
      WHERE p.conrelid = c.oid AND p.contype = 'p' AND a.attrelid = c.oid AND a.attnum = k.number), '[]'),
    'foreignKeys', coalesce((SELECT json_agg(json_build_object('references', f.confrelid::regclass::text,
        'columns', (SELECT json_agg(a.attname ORDER BY k.place) FROM unnest(f.conkey) WITH ORDINALITY k (number, place),
          pg_attribute a WHERE a.attrelid = c.oid AND a.attnum = k.number)))
      FROM pg_constraint f WHERE f.conrelid = c.oid AND f.contype = 'f' AND f.conparentid = 0), '[]')
  ) ORDER BY c.relname), '[]') AS facts
FROM pg_class c
WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
  AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')`;

const same = (a: readonly string[], b: readonly string[]): boolean => a.join() === b.join();

/** What is wrong with one table's placement, in words; nothing: an empty list. */
function problemsOf(table: TablePlacement, tables: readonly TablePlacement[], facts: TableFacts | undefined): string[] {
  const { name, shardKey, primaryKey } = table;
  const problems: string[] = [];
  if (shardKey !== null && !primaryKey.includes(shardKey)) {
    problems.push(`${name}: its primary key (${primaryKey.join(", ")}) lacks the shard key ${shardKey}`);
  }
  for (const { columns, references, kept } of table.foreignKeys) {
    const target = tables.find((one) => one.name === references);
    if (!target) problems.push(`${name} (${columns.join(", ")}): refers to ${references}, which has no placement`);
    else if (kept.as === "local" && target.shardKey !== null) {
      // What it refers to is on the same shard only where both are placed by the same id.
      const sameShard = shardKey !== null && same(columns, [shardKey]) && same(target.primaryKey, [target.shardKey]);
      if (!sameShard) problems.push(`${name} (${columns.join(", ")}): a foreign key to ${references} crosses shards`);
    }
  }
  if (!facts) return [...problems, `${name}: the database has no such table`];
  if (shardKey !== null) {
    const type = facts.columns[shardKey];
    if (type === undefined) problems.push(`${name}: lacks the shard key's column ${shardKey}`);
    else if (type !== "uuid") problems.push(`${name}: the shard key ${shardKey} is of type ${type}, not uuid`);
  }
  for (const { columns, references } of facts.foreignKeys) {
    const placed = table.foreignKeys.some((key) => key.references === references && same(key.columns, columns));
    if (!placed)
      problems.push(`${name} (${columns.join(", ")}): nothing says what becomes of the foreign key to ${references}`);
  }
  return problems;
}

/**
 * Refuses where a table has no placement, lacks its shard key, or has a foreign key that would cross shards. Throws a
 * UserError that names each.
 */
export function checkTables(tables: readonly TablePlacement[], facts: readonly TableFacts[]): void {
  const problems = [
    ...tables.flatMap((table) =>
      problemsOf(
        table,
        tables,
        facts.find(({ name }) => name === table.name),
      ),
    ),
    ...facts
      .filter(({ name }) => !tables.some((table) => table.name === name))
      .map(({ name }) => `${name}: a table without a shard key, and not one of the global ones`),
  ];
  if (problems.length === 0) return;
  throw new UserError(
    `these tables cannot be sharded as they are:\n  ${problems.join("\n  ")}`,
    "say in sharding/tables.ts where each table's rows are, or change the table",
    EXIT.refused,
  );
}
