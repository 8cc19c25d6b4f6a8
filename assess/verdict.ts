/** Which stage fits, and which limit is met first and when: dated samples in, a verdict out. Pure. */
import type { StageNumber } from "../stacks/guide.ts";
import { type Fit, type Growth, growthOf, pointsOf } from "./fit.ts";
import { GROWING, type Growing, METRICS, type Metric, STRAINS, type Strain, rangeOf, stageOf } from "./metrics.ts";
import { DAY_MS, type Sample } from "./series.ts";

export interface AssessInput {
  /** Milliseconds since 1970. */
  readonly now: number;
  /** The stack's; null: no stack of ours. */
  readonly presentStage: StageNumber | null;
  /** What is known of a metric at this moment; default: its last sample. */
  readonly values: Readonly<Partial<Record<Metric, number>>>;
  readonly series: Readonly<Partial<Record<Metric, readonly Sample[]>>>;
}

/** How a metric moves towards its limit. */
export type Course =
  | "crossed" // above the limit already
  | "grows" // meets it at a day that can be told
  | "far" // meets it later than its history can tell
  | "flat" // no growth that could be told from chance
  | "shrinks"
  | "unknown" // too few data
  | "unbounded"; // the last stage has no limit

export interface Crossing {
  /** Milliseconds since 1970. */
  readonly at: number;
  /** Ninety in a hundred; `latest` null: perhaps never. */
  readonly earliest: number;
  readonly latest: number | null;
}

export interface Forecast {
  readonly metric: Metric;
  readonly value: number;
  readonly limit: number | null;
  readonly course: Course;
  readonly crossing: Crossing | null;
  /** Days until the value has doubled; null unless it grows by the same share. */
  readonly doublingDays: number | null;
  /** By how much it grows in 30 days at present; null where nobody knows. */
  readonly perMonth: number | null;
  readonly kind: Fit["kind"] | null;
  readonly samples: number;
  readonly spanDays: number;
  /** The line at some days from now, for pictures: (milliseconds, value); empty where there is none. */
  readonly line: readonly Sample[];
}

export type Level = "fine" | "warning" | "critical" | "shown";

export interface Judged {
  readonly metric: Strain;
  readonly value: number;
  readonly level: Level;
}

export interface Verdict {
  /** What fits now by the guide's table: the largest that any metric asks for. */
  readonly stage: StageNumber;
  readonly because: readonly Growing[];
  readonly presentStage: StageNumber | null;
  readonly byMetric: Readonly<Partial<Record<Growing, StageNumber>>>;
  readonly strains: readonly Judged[];
  /** Growing metrics first, then strains of which there is a history. */
  readonly forecasts: readonly Forecast[];
  /** The limit that is met first, or has been met; null where none can be told. */
  readonly first: Forecast | null;
}

const LEAST_SAMPLES = 4;
const LEAST_DAYS = 14;
/** Nothing is told of a time further away than ten times what was seen, at the least a year. */
const HORIZON_FACTOR = 10;
const LEAST_HORIZON_DAYS = 365;
/** Points of the line in a picture. */
const LINE_POINTS = 60;

const earliestOf = (fits: readonly Fit[], limit: number): number =>
  Math.min(...fits.map((fit) => fit.meets(limit).earliest));
const latestOf = (fits: readonly Fit[], limit: number): number =>
  Math.max(...fits.map((fit) => fit.meets(limit).latest));

function lineOf({ best }: Growth, now: number, fromDay: number, toDay: number): Sample[] {
  return Array.from({ length: LINE_POINTS + 1 }, (_, index) => {
    const day = fromDay + ((toDay - fromDay) * index) / LINE_POINTS;
    return { at: now + day * DAY_MS, value: best.valueAt(day) };
  });
}

