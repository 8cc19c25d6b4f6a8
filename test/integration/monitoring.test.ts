import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ChatLoad } from "../../bench/chatLoad.ts";
import { alertsOf } from "../../monitoring/alerts/index.ts";
import { SEVERITIES, type Severity, alertName, runbookOf } from "../../monitoring/alerts/alert.ts";
import { panelsOf } from "../../monitoring/panels.ts";
import { rulesFile, windowsOf } from "../../monitoring/rules.ts";
import { docker } from "../../scripts/lib/docker.ts";
import { run } from "../../scripts/lib/run.ts";
import { environment } from "../../scripts/lib/connection.ts";
import { findBaseImage } from "../../scripts/setup/baseImage.ts";
import { type AlertReceiver, alertReceiver } from "../support/alertReceiver.ts";
import { backupDrills } from "../support/alertDrills/backups.ts";
import { clusterDrills } from "../support/alertDrills/clusters.ts";
import { type Drill, Drilled, Repeated } from "../support/alertDrills/drill.ts";
import { machineDrills } from "../support/alertDrills/machines.ts";
import { serverDrills } from "../support/alertDrills/servers.ts";
import { currentValues, reseed } from "../support/chat.ts";
import { cgraphOk, freePort, removeStack, setConfig, uniqueStack } from "../support/cli.ts";
import { hostAddress } from "../support/hostAddress.ts";
import { type Mail, type MailReceiver, mailReceiver } from "../support/mailReceiver.ts";
import { ruleTests } from "../support/ruleCases.ts";
import { eventually } from "../support/eventually.ts";

/** All alerts at both severities are the long drill; here are those that are quick, at one. */
const FULL = process.env["CGRAPH_TEST_FULL"] === "1";
const LONG = " (skipped: a long drill, ./cgraph-db test --full)";

/** The guide's and ours where a test can reach them; lower ones where that would take days, gigabytes, or all of a machine. */
const THRESHOLDS = {
  dead_tuples: { warning: 1000, critical: 5000 },
  long_transaction: { warning: 6, critical: 25 },
  idle_in_transaction: { warning: 6, critical: 25 },
  transaction_id_age: { warning: 3000, critical: 15_000 },
  slot_retained_wal: { warning: 40 * 1024 ** 2, critical: 90 * 1024 ** 2 },
  archiving_behind: { warning: 5, critical: 20 },
  backup_age: { warning: 0.01, critical: 0.03 },
  cpu: { warning: 15, critical: 55 },
};
/** The rules are those of every stack; all that they wait for is in looks, which are a second apart here. */
const PACE = { intervalSeconds: 1 };
const CONNECTIONS = { maxConnections: 60, poolSize: 4, reserveSize: 5 };
const stack = uniqueStack();
const on = new Drilled(stack);
const drills: readonly Drill[] = [
  ...serverDrills(on, CONNECTIONS.maxConnections),
  ...machineDrills(on, THRESHOLDS),
  ...backupDrills(on),
  ...clusterDrills(on, CONNECTIONS.poolSize + CONNECTIONS.reserveSize),
];
const seen: { alert: string; severity: Severity; firedAfterS: number; resolvedAfterS: number }[] = [];
let receiver: AlertReceiver;
let mailbox: MailReceiver;
let urls: Record<string, string> = {};

