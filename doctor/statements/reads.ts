/**
 * Which tables a statement reads, and by which conditions. A careful reading of the text, without a catalogue: what it
 * does not understand it leaves out. It knows SELECT, UPDATE, DELETE and INSERT … SELECT, with subqueries and WITH.
 */
import { type Predicate, type ColumnName, columnName, conjuncts, predicatesOf } from "./predicates.ts";
import { type Node, isGroup, isSubquery, nameOf, signOf, split, treeOf, wordOf } from "./tree.ts";
import { type Tokens, isSingleStatement } from "./tokens.ts";

export interface Order {
  readonly column: string;
  readonly descending: boolean;
}

/** One table, as one query of the statement reads it. */
export interface TableRead {
  /** undefined where the statement leaves it to the search_path. */
  readonly schema: string | undefined;
  readonly table: string;
  readonly predicates: readonly Predicate[];
  /** ORDER BY of this table's columns alone; empty: none. */
  readonly order: readonly Order[];
  readonly limited: boolean;
  /** How many tables, subqueries and functions its query reads. */
  readonly sources: number;
  /** Whether the query groups, or computes one row of many. */
  readonly aggregates: boolean;
}

interface Source {
  readonly schema: string | undefined;
  /** undefined for a subquery or function. */
  readonly table: string | undefined;
  readonly alias: string;
}

const CLAUSES = new Set(
  "select from where group having window order limit offset fetch for set returning values into".split(" "),
);
const JOINS = new Set(["join", "inner", "left", "right", "full", "outer", "cross", "natural"]);
const AGGREGATES = new Set("count sum avg min max array_agg string_agg json_agg jsonb_agg bool_or bool_and".split(" "));

/** Whether a word begins a clause here: FROM in `IS DISTINCT FROM` does not, nor USING of a join. */
function beginsClause(nodes: readonly Node[], index: number): boolean {
  const word = wordOf(nodes[index]);
  if (word === undefined || signOf(nodes[index - 1]) === ".") return false;
  if (word === "using") return wordOf(nodes[0]) === "delete";
  if (!CLAUSES.has(word)) return false;
  if (word === "from") return wordOf(nodes[index - 1]) !== "distinct" || wordOf(nodes[index - 2]) === "select";
  return word === "group" || word === "order" ? wordOf(nodes[index + 1]) === "by" : true;
}

/** A query's clauses by their first words; of two with the same word, the first. */
function clausesOf(nodes: readonly Node[]): Map<string, readonly Node[]> {
  const clauses = new Map<string, Node[]>();
  let current: Node[] = [];
  nodes.forEach((node, index) => {
    const word = wordOf(node) ?? "";
    if (!beginsClause(nodes, index)) current.push(node);
    else {
      current = [];
      if (!clauses.has(word)) clauses.set(word, current);
    }
  });
  return clauses;
}

/** `left (…)` and `right (…)` are functions. */
function isJoinWord(nodes: readonly Node[], index: number): boolean {
  const word = wordOf(nodes[index]) ?? "";
  const isCall = (word === "left" || word === "right") && isGroup(nodes[index + 1]);
  return JOINS.has(word) && !isCall && signOf(nodes[index - 1]) !== ".";
}

/** `schema.table AS alias`, `(SELECT …) AS alias`, `unnest(…) AS alias`. */
function sourceOf(nodes: readonly Node[]): Source {
  const rest = nodes.filter((node) => !["only", "lateral", "as"].includes(wordOf(node) ?? "") && signOf(node) !== "*");
  const [first, dot, second] = rest;
  const none = { schema: undefined, table: undefined };
  const name = nameOf(first);
  if (name === undefined) return { ...none, alias: nameOf(rest[1]) ?? "" };
  const isQualified = signOf(dot) === ".";
  const after = rest.slice(isQualified ? 3 : 1);
  const table = isQualified ? nameOf(second) : name;
  const alias = after.map(nameOf).find((one) => one !== undefined) ?? table ?? "";
  // A name with parentheses behind it is a function.
  if (isGroup(after[0]) || table === undefined) return { ...none, alias };
  return { schema: isQualified ? name : undefined, table, alias };
}

/** The parts of FROM, and the conditions of its joins. */
function fromParts(nodes: readonly Node[]): { sources: Source[]; conditions: Node[][] } {
  const parts = split(nodes, (node, index) => signOf(node) === "," || isJoinWord(nodes, index));
  const sources: Source[] = [];
  const conditions: Node[][] = [];
  for (const part of parts.filter((one) => one.length > 0)) {
    const on = part.findIndex((node) => wordOf(node) === "on");
    const using = part.findIndex((node) => wordOf(node) === "using");
    const end = on >= 0 ? on : using >= 0 ? using : part.length;
    sources.push(sourceOf(part.slice(0, end)));
    if (on >= 0) conditions.push(part.slice(on + 1));
  }
  return { sources, conditions };
}

