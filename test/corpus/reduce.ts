/** Makes a recorded step small, and the same on every machine. */
import { changeOfStep, topLevel, type StepMetadata } from "../../migration/change.ts";

type Inputs = Readonly<Record<string, unknown>>;

/** How Pulumi's protocol writes a value that is not known yet. */
const UNKNOWN = "04da6b54-80e4-46f7-96ec-b56ff0331ba9";
/** How Pulumi marks a secret, an asset or an archive among values. */
const SIGNATURE = "4dabf18193072939515e22adb298388d";
const SECRET = "1b47061264138c4ac30d75fd1eb44270";
const LONG = 120;

/** Inputs that the classifier reads beside those that change. */
const READ = ["applyImmediately", "authTokenUpdateStrategy", "multiAz", "replicateSourceDb"];

const same = (a: unknown, b: unknown): boolean => JSON.stringify(a) === JSON.stringify(b);

/** What cannot be read by anybody in a list of changes: long texts, archives. */
const isBulky = (value: unknown): boolean =>
  (typeof value === "string" && value.length > LONG) ||
  (typeof value === "object" && value !== null && SIGNATURE in value);

/** The parts of two values that differ, with what is bulky named only. Elements of lists that both have are left out. */
function differing(before: unknown, after: unknown): [unknown, unknown] {
  if (Array.isArray(before) && Array.isArray(after)) {
    const [left, right] = [before, after].map((list: unknown[]) => new Set(list.map((one) => JSON.stringify(one))));
    const old = before.filter((one) => right?.has(JSON.stringify(one)) !== true);
    const made = after.filter((one) => left?.has(JSON.stringify(one)) !== true);
    if (old.length === 1 && made.length === 1) {
      const [a, b] = differing(old[0], made[0]);
      return [[a], [b]];
    }
    return [named(old, "before"), named(made, "after")];
  }
  if (isBulky(before) || isBulky(after)) {
    return same(before, after) ? ["[bulky]", "[bulky]"] : [named(before, "before"), named(after, "after")];
  }
  if (typeof before === "object" && typeof after === "object" && before && after) {
    const pairs = Object.keys({ ...before, ...after }).map((key) => {
      const [a, b] = differing((before as Inputs)[key], (after as Inputs)[key]);
      return [key, a, b] as const;
    });
    return [
      Object.fromEntries(pairs.map(([key, a]) => [key, a])),
      Object.fromEntries(pairs.map(([key, , b]) => [key, b])),
    ];
  }
  return [named(before, "before"), named(after, "after")];
}

/** A value with what is bulky in it as a word. */
function named(value: unknown, word: string): unknown {
  if (isBulky(value)) return `[bulky ${word}]`;
  if (Array.isArray(value)) return value.map((one) => named(one, word));
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, named(one, word)]));
}

/** A value without Pulumi's own marks: secrets, of which the engine's events tell no more, and defaults. */
function unmarked(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(unmarked);
  if (typeof value !== "object" || value === null) return value;
  if ((value as Inputs)[SIGNATURE] === SECRET) return "[secret]";
  return Object.fromEntries(
    Object.entries(value)
      .filter(([key]) => key !== "__defaults")
      .map(([key, one]) => [key, unmarked(one)]),
  );
}

/** Keys of inputs that are worth keeping: what changes, and what is read. */
function keptKeys(step: StepMetadata): string[] {
  if (!step.old || !step.new) return READ;
  const paths = [...(step.diffs ?? []), ...(step.keys ?? []), ...Object.keys(step.detailedDiff ?? {})];
  return [...new Set([...paths.map(topLevel), ...READ])];
}

/** A step without what nothing reads; undefined for one that does nothing. */
export function reduced(step: StepMetadata): StepMetadata | undefined {
  if (!changeOfStep(step)) return undefined;
  const pairs = keptKeys(step).map((key) => {
    const [before, after] = [step.old?.inputs?.[key], step.new?.inputs?.[key]].map(unmarked);
    const [a, b] = step.old && step.new ? differing(before, after) : [before, after];
    return [key, a, b] as const;
  });
  const state = (side: "old" | "new") => {
    const from = step[side];
    if (!from) return {};
    const inputs = Object.fromEntries(
      pairs.flatMap(([key, a, b]) => {
        const value = side === "old" ? a : b;
        return value === undefined ? [] : [[key, value]];
      }),
    );
    return { [side]: { ...(from.protect === true ? { protect: true } : {}), inputs } };
  };
  return {
    op: step.op,
    urn: step.urn,
    type: step.type,
    ...(step.keys?.length ? { keys: step.keys } : {}),
    ...(step.diffs?.length ? { diffs: step.diffs } : {}),
    ...(step.detailedDiff && Object.keys(step.detailedDiff).length > 0
      ? {
          detailedDiff: Object.fromEntries(
            Object.entries(step.detailedDiff).map(([path, { diffKind }]) => [path, { diffKind }]),
          ),
        }
      : {}),
    ...state("old"),
    ...state("new"),
  };
}

export interface Machine {
  readonly stack: string;
  readonly root: string;
  readonly baseImage: string;
  /** The stack's first port on this machine, where it has any; the others move along with it. */
  readonly port: number | undefined;
}

const OFFSETS = [0, 1, 947, 1000];
const STANDARD_PORT = 5432;

/** Steps with this machine's names, paths, ports and ids as any machine's. */
export function normalised(steps: readonly StepMetadata[], machine: Machine): StepMetadata[] {
  const ids = new Map<string, string>();
  const plain = (text: string): string =>
    text
      .replaceAll(UNKNOWN, "[unknown]")
      .replaceAll(machine.root, ".")
      .replaceAll(machine.baseImage, "debian:trixie-slim")
      .replaceAll(machine.stack, "corpus")
      .replace(/\b(?=\d*[a-f])[0-9a-f]{12,64}\b/g, (id) => {
        if (!ids.has(id)) ids.set(id, `id${ids.size + 1}`);
        return ids.get(id) ?? id;
      });
  const walk = (value: unknown): unknown => {
    if (typeof value === "string") return plain(value);
    if (typeof value === "number") {
      const offset = machine.port === undefined ? -1 : value - machine.port;
      return OFFSETS.includes(offset) ? offset + STANDARD_PORT : value;
    }
    if (Array.isArray(value)) return value.map(walk);
    if (typeof value !== "object" || value === null) return value;
    return Object.fromEntries(Object.entries(value).map(([key, one]) => [plain(key), walk(one)]));
  };
  return steps.map((step) => walk(step) as StepMetadata);
}
