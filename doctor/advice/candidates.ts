/** Indexes that could serve a read of a table, from its conditions. Pure; whether one is worth it is for a proof to say. */
import { identifier } from "../../components/sqlText.ts";
import type { Predicate } from "../statements/predicates.ts";
import type { TableRead } from "../statements/reads.ts";
import type { TableColumn, TableIndex, TableScanRow } from "./tables.ts";

/** A column, or an expression, of an index. */
export interface IndexPart {
  readonly column: string;
  /** `lower`; undefined: the column itself. */
  readonly call: string | undefined;
  readonly descending: boolean;
}

export interface Candidate {
  readonly table: TableScanRow;
  readonly parts: readonly IndexPart[];
  /** Columns that are null in each row that it holds. */
  readonly nulls: readonly string[];
  /** Whether an index there begins with one of its columns, or a join alone asks for it: only a proof can say more. */
  readonly partlyServed: boolean;
}

/** More columns make an index larger and hardly ever more selective. */
const MOST_EQUAL = 3;
/** Types that a btree does not sort, or whose values are not looked up whole. */
const NOT_SORTED = /^(json|jsonb|xml|tsvector|tsquery|hstore|point|line|lseg|box|path|polygon|circle|bytea)$|\[\]$/;
/** A cast that changes nothing of a column's order: the index serves it all the same. */
const isTextCast = (cast: string, type: string): boolean => cast === "text" && type === "character varying";

/** A read of the table that EXPLAIN or the statement's text has shown. */
export type Conditions = Pick<TableRead, "predicates" | "order" | "limited">;

function usable(predicate: Predicate, columns: ReadonlyMap<string, TableColumn>): boolean {
  const column = columns.get(predicate.column);
  if (!column || NOT_SORTED.test(column.type)) return false;
  return predicate.cast === undefined || isTextCast(predicate.cast, column.type);
}

/** How many values a column has; unknown ones come after those that are known to be many. */
const values = (column: TableColumn | undefined, rows: number): number => {
  const distinct = column?.distinct ?? 0;
  return distinct < 0 ? -distinct * rows : distinct;
};

const unique = (predicates: readonly Predicate[]): Predicate[] =>
  predicates.filter(
    (one, index) => predicates.findIndex(({ column, call }) => column === one.column && call === one.call) === index,
  );

/** Whether an index answers equality of these columns: it begins with all of them, or needs no more to find one row. */
function serves({ columns, predicate, unique: isUnique }: TableIndex, equal: ReadonlySet<string>): boolean {
  if (predicate !== null) return false;
  const leading = columns.findIndex((column) => column === null || !equal.has(column));
  const served = leading === -1 ? columns.length : leading;
  return served === equal.size || (isUnique && leading === -1);
}

/**
 * The index that serves a read best: columns compared for equality first, the most selective of them foremost, then the
 * one that is compared by range, or those by which the first rows are wanted. undefined: there is nothing to be served, or
 * an index there serves it.
 */
