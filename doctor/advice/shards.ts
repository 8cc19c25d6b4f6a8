/** Which shards of a Citus cluster a statement asks: by its text, and by what EXPLAIN says of it with values in it. */
import { identifier } from "../../components/sqlText.ts";
import type { CitusTableRow } from "../checks/citusShards.ts";
import type { Statement } from "../checks/statements.ts";
import { type TableRead, readsOf } from "../statements/reads.ts";
import { tokenize } from "../statements/tokens.ts";

/** A distributed table, and how a statement reads it. */
export interface ShardRead {
  readonly table: CitusTableRow & { readonly distributedBy: string };
  readonly read: TableRead;
  /** Whether the statement's text gives its distribution column a value. */
  readonly given: boolean;
}

type Distributed = ShardRead["table"];
const isDistributed = (table: CitusTableRow): table is Distributed =>
  table.kind === "distributed" && table.distributedBy !== null;

/** Reads of distributed tables, as far as the text is understood. */
export const shardReads = (text: string, tables: readonly CitusTableRow[]): ShardRead[] =>
  readsOf(tokenize(text)).flatMap((read) => {
    const table = tables
      .filter(isDistributed)
      .find(({ name, schema }) => name === read.table && (read.schema === undefined || read.schema === schema));
    if (!table) return [];
    const given = read.predicates.some(
      ({ kind, column, call }) => kind === "equal" && column === table.distributedBy && call === undefined,
    );
    return [{ table, read, given }];
  });

/** Statements that may ask more shards than they need, the most expensive first. */
export const shardSuspects = (
  statements: readonly Statement[],
  tables: readonly CitusTableRow[],
  leastCalls: number,
): Statement[] =>
  statements
    .filter(({ calls, text }) => {
      if (calls < leastCalls) return false;
      const reads = shardReads(text, tables);
      return reads.length > 0 && !(reads.length === 1 && reads[0]?.given === true);
    })
    .sort((a, b) => b.total - a.total);

/** A value of a type, as SQL; `number` tells those of one statement apart. */
export function sampleValue(type: string, number: number): string {
  if (type.endsWith("[]")) {
    const element = type.slice(0, -2);
    return `ARRAY[${sampleValue(element, number)}, ${sampleValue(element, number + 100)}]::${type}`;
  }
  const digits = String(number).padStart(12, "0");
  const samples: Readonly<Record<string, string>> = {
    uuid: `'00000000-0000-4000-8000-${digits}'`,
    text: `'a${number}'`,
    "character varying": `'a${number}'`,
    boolean: "true",
    date: "'2001-01-01'",
    "timestamp without time zone": "'2001-01-01'",
    "timestamp with time zone": "'2001-01-01Z'",
    interval: "'1 day'",
    json: "'{}'",
    jsonb: "'{}'",
  };
  const isNumber = /^(smallint|integer|bigint|numeric|real|double precision)$/.test(type);
  return `${samples[type] ?? (isNumber ? `'${number}'` : "NULL")}::${type}`;
}

/** The statement with values in the place of its parameters; `types` in their order. */
export function withValues(text: string, types: readonly string[]): string {
  const parameters = tokenize(text).tokens.filter(({ kind }) => kind === "parameter");
  return parameters.reduceRight((sql, token) => {
    const number = Number(token.text.slice(1));
    const value = sampleValue(types[number - 1] ?? "text", number);
    return `${sql.slice(0, token.start)}${value}${sql.slice(token.end)}`;
  }, text);
}

/** What Citus does for a statement. */
export interface ShardPlan {
  /** Shards that it asks at once, the most of all its queries. */
  readonly tasks: number;
  /** Whether it sends rows from node to node, by another column than that by which they are distributed. */
  readonly repartitions: boolean;
  /** Shards asked by queries whose rows are gathered on the coordinator, and sent to nodes again. */
  readonly gathered: number;
}

interface Job {
  readonly "Task Count"?: number;
  readonly "Dependent Jobs"?: readonly unknown[];
}
interface Node {
  readonly Plans?: readonly Node[];
  readonly "Distributed Query"?: { readonly Job?: Job; readonly Subplans?: readonly Subplan[] };
}
interface Subplan {
  readonly PlannedStmt?: readonly { readonly Plan: Node }[];
}

const most = (numbers: readonly number[]): number => Math.max(0, ...numbers);

/** Reads EXPLAIN (FORMAT JSON). Plans on the nodes themselves are not looked into. */
export function shardPlan(explained: readonly { readonly Plan: unknown }[]): ShardPlan {
  const planOf = (node: Node): ShardPlan => {
    const { Job: job, Subplans: subplans = [] } = node["Distributed Query"] ?? {};
    const inner = subplans.flatMap(({ PlannedStmt: planned = [] }) => planned.map(({ Plan }) => planOf(Plan)));
    const below = (node.Plans ?? []).map(planOf);
    return {
      tasks: most([job?.["Task Count"] ?? 0, ...[...inner, ...below].map(({ tasks }) => tasks)]),
      repartitions: (job?.["Dependent Jobs"] ?? []).length > 0 || [...inner, ...below].some((one) => one.repartitions),
      gathered: most([
        ...inner.map(({ tasks, gathered }) => Math.max(tasks, gathered)),
        ...below.map((one) => one.gathered),
      ]),
    };
  };
  const plans = explained.map(({ Plan }) => planOf(Plan as Node));
  return {
    tasks: most(plans.map(({ tasks }) => tasks)),
    repartitions: plans.some(({ repartitions }) => repartitions),
    gathered: most(plans.map(({ gathered }) => gathered)),
  };
}

/** Clauses that come after WHERE. */
const AFTER_WHERE = new Set(
  "group having window order limit offset fetch for returning union intersect except".split(" "),
);

/**
 * The same statement for given values of the distribution column: `sender_id = ANY ($3)` before its other conditions.
 * undefined where it reads more than one table, or is of no kind that this understands.
 */
export function narrowed(text: string, { table, read }: ShardRead): string | undefined {
  const { tokens, whole } = tokenize(text);
  const verb = tokens[0]?.value ?? "";
  if (!whole || read.sources !== 1 || !["select", "update", "delete"].includes(verb)) return undefined;
  if (tokens.filter(({ value }) => value === "select").length > (verb === "select" ? 1 : 0)) return undefined;
  let depth = 0;
  let where: number | undefined;
  let end: number | undefined;
  tokens.forEach(({ kind, value }, index) => {
    if (value === "(" || value === "[") depth++;
    else if (value === ")" || value === "]") depth--;
    else if (depth === 0 && kind === "word") {
      if (value === "where") where ??= index;
      else if (AFTER_WHERE.has(value)) end ??= index;
    }
  });
  if (end !== undefined && where !== undefined && end < where) return undefined;
  const highest = most(tokens.filter(({ kind }) => kind === "parameter").map((token) => Number(token.text.slice(1))));
  const condition = `${identifier(table.distributedBy)} = ANY ($${highest + 1})`;
  const closing = end === undefined ? tokens.at(-1)?.end : tokens[end - 1]?.end;
  if (closing === undefined) return undefined;
  const rest = text.slice(closing).trimEnd();
  if (where === undefined) return `${text.slice(0, closing)} WHERE ${condition}${rest}`;
  const first = tokens[where + 1];
  if (!first || first.start >= closing) return undefined;
  const others = text.slice(first.start, closing);
  const isPlain = !tokens.slice(where, end).some(({ value }) => value === "or");
  return `${text.slice(0, first.start)}${condition} AND ${isPlain ? others : `(${others})`}${rest}`;
}
