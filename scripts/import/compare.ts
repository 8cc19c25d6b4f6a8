/** Whether two databases hold the same: columns, rows, indexes, sequences. */
import { literal } from "../../components/sqlText.ts";
import { EXIT, UserError } from "../../tuning/errors.ts";
import type { Progress } from "../migrate/runner.ts";
import { bytes } from "../lib/print.ts";
import { OTHER_SCHEMAS, QUALIFIED, TABLES, notOfExtension } from "./inspect.ts";
import type { Tools } from "./tools.ts";

/** Every column of every table with its type, one a line. */
export const columnsSql = `SELECT ${QUALIFIED} || '.' || quote_ident(a.attname) || ' ' || format_type(a.atttypid, a.atttypmod)
    || CASE WHEN a.attnotnull THEN ' NOT NULL' ELSE '' END
  FROM ${TABLES.replace(" WHERE ", " JOIN pg_attribute a ON a.attrelid = c.oid WHERE a.attnum > 0 AND NOT a.attisdropped AND ")} ORDER BY 1`;

/** Every index, constraint and trigger by name, one a line. */
const OBJECTS_SQL = `SELECT 'index ' || quote_ident(n.nspname) || '.' || quote_ident(c.relname) FROM pg_class c
    JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_index i ON i.indexrelid = c.oid
    WHERE i.indisvalid AND ${OTHER_SCHEMAS} AND ${notOfExtension("pg_class", "c.oid")} AND ${notOfExtension("pg_class", "i.indrelid")}
  UNION ALL SELECT 'constraint ' || quote_ident(k.conname) || ' of ' || ${QUALIFIED} FROM pg_constraint k
    JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE k.contype IN ('c', 'f', 'p', 'u', 'x') AND k.convalidated AND ${OTHER_SCHEMAS} AND ${notOfExtension("pg_class", "c.oid")}
  UNION ALL SELECT 'trigger ' || quote_ident(t.tgname) || ' of ' || ${QUALIFIED} FROM pg_trigger t
    JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE NOT t.tgisinternal AND ${OTHER_SCHEMAS} AND ${notOfExtension("pg_class", "c.oid")} ORDER BY 1`;

const SEQUENCES_SQL = `SELECT coalesce(json_agg(json_build_object('name', quote_ident(schemaname) || '.' || quote_ident(sequencename),
    'last', last_value::text, 'start', start_value::text) ORDER BY 1), '[]')
  FROM pg_sequences s JOIN pg_namespace n ON n.nspname = s.schemaname WHERE ${OTHER_SCHEMAS}`;

interface Sequence {
  readonly name: string;
  /** Null where it has never been used. */
  readonly last: string | null;
  readonly start: string;
}

const sequences = async (ask: (sql: string) => Promise<string>): Promise<Sequence[]> =>
  JSON.parse(await ask(SEQUENCES_SQL)) as Sequence[];

/** Gives the target's sequences the source's values: logical replication leaves them alone. Gives how many. */
export async function syncSequences(tools: Tools): Promise<number> {
  const all = await sequences((sql) => tools.onSource(sql));
  const set = all.map(({ name, last, start }) =>
    last === null
      ? `SELECT setval(${literal(name)}, ${start}, false)`
      : `SELECT setval(${literal(name)}, ${last}, true)`,
  );
  if (set.length > 0) await tools.onTarget(`${set.join(";\n")};`);
  return all.length;
}

/** Lines that only one of two texts has, marked by where they are. */
export function differences(source: string, target: string): string[] {
  const [there, here] = [source, target].map((text) => new Set(text.split("\n").filter((line) => line !== ""))) as [
    Set<string>,
    Set<string>,
  ];
  return [
    ...[...there].filter((line) => !here.has(line)).map((line) => `${line} (only on the source)`),
    ...[...here].filter((line) => !there.has(line)).map((line) => `${line} (only in the stack)`),
  ];
}

interface Table {
  /** Quoted, with its schema. */
  readonly name: string;
  /** Quoted. Not generated ones: they follow from the others, and from the server's own rules for letters. */
  readonly columns: readonly string[];
  readonly bytes: number;
}

