/** One statement as `explain` takes it: pure text. */
import { UserError } from "../../tuning/errors.ts";

/** An EXPLAIN of its own in front is taken off: this command brings one. */
const OWN_EXPLAIN = /^EXPLAIN\s*(?:\([^)]*\)|(?:(?:ANALYZE|VERBOSE)\b\s*)*)\s*/i;

/** Comments, texts and quoted names as blanks: what is left can be searched for words. */
export const bare = (sql: string): string =>
  sql.replace(/--[^\n]*|\/\*[^]*?\*\/|\$(\w*)\$[^]*?\$\1\$|'(?:[^']|'')*'|"(?:[^"]|"")*"/g, " ");

/** The statement without an EXPLAIN in front and a semicolon behind. Throws a UserError where there is none. */
export function statementOf(text: string): string {
  const statement = text
    .replace(/^(?:\s|--[^\n]*(?:\n|$)|\/\*[^]*?\*\/)+/, "")
    .replace(OWN_EXPLAIN, "")
    .replace(/(?:\s|;)+$/, "");
  if (bare(statement).trim() === "")
    throw new UserError("there is no statement to explain", "give it in a file, or - for standard input");
  return statement;
}

/** Names of functions that a statement seems to call. */
export const calledNames = (statement: string): string[] => [
  ...new Set([...bare(statement).matchAll(/\b([a-z_][a-z0-9_$]*)\s*\(/gi)].map(([, name = ""]) => name.toLowerCase())),
];

/** Volatile, but harmless to call once more than needed. */
export const HARMLESS = [
  "random",
  "clock_timestamp",
  "timeofday",
  "gen_random_uuid",
  "uuid_generate_v4",
  "statement_timestamp",
  "setseed",
];

interface PlanNode {
  readonly "Node Type"?: string;
  readonly Operation?: string;
  readonly Schema?: string;
  readonly "Relation Name"?: string;
  readonly Plans?: readonly PlanNode[];
}

export interface Written {
  readonly operation: string;
  readonly table: string;
}

/** What a plan (EXPLAIN's JSON, VERBOSE) would write, and where. */
export function writesOf(plan: readonly { readonly Plan?: PlanNode }[]): Written[] {
  const of = (node: PlanNode | undefined): Written[] =>
    node === undefined
      ? []
      : [
          ...(node["Node Type"] === "ModifyTable"
            ? [
                {
                  operation: node.Operation ?? "write",
                  table: [node.Schema, node["Relation Name"]].filter(Boolean).join("."),
                },
              ]
            : []),
          ...(node.Plans ?? []).flatMap(of),
        ];
  return plan.flatMap(({ Plan }) => of(Plan));
}
