/** What a stack's Prometheus finds wrong at the moment. */
import type { StackValues } from "../../stacks/outputs.ts";

export interface FiringAlert {
  readonly name: string;
  readonly severity: string;
  readonly summary: string;
  /** The page that says what to do. */
  readonly runbook: string;
  /** ISO 8601. */
  readonly since: string;
}

interface Answer {
  readonly data: {
    readonly alerts: readonly {
      readonly state: string;
      readonly activeAt: string;
      readonly labels: Readonly<Record<string, string>>;
      readonly annotations: Readonly<Record<string, string>>;
    }[];
  };
}

/** Alerts that fire, critical ones first; null where nobody watches, or Prometheus does not answer. */
export async function firingAlerts(values: StackValues): Promise<FiringAlert[] | null> {
  const { prometheus } = values.endpoints;
  if (!prometheus) return null;
  const url = `http://127.0.0.1:${prometheus.port}/api/v1/alerts`;
  const answer = await fetch(url, { signal: AbortSignal.timeout(3000) })
    .then((response) => response.json() as Promise<Answer>)
    .catch(() => undefined);
  if (!answer) return null;
  return answer.data.alerts
    .filter(({ state }) => state === "firing")
    .map(({ labels, annotations, activeAt }) => ({
      name: labels["alertname"] ?? "",
      severity: labels["severity"] ?? "",
      summary: annotations["summary"] ?? "",
      runbook: annotations["runbook"] ?? "",
      since: activeAt,
    }))
    .sort((a, b) => a.severity.localeCompare(b.severity) || a.name.localeCompare(b.name));
}
