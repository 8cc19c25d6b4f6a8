import { describe, expect, it } from "vitest";
import { dashboardBody } from "../../components/aws/dashboard.ts";
import { jobsOf } from "../../components/docker/exporters.ts";
import { alertsOf, everyAlert, readThresholds } from "../../monitoring/alerts/index.ts";
import { grafanaDashboard } from "../../monitoring/grafanaDashboard.ts";
import { PANELS } from "../../monitoring/panels.ts";
import { queriesFile } from "../../monitoring/postgresQueries.ts";
import { alertmanagerYaml, prometheusYaml } from "../../monitoring/prometheusConfig.ts";
import { rulesFile } from "../../monitoring/rules.ts";
import { readConfig } from "../../stacks/config.ts";
import { ALERTS } from "../../stacks/guide.ts";
import { UserError } from "../../tuning/errors.ts";
import { CASES } from "../support/ruleCases.ts";

const PACE = { intervalSeconds: 15 };
const ALL = { replicas: 3, pool: true, cache: true, backupIntervalHours: 24 };
const config = (keys: Readonly<Record<string, string>>) => readConfig((key) => keys[key]);
interface Rules {
  readonly groups: readonly [
    { readonly rules: readonly { alert: string; expr: string; for: string; labels: { severity: string } }[] },
  ];
}
const rulesOf = (own = {}): Rules["groups"][0]["rules"] =>
  (JSON.parse(rulesFile(alertsOf(ALL, own), PACE)) as Rules).groups[0].rules;

describe("alerts", () => {
  it("have the guide's thresholds, each of its rows", () => {
    for (const { metric, warning, critical, bad } of ALERTS.value) {
      expect(everyAlert().find(({ id }) => id === metric)).toMatchObject({ bad, thresholds: { warning, critical } });
    }
  });

  it("become a rule for each severity, and none for one that is switched off", () => {
    const own = { disk_usage: { warning: null, critical: 90 } };
    expect(rulesOf(own).filter(({ alert }) => alert === "DiskUsage")).toMatchObject([
      { labels: { severity: "critical" } },
    ]);
    expect(rulesOf(own).find(({ alert }) => alert === "DiskUsage")?.expr).toMatch(/> 90$/);
    expect(rulesOf().find(({ alert }) => alert === "CacheHitRatio")).toMatchObject({ for: "300s" });
  });

  it("concern only what a stage has", () => {
    const ids = alertsOf({ replicas: 0, pool: false, cache: false, backupIntervalHours: 24 }, {}).map(({ id }) => id);
    expect(ids).not.toContain("replication_lag");
    expect(ids).not.toContain("pool_wait");
    expect(ids).not.toContain("cache_down");
    expect(ids).toContain("disk_usage");
  });

  it("each have a case that brings them about", () => {
    expect(Object.keys(CASES).sort()).toEqual(
      everyAlert()
        .map(({ id }) => id)
        .sort(),
    );
  });

  it.each([
    ["an alert that there is none of", { disc: { warning: 1 } }, "there is no alert disc"],
    ["a severity that there is none of", { cpu: { fatal: 1 } }, "cpu has no fatal"],
    ["a text", { cpu: { warning: "high" } }, "cpu's warning is no number"],
    ["a list", [], "it is no object"],
  ])("refuse thresholds of %s", (_, value, said) => {
    expect(() => readThresholds(value)).toThrow(said);
  });
});

describe("monitoring's configuration", () => {
  it("is on from stage 2 on, in Docker", () => {
    expect(config({}).monitoring.enabled).toBe(false);
    expect(config({ stage: "2" }).monitoring.enabled).toBe(true);
    expect(config({ stage: "2", target: "aws" }).monitoring.enabled).toBe(false);
    expect(config({ stage: "3", monitoring: "false" }).monitoring.enabled).toBe(false);
  });

  it.each([
    [{ alertEmail: "operator@example.com" }, "needs a mail server"],
    [{ alertEmail: "me" }, "an e-mail address"],
    [{ alertWebhookUrl: "ftp://example.com" }, "a URL"],
    [{ alertSmtpHost: "smtp.example.com" }, "smtp.example.com:587"],
    [{ monitoringIntervalSeconds: "0" }, "from 1 to 300"],
    [{ alertThresholds: "{" }, "JSON"],
    [{ prometheusPort: "5432" }, "two ports are the same"],
  ])("refuses %o", (keys, said) => {
    let thrown: unknown;
    try {
      config(keys);
    } catch (error) {
      thrown = error;
    }
    expect(thrown).toBeInstanceOf(UserError);
    const { message, remedy } = thrown as UserError;
    expect(`${message} ${remedy}`).toContain(said);
  });

  it("sends alerts by e-mail, by webhook, by both or to nobody", () => {
    const receiver = (receivers: Parameters<typeof alertmanagerYaml>[0]): unknown =>
      (JSON.parse(alertmanagerYaml(receivers, PACE)) as { receivers: unknown[] }).receivers[0];
    const smtp = {
      host: "smtp.example.com:587",
      from: "db@example.com",
      tls: true,
      user: undefined,
      password: undefined,
    };
    expect(receiver({ webhookUrl: undefined, email: undefined, smtp: undefined })).toEqual({ name: "operator" });
    expect(receiver({ webhookUrl: "http://a/", email: "o@example.com", smtp })).toMatchObject({
      webhook_configs: [{ url: "http://a/" }],
      email_configs: [{ to: "o@example.com" }],
    });
  });

  it("asks PostgreSQL 16 and 17 where each has its checkpoints", () => {
    expect(queriesFile(17)).toContain("pg_stat_checkpointer");
    expect(queriesFile(16)).toContain("checkpoints_req");
  });

  it("asks of a server on its own what it has", () => {
    const watched = {
      postgresVersion: 17,
      nodes: ["pg0"],
      poolers: [],
      etcdMembers: [],
      cache: false,
      primaries: 1,
    } as const;
    expect(jobsOf(watched).map(({ name }) => name)).toEqual(["postgresql", "node", "cgraph"]);
    expect(prometheusYaml(jobsOf(watched), PACE)).not.toContain("patroni");
  });
});

describe("the dashboard", () => {
  it("has the same panels in Grafana and, where it has figures, in CloudWatch", () => {
    const grafana = JSON.parse(grafanaDashboard("dev", { replicas: true, pool: true, cache: true }, PACE)) as {
      panels: { title: string }[];
    };
    expect(grafana.panels.map(({ title }) => title)).toEqual(PANELS.map(({ title }) => title));
    const cloud = JSON.parse(dashboardBody("eu-west-1", "dev", [{ name: "pg0", identifier: "i" }])) as {
      widgets: unknown[];
    };
    expect(cloud.widgets).toHaveLength(PANELS.filter(({ cloudWatch }) => cloudWatch).length);
  });
});
