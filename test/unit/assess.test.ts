import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { growthOf, pointsOf } from "../../assess/fit.ts";
import { METRICS, type Metric, stageOf } from "../../assess/metrics.ts";
import { DAY_MS, type Sample, median, spread } from "../../assess/series.ts";
import { type AssessInput, type Course, type Forecast, type Verdict, assess } from "../../assess/verdict.ts";
import type { StageNumber } from "../../stacks/guide.ts";

const NOW = Date.UTC(2026, 10, 25);

/** The same numbers in every run: 0 to 1, and with a normal distribution. */
function random(seed: number): { uniform: () => number; normal: () => number } {
  let state = seed * 2654435761 + 1;
  const uniform = (): number => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
  return { uniform, normal: () => Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform()) };
}

interface Shape {
  /** Days of history, and between samples. */
  readonly days: number;
  readonly every?: number;
  readonly value: (day: number, at: ReturnType<typeof random>) => number;
  readonly seed?: number;
}

/** Samples up to now; `day` is 0 now and negative before. */
function series({ days, every = 1, value, seed = 1 }: Shape): Sample[] {
  const chance = random(seed);
  return Array.from({ length: Math.floor(days / every) + 1 }, (_, index) => {
    const day = index * every - days;
    return { at: NOW + day * DAY_MS, value: value(day, chance) };
  });
}

const linear = (now: number, perDay: number) => (day: number) => now + perDay * day;
const doubling = (now: number, days: number) => (day: number) => now * 2 ** (day / days);
/** Days until a value that doubles meets a limit. */
const doublings = (now: number, limit: number, days: number): number => Math.log2(limit / now) * days;
const weekly = (day: number): number => 1 + 0.3 * Math.sin((2 * Math.PI * day) / 7);
const GB = 1e9;

interface Case {
  readonly series: Partial<Record<Metric, Sample[]>>;
  readonly presentStage?: StageNumber;
  readonly values?: Partial<Record<Metric, number>>;
  readonly stage: StageNumber;
  /** The metric whose limit is met first; null: none. */
  readonly first: Metric | null;
  readonly course: Course;
  /** Day of the crossing, by construction. */
  readonly day?: number;
  /** Days by which the answer may miss it: a share of the time until then, at the least a day. */
  readonly within?: number;
}

const [EXACT, NOISY, ROUGH] = [0.01, 0.05, 0.1];