/** When a metric meets its limit. */
export function forecast(
  metric: Metric,
  value: number,
  limit: number | null,
  samples: readonly Sample[],
  now: number,
): Forecast {
  const points = pointsOf(samples, now);
  const first = points[0]?.day ?? 0;
  const spanDays = (points.at(-1)?.day ?? 0) - first;
  const none: Forecast = {
    ...{ metric, value, limit, course: "unknown", crossing: null, doublingDays: null, perMonth: null, kind: null },
    ...{ samples: points.length, spanDays, line: [] },
  };
  const enough = points.length >= LEAST_SAMPLES && spanDays >= LEAST_DAYS;
  const growth = enough ? growthOf(points) : undefined;
  const grown = growth ? { ...none, ...pace(growth) } : none;
  const past = growth ? lineOf(growth, now, first, 0) : [];
  if (limit === null) return { ...grown, course: "unbounded", line: past };
  if (value >= limit) return { ...grown, course: "crossed", line: past };
  if (!growth) return none;
  const { best, other } = growth;
  if (best.slopeHigh < 0) return { ...grown, course: "shrinks", line: past };
  if (best.slopeLow <= 0) return { ...grown, course: "flat", line: past };
  const horizon = Math.max(LEAST_HORIZON_DAYS, spanDays * HORIZON_FACTOR);
  // The line may be above already, where the last value is a low one.
  const day = Math.max(0, best.meets(limit).day);
  if (day > horizon) return { ...grown, course: "far", line: past };
  const fits = other ? [best, other] : [best];
  const latest = latestOf(fits, limit);
  return {
    ...grown,
    course: "grows",
    crossing: {
      at: now + day * DAY_MS,
      earliest: now + Math.max(0, earliestOf(fits, limit)) * DAY_MS,
      latest: Number.isFinite(latest) ? now + Math.max(0, latest) * DAY_MS : null,
    },
    line: lineOf(growth, now, first, day),
  };
}

function pace({ best }: Growth): Pick<Forecast, "kind" | "perMonth" | "doublingDays"> {
  const doubles = best.kind === "exponential" && best.slope > 0 && best.base === 0;
  return {
    kind: best.kind,
    perMonth: best.valueAt(30) - best.valueAt(0),
    doublingDays: doubles ? Math.LN2 / best.slope : null,
  };
}

function judge(metric: Strain, value: number): Judged {
  const { bounds } = METRICS[metric];
  if (!bounds) return { metric, value, level: "shown" };
  const past = (limit: number): boolean => (bounds.bad === "above" ? value > limit : value < limit);
  return { metric, value, level: past(bounds.critical) ? "critical" : past(bounds.warning) ? "warning" : "fine" };
}

/** What is known of a metric now. */
const valueNow = ({ values, series }: AssessInput, metric: Metric): number | undefined =>
  values[metric] ?? [...(series[metric] ?? [])].sort((a, b) => a.at - b.at).at(-1)?.value;

/** Load that the servers carry up to the CPU's warning, if each query goes on costing what it costs. */
function queriesLimit(input: AssessInput): number | null {
  const [queriesPerSecond, cpuShare] = [valueNow(input, "queriesPerSecond"), valueNow(input, "cpuShare")];
  const { bounds } = METRICS.cpuShare;
  // Of a server that does nearly nothing nothing can be told.
  if (queriesPerSecond === undefined || cpuShare === undefined || cpuShare < 0.05 || !bounds) return null;
  return (queriesPerSecond * bounds.warning) / cpuShare;
}

export function assess(input: AssessInput): Verdict {
  const { now, presentStage, series } = input;
  const known = GROWING.flatMap((metric) => {
    const value = valueNow(input, metric);
    return value === undefined ? [] : [{ metric, value, stage: stageOf(metric, value) }];
  });
  const stage = known.reduce<StageNumber>((most, one) => (one.stage > most ? one.stage : most), 1);
  // What counts is what the servers that there are were made for.
  const limitsOf = presentStage ?? stage;
  const growing = known.map(({ metric, value }) =>
    forecast(metric, value, rangeOf(metric, limitsOf).max, series[metric] ?? [], now),
  );
  const straining = STRAINS.flatMap((metric) => {
    const [value, samples, { bounds }] = [valueNow(input, metric), series[metric], METRICS[metric]];
    const limit = metric === "queriesPerSecond" ? queriesLimit(input) : bounds?.bad === "above" ? bounds.warning : null;
    return value === undefined || samples === undefined || limit === null
      ? []
      : [forecast(metric, value, limit, samples, now)];
  });
  // That nothing is known of a load's growth yet is no news: it is judged as it is.
  const forecasts = [...growing, ...straining.filter(({ course }) => course !== "unknown")];
  const when = ({ course, crossing }: Forecast): number =>
    course === "crossed" ? now : (crossing?.at ?? Number.POSITIVE_INFINITY);
  const [first] = [...forecasts].sort((a, b) => when(a) - when(b));
  return {
    stage,
    because: known.filter((one) => one.stage === stage).map(({ metric }) => metric),
    presentStage,
    byMetric: Object.fromEntries(known.map(({ metric, stage: own }) => [metric, own])),
    strains: STRAINS.flatMap((metric) => {
      const value = valueNow(input, metric);
      return value === undefined ? [] : [judge(metric, value)];
    }),
    forecasts,
    first: first && Number.isFinite(when(first)) ? first : null,
  };
}
