/** What has been found out of a database, from whichever source, and what has not. */
import type { History } from "../../assess/history.ts";
import type { Metric } from "../../assess/metrics.ts";

export interface MeasuredValue {
  readonly metric: Metric;
  readonly value: number;
  /** By what, and over which time. */
  readonly how: string;
}

export interface Missing {
  readonly metric: Metric;
  readonly why: string;
}

export class Findings {
  readonly values: MeasuredValue[] = [];
  readonly histories: History[] = [];
  readonly missing: Missing[] = [];
  readonly assumed: string[] = [];
  readonly notes: string[] = [];

  measured(metric: Metric, value: number, how: string): void {
    if (Number.isFinite(value)) this.values.push({ metric, value, how });
  }

  history(history: History): void {
    if (history.samples.length > 0) this.histories.push(history);
  }

  lacks(metric: Metric, why: string): void {
    this.missing.push({ metric, why });
  }
}