const CASES: Readonly<Record<string, Case>> = {
  "linear users": {
    series: { users: series({ days: 90, value: linear(5_000, 50) }) },
    ...{ stage: 1, first: "users", course: "grows", day: 100, within: EXACT },
  },
  "linear size at stage 2": {
    series: { databaseBytes: series({ days: 120, value: linear(60 * GB, 0.2 * GB) }) },
    ...{ stage: 2, first: "databaseBytes", course: "grows", day: 200, within: EXACT },
  },
  "exponential messages": {
    series: { messagesPerMonth: series({ days: 180, value: doubling(400_000, 60) }) },
    ...{ stage: 1, first: "messagesPerMonth", course: "grows", day: doublings(4e5, 1e6, 60), within: EXACT },
  },
  "exponential users at stage 3": {
    series: { users: series({ days: 300, value: doubling(300_000, 90) }) },
    ...{ stage: 3, first: "users", course: "grows", day: doublings(3e5, 1e6, 90), within: EXACT },
  },
  "twelve months of exponential messages": {
    series: { messagesPerMonth: series({ days: 365, every: 30.4, value: doubling(5e6, 120) }) },
    ...{ stage: 2, first: "messagesPerMonth", course: "grows", day: doublings(5e6, 1e7, 120), within: EXACT },
  },
  "linear with noise": {
    series: {
      users: series({ days: 180, value: (day, { normal }) => linear(6_000, 25)(day) * (1 + 0.03 * normal()) }),
    },
    ...{ stage: 1, first: "users", course: "grows", day: 160, within: NOISY },
  },
  "exponential with noise": {
    series: {
      messagesPerMonth: series({
        ...{ days: 365, seed: 2 },
        value: (day, { normal }) => doubling(2e6, 100)(day) * Math.exp(0.1 * normal()),
      }),
    },
    ...{ stage: 2, first: "messagesPerMonth", course: "grows", day: doublings(2e6, 1e7, 100), within: NOISY },
  },
  "linear with every tenth value wild": {
    series: {
      databaseBytes: series({
        ...{ days: 120, seed: 3 },
        value: (day, { uniform }) => linear(5 * GB, 0.05 * GB)(day) * (uniform() < 0.1 ? 5 : 1),
      }),
    },
    // The last value may be one of them.
    values: { databaseBytes: 5 * GB },
    ...{ stage: 1, first: "databaseBytes", course: "grows", day: 100, within: NOISY },
  },
  "linear over weekends and weekdays": {
    series: { messagesPerMonth: series({ days: 140, value: (day) => linear(5e5, 4_000)(day) * weekly(day) }) },
    ...{ stage: 1, first: "messagesPerMonth", course: "grows", day: 125, within: ROUGH },
  },
  "exponential over weekends and weekdays, with noise": {
    series: {
      messagesPerMonth: series({
        ...{ days: 200, seed: 4 },
        value: (day, { normal }) => doubling(4e6, 80)(day) * weekly(day) * Math.exp(0.05 * normal()),
      }),
    },
    ...{ stage: 2, first: "messagesPerMonth", course: "grows", day: doublings(4e6, 1e7, 80), within: ROUGH },
  },
  "linear with a step, as an import makes": {
    series: { users: series({ days: 150, value: (day) => linear(7_000, 20)(day) - (day < -60 ? 2_500 : 0) }) },
    ...{ stage: 1, first: "users", course: "grows", day: 150, within: NOISY },
  },
  "exponential with a step and noise": {
    series: {
      databaseBytes: series({
        ...{ days: 240, seed: 5 },
        value: (day, { normal }) => doubling(30 * GB, 100)(day) * (day < -100 ? 0.6 : 1) * Math.exp(0.01 * normal()),
      }),
    },
    ...{ stage: 2, first: "databaseBytes", course: "grows", day: doublings(30, 100, 100), within: ROUGH },
  },
  "growth that has changed its pace": {
    series: { users: series({ days: 240, value: (day) => 8_000 + (day > -80 ? 40 * day : 5 * (day + 80) - 3_200) }) },
    ...{ stage: 1, first: "users", course: "grows", day: 50, within: NOISY },
  },
  "exponential on top of what was there before": {
    series: { databaseBytes: series({ days: 360, value: (day) => 30 * GB + doubling(20 * GB, 60)(day) }) },
    ...{ stage: 2, first: "databaseBytes", course: "grows", day: doublings(20, 70, 60), within: 0.25 },
  },
  "flat with noise": {
    series: { users: series({ days: 200, seed: 6, value: (_, { normal }) => 4_000 * (1 + 0.02 * normal()) }) },
    ...{ stage: 1, first: null, course: "flat" },
  },
  "flat without any": {
    series: { users: series({ days: 200, value: () => 4_000 }) },
    ...{ stage: 1, first: null, course: "flat" },
  },
  shrinking: {
    series: { messagesPerMonth: series({ days: 100, value: linear(3e6, -10_000) }) },
    ...{ stage: 2, first: null, course: "shrinks" },
  },
  "too few values": {
    series: { users: series({ days: 60, every: 30, value: linear(5_000, 50) }) },
    ...{ stage: 1, first: null, course: "unknown" },
  },
  "too short a time": {
    series: { users: series({ days: 5, every: 0.25, value: linear(5_000, 50) }) },
    ...{ stage: 1, first: null, course: "unknown" },
  },
  "a stack that has outgrown its stage": {
    series: { users: series({ days: 90, value: linear(12_000, 50) }) },
    presentStage: 1,
    ...{ stage: 2, first: "users", course: "crossed" },
  },
  "messages before users": {
    series: {
      users: series({ days: 90, value: linear(4_000, 20) }),
      messagesPerMonth: series({ days: 90, value: linear(7e5, 5_000) }),
    },
    ...{ stage: 1, first: "messagesPerMonth", course: "grows", day: 60, within: EXACT },
  },
  "the last stage, which has no limit": {
    series: { users: series({ days: 90, value: doubling(2e7, 90) }) },
    ...{ stage: 5, first: null, course: "unbounded" },
  },
  "so slow that nobody can tell": {
    series: { users: series({ days: 90, value: linear(2_000, 1) }) },
    ...{ stage: 1, first: null, course: "far" },
  },
  "a stack that is larger than it must be": {
    series: { users: series({ days: 90, value: linear(5_000, 50) }) },
    presentStage: 2,
    ...{ stage: 1, first: null, course: "far" },
  },
  "a disk that fills before the table's limits": {
    series: {
      databaseBytes: series({ days: 60, value: linear(20 * GB, 0.01 * GB) }),
      diskShare: series({ days: 60, value: linear(0.6, 0.002) }),
    },
    ...{ stage: 2, first: "diskShare", course: "grows", day: 50, within: EXACT },
  },
};