beforeAll(async () => {
  const address = await hostAddress();
  receiver = await alertReceiver(address);
  mailbox = await mailReceiver(address);
  await setConfig(stack, {
    stage: "3",
    replicas: "2",
    maxConnections: String(CONNECTIONS.maxConnections),
    poolSize: String(CONNECTIONS.poolSize),
    // Small enough for a table that does not fit; a replica's reader may hold replay for as long as a drill lasts.
    settings: JSON.stringify({ shared_buffers: "32MB", max_standby_streaming_delay: "10min" }),
    dataVolumeOptions: JSON.stringify({ type: "tmpfs", device: "tmpfs", o: "size=2g" }),
    monitoringIntervalSeconds: String(PACE.intervalSeconds),
    alertWebhookUrl: receiver.url,
    alertEmail: "operator@example.com",
    alertSmtpHost: mailbox.host,
    alertSmtpFrom: "alerts@example.com",
    alertSmtpTls: "false",
    alertThresholds: JSON.stringify(THRESHOLDS),
    port: String(await freePort()),
    baseImage: (await findBaseImage()) ?? "",
  });
  await cgraphOk("up", "--stack", stack, "--no-install");
  await cgraphOk("schema", "apply", "--stack", stack);
  const values = await currentValues(stack);
  urls = await environment(stack, values);
  on.runs({ urls, prometheusUrl: `http://127.0.0.1:${values.endpoints.prometheus?.port}` });
  await reseed(stack, 2000);
}, 600_000);
afterAll(async () => {
  if (seen.length > 0) console.table(seen);
  receiver.close();
  mailbox.close();
  await removeStack(stack);
});

const seconds = (since: number): number => Math.round((Date.now() - since) / 1000);

/** Each severity in turn fires while its cause lasts; all are over when it has ended. */
async function bringAbout(drill: Drill, severities: readonly Severity[]): Promise<void> {
  const { alerts, labels, causes, firesWithinMs, resolvesWithinMs } = drill;
  const names = alerts.map((id) => ({ ...labels, alertname: alertName(id) }));
  await drill.before?.();
  for (const name of names) await receiver.quiet(name, resolvesWithinMs);
  const fired: { id: string; severity: Severity; after: number }[] = [];
  try {
    for (const severity of severities) {
      const began = Date.now();
      await causes[severity]?.();
      const told = async (id: string): Promise<void> => {
        const { annotations } = await receiver.fires({ ...labels, alertname: alertName(id), severity }, firesWithinMs);
        expect(annotations["runbook"]).toBe(`docs/runbooks/${runbookOf(id)}`);
        fired.push({ id, severity, after: seconds(began) });
      };
      await Promise.all(alerts.map(told));
    }
  } finally {
    await drill.end();
  }
  const ended = Date.now();
  for (const { id, severity, after } of fired) {
    await receiver.resolves({ ...labels, alertname: alertName(id), severity }, resolvesWithinMs);
    seen.push({ alert: id, severity, firedAfterS: after, resolvedAfterS: seconds(ended) });
  }
}

describe("monitoring of stage 3", () => {
  it("has rules and configurations that Prometheus's and Alertmanager's own tools find right", async () => {
    const check = (name: string, ...command: string[]): Promise<string> =>
      docker(["exec", on.container(name), ...command]);
    expect(await check("prometheus", "promtool", "check", "config", "/etc/cgraph/prometheus.yml")).toContain("SUCCESS");
    expect(await check("alertmanager", "amtool", "check-config", "/etc/cgraph/alertmanager.yml")).toContain("SUCCESS");
  });

  it("has rules that fire when they should, and only then", async () => {
    const alerts = alertsOf({ replicas: 2, pool: true, cache: true, backupIntervalHours: 24 }, {});
    const folder = "/tmp/rules";
    const write = async (file: string, content: string): Promise<void> => {
      const { code, stderr } = await run(
        "docker",
        [
          "exec",
          "--interactive",
          on.container("prometheus"),
          "sh",
          "-c",
          `mkdir -p ${folder} && cat >${folder}/${file}`,
        ],
        { input: content },
      );
      expect(code, stderr).toBe(0);
    };
    await write("rules.yml", rulesFile(alerts, { intervalSeconds: 15 }));
    await write("tests.yml", ruleTests(alerts, "rules.yml"));
    const command = ["exec", on.container("prometheus"), "promtool", "test", "rules", `${folder}/tests.yml`];
    const { code, stdout, stderr } = await run("docker", command);
    expect(code, stdout + stderr).toBe(0);
  });

  it("asks everything that there is to ask", async () => {
    await eventually(
      "everything is asked",
      async () => {
        const down = (await on.query("up == 0")).map(({ metric }) => metric["job"]);
        expect(down).toEqual([]);
        expect((await on.query("up")).length).toBe(3 + 2 + 1 + 1 + 3 + 1 + 1 + 1);
        return true;
      },
      30_000,
    );
  });

  it("has figures for every panel, under load", async () => {
    const load = new ChatLoad(urls["DATABASE_URL"] ?? "", { clients: 6, oldMessages: 2000 }).start();
    try {
      await eventually(
        "every panel has figures",
        async () => {
          const empty: string[] = [];
          for (const { title, lines } of panelsOf({ replicas: true, pool: true, cache: true })) {
            for (const line of lines) {
              const found = await on.query(line.query(windowsOf(PACE).rate));
              if (!found.some(({ value }) => Number.isFinite(Number(value[1])))) empty.push(`${title}: ${line.legend}`);
            }
          }
          expect(empty).toEqual([]);
          return true;
        },
        60_000,
      );
    } finally {
      await load.stop();
    }
  });

  it("measures how long statements take", async () => {
    const load = new Repeated();
    // One in eight takes 300 ms, the others 20.
    await load.start(on, 1, () => "SELECT pg_sleep(0.3)", { pauseMs: 100 });
    await load.start(on, 7, () => "SELECT pg_sleep(0.02)", { pauseMs: 100 });
    await sleep(15_000);
    await load.stop();
    const quantile = async (share: number): Promise<number> => {
      const expression = `1000 * histogram_quantile(${share}, sum by (le) (rate(cgraph_statement_duration_seconds_bucket{server="pg0"}[20s])))`;
      return Number((await on.query(expression))[0]?.value[1]);
    };
    expect(await quantile(0.5)).toBeGreaterThan(10);
    expect(await quantile(0.5)).toBeLessThan(200);
    expect(await quantile(0.99)).toBeGreaterThan(200);
    expect(await quantile(0.99)).toBeLessThan(2000);
  });
});

