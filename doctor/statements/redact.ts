/** Statements as they may be shown: what a client has sent may hold anybody's data. */
import { tokenize } from "./tokens.ts";

const SHOWN_CHARACTERS = 160;

const isSecret = (kind: string): boolean => kind === "string" || kind === "number";

/** On one line, every literal as `?`, no comment, cut where it is long. What cannot be read to its end is cut there. */
export function redacted(sql: string, characters = SHOWN_CHARACTERS): string {
  const { tokens } = tokenize(sql);
  let text = "";
  let end = 0;
  for (const token of tokens) {
    const gap = text !== "" && token.start > end ? " " : "";
    text += gap + (isSecret(token.kind) ? "?" : token.text);
    end = token.end;
  }
  return text.length > characters ? `${text.slice(0, characters - 1)}…` : text;
}
