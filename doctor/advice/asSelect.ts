/** UPDATE and DELETE as the SELECT that finds their rows: whoever may only read can have that explained. */
import { type Token, tokenize } from "../statements/tokens.ts";

/** Where a keyword stands outside of all parentheses; -1: nowhere. */
function keyword(tokens: readonly Token[], word: string, from = 0): number {
  let depth = 0;
  return tokens.findIndex(({ kind, value }, index) => {
    if (value === "(" || value === "[") depth++;
    else if (value === ")" || value === "]") depth--;
    return index >= from && depth === 0 && kind === "word" && value === word;
  });
}

/** undefined for other statements, for those of more tables than one, and without a condition. */
export function asSelect(text: string): string | undefined {
  const { tokens, whole } = tokenize(text);
  const verb = tokens[0]?.value;
  const where = keyword(tokens, "where");
  if (!whole || where === -1 || (verb !== "update" && verb !== "delete")) return undefined;
  const [begin, end] = verb === "update" ? [1, keyword(tokens, "set")] : [2, where];
  const others = verb === "update" ? keyword(tokens, "from", end) : keyword(tokens, "using");
  const returning = keyword(tokens, "returning", where);
  const [first, last, condition] = [tokens[begin], tokens[end - 1], tokens[where]];
  if (!first || !last || !condition || end <= begin || others !== -1) return undefined;
  const conditionEnd = tokens[returning]?.start ?? text.length;
  return `SELECT * FROM ${text.slice(first.start, last.end)} ${text.slice(condition.start, conditionEnd).trimEnd()}`;
}
