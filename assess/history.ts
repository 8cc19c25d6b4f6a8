/** From what a database or a monitor remembers to samples of a metric. Pure. */
import type { Growing, Metric } from "./metrics.ts";
import { METRICS } from "./metrics.ts";
import { DAY_MS, MONTH_DAYS, type Sample, median } from "./series.ts";

/** Rows that came in between two times (milliseconds since 1970), the second excluded. */
export interface Bin {
  readonly from: number;
  readonly to: number;
  readonly rows: number;
}

/** Up to so many days weeks are told apart; of a longer time months, of which each is known better. */
const WEEKS_UP_TO_DAYS = 182;

/** First moment of the month of a time, moved by so many months; UTC. */
export const monthStart = (at: number, months = 0): number => {
  const date = new Date(at);
  return Date.UTC(date.getUTCFullYear(), date.getUTCMonth() + months, 1);
};

/** Days with their rows, as bins of whole weeks back from now, or of calendar months. Nothing in between counts as none. */
export function binsOf(days: readonly { readonly at: number; readonly rows: number }[], now: number): Bin[] {
  const past = days.filter(({ at }) => at < now);
  if (past.length === 0) return [];
  const first = Math.min(...past.map(({ at }) => at));
  const edges: number[] = [];
  if (now - first <= WEEKS_UP_TO_DAYS * DAY_MS) {
    for (let edge = now; edge > first - 7 * DAY_MS; edge -= 7 * DAY_MS) edges.unshift(edge);
  } else {
    for (let edge = monthStart(first); edge <= now; edge = monthStart(edge, 1)) edges.push(edge);
  }
  return edges.slice(1).map((to, index) => {
    const from = edges[index] ?? to;
    return { from, to, rows: past.filter(({ at }) => at >= from && at < to).reduce((sum, { rows }) => sum + rows, 0) };
  });
}

/** Rows a month, at the middle of each bin. The first bin may have begun before there was anything: it is left out. */
export const ratesOf = (bins: readonly Bin[]): Sample[] =>
  bins
    .slice(1)
    .map(({ from, to, rows }) => ({ at: (from + to) / 2, value: (rows * MONTH_DAYS * DAY_MS) / (to - from) }));

/** What the last month brought: of weeks the last four together. */
export function latestRate(bins: readonly Bin[]): number | undefined {
  const last = bins.at(-1);
  if (!last) return undefined;
  const month = bins.filter(({ from }) => from >= last.to - 31 * DAY_MS);
  const days = month.reduce((sum, { from, to }) => sum + (to - from) / DAY_MS, 0);
  return (month.reduce((sum, { rows }) => sum + rows, 0) * MONTH_DAYS) / days;
}

/** How many there were at the end of each bin, of which there are so many now. */
export function totalsOf(bins: readonly Bin[], total: number, now: number): Sample[] {
  let left = total;
  const last = bins.at(-1);
  if (!last) return [];
  // The month that is not over has brought some too; how many is what is missing in the bins.
  const known = bins.reduce((sum, { rows }) => sum + rows, 0);
  left -= Math.max(0, total - known);
  const ends = [...bins].reverse().map(({ to, rows }) => {
    const sample = { at: to, value: left };
    left -= rows;
    return sample;
  });
  return [...ends.reverse(), ...(last.to < now ? [{ at: now, value: total }] : [])];
}

/**
 * How large the database was, by how many messages there were: each as large as they are on average now, all else as large
 * as now. A stand-in where nobody has kept its size. `total` messages have `bytes` together.
 */
export function sizesOf(
  bins: readonly Bin[],
  { total, bytes }: { readonly total: number; readonly bytes: number },
  databaseBytes: number,
  now: number,
): Sample[] {
  if (total === 0) return [];
  return totalsOf(bins, total, now).map(({ at, value }) => ({
    at,
    value: databaseBytes - bytes * (1 - value / total),
  }));
}

/** Bounds of a partition by time, as PostgreSQL writes them; undefined where it is another kind. */
export function partitionBounds(text: string): { readonly from: number; readonly to: number } | undefined {
  const [, from = "", to = ""] = /FROM \('([^']+)'\) TO \('([^']+)'\)/.exec(text) ?? [];
  const time = (bound: string): number => {
    const [, date = "", rest = "", zone = ""] =
      /^(\d{4}-\d\d-\d\d)(?:[ T]([\d:.]+))?([+-]\d\d(?::?\d\d)?)?$/.exec(bound) ?? [];
    const offset = zone === "" ? "Z" : zone.length === 3 ? `${zone}:00` : zone;
    return Date.parse(`${date}T${rest === "" ? "00:00:00" : rest}${offset}`);
  };
  const bounds = { from: time(from), to: time(to) };
  return Number.isNaN(bounds.from) || Number.isNaN(bounds.to) ? undefined : bounds;
}

/** The worst of each day: what servers must carry is their busiest hour. */
export function dailyPeaks(metric: Metric, samples: readonly Sample[]): Sample[] {
  const worst = METRICS[metric].bounds?.bad === "below" ? Math.min : Math.max;
  return [...Map.groupBy(samples, ({ at }) => Math.floor(at / DAY_MS))]
    .map(([day, ofDay]) => ({ at: (day + 0.5) * DAY_MS, value: worst(...ofDay.map(({ value }) => value)) }))
    .sort((a, b) => a.at - b.at);
}

/** The last seven days' busiest hours, the middle one of them. */
export function recentPeak(peaks: readonly Sample[]): number | undefined {
  const recent = peaks.slice(-7).map(({ value }) => value);
  return recent.length === 0 ? undefined : median(recent);
}

/** One history of a metric, and who remembers it. */
export interface History {
  readonly metric: Metric;
  readonly source: string;
  readonly samples: readonly Sample[];
  /** Taken only where there is no other. */
  readonly estimated?: boolean;
}

const LEAST_SAMPLES = 4;

/** The one that reaches back furthest, of those with enough samples; a measured one before an estimated one. */
export function chooseHistories(histories: readonly History[]): History[] {
  const span = ({ samples }: History): number => {
    const times = samples.map(({ at }) => at);
    return samples.length === 0 ? 0 : Math.max(...times) - Math.min(...times);
  };
  const rank = (one: History): readonly number[] => [
    one.samples.length >= LEAST_SAMPLES && span(one) >= 14 * DAY_MS ? 1 : 0,
    one.estimated ? 0 : 1,
    span(one),
  ];
  const better = (a: History, b: History): number => {
    const [left, right] = [rank(a), rank(b)];
    const index = left.findIndex((value, place) => value !== right[place]);
    return index < 0 ? 0 : (right[index] ?? 0) - (left[index] ?? 0);
  };
  return [...Map.groupBy(histories, ({ metric }) => metric).values()].flatMap((all) =>
    [...all].sort(better).slice(0, 1),
  );
}

/** The metrics that grow with the application, as opposed to what its servers bear. */
export const isGrowing = (metric: Metric): metric is Growing =>
  metric === "users" || metric === "databaseBytes" || metric === "messagesPerMonth";