const LIST_SQL = `SELECT coalesce(json_agg(json_build_object('name', ${QUALIFIED}, 'bytes', pg_table_size(c.oid),
    'columns', (SELECT coalesce(json_agg(quote_ident(a.attname) ORDER BY a.attnum), '[]') FROM pg_attribute a
      WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''))
    ORDER BY pg_table_size(c.oid) DESC), '[]') FROM ${TABLES}`;

/** Rows and a checksum of all their text, whatever their order. */
export const checksumSql = ({ name, columns }: Pick<Table, "name" | "columns">): string =>
  `SELECT count(*) || ' rows, checksum '
     || coalesce(sum(hashtextextended(ROW(${columns.map((column) => `t.${column}`).join(", ")})::text COLLATE "C", 0)::numeric), 0)
   FROM ${name} t`;

/** Small tables are read together: a call takes longer than they do. Large ones come first, alone. */
export function batches<T extends Pick<Table, "bytes">>(tables: readonly T[], most = BATCH): T[][] {
  const made: T[][] = [];
  let [size, current] = [0, [] as T[]];
  for (const table of tables) {
    if (current.length > 0 && (size + table.bytes > most.bytes || current.length >= most.tables)) {
      made.push(current);
      [size, current] = [0, []];
    }
    current.push(table);
    size += table.bytes;
  }
  return current.length > 0 ? [...made, current] : made;
}

export interface Verified {
  readonly tables: number;
  readonly rows: number;
  readonly bytes: number;
  readonly sequences: number;
}

/** How many tables are read at a time, on either side. */
const AT_ONCE = 2;
const BATCH = { bytes: 32 * 1024 * 1024, tables: 200 };

/** Compares everything. Throws a UserError with what differs. */
export async function verify(tools: Tools, progress: Progress): Promise<Verified> {
  const both = async (sql: string): Promise<[string, string]> =>
    Promise.all([tools.onSource(sql), tools.onTarget(sql)]);
  const [list, columns, objects, largeObjects] = await Promise.all([
    tools.onSource(LIST_SQL),
    both(columnsSql),
    both(OBJECTS_SQL),
    both("SELECT count(*) FROM pg_largeobject_metadata"),
  ]);
  const tables = JSON.parse(list) as Table[];
  const wrong = [...differences(...columns), ...differences(...objects)];
  const total = tables.reduce((sum, table) => sum + table.bytes, 0);
  const isMissing = (table: Table): boolean =>
    wrong.some((line) => line.startsWith(`${table.name}.`) && line.endsWith("source)"));
  let [done, rows] = [0, 0];
  const queue = batches(tables.filter((table) => !isMissing(table)));
  const work = async (): Promise<void> => {
    for (let batch = queue.shift(); batch; batch = queue.shift()) {
      progress.detail(`${bytes(done)} of ${bytes(total)}`);
      const results = await both(batch.map(checksumSql).join(";\n"));
      const [there = [], here = []] = results.map((text) => text.split("\n"));
      batch.forEach(({ name, bytes: size }, index) => {
        if (there[index] !== here[index])
          wrong.push(`${name}: ${there[index]} on the source, ${here[index]} in the stack`);
        rows += Number(there[index]?.split(" ")[0]);
        done += size;
      });
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
  const [there, here] = await Promise.all([
    sequences((sql) => tools.onSource(sql)),
    sequences((sql) => tools.onTarget(sql)),
  ]);
  const lines = (all: readonly Sequence[]): string =>
    all.map(({ name, last }) => `sequence ${name} at ${last}`).join("\n");
  wrong.push(...differences(lines(there), lines(here)));
  if (largeObjects[0] !== largeObjects[1]) {
    wrong.push(`${largeObjects[0]} large objects on the source, ${largeObjects[1]} in the stack`);
  }
  if (wrong.length > 0) {
    throw new UserError(
      `source and stack differ:\n  ${wrong.slice(0, 20).join("\n  ")}${wrong.length > 20 ? `\n  and ${wrong.length - 20} more` : ""}`,
      "nothing is lost, the source has everything: ./cgraph-db import --rollback takes the import back",
      EXIT.failed,
    );
  }
  return { tables: tables.length, rows, bytes: total, sequences: there.length };
}
