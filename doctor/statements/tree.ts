/** Tokens with what stands in parentheses taken together. */
import type { Token } from "./tokens.ts";

export interface Group {
  readonly kind: "group";
  readonly nodes: readonly Node[];
}
export type Node = Token | Group;

/** undefined where parentheses do not match. */
export function treeOf(tokens: readonly Token[]): readonly Node[] | undefined {
  const open: Node[][] = [[]];
  for (const token of tokens) {
    const innermost = open.at(-1);
    if (!innermost) return undefined;
    if (token.value === "(" || token.value === "[") open.push([]);
    else if (token.value === ")" || token.value === "]") {
      open.pop();
      open.at(-1)?.push({ kind: "group", nodes: innermost });
    } else innermost.push(token);
  }
  return open.length === 1 ? open[0] : undefined;
}

export const isGroup = (node: Node | undefined): node is Group => node?.kind === "group";

/** The keyword that a node is; undefined for anything else, a quoted name included. */
export const wordOf = (node: Node | undefined): string | undefined => (node?.kind === "word" ? node.value : undefined);

/** A name, quoted or not; undefined for anything else. */
export const nameOf = (node: Node | undefined): string | undefined =>
  node?.kind === "word" || node?.kind === "quoted" ? node.value : undefined;

/** A token's text where it is an operator or punctuation. */
export const signOf = (node: Node | undefined): string | undefined =>
  node?.kind === "operator" || node?.kind === "punctuation" ? node.value : undefined;

/** Nodes between those that `cut` names; CASE … END stays together. */
export function split(nodes: readonly Node[], cut: (node: Node, index: number) => boolean): Node[][] {
  const parts: Node[][] = [[]];
  let cases = 0;
  nodes.forEach((node, index) => {
    const word = wordOf(node);
    if (word === "case") cases++;
    if (word === "end" && cases > 0) cases--;
    if (cases === 0 && cut(node, index)) parts.push([]);
    else parts.at(-1)?.push(node);
  });
  return parts;
}

const QUERY_WORDS = new Set(["select", "with", "values", "table"]);

/** Whether what stands in parentheses is a query of its own. */
export function isSubquery({ nodes }: Group): boolean {
  const [first] = nodes;
  return isGroup(first) ? isSubquery(first) : QUERY_WORDS.has(wordOf(first) ?? "");
}
