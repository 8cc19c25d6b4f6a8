/** What `assess` has to say, as data and as sentences: every form of it shows the same. Pure. */
import type { StageNumber } from "../stacks/guide.ts";
import type { History } from "./history.ts";
import { METRICS, type Metric, type Unit } from "./metrics.ts";
import { type StageNeeds, needsOf } from "./next.ts";
import type { Sample } from "./series.ts";
import { type AssessInput, type Forecast, type Verdict, assess } from "./verdict.ts";

export interface ReportedValue {
  readonly metric: Metric;
  readonly value: number;
  readonly how: string;
}

export interface AssessFindings {
  /** Milliseconds since 1970. */
  readonly now: number;
  /** `stack dev`, or a database and its host. */
  readonly subject: string;
  readonly target: "docker" | "aws" | null;
  readonly presentStage: StageNumber | null;
  /** Whether it has CGraph's messages. */
  readonly isCGraph: boolean;
  readonly values: readonly ReportedValue[];
  /** One of each metric. */
  readonly histories: readonly History[];
  readonly missing: readonly { readonly metric: Metric; readonly why: string }[];
  readonly assumed: readonly string[];
  readonly notes: readonly string[];
}

export interface AssessReport {
  readonly version: 1;
  readonly at: string;
  readonly subject: string;
  readonly target: "docker" | "aws" | null;
  readonly isCGraph: boolean;
  readonly verdict: Verdict;
  readonly summary: readonly string[];
  /** The stage to go to: the one that fits, or the one after the present. null: there is none after it. */
  readonly next: StageNeeds | null;
  readonly values: readonly ReportedValue[];
  readonly histories: readonly {
    readonly metric: Metric;
    readonly source: string;
    readonly samples: readonly Sample[];
  }[];
  readonly missing: readonly { readonly metric: Metric; readonly why: string }[];
  readonly assumed: readonly string[];
  readonly notes: readonly string[];
}

const trimmed = (value: number, digits: number): string => String(Number(value.toFixed(digits)));

function thousands(value: number): string {
  const units = ["", " K", " M", " billion"];
  const power = Math.min(3, Math.max(0, Math.floor(Math.log10(Math.max(1, Math.abs(value))) / 3)));
  const scaled = value / 1000 ** power;
  return `${trimmed(scaled, Math.abs(scaled) < 100 && power > 0 ? 1 : 0)}${units[power]}`;
}

function decimalBytes(value: number): string {
  const units = ["B", "kB", "MB", "GB", "TB", "PB"];
  const power = Math.min(5, Math.max(0, Math.floor(Math.log10(Math.max(1, Math.abs(value))) / 3)));
  const scaled = value / 1000 ** power;
  return `${trimmed(scaled, Math.abs(scaled) < 100 ? 1 : 0)} ${units[power]}`;
}

const UNITS: Readonly<Record<Unit, (value: number) => string>> = {
  count: thousands,
  // The guide's GB are decimal.
  bytes: decimalBytes,
  ms: (value) => `${trimmed(value, value < 10 ? 2 : 0)} ms`,
  share: (value) => `${trimmed(value * 100, 1)} %`,
  perSecond: (value) => `${trimmed(value, value < 10 ? 1 : 0)} /s`,
};

/** A metric's value as people read it. */
export const amount = (metric: Metric, value: number): string => UNITS[METRICS[metric].unit](value);
export const day = (at: number): string => new Date(at).toISOString().slice(0, 10);

/** When a limit is met, in a few words. */
export function whenOf({ course, crossing }: Forecast): string {
  switch (course) {
    case "crossed":
      return "met already";
    case "flat":
      return "no growth that differs from chance";
    case "shrinks":
      return "never: it shrinks";
    case "unknown":
      return "unknown: too few data";
    case "unbounded":
      return "the last stage has none";
    case "far":
      return "later than its history can tell";
    case "grows":
      return crossing
        ? `${day(crossing.at)} (${day(crossing.earliest)} to ${crossing.latest === null ? "perhaps never" : day(crossing.latest)})`
        : "";
  }
}

/** How it grows, in a few words; empty where nobody knows. */
export function paceOf({ metric, kind, perMonth, doublingDays }: Forecast): string {
  if (kind === null || perMonth === null) return "";
  const sign = perMonth < 0 ? "" : "+";
  const monthly = `${sign}${amount(metric, perMonth)} in 30 days`;
  return doublingDays === null ? monthly : `${monthly}, doubling in ${Math.round(doublingDays)} days`;
}

const titles = (metrics: readonly Metric[]): string => metrics.map((metric) => METRICS[metric].title).join(" and ");

