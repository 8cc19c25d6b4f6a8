/** SQL cut into tokens, as PostgreSQL cuts it: for reading statements, never for changing what they do. */

export type TokenKind = "word" | "quoted" | "string" | "number" | "parameter" | "operator" | "punctuation";

export interface Token {
  readonly kind: TokenKind;
  /** As written. */
  readonly text: string;
  /** A word in small letters, a quoted name without its quotes; else as written. */
  readonly value: string;
  readonly start: number;
  readonly end: number;
}

export interface Tokens {
  readonly tokens: readonly Token[];
  /** False where a string, a quoted name or a comment does not end, or a character begins nothing. */
  readonly whole: boolean;
}

const LINE_COMMENT = /--[^\n]*/y;
const SPACE = /\s+/y;
/** In this order: what begins with a letter may be a string with a prefix. */
const PATTERNS: readonly (readonly [TokenKind, RegExp])[] = [
  ["string", /[eE]'(?:[^'\\]|\\[^]|'')*'/y],
  ["string", /(?:[bBxXnN]|[uU]&)?'(?:[^']|'')*'/y],
  ["string", /\$([A-Za-z_]\w*)?\$[^]*?\$\1\$/y],
  ["parameter", /\$\d+/y],
  ["quoted", /(?:[uU]&)?"(?:[^"]|"")+"/y],
  ["word", /[A-Za-z_\u0080-\uffff][\w$\u0080-\uffff]*/y],
  ["number", /(?:\d[\d_]*(?:\.[\d_]*)?|\.\d[\d_]*)(?:[eE][+-]?\d+)?/y],
  ["operator", /::|:=|=>|\.\.|:/y],
  ["punctuation", /[(),;[\].]/y],
];
const OPERATOR = /[-+*/<>=~!@#%^&|`?]/;

/** Where the comment that begins at `start` ends; comments may hold comments. -1: nowhere. */
function endOfComment(sql: string, start: number): number {
  let depth = 0;
  for (let at = start; at < sql.length - 1; at++) {
    const two = sql.slice(at, at + 2);
    if (two === "/*") depth++;
    else if (two === "*/") depth--;
    else continue;
    at++;
    if (depth === 0) return at + 1;
  }
  return -1;
}

/** An operator's characters, up to where a comment begins; `=-1` is `=` and `-1`, as PostgreSQL reads it. */
function operatorAt(sql: string, start: number): string {
  let end = start;
  while (end < sql.length && OPERATOR.test(sql[end] ?? "") && !/^(--|\/\*)/.test(sql.slice(end, end + 2))) end++;
  const text = sql.slice(start, end);
  return /[~!@#%^&|`?]/.test(text) ? text : text.replace(/(?<=.)[-+]+$/, "");
}

function valueOf(kind: TokenKind, text: string): string {
  if (kind === "word") return text.toLowerCase();
  if (kind === "quoted")
    return text
      .replace(/^[uU]&/, "")
      .slice(1, -1)
      .replaceAll('""', '"');
  return text;
}

export function tokenize(sql: string): Tokens {
  const tokens: Token[] = [];
  let at = 0;
  const matched = (pattern: RegExp): string | undefined => {
    pattern.lastIndex = at;
    return pattern.exec(sql)?.[0];
  };
  while (at < sql.length) {
    const skipped = matched(SPACE) ?? matched(LINE_COMMENT);
    if (skipped !== undefined) {
      at += skipped.length;
      continue;
    }
    if (sql.startsWith("/*", at)) {
      const end = endOfComment(sql, at);
      if (end === -1) return { tokens, whole: false };
      at = end;
      continue;
    }
    const found = PATTERNS.map(([kind, pattern]) => ({ kind, text: matched(pattern) })).find(({ text }) => text);
    const operator = found ? "" : operatorAt(sql, at);
    const kind = found?.kind ?? "operator";
    const text = found?.text ?? operator;
    if (text === "") return { tokens, whole: false };
    tokens.push({ kind, text, value: valueOf(kind, text), start: at, end: at + text.length });
    at += text.length;
  }
  return { tokens, whole: true };
}

/** A statement of these alone is one that reads or changes rows. */
const ROWS = new Set(["select", "insert", "update", "delete", "with", "values", "table"]);

/** Whether a text is a single statement about rows, so that it may stand behind EXPLAIN. */
export function isSingleStatement({ tokens, whole }: Tokens): boolean {
  const first = tokens.find(({ value }) => value !== "(");
  return whole && first !== undefined && ROWS.has(first.value) && !tokens.some(({ value }) => value === ";");
}
