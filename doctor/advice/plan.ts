/** What EXPLAIN (FORMAT JSON, VERBOSE) says of a statement. */
import { identifier } from "../../components/sqlText.ts";
import { type Predicate, conjuncts, predicatesOf } from "../statements/predicates.ts";
import { tokenize } from "../statements/tokens.ts";
import { treeOf } from "../statements/tree.ts";
import type { TableScanRow } from "./tables.ts";

/** A node of a plan, as far as it matters here. */
export interface PlanNode {
  readonly "Node Type": string;
  readonly "Total Cost": number;
  readonly Schema?: string;
  readonly "Relation Name"?: string;
  readonly "Index Name"?: string;
  readonly Filter?: string;
  readonly Plans?: readonly PlanNode[];
}

/** EXPLAIN's answer: a list with one plan. */
export type Explained = readonly { readonly Plan: PlanNode }[];

const nodesOf = (node: PlanNode): PlanNode[] => [node, ...(node.Plans ?? []).flatMap(nodesOf)];

export const costOf = ([first]: Explained): number => first?.Plan["Total Cost"] ?? Number.NaN;

/** Names of the indexes that a plan reads. */
export const indexesOf = ([first]: Explained): string[] =>
  (first ? nodesOf(first.Plan) : []).flatMap((node) => node["Index Name"] ?? []);

/** hypopg names an index that is not there `<12345>btree_messages_sender_id`. */
export const usesHypothetical = (plan: Explained, oids: readonly number[]): boolean =>
  indexesOf(plan).some((name) => oids.some((oid) => name.startsWith(`<${oid}>`)));

/** Conditions that a scan tests row by row. */
export function filterPredicates(filter: string): Predicate[] {
  const { tokens, whole } = tokenize(filter);
  const tree = whole ? treeOf(tokens) : undefined;
  return tree ? conjuncts(tree).flatMap((part) => predicatesOf(part)) : [];
}

/** A table that a plan reads from start to end, and what it looks for. */
export interface SequentialScan {
  readonly table: TableScanRow;
  readonly predicates: readonly Predicate[];
}

/** Scans from start to end of these tables, or of partitions of them; each table once. */
export function sequentialScans([first]: Explained, tables: readonly TableScanRow[]): SequentialScan[] {
  const scans = new Map<TableScanRow, Predicate[]>();
  for (const node of first ? nodesOf(first.Plan) : []) {
    if (node["Node Type"] !== "Seq Scan" || node["Relation Name"] === undefined) continue;
    const { Schema: schema = "", "Relation Name": relation } = node;
    const quoted = `${identifier(schema)}.${identifier(relation)}`;
    const table = tables.find(
      (one) => (one.schema === schema && one.name === relation) || one.partitions?.includes(quoted) === true,
    );
    if (!table || (scans.get(table)?.length ?? 0) > 0) continue;
    scans.set(table, filterPredicates(node.Filter ?? ""));
  }
  return [...scans].map(([table, predicates]) => ({ table, predicates }));
}
