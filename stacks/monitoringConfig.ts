/** What of a stack's configuration concerns monitoring and alerts. */
import { type OwnThresholds, readThresholds } from "../monitoring/alerts/index.ts";
import { UserError } from "../tuning/errors.ts";
import { type ConfigSource, flag, json, matching, oneOf, wholeNumber } from "./configValues.ts";

export interface MonitoringConfig {
  /** `cgraph:monitoring`, Docker: default from stage 2 on. */
  readonly enabled: boolean;
  /** `cgraph:monitoringIntervalSeconds`, default 15: between two looks; rates and patience of alerts are multiples of it. */
  readonly intervalSeconds: number;
  /** `cgraph:monitoringRetentionDays`, default 15 (Prometheus's own). */
  readonly retentionDays: number;
  /** `cgraph:grafana`: `auto` (default) where its image can be had, `true` or not at all, `false` never. */
  readonly grafana: (typeof GRAFANA)[number];
  /** `cgraph:grafanaImage`: set by `up` once the image can be had, or by a person; none with `grafana` false. */
  readonly grafanaImage: string | undefined;
  /** `cgraph:alertWebhookUrl`: who is sent alerts as JSON (Alertmanager's webhook). */
  readonly webhookUrl: string | undefined;
  /** `cgraph:alertEmail`: who hears of alerts by e-mail; in Docker it needs `alertSmtpHost`. */
  readonly email: string | undefined;
  /** `cgraph:alertSmtpHost`: HOST:PORT; `alertSmtpFrom`, `alertSmtpTls`, `alertSmtpUser`, and, as a secret, `alertSmtpPassword`. */
  readonly smtp:
    | { readonly host: string; readonly from: string; readonly tls: boolean; readonly user: string | undefined }
    | undefined;
  /** `cgraph:alertThresholds`: other values than the guide's and ours. */
  readonly thresholds: OwnThresholds;
}

const GRAFANA = ["auto", "true", "false"] as const;

export const MONITORING_KEYS = [
  "monitoring",
  "monitoringIntervalSeconds",
  "monitoringRetentionDays",
  "prometheusPort",
  "alertmanagerPort",
  "grafana",
  "grafanaPort",
  "grafanaImage",
  "alertWebhookUrl",
  "alertEmail",
  "alertSmtpHost",
  "alertSmtpFrom",
  "alertSmtpTls",
  "alertSmtpUser",
  "alertSmtpPassword",
  "alertThresholds",
] as const;

const ADDRESS = /^[^@\s]+@[^@\s]+$/;

/** Throws a UserError that names the key, the value and what is allowed. `byDefault`: whether it is on where nothing is said. */
export function readMonitoringConfig(source: ConfigSource, byDefault: boolean, inDocker: boolean): MonitoringConfig {
  const email = matching(source, "alertEmail", ADDRESS, "an e-mail address");
  const host = matching(source, "alertSmtpHost", /^[^\s:]+:\d+$/, "a mail server such as smtp.example.com:587");
  const from = matching(source, "alertSmtpFrom", ADDRESS, "an e-mail address");
  if (inDocker && email !== undefined && host === undefined) {
    throw new UserError(
      "cgraph:alertEmail needs a mail server to send through",
      "set it: ./cgraph-db config set alertSmtpHost HOST:PORT",
    );
  }
  const grafana = oneOf(source, "grafana", GRAFANA, "auto");
  return {
    enabled: flag(source, "monitoring", byDefault),
    intervalSeconds: wholeNumber(source, "monitoringIntervalSeconds", 1, 300, 15),
    retentionDays: wholeNumber(source, "monitoringRetentionDays", 1, 3650, 15),
    grafana,
    grafanaImage: grafana === "false" ? undefined : source("grafanaImage"),
    webhookUrl: matching(source, "alertWebhookUrl", /^https?:\/\/\S+$/, "a URL that begins with http:// or https://"),
    email,
    smtp:
      host === undefined
        ? undefined
        : {
            host,
            from: from ?? email ?? "cgraph-db@localhost",
            tls: flag(source, "alertSmtpTls", true),
            user: source("alertSmtpUser"),
          },
    thresholds: readThresholds(json(source, "alertThresholds")),
  };
}
