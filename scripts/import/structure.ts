/** What two databases have beside rows: columns, indexes, constraints, triggers, sequences. */
import { literal } from "../../components/sqlText.ts";
import { EXIT, UserError } from "../../tuning/errors.ts";
import { OTHER_SCHEMAS, QUALIFIED, TABLES, notOfExtension } from "./inspect.ts";
import type { Tools } from "./tools.ts";

/** Every column of every table with its type, one a line. */
const COLUMNS_SQL = `SELECT ${QUALIFIED} || '.' || quote_ident(a.attname) || ' ' || format_type(a.atttypid, a.atttypmod)
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

/** Tables, as what they are made of, one a line. */
export const structureSql = `${COLUMNS_SQL};\n${OBJECTS_SQL}`;

const SEQUENCES_SQL = `SELECT coalesce(json_agg(json_build_object('name', quote_ident(schemaname) || '.' || quote_ident(sequencename),
    'last', last_value::text, 'start', start_value::text) ORDER BY 1), '[]')
  FROM pg_sequences s JOIN pg_namespace n ON n.nspname = s.schemaname WHERE ${OTHER_SCHEMAS}`;

interface Sequence {
  readonly name: string;
  /** Null where it has never been used. */
  readonly last: string | null;
  readonly start: string;
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

const parse = (json: string): Sequence[] => JSON.parse(json) as Sequence[];
const lines = (all: readonly Sequence[]): string =>
  all.map(({ name, last }) => `sequence ${name} at ${last}`).join("\n");

/** What two sides' sequences differ in. */
export const sequenceDifferences = async (tools: Tools): Promise<string[]> =>
  differences(lines(parse(await tools.onSource(SEQUENCES_SQL))), lines(parse(await tools.onTarget(SEQUENCES_SQL))));

/**
 * Gives the target's sequences the source's values, since logical replication leaves them alone, and looks whether they
 * have them. Gives how many.
 */
export async function syncSequences(tools: Tools): Promise<number> {
  const there = parse(await tools.onSource(SEQUENCES_SQL));
  const set = there.map(({ name, last, start }) =>
    last === null
      ? `SELECT setval(${literal(name)}, ${start}, false) \\g /dev/null`
      : `SELECT setval(${literal(name)}, ${last}, true) \\g /dev/null`,
  );
  const here = parse(await tools.onTarget([...set, `${SEQUENCES_SQL};`].join("\n")));
  const wrong = differences(lines(there), lines(here));
  if (wrong.length > 0) {
    throw new UserError(
      `sequences differ: ${wrong.slice(0, 5).join(", ")}`,
      "./cgraph-db import --resume tries it again, --rollback takes the import back",
      EXIT.failed,
    );
  }
  return there.length;
}
