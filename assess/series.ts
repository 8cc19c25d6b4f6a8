/** Dated samples of one metric, and what is done to them before a line is laid through them. Pure. */

/** `at` in milliseconds since 1970. */
export interface Sample {
  readonly at: number;
  readonly value: number;
}

/** Times in days before now (so 0 or less), values as they are or their logarithms. */
export interface Point {
  readonly day: number;
  readonly value: number;
}

export const DAY_MS = 86_400_000;
/** A month as the guide's table means it: a twelfth of a year. */
export const MONTH_DAYS = 365.25 / 12;

/** The middle one, or the mean of the two in the middle; NaN of none. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length / 2;
  return sorted.length % 2 === 1
    ? (sorted[Math.floor(middle)] ?? NaN)
    : ((sorted[middle - 1] ?? NaN) + (sorted[middle] ?? NaN)) / 2;
}

/** How far values usually are from their median, as a standard deviation where they are normal. */
export function spread(values: readonly number[]): number {
  const middle = median(values);
  return 1.4826 * median(values.map((value) => Math.abs(value - middle)));
}

const WEEK = 7;
/** A week has a value of its own where more than half of its days have. */
const LEAST_IN_WEEK = 4;
const LEAST_WEEKS = 5;

/**
 * Whole weeks, counted back from the last sample, each by its median: people chat more at weekends than on Mondays, and a
 * line through days would follow that. Samples that come less often than every second day stay as they are.
 */
export function withoutWeekdays(points: readonly Point[]): readonly Point[] {
  const last = points.at(-1)?.day ?? 0;
  const weeks = [...Map.groupBy(points, ({ day }) => Math.floor((last - day) / WEEK + 1e-9))]
    .filter(([, inWeek]) => new Set(inWeek.map(({ day }) => Math.floor(day))).size >= LEAST_IN_WEEK)
    .map(([, inWeek]) => ({
      day: median(inWeek.map(({ day }) => day)),
      value: median(inWeek.map(({ value }) => value)),
    }))
    .sort((a, b) => a.day - b.day);
  return weeks.length >= LEAST_WEEKS ? weeks : points;
}

/** An increment this many times as far from the usual as others are is a step. */
const STEP_SPREADS = 8;
const LEAST_FOR_STEPS = 8;
/** More than that is no step in something steady. */
const MOST_STEPS = 2;

/**
 * Takes sudden steps out, such as an import: what came before is lifted to what came after, so that the slope is that of
 * both sides. A value that goes back at once is an outlier and no step; it is left to the fit, which minds none.
 */
export function withoutSteps(points: readonly Point[]): readonly Point[] {
  if (points.length < LEAST_FOR_STEPS) return points;
  const gaps = points.slice(1).map((point, index) => {
    const before = points[index] ?? point;
    return { days: point.day - before.day, rise: point.value - before.value };
  });
  const rates = gaps.map(({ days, rise }) => rise / days);
  const usual = median(rates);
  const limit = STEP_SPREADS * spread(rates) + 1e-9 * Math.max(...points.map(({ value }) => Math.abs(value)));
  const excess = gaps.map(({ days, rise }) => rise - usual * days);
  const isOdd = (index: number): boolean => Math.abs(excess[index] ?? 0) > limit * (gaps[index]?.days ?? 1);
  const steps = gaps.map((_, index) => index).filter((index) => isOdd(index) && !isOdd(index - 1) && !isOdd(index + 1));
  if (steps.length > MOST_STEPS) return points;
  return points.map((point, index) => ({
    day: point.day,
    value: steps.filter((step) => step >= index).reduce((value, step) => value + (excess[step] ?? 0), point.value),
  }));
}
