/**
 * A line through a metric's growth, and when it meets a limit. Pure.
 *
 * Theil and Sen's estimate: the slope is the median of the slopes between all pairs of points, so that up to a quarter of
 * them may be anything without moving it much. Growth by the same amount (linear) and by the same share (exponential, a
 * line through logarithms) are both tried; the one that fits better is taken.
 */
import { DAY_MS, type Point, type Sample, median, withoutSteps, withoutWeekdays } from "./series.ts";

export type GrowthKind = "linear" | "exponential";

/** Shares of the least value that may have been there before it began to grow. */
const BASES = [0.3, 0.5, 0.65, 0.8, 0.9, 0.95];
/** A base of its own must make the line so much better. */
const BASE_BETTER = 0.4;

interface Line {
  readonly slope: number;
  readonly level: number;
}

export interface Fit {
  readonly kind: GrowthKind;
  /** What does not grow, below what does; 0 for most. */
  readonly base: number;
  /** A day: units (linear), or the natural logarithm of the factor (exponential). */
  readonly slope: number;
  /** Ninety in a hundred such series have their slope between these. */
  readonly slopeLow: number;
  readonly slopeHigh: number;
  /** The value at a day (0: now). */
  readonly valueAt: (day: number) => number;
  /** Mean distance from the line, as a share of the values, without the worst tenth. */
  readonly error: number;
  /** When a limit is met: the day by this slope and by the fastest and the slowest; Infinity: never. */
  readonly meets: (limit: number) => { readonly day: number; readonly earliest: number; readonly latest: number };
}

/** Normal quantile of the interval's ninety in a hundred. */
const Z = 1.645;
/** What was before says little of how it grows now. */
const MOST_DAYS = 730;
/** More points make no better line, only more pairs. */
const MOST_POINTS = 400;

function lineWith(slope: number, points: readonly Point[]): Line {
  return { slope, level: median(points.map(({ day, value }) => value - slope * day)) };
}

/** Median slope, and the slopes that bound it, after Sen (1968): ranks by the spread of Kendall's statistic. */
function theilSen(points: readonly Point[]): { middle: Line; low: Line; high: Line } {
  const slopes = new Float64Array((points.length * (points.length - 1)) / 2);
  let count = 0;
  for (const [index, a] of points.entries()) {
    for (let other = index + 1; other < points.length; other++) {
      const b = points[other];
      if (b && b.day !== a.day) slopes[count++] = (b.value - a.value) / (b.day - a.day);
    }
  }
  const sorted = slopes.subarray(0, count).sort();
  const n = points.length;
  const width = Z * Math.sqrt((n * (n - 1) * (2 * n + 5)) / 18);
  const at = (rank: number): number => sorted[Math.min(count - 1, Math.max(0, Math.round(rank)))] ?? 0;
  const middle = count % 2 === 1 ? at((count - 1) / 2) : (at(count / 2 - 1) + at(count / 2)) / 2;
  return {
    middle: lineWith(middle, points),
    low: lineWith(at((count - width) / 2 - 1), points),
    high: lineWith(at((count + width) / 2), points),
  };
}

/** Without the worst tenth, which may be anything. */
function meanError(points: readonly Point[], valueAt: (day: number) => number): number {
  const errors = points.map(({ day, value }) => Math.abs(value - valueAt(day))).sort((a, b) => a - b);
  const kept = errors.slice(0, Math.max(1, Math.ceil(errors.length * 0.9)));
  const scale = points.reduce((sum, { value }) => sum + Math.abs(value), 0) / points.length;
  return scale === 0 ? 0 : kept.reduce((sum, error) => sum + error, 0) / kept.length / scale;
}

/** By the same share; where that makes it much better, on top of something that does not grow. */
function exponentialFit(points: readonly Point[]): Fit {
  const plain = fitOf("exponential", points);
  const least = Math.min(...points.map(({ value }) => value));
  const [best] = BASES.map((share) => fitOf("exponential", points, share * least)).sort((a, b) => a.error - b.error);
  return best && best.error < plain.error * BASE_BETTER && plain.error > ROUNDING ? best : plain;
}

