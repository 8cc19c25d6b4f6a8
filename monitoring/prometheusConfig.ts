/** Prometheus's and Alertmanager's configuration. JSON is YAML too. */
import type { Pace } from "./rules.ts";

export interface Target {
  /** `host:port` on the stack's network. */
  readonly address: string;
  /** What the figures are of, such as `{ server: "pg0" }`. */
  readonly labels: Readonly<Record<string, string>>;
}

export interface Job {
  readonly name: string;
  readonly targets: readonly Target[];
  readonly https?: boolean;
  /** The mount points that are a stack's volumes: their label `volume`. */
  readonly volumes?: Readonly<Record<string, string>>;
}

const AUTHORITY = "/run/cgraph-tls/ca.crt";
export const ALERTMANAGER = "alertmanager";

/** prometheus.yml: what is asked, how often, and who hears of alerts. */
export const prometheusYaml = (jobs: readonly Job[], { intervalSeconds }: Pace): string =>
  JSON.stringify(
    {
      global: {
        scrape_interval: `${intervalSeconds}s`,
        scrape_timeout: `${Math.min(10, intervalSeconds)}s`,
        evaluation_interval: `${intervalSeconds}s`,
      },
      rule_files: ["/etc/cgraph/rules.yml"],
      alerting: { alertmanagers: [{ static_configs: [{ targets: [`${ALERTMANAGER}:9093`] }] }] },
      scrape_configs: jobs.map(({ name, targets, https, volumes }) => ({
        job_name: name,
        ...(https === true ? { scheme: "https", tls_config: { ca_file: AUTHORITY } } : {}),
        static_configs: targets.map(({ address, labels }) => ({ targets: [address], labels })),
        metric_relabel_configs: [
          // postgres_exporter has a name of its own for the server.
          { action: "labeldrop", regex: "exported_server" },
          ...Object.entries(volumes ?? {}).map(([mountpoint, volume]) => ({
            source_labels: ["mountpoint"],
            regex: mountpoint,
            target_label: "volume",
            replacement: volume,
          })),
        ],
      })),
    },
    null,
    1,
  );

export interface Receivers {
  readonly webhookUrl: string | undefined;
  readonly email: string | undefined;
  readonly smtp: SmtpServer | undefined;
}

export interface SmtpServer {
  /** `host:port`. */
  readonly host: string;
  readonly from: string;
  /** Whether it must offer STARTTLS. */
  readonly tls: boolean;
  readonly user: string | undefined;
  readonly password: string | undefined;
}

/**
 * alertmanager.yml: everything to the one receiver, with the webhook and the address that it has. A critical alert
 * silences the warning about the same thing. Without either, alerts are seen only in Alertmanager and in `status`.
 */
export function alertmanagerYaml({ webhookUrl, email, smtp }: Receivers, { intervalSeconds }: Pace): string {
  const wait = 2 * intervalSeconds;
  return JSON.stringify(
    {
      ...(smtp && {
        global: {
          smtp_smarthost: smtp.host,
          smtp_from: smtp.from,
          smtp_require_tls: smtp.tls,
          ...(smtp.user !== undefined && { smtp_auth_username: smtp.user }),
          ...(smtp.password !== undefined && { smtp_auth_password: smtp.password }),
        },
      }),
      route: {
        receiver: "operator",
        group_by: ["alertname", "server"],
        group_wait: `${wait}s`,
        group_interval: `${wait}s`,
        repeat_interval: "4h",
      },
      inhibit_rules: [
        {
          source_matchers: ['severity="critical"'],
          target_matchers: ['severity="warning"'],
          equal: ["alertname", "server", "replica", "pooler", "database", "volume", "slot", "container", "host"],
        },
      ],
      receivers: [
        {
          name: "operator",
          ...(webhookUrl !== undefined && { webhook_configs: [{ url: webhookUrl, send_resolved: true }] }),
          ...(email !== undefined && smtp && { email_configs: [{ to: email, send_resolved: true }] }),
        },
      ],
    },
    null,
    1,
  );
}