export function candidateFor(table: TableScanRow, read: Conditions): Candidate | undefined {
  const columns = new Map(table.columns.map((column) => [column.name, column]));
  const predicates = unique(read.predicates.filter((one) => usable(one, columns)));
  const of = (kind: Predicate["kind"]): Predicate[] => predicates.filter((one) => one.kind === kind);
  const constant = of("equal");
  // The other side of a join: only where nothing else narrows this one down.
  const equal = (constant.length > 0 ? constant : of("join"))
    .sort((a, b) => values(columns.get(b.column), table.rows) - values(columns.get(a.column), table.rows))
    .slice(0, MOST_EQUAL);
  const has = (column: string): boolean => equal.some((one) => one.column === column && one.call === undefined);
  const range = of("range").find(({ column, call }) => call !== undefined || !has(column));
  const ordered = read.limited && read.order.every(({ column }) => columns.has(column)) ? read.order : [];
  const order = ordered.filter(({ column }) => !has(column));
  const sortsByRange = range !== undefined && range.call === undefined && order[0]?.column === range.column;
  const plainPart = ({ column, call }: Pick<IndexPart, "column" | "call">): IndexPart => ({
    column,
    call,
    descending: false,
  });
  const parts: IndexPart[] = [
    ...equal.map(plainPart),
    ...(range && !sortsByRange ? [plainPart(range)] : order.map((one) => ({ ...one, call: undefined }))),
  ];
  const [first] = parts;
  if (!first) return undefined;
  const names = new Set(equal.filter(({ call }) => call === undefined).map(({ column }) => column));
  const plain = equal.every(({ call }) => call === undefined);
  if (names.size > 0 && plain && table.indexes.some((index) => serves(index, names))) return undefined;
  const begins = ({ columns: [leading = null], predicate }: TableIndex): boolean =>
    predicate === null &&
    leading !== null &&
    (names.has(leading) || (first.call === undefined && leading === first.column));
  return {
    table,
    parts,
    nulls: of("null")
      .map(({ column }) => column)
      .filter((column) => !parts.some((part) => part.column === column)),
    partlyServed: (constant.length === 0 && equal.length > 0) || table.indexes.some(begins),
  };
}

const partSql = ({ column, call, descending }: IndexPart): string => {
  const name = identifier(column);
  return `${call === undefined ? name : `${call}(${name})`}${descending ? " DESC" : ""}`;
};

/** `(sender_id, inserted_at DESC) WHERE read_at IS NULL` */
export function definition({ parts, nulls }: Candidate): string {
  const where = nulls.map((column) => `${identifier(column)} IS NULL`).join(" AND ");
  return `(${parts.map(partSql).join(", ")})${where === "" ? "" : ` WHERE ${where}`}`;
}

const NAME_BYTES = 63;

/** `idx_messages_sender_id`, within what PostgreSQL takes, and none that the table has already. */
export function indexName(candidate: Candidate, relation = candidate.table.name): string {
  const whole = ["idx", relation, ...candidate.parts.map(({ column }) => column)].join("_").replace(/[^\w]+/g, "_");
  const taken = new Set(candidate.table.indexes.map(({ name }) => name));
  const fitting = (end: string): string => `${whole.slice(0, NAME_BYTES - end.length)}${end}`;
  let name = fitting("");
  for (let number = 2; taken.has(name); number++) name = fitting(`_${number}`);
  return name;
}

/** Statements that make it without keeping writers waiting: of a partitioned table, partition by partition. */
export function createStatements(candidate: Candidate): string[] {
  const { table } = candidate;
  const name = identifier(indexName(candidate));
  const columns = definition(candidate);
  if (table.partitions === null) return [`CREATE INDEX ${name} ON ${table.table} ${columns};`];
  if (table.partitions.length === 0) return [`CREATE INDEX CONCURRENTLY ${name} ON ${table.table} ${columns};`];
  const inSchema = (index: string): string => `${identifier(table.schema)}.${index}`;
  const leaves = table.partitions.flatMap((leaf, index) => {
    const leafName = identifier(`${indexName(candidate).slice(0, NAME_BYTES - 5)}_${index + 1}`);
    const schema = leaf.slice(0, leaf.length - (/(?:"(?:[^"]|"")*"|[^".]+)$/.exec(leaf)?.[0].length ?? 0));
    return [
      `CREATE INDEX CONCURRENTLY ${leafName} ON ${leaf} ${columns};`,
      `ALTER INDEX ${inSchema(name)} ATTACH PARTITION ${schema}${leafName};`,
    ];
  });
  return [`CREATE INDEX ${name} ON ONLY ${table.table} ${columns};`, ...leaves];
}

/** Whether one index does what another would: the same, or the first columns of it. */
export function isPrefix(shorter: Candidate, longer: Candidate): boolean {
  const text = (part: IndexPart): string => partSql(part);
  return (
    shorter.table.table === longer.table.table &&
    shorter.nulls.join() === longer.nulls.join() &&
    shorter.parts.length <= longer.parts.length &&
    shorter.parts.every((part, index) => text(part) === text(longer.parts[index] ?? part))
  );
}
