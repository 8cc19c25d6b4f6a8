/** Readers of single configuration values; each names key, value and what is allowed where it refuses. */
import { UserError } from "../tuning/errors.ts";

/** Reads one key (without `cgraph:`) as the text that stands in the stack's configuration. */
export type ConfigSource = (key: string) => string | undefined;

export const wrong = (key: string, text: string, wanted: string): UserError =>
  new UserError(`cgraph:${key} is "${text}", which is not ${wanted}`, `set it: pulumi config set cgraph:${key} VALUE`);

export function wholeNumber(source: ConfigSource, key: string, min: number, max: number, byDefault: number): number {
  const text = source(key);
  if (text === undefined) return byDefault;
  const value = Number(text);
  if (!/^\d+$/.test(text) || value < min || value > max) {
    throw wrong(key, text, `a whole number from ${min} to ${max}`);
  }
  return value;
}

/** A whole number, or undefined where the key is absent. */
export function optional(source: ConfigSource, key: string, min: number, max: number): number | undefined {
  return source(key) === undefined ? undefined : wholeNumber(source, key, min, max, min);
}

export function oneOf<T extends string>(source: ConfigSource, key: string, allowed: readonly T[], byDefault: T): T {
  const text = source(key);
  if (text === undefined) return byDefault;
  const found = allowed.find((value) => value === text);
  if (found === undefined) throw wrong(key, text, `one of ${allowed.join(", ")}`);
  return found;
}

export const flag = (source: ConfigSource, key: string, byDefault: boolean): boolean =>
  oneOf(source, key, ["true", "false"] as const, byDefault ? "true" : "false") === "true";

export function json(source: ConfigSource, key: string): unknown {
  const text = source(key);
  if (text === undefined) return undefined;
  try {
    return JSON.parse(text);
  } catch {
    throw wrong(key, text, "JSON");
  }
}

/** A text of a certain form, or undefined where the key is absent. `wanted` says which. */
export function matching(source: ConfigSource, key: string, pattern: RegExp, wanted: string): string | undefined {
  const text = source(key);
  if (text !== undefined && !pattern.test(text)) throw wrong(key, text, wanted);
  return text;
}
