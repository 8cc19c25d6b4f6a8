/** What earlier calls of `assess` have seen: a growth that nobody else has kept. */
import { createHash } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { History } from "../../assess/history.ts";
import { METRICS, type Metric } from "../../assess/metrics.ts";
import { writeWhole } from "../lib/files.ts";
import { HOME, stackFolder } from "../lib/paths.ts";

interface Kept {
  readonly version: 1;
  readonly samples: readonly { readonly at: string; readonly values: Readonly<Partial<Record<Metric, number>>> }[];
}

const HOUR_MS = 3_600_000;
const MOST = 5_000;

/** A stack's file, or one for a database elsewhere, by a name that shows neither host nor user. */
export const keptFile = (place: { readonly stack: string } | { readonly database: string }): string =>
  "stack" in place
    ? join(stackFolder(place.stack), "growth.json")
    : join(HOME, "growth", `${createHash("sha256").update(place.database).digest("hex").slice(0, 16)}.json`);

function read(file: string): Kept["samples"] {
  if (!existsSync(file)) return [];
  try {
    return (JSON.parse(readFileSync(file, "utf8")) as Partial<Kept>).samples ?? [];
  } catch {
    // Half a history is worth less than a new one.
    return [];
  }
}

/** Adds what was seen now, an hour after the last at the earliest, and gives all histories. */
export function keep(file: string, now: number, values: Readonly<Partial<Record<Metric, number>>>): History[] {
  const before = read(file).filter(({ at }) => now - Date.parse(at) >= HOUR_MS);
  const samples = [...before, { at: new Date(now).toISOString(), values }].slice(-MOST);
  writeWhole(file, `${JSON.stringify({ version: 1, samples } satisfies Kept)}\n`, 0o600);
  return (Object.keys(METRICS) as Metric[]).map((metric) => ({
    metric,
    source: "earlier calls of assess",
    samples: samples.flatMap(({ at, values: kept }) => {
      const value = kept[metric];
      return value === undefined ? [] : [{ at: Date.parse(at), value }];
    }),
  }));
}
