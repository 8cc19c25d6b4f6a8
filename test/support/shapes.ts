/** What a property holds, as both a plugin's schema and TypeScript's declarations can say it. */
export type Shape =
  /** A document: text in JSON, or the object that becomes it. */
  | { readonly kind: "string" | "number" | "boolean" | "any" | "archive" | "document" }
  | { readonly kind: "list" | "map"; readonly of: Shape }
  | { readonly kind: "object"; readonly name: string; readonly properties: () => Properties };

export type Properties = ReadonlyMap<string, { readonly shape: Shape; readonly required: boolean }>;

/** A resource's arguments and what it has then; likewise a function's. */
export interface Sides {
  readonly inputs: Properties;
  readonly outputs: Properties;
}

export interface Difference {
  readonly path: string;
  readonly plugin: string;
  readonly npm: string;
}

/** What a plugin says of a property that it does not know, and would not pass on. */
export const NOTHING = "nothing";

const spell = (shape: Shape): string => ("of" in shape ? `${shape.kind} of ${spell(shape.of)}` : shape.kind);

/** Where what a plugin takes is not what the npm package's types have a program send. What only the plugin has is no harm. */
export function differences(at: string, plugin: Properties, npm: Properties): Difference[] {
  const found: Difference[] = [];
  const seen = new Set<string>();
  const compare = (path: string, ours: Shape, theirs: Shape): void => {
    if (ours.kind === "any" || theirs.kind === "any") return;
    if (ours.kind === "object" && theirs.kind === "object") {
      // Types may contain themselves.
      const pair = `${ours.name} ${theirs.name}`;
      if (!seen.has(pair)) compareAll(path, ours.properties(), theirs.properties());
      seen.add(pair);
    } else if (ours.kind !== theirs.kind) found.push({ path, plugin: spell(ours), npm: spell(theirs) });
    else if ("of" in ours && "of" in theirs) compare(`${path}[]`, ours.of, theirs.of);
  };
  const compareAll = (prefix: string, ours: Properties, theirs: Properties): void => {
    for (const [name, { shape, required }] of theirs) {
      const path = `${prefix}.${name}`;
      const known = ours.get(name);
      if (!known) found.push({ path, plugin: NOTHING, npm: spell(shape) });
      else {
        compare(path, known.shape, shape);
        if (known.required && !required) found.push({ path, plugin: "required", npm: "optional" });
      }
    }
    for (const [name, { required }] of ours) {
      if (required && !theirs.has(name)) found.push({ path: `${prefix}.${name}`, plugin: "required", npm: NOTHING });
    }
  };
  compareAll(at, plugin, npm);
  return found;
}