function fitOf(kind: GrowthKind, points: readonly Point[], base = 0): Fit {
  const into = (value: number): number => (kind === "linear" ? value : Math.log(value - base));
  const out = (value: number): number => (kind === "linear" ? value : base + Math.exp(value));
  const level = withoutSteps(points.map(({ day, value }) => ({ day, value: into(value) })));
  const { middle, low, high } = theilSen(level);
  const valueAt = (day: number): number => out(middle.slope * day + middle.level);
  const met = (line: Line, limit: number): number =>
    line.slope > 0 ? (into(limit) - line.level) / line.slope : Number.POSITIVE_INFINITY;
  return {
    kind,
    base,
    slope: middle.slope,
    slopeLow: low.slope,
    slopeHigh: high.slope,
    valueAt,
    error: meanError(
      level.map(({ day, value }) => ({ day, value: out(value) })),
      valueAt,
    ),
    meets: (limit) => ({ day: met(middle, limit), earliest: met(high, limit), latest: met(low, limit) }),
  };
}

function thinned(points: readonly Point[]): readonly Point[] {
  if (points.length <= MOST_POINTS) return points;
  const size = points.length / MOST_POINTS;
  return [...Map.groupBy(points, (_, index) => Math.floor(index / size)).values()].map((group) => ({
    day: median(group.map(({ day }) => day)),
    value: median(group.map(({ value }) => value)),
  }));
}

/** Samples of the last two years as points in order, in days before `now`. */
export const pointsOf = (samples: readonly Sample[], now: number): readonly Point[] =>
  samples
    .filter(({ value }) => Number.isFinite(value))
    .map(({ at, value }) => ({ day: (at - now) / DAY_MS, value }))
    .filter((point) => point.day >= -MOST_DAYS)
    .sort((a, b) => a.day - b.day);

export interface Growth {
  /** The one that fits better. */
  readonly best: Fit;
  /** The other one, where it fits nearly as well: then nobody can tell yet which it is. */
  readonly other: Fit | undefined;
}

/** Within this factor of the better one's error, the other kind of growth may be true as well. */
const NEARLY = 1.25;
/** Errors below this share of the values are rounding. */
const ROUNDING = 1e-6;

/** Fewer points make no line of their own. */
const LEAST_POINTS = 5;
/** So many of the last points are kept back to see which part of the history foretells them. */
const KEPT_BACK = 0.1;
/** A shorter history is taken where it foretells them twice as well, and the whole one misses them. */
const [BETTER, MISSED] = [0.5, 0.01];

function bothFits(points: readonly Point[]): Growth {
  const linear = fitOf("linear", points);
  if (!points.every(({ value }) => value > 0)) return { best: linear, other: undefined };
  const exponential = exponentialFit(points);
  const [best, other] = exponential.error < linear.error ? [exponential, linear] : [linear, exponential];
  return { best, other: other.error <= best.error * NEARLY + ROUNDING ? other : undefined };
}

/** How far the last points are from what those before them foretell, as a share of the values. */
function missed(points: readonly Point[], last: number): number {
  const { best } = bothFits(points.slice(0, -last));
  const errors = points
    .slice(-last)
    .map(({ day, value }) => Math.abs(value - best.valueAt(day)) / Math.max(1e-9, Math.abs(value)));
  return median(errors);
}

/**
 * The growth of a metric; points as `pointsOf` gives them, two at the least. Where growth has changed its pace, so that the
 * later half or quarter of the history foretells its end much better than the whole of it, that part counts.
 */
export function growthOf(points: readonly Point[]): Growth {
  const all = thinned(withoutWeekdays(points));
  const last = Math.max(2, Math.round(all.length * KEPT_BACK));
  const parts = [2, 4]
    .map((share) => all.slice(-Math.floor(all.length / share)))
    .filter((part) => part.length >= LEAST_POINTS + last);
  if (parts.length === 0) return bothFits(all);
  const whole = missed(all, last);
  const [best] = parts.map((part) => ({ part, error: missed(part, last) })).sort((a, b) => a.error - b.error);
  return bothFits(best && whole > MISSED && best.error < whole * BETTER ? best.part : all);
}