function headline(verdict: Verdict, isCGraph: boolean): string {
  const { stage, presentStage, because } = verdict;
  // Every metric fits the first one.
  const reason = stage === 1 ? "" : `, by ${titles(because)}`;
  if (!isCGraph) {
    return `This is not CGraph's database: it has no table messages. By its size alone stage ${stage} fits; users and messages a month cannot be told.`;
  }
  if (presentStage === null) return `Stage ${stage} fits${reason}.`;
  if (stage === presentStage) return `Stage ${stage} is right${reason}.`;
  return stage > presentStage
    ? `Stage ${stage} fits${reason}; the stack is at stage ${presentStage}: it is time to move.`
    : `Stage ${stage} would do${reason}; the stack is at stage ${presentStage}.`;
}

function strainWords({ strains }: Verdict): string[] {
  const bad = (level: "critical" | "warning"): string =>
    strains
      .filter((one) => one.level === level)
      .map(({ metric, value }) => `${METRICS[metric].title} ${amount(metric, value)}`)
      .join(", ");
  const [critical, warning] = [bad("critical"), bad("warning")];
  return [
    ...(critical === "" ? [] : [`Critical now: ${critical}.`]),
    ...(warning === "" ? [] : [`To be watched: ${warning}.`]),
    ...(critical + warning === "" && strains.length > 0
      ? ["The servers carry the load: nothing is above its limit."]
      : []),
  ];
}

function firstLimit({ first, forecasts }: Verdict): string {
  if (!first) {
    return forecasts.some(({ course }) => course === "unknown")
      ? "Which limit is met first cannot be told yet: there are too few data on growth. Each call of assess adds some."
      : "No limit is in sight.";
  }
  const { metric, limit } = first;
  const what = `${METRICS[metric].title}, ${amount(metric, limit ?? 0)}`;
  return first.course === "crossed"
    ? `Met already: ${what} (now ${amount(metric, first.value)}).`
    : `Met first: ${what}, on ${whenOf(first)}; ${paceOf(first)}.`;
}

/** What a stage needs, in a sentence. */
export function needsWords({ stage, servers, size, poolers, cache, regions, aws }: StageNeeds): string {
  const parts = [
    `${servers === 1 ? "one server" : `${servers} servers`} with ${size.cpus} CPUs, ${size.memoryMiB / 1024} GB of memory and ${size.diskGiB} GB of SSD${servers === 1 ? "" : " each"}`,
    ...(poolers > 0 ? [`${poolers} PgBouncer${poolers === 1 ? "" : "s"}`] : []),
    ...(cache ? ["Redis"] : []),
    ...(regions.length > 1 ? [`${regions.length} regions`] : []),
  ];
  const price = aws ? `on AWS $${aws.usdPerMonth.toFixed(0)} a month` : "its price on AWS is not known to this version";
  return `Stage ${stage} takes ${parts.join(", ")}; ${price}.`;
}

/** `source`: the stack's configuration, for the price. */
export function reportOf(findings: AssessFindings, source?: Parameters<typeof needsOf>[1]): AssessReport {
  const { now, presentStage, isCGraph, histories, values } = findings;
  const input: AssessInput = {
    now,
    presentStage,
    values: Object.fromEntries(values.map(({ metric, value }) => [metric, value])),
    series: Object.fromEntries(histories.map(({ metric, samples }) => [metric, samples])),
  };
  const verdict = assess(input);
  const wanted = Math.max(
    verdict.stage,
    (presentStage ?? verdict.stage) + (verdict.stage > (presentStage ?? 5) ? 0 : 1),
  );
  const next = wanted > 5 || wanted === presentStage ? null : needsOf(wanted as StageNumber, source);
  const estimated = histories.filter((history) => history.estimated);
  return {
    version: 1,
    at: new Date(now).toISOString(),
    subject: findings.subject,
    target: findings.target,
    isCGraph,
    verdict,
    summary: [
      headline(verdict, isCGraph),
      firstLimit(verdict),
      ...strainWords(verdict),
      ...(next ? [needsWords(next)] : []),
    ],
    next,
    values,
    histories: histories
      .filter(({ metric }) => verdict.forecasts.some((one) => one.metric === metric))
      .map(({ metric, source: from, samples }) => ({ metric, source: from, samples })),
    missing: findings.missing.filter(({ metric }) => !values.some((value) => value.metric === metric)),
    assumed: [
      ...findings.assumed,
      ...estimated.map(
        ({ metric }) =>
          `${METRICS[metric].title} of the past is reckoned from messages: each as large as they are on average now, all else as now`,
      ),
      ...(verdict.forecasts.some(({ kind }) => kind !== null) ? ["growth goes on as it has until now"] : []),
      ...(values.some(({ metric }) => metric === "users") ? ["whoever is gone is not seen in what came in"] : []),
    ],
    notes: findings.notes,
  };
}

/** The guide's bound of a growing metric at the stage that counts; for pictures and tables. */
export const boundText = ({ metric, limit }: Forecast): string => (limit === null ? "none" : amount(metric, limit));