function orderOf(nodes: readonly Node[], owns: (name: ColumnName) => boolean): Order[] {
  const items = split(nodes.slice(1), (node) => signOf(node) === ",");
  const order: Order[] = [];
  for (const item of items) {
    const words = item.map(wordOf);
    const end = words.findIndex((word) => word === "asc" || word === "desc" || word === "nulls");
    const name = columnName(end === -1 ? item : item.slice(0, end));
    // The other place of nulls would ask for an index of its own.
    if (!name || name.call !== undefined || !owns(name) || words.includes("nulls")) return [];
    order.push({ column: name.column, descending: words.includes("desc") });
  }
  return order;
}

const callsAggregate = (nodes: readonly Node[]): boolean =>
  nodes.some((node, index) => AGGREGATES.has(wordOf(node) ?? "") && isGroup(nodes[index + 1]));

/** What one query, without those in it, reads. */
function readQuery(nodes: readonly Node[], named: ReadonlySet<string>, isLast: boolean): TableRead[] {
  const verb = wordOf(nodes[0]) ?? "";
  const clauses = clausesOf(nodes);
  const list =
    verb === "update"
      ? [
          ...nodes.slice(
            1,
            nodes.findIndex((node) => wordOf(node) === "set"),
          ),
          ...comma(clauses.get("from")),
        ]
      : [...(clauses.get("from") ?? []), ...comma(clauses.get("using"))];
  const { sources, conditions } = fromParts(list);
  const predicates = [clauses.get("where") ?? [], ...conditions].flatMap((one) =>
    conjuncts(one).flatMap((part) => predicatesOf(part)),
  );
  const aggregates = clauses.has("group") || callsAggregate(clauses.get("select") ?? []);
  const limited = isLast && (clauses.has("limit") || clauses.has("fetch"));
  return sources.flatMap((source): TableRead[] => {
    if (source.table === undefined || (source.schema === undefined && named.has(source.table))) return [];
    // Without a catalogue, a column without its table is only this one's where there is no other.
    const owns = ({ of }: ColumnName): boolean => (of === undefined ? sources.length === 1 : of === source.alias);
    return [
      {
        schema: source.schema,
        table: source.table,
        predicates: predicates.filter(owns),
        order: isLast && !aggregates ? orderOf(clauses.get("order") ?? [], owns) : [],
        limited,
        sources: sources.length,
        aggregates,
      },
    ];
  });
}

/** Nodes with a comma before them, to be added to a list. */
function comma(nodes: readonly Node[] | undefined): Node[] {
  if (!nodes || nodes.length === 0) return [];
  return [{ kind: "punctuation", text: ",", value: ",", start: 0, end: 0 }, ...nodes];
}

/** Names that WITH gives, their queries, and the index at which the statement itself begins. */
function namedQueries(nodes: readonly Node[]): { names: string[]; bodies: (readonly Node[])[]; begin: number } {
  const names: string[] = [];
  const bodies: (readonly Node[])[] = [];
  let at = 1;
  if (wordOf(nodes[at]) === "recursive") at++;
  for (; at < nodes.length; at++) {
    const name = nameOf(nodes[at]);
    if (name === undefined) break;
    names.push(name);
    const as = nodes.findIndex((node, index) => index > at && wordOf(node) === "as");
    const body = nodes.findIndex((node, index) => index > as && isGroup(node));
    const group = nodes[body];
    if (as === -1 || !isGroup(group)) break;
    bodies.push(group.nodes);
    at = body + 1;
    if (signOf(nodes[at]) !== ",") break;
  }
  return { names, bodies, begin: at };
}

/** Queries in parentheses, wherever they stand. */
const subqueries = (nodes: readonly Node[]): (readonly Node[])[] =>
  nodes.flatMap((node) => (isGroup(node) ? (isSubquery(node) ? [node.nodes] : subqueries(node.nodes)) : []));

function readAll(nodes: readonly Node[], outer: ReadonlySet<string>): TableRead[] {
  const [first] = nodes;
  if (isGroup(first) && nodes.length === 1) return readAll(first.nodes, outer);
  if (wordOf(first) === "with") {
    const { names, bodies, begin } = namedQueries(nodes);
    const named = new Set([...outer, ...names]);
    return [...bodies.flatMap((body) => readAll(body, named)), ...readAll(nodes.slice(begin), named)];
  }
  if (wordOf(first) === "insert") {
    const select = nodes.findIndex((node) => wordOf(node) === "select");
    const conflict = nodes.findIndex((node, index) => wordOf(node) === "on" && wordOf(nodes[index + 1]) === "conflict");
    return select === -1 ? [] : readAll(nodes.slice(select, conflict === -1 ? undefined : conflict), outer);
  }
  const parts = split(nodes, (node) => ["union", "intersect", "except"].includes(wordOf(node) ?? ""));
  const own = parts.flatMap((part) => {
    const bare = wordOf(part[0]) === "all" || wordOf(part[0]) === "distinct" ? part.slice(1) : part;
    const [only] = bare;
    if (parts.length > 1 && bare.length === 1 && isGroup(only)) return [];
    return readQuery(bare, outer, parts.length === 1);
  });
  return [...own, ...subqueries(nodes).flatMap((one) => readAll(one, outer))];
}

/** What a statement reads; nothing where it is not understood. */
export function readsOf(tokens: Tokens): TableRead[] {
  if (!isSingleStatement(tokens)) return [];
  const tree = treeOf(tokens.tokens);
  return tree ? readAll(tree, new Set()) : [];
}
