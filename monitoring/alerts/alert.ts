/** What an alert is: a figure, the values from which on it is bad, and for how long it must be. */

export const SEVERITIES = ["warning", "critical"] as const;
export type Severity = (typeof SEVERITIES)[number];

/** The values from which on a figure is bad; null: not at this severity. */
export type Thresholds = Readonly<Record<Severity, number | null>>;

/** What rates are taken over, as PromQL writes it. */
export interface Windows {
  /** Twenty scrapes: at the usual 15 seconds five minutes. */
  readonly rate: string;
  /** Twelve times that, an hour: for what comes in bursts, and for what is to come. */
  readonly trend: string;
  /** Half of it. */
  readonly halfTrend: string;
}

export interface Alert {
  /** Its name in configuration, metrics and runbooks: `replication_lag`. */
  readonly id: string;
  readonly title: string;
  /** `%`, `bytes`, `s`, `ms`, `hours`, `days`, or what is counted. */
  readonly unit: string;
  readonly bad: "above" | "below";
  readonly thresholds: Thresholds;
  /** PromQL of the figure, one series for each thing that it concerns. */
  readonly figure: (windows: Windows) => string;
  /** Scrapes in a row that must be bad; default 20 and 4: at the usual 15 seconds five minutes and one. */
  readonly holds?: Readonly<Record<Severity, number>>;
  /** Why anybody should care. */
  readonly meaning: string;
  /** `guide`, or why there is one at all and why with these values. */
  readonly source: string;
}

export const HOLDS: Readonly<Record<Severity, number>> = { warning: 20, critical: 4 };
/** For what is wrong the moment it is seen. */
export const SOON: Readonly<Record<Severity, number>> = { warning: 4, critical: 2 };

/** `replication_lag` as the name of an alert: ReplicationLag. */
export const alertName = (id: string): string =>
  id.replace(/(?:^|_)([a-z0-9])/g, (_, letter: string) => letter.toUpperCase());

/** The page of an alert, below docs/runbooks. */
export const runbookOf = (id: string): string => `${id.replaceAll("_", "-")}.md`;