const verdictOf = ({ series: samples, presentStage, values = {} }: Case): Verdict =>
  assess({ now: NOW, presentStage: presentStage ?? null, series: samples, values });
const daysUntil = (at: number): number => (at - NOW) / DAY_MS;
const forecastOf = (verdict: Verdict, wanted: Case): Forecast | undefined =>
  verdict.first ?? verdict.forecasts.find(({ metric }) => metric === Object.keys(wanted.series)[0]);

describe("growth with a known end", () => {
  it("is tried in twenty cases and more", () => {
    expect(Object.keys(CASES).length).toBeGreaterThanOrEqual(20);
  });
  it.each(Object.entries(CASES))("%s", (_, wanted) => {
    const verdict = verdictOf(wanted);
    expect(verdict.stage).toBe(wanted.stage);
    expect(verdict.first?.metric ?? null).toBe(wanted.first);
    const found = forecastOf(verdict, wanted);
    expect(found?.course).toBe(wanted.course);
    if (wanted.day === undefined) {
      expect(found?.crossing ?? null).toBeNull();
      return;
    }
    const crossing = found?.crossing ?? { at: NaN, earliest: NaN, latest: null };
    const allowed = Math.max(1, wanted.day * (wanted.within ?? 0));
    expect(Math.abs(daysUntil(crossing.at) - wanted.day)).toBeLessThanOrEqual(allowed);
    // The interval holds what it is an interval of, and within a day what was built in.
    expect(crossing.earliest).toBeLessThanOrEqual(crossing.at);
    expect(crossing.latest ?? Infinity).toBeGreaterThanOrEqual(crossing.at);
    expect(daysUntil(crossing.earliest) - allowed).toBeLessThanOrEqual(wanted.day);
    expect(crossing.latest === null ? Infinity : daysUntil(crossing.latest) + allowed).toBeGreaterThanOrEqual(
      wanted.day,
    );
  });
});

describe("the interval of a crossing", () => {
  it.each([
    ["linear", (day: number, noise: number) => linear(5_000, 30)(day) + 200 * noise, 5_000 / 30],
    ["exponential", (day: number, noise: number) => doubling(5_000, 150)(day) * Math.exp(0.08 * noise), 150],
  ])("holds the day of %s growth in 85 of 100 series or more, of 45 noisy days each", (_, value, day) => {
    const held = Array.from({ length: 100 }, (_unused, seed) => {
      const samples = series({ days: 45, seed: seed + 10, value: (at, { normal }) => value(at, normal()) });
      const found = assess({ now: NOW, presentStage: 1, values: { users: 5_000 }, series: { users: samples } })
        .forecasts[0];
      if (found?.crossing) {
        const { earliest, latest } = found.crossing;
        return daysUntil(earliest) <= day && day <= (latest === null ? Infinity : daysUntil(latest));
      }
      // No growth could be told from chance yet: no wrong answer either.
      return found?.course === "flat";
    });
    expect(held.filter(Boolean).length).toBeGreaterThanOrEqual(85);
  });

  it("holds both kinds of growth while nobody can tell them apart", () => {
    const { best, other } = growthOf(pointsOf(series({ days: 30, value: doubling(5_000, 300) }), NOW));
    expect(best.kind).toBe("exponential");
    const short = growthOf(
      pointsOf(
        series({ days: 30, seed: 9, value: (day, { normal }) => doubling(5_000, 300)(day) * (1 + 0.02 * normal()) }),
        NOW,
      ),
    );
    expect([other?.kind, short.other === undefined]).toEqual([undefined, false]);
  });
});

