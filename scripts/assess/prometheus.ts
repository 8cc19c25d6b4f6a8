/** Metrics out of Prometheus, by its HTTP API. */
import { dailyPeaks, isGrowing, recentPeak } from "../../assess/history.ts";
import { METRICS, type Metric } from "../../assess/metrics.ts";
import { PROMQL } from "../../assess/prometheus.ts";
import type { Sample } from "../../assess/series.ts";
import { EXIT, UserError } from "../../tuning/errors.ts";
import type { Findings } from "./findings.ts";

const STEP_SECONDS = 3600;
const PATIENCE_MS = 30_000;

interface RangeAnswer {
  readonly status?: string;
  readonly error?: string;
  readonly data?: { readonly result?: readonly { readonly values?: readonly (readonly [number, string])[] }[] };
}

/** The address of its API. Throws a UserError (wrong use) where it is no address. */
function apiOf(address: string): URL {
  try {
    const url = new URL(address);
    if (!["http:", "https:"].includes(url.protocol)) throw new Error();
    return new URL("api/v1/query_range", url.href.endsWith("/") ? url : `${url.href}/`);
  } catch {
    throw new UserError(`--prometheus is "${address}"`, "give its address: http://HOST:9090");
  }
}

async function rangeOf(api: URL, query: string, days: number, now: number): Promise<Sample[]> {
  const url = new URL(api);
  const end = Math.floor(now / 1000);
  for (const [key, value] of Object.entries({ query, start: end - days * 86_400, end, step: STEP_SECONDS })) {
    url.searchParams.set(key, String(value));
  }
  let answer: RangeAnswer;
  try {
    const response = await fetch(url, { signal: AbortSignal.timeout(PATIENCE_MS) });
    answer = (await response.json()) as RangeAnswer;
    if (!response.ok || answer.status !== "success") throw new Error(answer.error ?? `it answers ${response.status}`);
  } catch (error) {
    const { message, cause } = error as Error;
    throw new UserError(
      `Prometheus at ${api.host} does not answer as it should: ${cause instanceof Error ? cause.message : message}`,
      "check --prometheus, or leave it out",
      EXIT.failed,
    );
  }
  return (answer.data?.result?.[0]?.values ?? [])
    .map(([seconds, value]) => ({ at: seconds * 1000, value: Number(value) }))
    .filter(({ value }) => Number.isFinite(value));
}

/** The first of a metric's expressions that has something; undefined where none has. */
async function seriesOf(api: URL, metric: Metric, database: string, days: number, now: number) {
  for (const expression of PROMQL[metric]) {
    const query = expression.replaceAll("$database", database.replace(/["\\]/g, "\\$&"));
    const samples = await rangeOf(api, query, days, now);
    if (samples.length > 0) return { query, samples };
  }
  return undefined;
}

/** Everything that Prometheus knows. Its figures are over days, and count more than a moment's. */
export async function readPrometheus(
  address: string,
  { database, days, now }: { readonly database: string; readonly days: number; readonly now: number },
  findings: Findings,
): Promise<void> {
  const api = apiOf(address);
  const metrics = Object.keys(METRICS) as Metric[];
  const found = await Promise.all(
    metrics.map(async (metric) => ({ metric, series: await seriesOf(api, metric, database, days, now) })),
  );
  for (const { metric, series } of found) {
    if (!series) {
      findings.lacks(metric, "Prometheus has none either");
      continue;
    }
    const source = "Prometheus";
    if (isGrowing(metric)) {
      findings.measured(metric, series.samples.at(-1)?.value ?? NaN, "Prometheus");
      findings.history({ metric, source, samples: series.samples });
    } else {
      const peaks = dailyPeaks(metric, series.samples);
      findings.measured(
        metric,
        recentPeak(peaks) ?? NaN,
        "Prometheus, the middle of the last seven days' busiest hours",
      );
      findings.history({ metric, source: `${source}, each day's busiest hour`, samples: peaks });
    }
  }
}
