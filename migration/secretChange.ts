/** Changes that Pulumi's differences do not show, because all that differs is secret. */
import type { Change } from "./change.ts";

/** What Pulumi's events have in the place of a secret. */
const SECRET = "[secret]";

const hasSecret = (value: unknown): boolean => JSON.stringify(value ?? null).includes(SECRET);

/** The value at Pulumi's path, or the secret that it is within. */
function valueAt(inputs: unknown, path: string): unknown {
  let value = inputs;
  for (const [, key, quoted, index] of path.matchAll(/([^.[\]]+)|\["([^"]*)"\]|\[(\d+)\]/g)) {
    if (value === SECRET) return SECRET;
    if (value === null || typeof value !== "object") return undefined;
    value = (value as Record<string, unknown>)[key ?? quoted ?? index ?? ""];
  }
  return value;
}

/** Whether a resource changes only in what is secret: then its inputs look the same before and after. */
export function isSecretOnly({ op, properties, before, after }: Change): boolean {
  if (op !== "update" && op !== "replace") return false;
  const keys = [...new Set([...Object.keys(before), ...Object.keys(after)])].filter((key) => !key.startsWith("__"));
  const visible = keys.some((key) => JSON.stringify(before[key]) !== JSON.stringify(after[key]));
  if (visible) return false;
  return properties.length === 0
    ? hasSecret(after)
    : properties.every(({ path }) => hasSecret(valueAt(after, path)) || hasSecret(valueAt(before, path)));
}