describe("a line through samples", () => {
  it("does not mind their order, nor a quarter of them being anything", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 1000 }), fc.double({ min: 1, max: 1e6, noNaN: true }), (perDay, wild) => {
        const honest = series({ days: 60, every: 3, value: linear(100_000, perDay) });
        const spoiled = honest.map((sample, index) => (index % 5 === 2 ? { ...sample, value: wild } : sample));
        const { best } = growthOf(pointsOf([...spoiled].reverse(), NOW));
        return Math.abs(best.valueAt(0) - 100_000) / 100_000 < 0.05;
      }),
    );
  });
  it("takes values of nothing as they come", () => {
    const { best } = growthOf(pointsOf(series({ days: 30, value: (day) => Math.max(0, day + 20) }), NOW));
    expect(best.kind).toBe("linear");
    expect(best.meets(1e9).day).toBeGreaterThan(0);
  });
  it("knows middles and spreads", () => {
    expect([median([3, 1, 2]), median([4, 1, 2, 3]), spread([5, 5, 5])]).toEqual([2, 2.5, 0]);
    const chance = random(1);
    expect(spread(Array.from({ length: 5000 }, chance.normal))).toBeCloseTo(1, 1);
  });
});

describe("a stage", () => {
  it("begins where the guide's table says", () => {
    expect([9_999, 10_000, 99_999, 1e6, 1e7].map((users) => stageOf("users", users))).toEqual([1, 2, 2, 4, 5]);
    expect([9.99e9, 1e10, 1e11, 1e12, 1e13].map((size) => stageOf("databaseBytes", size))).toEqual([1, 2, 3, 4, 5]);
  });
  it("is the largest that any metric asks for, and says which", () => {
    const verdict = assess({
      ...{ now: NOW, presentStage: null, series: {} },
      values: { users: 500, messagesPerMonth: 2e7, databaseBytes: 1e9 },
    });
    expect(verdict).toMatchObject({
      stage: 3,
      because: ["messagesPerMonth"],
      byMetric: { users: 1, databaseBytes: 1 },
    });
  });
  it("is judged by what is known: of nothing it is the first", () => {
    expect(assess({ now: NOW, presentStage: null, series: {}, values: {} })).toMatchObject({
      stage: 1,
      because: [],
      first: null,
    });
  });
});

describe("the strain on the servers", () => {
  const strains = (values: AssessInput["values"]): Record<string, string> =>
    Object.fromEntries(
      assess({ now: NOW, presentStage: 2, series: {}, values }).strains.map((one) => [one.metric, one.level]),
    );
  it("is judged by the guide's alarms, and ours where it has none", () => {
    expect(strains({ p99Ms: 501, connectionShare: 0.91, cacheHitRatio: 0.98, cpuShare: 0.5, meanMs: 3 })).toEqual({
      ...{ p99Ms: "warning", connectionShare: "critical", cacheHitRatio: "warning", cpuShare: "fine", meanMs: "shown" },
    });
  });
  it("gives every limit its numbers and its reason", () => {
    for (const { bounds } of Object.values(METRICS)) {
      if (bounds)
        expect([bounds.warning, bounds.critical, bounds.source.length].every((value) => value > 0)).toBe(true);
    }
  });
  it("tells how many queries the CPUs will carry, by what they cost now", () => {
    const history = series({ days: 60, value: linear(1_000, 10) });
    const input = { now: NOW, presentStage: 2 as const, series: { queriesPerSecond: history } };
    const found = assess({ ...input, values: { cpuShare: 0.35 } }).forecasts.find(
      ({ metric }) => metric === "queriesPerSecond",
    );
    expect(found?.limit).toBeCloseTo((1_000 * 0.8) / 0.35);
    expect(daysUntil(found?.crossing?.at ?? 0)).toBeCloseTo((1_000 * 0.8) / 0.35 / 10 - 100, 0);
    // Nothing can be told of servers that do nothing.
    expect(assess({ ...input, values: { cpuShare: 0.01 } }).forecasts).toEqual([]);
  });
});
