/** Whether two databases hold the same. */
import { checksumSql } from "../../components/sqlText.ts";
import { EXIT, UserError } from "../../tuning/errors.ts";
import { bytes } from "../lib/print.ts";
import type { Progress } from "../migrate/runner.ts";
import { QUALIFIED, TABLES } from "./inspect.ts";
import { at } from "./snapshots.ts";
import { differences, sequenceDifferences, structureSql } from "./structure.ts";
import type { Tools } from "./tools.ts";

interface Table {
  /** Quoted, with its schema. */
  readonly name: string;
  /** Quoted. Not generated ones: they follow from the others, and from the server's own rules for letters. */
  readonly columns: readonly string[];
  readonly bytes: number;
}

/** All tables, the largest first, and how the database encodes text. */
const LIST_SQL = `SELECT json_build_object('encoding', getdatabaseencoding(), 'tables', coalesce(json_agg(json_build_object('name', ${QUALIFIED}, 'bytes', pg_table_size(c.oid),
    'columns', (SELECT coalesce(json_agg(quote_ident(a.attname) ORDER BY a.attnum), '[]') FROM pg_attribute a
      WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''))
    ORDER BY pg_table_size(c.oid) DESC), '[]')) FROM ${TABLES}`;

/**
 * Tables of a snapshot that have been dropped, emptied or rewritten since, one a line: it no longer shows what they held.
 * A snapshot's own pg_class has the file of its moment, the function that of now.
 */
const REWRITTEN_SQL = `SELECT ${QUALIFIED} FROM ${TABLES} AND c.relfilenode IS DISTINCT FROM pg_relation_filenode(c.oid)`;

/** Rows and a checksum of all their text, whatever their order. A hash is of bytes: text of another encoding is made UTF8 first. */
function rowsSql({ name, columns }: Table, encoding: string): string {
  const sum = checksumSql(
    columns.map((column) => `t.${column}`),
    (row) => (encoding === "UTF8" ? row : `md5(convert_to(${row}, 'UTF8'))`),
  );
  return `SELECT count(*) || ' rows, checksum ' || coalesce(${sum}, 0) FROM ${name} t`;
}

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

/** How many tables are read at a time, on either side. */
const AT_ONCE = 2;
const BATCH = { bytes: 32 * 1024 * 1024, tables: 200 };

/** The snapshots to read at; a side without one is read as it is now. */
export interface Moment {
  readonly source?: string | undefined;
  readonly target?: string | undefined;
}

export interface Compared {
  readonly tables: number;
  readonly rows: number;
  readonly bytes: number;
  readonly differences: readonly string[];
  /** Tables that could not be compared, since the target's clients have emptied, rewritten or dropped them. */
  readonly rewritten: readonly string[];
}

/** Compares the rows of all tables that the source has, but for those that `leaveOut` names. */
export async function compareRows(
  tools: Tools,
  progress: Progress,
  moment: Moment,
  leaveOut: (name: string) => boolean = () => false,
): Promise<Compared> {
  const { encoding, tables } = JSON.parse(await tools.onSource(LIST_SQL)) as { encoding: string; tables: Table[] };
  const total = tables.reduce((sum, table) => sum + table.bytes, 0);
  const wrong = new Map<string, string>();
  let [done, rows] = [0, 0];
  const queue = batches(tables.filter(({ name }) => !leaveOut(name)));
  const rewritten = async (): Promise<Set<string>> =>
    new Set(
      moment.target === undefined
        ? []
        : (await tools.onTarget(at(moment.target, REWRITTEN_SQL))).split("\n").filter(Boolean),
    );
  const read = async (batch: readonly Table[]): Promise<void> => {
    const sql = batch.map((table) => rowsSql(table, encoding)).join(";\n");
    const answers = await Promise.all([
      tools.onSource(at(moment.source, sql)),
      tools.onTarget(at(moment.target, sql)),
    ]).catch(async (error: unknown) => {
      const gone = await rewritten();
      const left = batch.filter(({ name }) => !gone.has(name));
      if (left.length === batch.length) throw error;
      if (left.length > 0) queue.push(left);
    });
    if (!answers) return;
    const [there = [], here = []] = answers.map((text) => text.split("\n"));
    batch.forEach(({ name, bytes: size }, index) => {
      if (there[index] !== here[index])
        wrong.set(name, `${name}: ${there[index]} on the source, ${here[index]} in the stack`);
      rows += Number(there[index]?.split(" ")[0]);
      done += size;
    });
  };
  const work = async (): Promise<void> => {
    for (let batch = queue.shift(); batch; batch = queue.shift()) {
      progress.detail(`${bytes(done)} of ${bytes(total)}`);
      await read(batch);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
  const gone = await rewritten();
  return {
    tables: tables.length,
    rows,
    bytes: total,
    differences: [...wrong].filter(([name]) => !gone.has(name)).map(([, text]) => text),
    rewritten: tables.map(({ name }) => name).filter((name) => gone.has(name)),
  };
}

const NAMES_SQL = `SELECT ${QUALIFIED} FROM ${TABLES}`;

/**
 * Compares the source, which is read only, with the target's snapshot of the moment at which the last change of the source
 * was there and no client had been let in yet. Whoever has written to the source in spite of it shows too.
 */
export async function recheck(tools: Tools, progress: Progress, snapshot: string): Promise<Compared> {
  const here = new Set((await tools.onTarget(at(snapshot, NAMES_SQL))).split("\n"));
  const missing = (await tools.onSource(NAMES_SQL)).split("\n").filter((name) => name !== "" && !here.has(name));
  const compared = await compareRows(tools, progress, { target: snapshot }, (name) => missing.includes(name));
  const lines = missing.map((name) => `${name} (only on the source)`);
  return { ...compared, differences: [...lines, ...compared.differences] };
}

export const listed = (lines: readonly string[]): string =>
  `${lines.slice(0, 20).join("\n  ")}${lines.length > 20 ? `\n  and ${lines.length - 20} more` : ""}`;

/**
 * Compares everything that has been copied, before any client is let in. Throws a UserError with what differs.
 *
 * A source that goes on is read at `snapshot`, of which the copy was made; its sequences then go on too, and are left out.
 * Without a snapshot it must be read only, unless `rows` is false: then only what tables are made of is compared.
 */
export async function verify(
  tools: Tools,
  progress: Progress,
  { follow, snapshot }: { readonly follow: boolean; readonly snapshot: string | undefined },
): Promise<Pick<Compared, "tables" | "rows" | "bytes">> {
  const both = async (sql: string): Promise<[string, string]> =>
    Promise.all([tools.onSource(sql), tools.onTarget(sql)]);
  const wrong = differences(...(await both(structureSql)));
  const isMissing = (name: string): boolean =>
    wrong.some((line) => line.startsWith(`${name}.`) && line.endsWith("source)"));
  const compared =
    follow && snapshot === undefined ? undefined : await compareRows(tools, progress, { source: snapshot }, isMissing);
  wrong.push(...(compared?.differences ?? []));
  if (!follow) {
    wrong.push(...(await sequenceDifferences(tools)));
    const [there, here] = await both("SELECT count(*) FROM pg_largeobject_metadata");
    if (there !== here) wrong.push(`${there} large objects on the source, ${here} in the stack`);
  }
  if (wrong.length > 0) {
    throw new UserError(
      `source and stack differ:\n  ${listed(wrong)}`,
      "nothing is lost, the source has everything: ./cgraph-db import --rollback takes the import back",
      EXIT.failed,
    );
  }
  const { tables = 0, rows = 0, bytes: size = 0 } = compared ?? {};
  return { tables, rows, bytes: size };
}