describe("Grafana", () => {
  it("has the dashboard, where its image can be had", async ({ skip }) => {
    const { grafana } = (await currentValues(stack)).endpoints;
    if (!grafana) return skip("Grafana's image is not here and cannot be pulled");
    await eventually("Grafana", async () => {
      const response = await fetch(`http://127.0.0.1:${grafana.port}/api/dashboards/home`);
      return (await response.text()).includes("cgraph");
    });
  });
  it("comes and goes by up alone: a preview shows no change", async () => {
    expect(JSON.parse(await cgraphOk("preview", "--stack", stack, "--json"))).toMatchObject({ changes: [] });
  });
});

describe("alerts that are brought about", { timeout: 1_200_000 }, () => {
  for (const drill of drills) {
    const { alerts, causes, quick } = drill;
    const severities = FULL ? SEVERITIES.filter((severity) => causes[severity]) : quick === undefined ? [] : [quick];
    const left = severities.length === 0 ? LONG : "";
    it.runIf(severities.length > 0)(`${alerts.join(", ")}${left}`, () => bringAbout(drill, severities));
  }
  it("reach people by e-mail too, and so does their end", async () => {
    const about = (status: string): Promise<Mail> =>
      eventually(`a mail: ${status}`, async () =>
        mailbox.mails.find(({ text }) => new RegExp(`^Subject: .*${status}.*ConnectionUtilization`, "m").test(text)),
      );
    const mail = await about("FIRING");
    expect(mail).toMatchObject({ from: "alerts@example.com", to: ["operator@example.com"] });
    // Long lines of a mail are broken with a = at their end.
    expect(mail.text.replaceAll("=\r\n", "")).toContain(runbookOf("connection_utilization"));
    await about("RESOLVED");
  });

  it("are all that there are, at every severity", () => {
    const all = alertsOf({ replicas: 2, pool: true, cache: true, backupIntervalHours: 24 }, {});
    const wanted = all.flatMap(({ id, thresholds }) =>
      SEVERITIES.filter((severity) => thresholds[severity] !== null).map((severity) => `${id} ${severity}`),
    );
    const drilled = drills.flatMap(({ alerts, causes }) =>
      alerts.flatMap((id) => SEVERITIES.filter((severity) => causes[severity]).map((severity) => `${id} ${severity}`)),
    );
    expect(drilled.sort()).toEqual(wanted.sort());
  });
});
