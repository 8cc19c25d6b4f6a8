/** Conditions of a statement that an index could serve: a column against a value, all of them joined by AND. */
import { type Node, isGroup, isSubquery, nameOf, signOf, split, wordOf } from "./tree.ts";

/** A column as a statement names it. */
export interface ColumnName {
  /** Table or alias before it; undefined: none. */
  readonly of: string | undefined;
  readonly column: string;
  /** The function that is called with it: `lower`. */
  readonly call: string | undefined;
  /** The type that it is cast to. */
  readonly cast: string | undefined;
}

export interface Predicate extends ColumnName {
  /** `join`: equal to a column of another table. */
  readonly kind: "equal" | "range" | "null" | "join";
}

/** Functions of one column by which rows are commonly looked up, and that an index can hold. */
const INDEXED_CALLS = new Set(["lower", "upper", "date"]);
/** Words that are never a column. */
const RESERVED_WORDS = [
  ...["null", "true", "false", "current_date", "current_timestamp", "localtimestamp", "current_user", "user"],
  ...["array", "any", "cast", "as", "with", "case", "distinct", "not"],
];
const NO_COLUMNS = new Set(RESERVED_WORDS);
/** Words that stand in an expression without being a column: `interval '1 day'`, `AT TIME ZONE`. */
const VALUE_WORDS = new Set([...RESERVED_WORDS, "interval", "date", "timestamp", "time", "zone", "at", "without"]);

const isCast = (node: Node): boolean => signOf(node) === "::";

/** The column that nodes are, maybe in parentheses, cast, or called by a function. */
export function columnName(nodes: readonly Node[]): ColumnName | undefined {
  const castAt = nodes.findIndex(isCast);
  if (castAt > 0) {
    const type = nodes.slice(castAt + 1);
    const inner = type.some(isCast) ? undefined : columnName(nodes.slice(0, castAt));
    return inner && inner.cast === undefined
      ? { ...inner, cast: type.map((node) => nameOf(node) ?? "").join(" ") }
      : undefined;
  }
  const [first, second, third] = nodes;
  const plain = { of: undefined, call: undefined, cast: undefined };
  if (nodes.length === 1) {
    if (isGroup(first)) return isSubquery(first) ? undefined : columnName(first.nodes);
    const name = nameOf(first);
    return name === undefined || NO_COLUMNS.has(wordOf(first) ?? "") ? undefined : { ...plain, column: name };
  }
  const call = wordOf(first);
  if (nodes.length === 2 && call !== undefined && INDEXED_CALLS.has(call) && isGroup(second)) {
    const inner = columnName(second.nodes);
    return inner && inner.call === undefined ? { ...inner, call } : undefined;
  }
  const [of, column] = [nameOf(first), nameOf(third)];
  return nodes.length === 3 && signOf(second) === "." && of !== undefined && column !== undefined
    ? { ...plain, of, column }
    : undefined;
}

/** Whether nodes name no column: parameters, literals, functions of them. */
function isValue(nodes: readonly Node[]): boolean {
  return nodes.every((node, index) => {
    if (isGroup(node)) return !isSubquery(node) && isValue(node.nodes);
    if (node.kind === "quoted") return false;
    if (node.kind !== "word") return true;
    const isType = signOf(nodes[index - 1]) === "::" || wordOf(nodes[index - 1]) === "as";
    return isType || isGroup(nodes[index + 1]) || VALUE_WORDS.has(node.value) || isTypeWord(nodes, index);
  });
}

/** Types of several words, behind a cast: `::timestamp without time zone`, `::character varying`. */
function isTypeWord(nodes: readonly Node[], index: number): boolean {
  const word = wordOf(nodes[index]);
  return (word === "varying" || word === "precision") && nameOf(nodes[index - 1]) !== undefined;
}

/** Conditions that must all hold; none where OR stands between them. */
export function conjuncts(nodes: readonly Node[]): readonly (readonly Node[])[] {
  if (split(nodes, (node) => wordOf(node) === "or").length > 1) return [];
  let between = false;
  const parts = split(nodes, (node) => {
    const word = wordOf(node);
    if (word === "between") between = true;
    if (word !== "and") return false;
    const ends = !between;
    between = false;
    return ends;
  });
  return parts.flatMap((part) => {
    const [only] = part;
    return part.length === 1 && isGroup(only) && !isSubquery(only) ? conjuncts(only.nodes) : [part];
  });
}

const COMPARISONS: Readonly<Record<string, "equal" | "range">> = {
  "=": "equal",
  "<": "range",
  ">": "range",
  "<=": "range",
  ">=": "range",
};

/** What one condition says of columns; nothing where no index would serve it. */
export function predicatesOf(nodes: readonly Node[]): Predicate[] {
  const words = nodes.map(wordOf);
  if (words[0] === "not") return [];
  const one = (column: ColumnName | undefined, kind: Predicate["kind"]): Predicate[] =>
    column ? [{ ...column, kind }] : [];
  if (words.at(-2) === "is" && words.at(-1) === "null") return one(columnName(nodes.slice(0, -2)), "null");
  const at = (word: string): number => words.indexOf(word);
  if (
    at("between") > 0 &&
    !words.includes("not") &&
    isValue(nodes.slice(at("between") + 1).filter((n) => wordOf(n) !== "and"))
  ) {
    return one(columnName(nodes.slice(0, at("between"))), "range");
  }
  if (at("in") > 0 && !words.includes("not")) {
    const list = nodes[at("in") + 1];
    const isList = isGroup(list) && !isSubquery(list) && isValue(list.nodes);
    return isList ? one(columnName(nodes.slice(0, at("in"))), "equal") : [];
  }
  const places = nodes.flatMap((node, index) => (COMPARISONS[signOf(node) ?? ""] ? [index] : []));
  const [place] = places;
  if (places.length !== 1 || place === undefined) return [];
  const kind = COMPARISONS[signOf(nodes[place]) ?? ""] ?? "equal";
  const [left, right] = [nodes.slice(0, place), nodes.slice(place + 1)];
  const [leftColumn, rightColumn] = [columnName(left), columnName(right)];
  if (leftColumn && rightColumn) {
    return kind === "equal" ? [...one(leftColumn, "join"), ...one(rightColumn, "join")] : [];
  }
  if (leftColumn && isValue(right)) return one(leftColumn, kind);
  return rightColumn && isValue(left) ? one(rightColumn, kind) : [];
}
