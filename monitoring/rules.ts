/** Alerts as Prometheus's rule file. JSON is YAML too. */
import { type Alert, HOLDS, SEVERITIES, type Severity, type Windows, alertName, runbookOf } from "./alerts/alert.ts";

export interface Pace {
  /** Seconds between two scrapes. */
  readonly intervalSeconds: number;
}

export const windowsOf = ({ intervalSeconds }: Pace): Windows => ({
  rate: `${20 * intervalSeconds}s`,
  trend: `${240 * intervalSeconds}s`,
  halfTrend: `${120 * intervalSeconds}s`,
});

interface Rule {
  readonly alert: string;
  readonly expr: string;
  readonly for: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
}

function rule(alert: Alert, severity: Severity, threshold: number, pace: Pace): Rule {
  const sign = alert.bad === "above" ? ">" : "<";
  return {
    alert: alertName(alert.id),
    expr: `(${alert.figure(windowsOf(pace))}) ${sign} ${threshold}`,
    for: `${(alert.holds ?? HOLDS)[severity] * pace.intervalSeconds}s`,
    labels: { severity },
    annotations: {
      summary: `${alert.title}: {{ $value | humanize }} ${alert.unit}, ${alert.bad} ${threshold}`,
      description: alert.meaning,
      runbook: `docs/runbooks/${runbookOf(alert.id)}`,
    },
  };
}

/** Two rules for each alert, one for each severity that it has a threshold for. */
export function rulesFile(alerts: readonly Alert[], pace: Pace): string {
  const rules = alerts.flatMap((alert) =>
    SEVERITIES.flatMap((severity) => {
      const threshold = alert.thresholds[severity];
      return threshold === null ? [] : [rule(alert, severity, threshold, pace)];
    }),
  );
  return JSON.stringify({ groups: [{ name: "cgraph", interval: `${pace.intervalSeconds}s`, rules }] }, null, 1);
}
