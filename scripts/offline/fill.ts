/** Values for what a plan leaves open until AWS answers. */
import { createHash } from "node:crypto";

/** How Pulumi's protocol writes a value that is not known yet. */
export const UNKNOWN = "04da6b54-80e4-46f7-96ec-b56ff0331ba9";

const digest = (text: string): string => createHash("sha256").update(text).digest("hex").slice(0, 8);

/** What other resources refer to. Any other text has rules of its own, which a guess would break: it is left out. */
const REFERENCE = /(arn|id|identifier|name|url|endpoint|address|dns\w*|zone)$/i;

function text(key: string, name: string, urn: string): string | undefined {
  if (!REFERENCE.test(key)) return undefined;
  if (/arn$/i.test(key)) return `arn:aws:standin:us-east-1:123456789012:${name}-${digest(urn + key)}`;
  if (/endpoint|address|dns/i.test(key)) return `${name}.standin.internal`;
  return `${name}-${digest(urn + key)}`;
}

/**
 * A resource's planned properties with every unknown one filled in: text that looks like AWS's, by the property's name and
 * its type in the plugin's schema, the same each time. A value in which only a part is unknown is left out, as are kinds
 * that cannot be guessed. Plain inputs that the plan leaves out (`false` where the default is `true`) are kept.
 */
export function fillPlanned(
  planned: Readonly<Record<string, unknown>>,
  inputs: Readonly<Record<string, unknown>>,
  urn: string,
  properties: Readonly<Record<string, { readonly type?: string }>>,
): Record<string, unknown> {
  const name = urn.split("::").at(-1) ?? "";
  const filled: Record<string, unknown> = Object.fromEntries(
    Object.entries(inputs).filter(([key, value]) => !(key in planned) && typeof value === "boolean"),
  );
  for (const [key, value] of Object.entries(planned)) {
    if (value !== UNKNOWN) {
      if (!JSON.stringify(value).includes(UNKNOWN)) filled[key] = value;
      continue;
    }
    const type = properties[key]?.type ?? "string";
    if (type === "string") {
      const guess = text(key, name, urn);
      if (guess !== undefined) filled[key] = guess;
    } else if (key === "port") filled[key] = 5432;
    else if (key === "tagsAll") filled[key] = planned["tags"] ?? {};
    else if (type === "array") filled[key] = [];
    else if (type === "object") filled[key] = {};
  }
  return filled;
}
