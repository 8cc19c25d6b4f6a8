import { setTimeout as sleep } from "node:timers/promises";
import pg from "pg";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ChatLoad } from "../../bench/chatLoad.ts";
import { alertsOf } from "../../monitoring/alerts/index.ts";
import { alertName, runbookOf } from "../../monitoring/alerts/alert.ts";
import { panelsOf } from "../../monitoring/panels.ts";
import { rulesFile, windowsOf } from "../../monitoring/rules.ts";
import { docker } from "../../scripts/lib/docker.ts";
import { run } from "../../scripts/lib/run.ts";
import { environment } from "../../scripts/lib/connection.ts";
import { dockerName } from "../../components/docker/names.ts";
import { findBaseImage } from "../../scripts/setup/baseImage.ts";
import { type AlertReceiver, alertReceiver } from "../support/alertReceiver.ts";
import { currentValues, reseed } from "../support/chat.ts";
import { cgraphOk, freePort, removeStack, setConfig, uniqueStack } from "../support/cli.ts";
import { type Mail, type MailReceiver, mailReceiver } from "../support/mailReceiver.ts";
import { ruleTests } from "../support/ruleCases.ts";
import { eventually } from "../support/eventually.ts";

/** Each alert takes half a minute to come and go: all of them are the long drill, here are those that are quick. */
const FULL = process.env["CGRAPH_TEST_FULL"] === "1";
const LONG = FULL ? "" : " (skipped: a long drill, ./cgraph-db test --full)";

/** The guide's and ours where a test can reach them; lower ones where that would take days or gigabytes. */
const THRESHOLDS = {
  dead_tuples: { warning: 1000, critical: 5000 },
  long_transaction: { warning: 6, critical: 15 },
  idle_in_transaction: { warning: 6, critical: 15 },
  transaction_id_age: { warning: 3000, critical: null },
  slot_retained_wal: { warning: 40 * 1024 ** 2, critical: null },
  archiving_behind: { warning: 5, critical: 20 },
  backup_age: { warning: 0.01, critical: null },
  cpu: { warning: 25, critical: null },
};
const PACE = { intervalSeconds: 1 };
const stack = uniqueStack();
const container = (name: string): string => dockerName(stack, name);
let receiver: AlertReceiver;
let mailbox: MailReceiver;
let prometheus = "";
let urls: Record<string, string> = {};

beforeAll(async () => {
  const gateway = (
    await docker(["network", "inspect", "bridge", "--format", "{{(index .IPAM.Config 0).Gateway}}"])
  ).trim();
  receiver = await alertReceiver(gateway);
  mailbox = await mailReceiver(gateway);
  await setConfig(stack, {
    stage: "3",
    replicas: "2",
    maxConnections: "60",
    // Small enough for a table that does not fit.
    settings: JSON.stringify({ shared_buffers: "32MB" }),
    dataVolumeOptions: JSON.stringify({ type: "tmpfs", device: "tmpfs", o: "size=900m" }),
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
  prometheus = `http://127.0.0.1:${values.endpoints.prometheus?.port}`;
  await reseed(stack, 2000);
});
afterAll(async () => {
  receiver.close();
  mailbox.close();
  await removeStack(stack);
});

interface Series {
  readonly metric: Readonly<Record<string, string>>;
  readonly value: readonly [number, string];
}

async function query(expression: string): Promise<readonly Series[]> {
  const response = await fetch(`${prometheus}/api/v1/query?query=${encodeURIComponent(expression)}`);
  const answer = (await response.json()) as { status: string; error?: string; data: { result: Series[] } };
  if (answer.status !== "success") throw new Error(`${expression}: ${answer.error}`);
  return answer.data.result;
}

async function connect(key = "DATABASE_DIRECT_URL"): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: urls[key] });
  client.on("error", () => undefined);
  await client.connect();
  return client;
}

async function withClients<T>(count: number, work: (clients: pg.Client[]) => Promise<T>, key?: string): Promise<T> {
  const clients = await Promise.all(Array.from({ length: count }, () => connect(key)));
  try {
    return await work(clients);
  } finally {
    await Promise.all(clients.map((client) => client.end().catch(() => undefined)));
  }
}

const superuser = (sql: string, server = "pg0", database = "cgraph_production"): Promise<string> =>
  docker(["exec", "--user", "postgres", container(server), "psql", "-XAtq", "-d", database, "-c", sql]);
const inServer = (server: string, script: string): Promise<string> =>
  docker(["exec", "--user", "postgres", container(server), "sh", "-c", script]);

/** Fires as a warning while `cause` lasts, and is over when it has ended. */
async function brings(
  id: string,
  cause: () => Promise<unknown>,
  end: () => Promise<unknown>,
  more: Readonly<Record<string, string>> = {},
): Promise<void> {
  const labels = { alertname: alertName(id), severity: "warning", ...more };
  await receiver.quiet(labels);
  try {
    await cause();
    const { annotations } = await receiver.fires(labels);
    expect(annotations["runbook"]).toBe(`docs/runbooks/${runbookOf(id)}`);
  } finally {
    await end();
  }
  await receiver.resolves(labels);
}

describe("monitoring of stage 3", () => {
  it("has rules and configurations that Prometheus's and Alertmanager's own tools find right", async () => {
    const check = (name: string, ...command: string[]): Promise<string> =>
      docker(["exec", container(name), ...command]);
    expect(await check("prometheus", "promtool", "check", "config", "/etc/cgraph/prometheus.yml")).toContain("SUCCESS");
    expect(await check("alertmanager", "amtool", "check-config", "/etc/cgraph/alertmanager.yml")).toContain("SUCCESS");
  });

  it("has rules that fire when they should, and only then", async () => {
    const alerts = alertsOf({ replicas: 2, pool: true, cache: true, backupIntervalHours: 24 }, {});
    const folder = "/tmp/rules";
    const write = async (file: string, content: string): Promise<void> => {
      const { code, stderr } = await run(
        "docker",
        ["exec", "--interactive", container("prometheus"), "sh", "-c", `mkdir -p ${folder} && cat >${folder}/${file}`],
        { input: content },
      );
      expect(code, stderr).toBe(0);
    };
    await write("rules.yml", rulesFile(alerts, { intervalSeconds: 15 }));
    await write("tests.yml", ruleTests(alerts, "rules.yml"));
    const command = ["exec", container("prometheus"), "promtool", "test", "rules", `${folder}/tests.yml`];
    const { code, stdout, stderr } = await run("docker", command);
    expect(code, stdout + stderr).toBe(0);
  });

  it("asks everything that there is to ask", async () => {
    await eventually(
      "everything is asked",
      async () => {
        const down = (await query("up == 0")).map(({ metric }) => metric["job"]);
        expect(down).toEqual([]);
        expect((await query("up")).length).toBe(3 + 2 + 1 + 1 + 3 + 1 + 1 + 1);
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
              const found = await query(line.query(windowsOf(PACE).rate));
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
    await withClients(8, async (clients) => {
      const until = Date.now() + 15_000;
      await Promise.all(
        clients.map(async (client, index) => {
          // One in eight takes 300 ms, the others 20.
          while (Date.now() < until) {
            await client.query(`SELECT pg_sleep(${index === 0 ? 0.3 : 0.02})`);
            await sleep(100);
          }
        }),
      );
    });
    const quantile = async (share: number): Promise<number> => {
      const expression = `1000 * histogram_quantile(${share}, sum by (le) (rate(cgraph_statement_duration_seconds_bucket{server="pg0"}[20s])))`;
      return Number((await query(expression))[0]?.value[1]);
    };
    expect(await quantile(0.5)).toBeGreaterThan(10);
    expect(await quantile(0.5)).toBeLessThan(100);
    expect(await quantile(0.99)).toBeGreaterThan(200);
    expect(await quantile(0.99)).toBeLessThan(1000);
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

describe("alerts about servers", { timeout: 400_000 }, () => {
  // Over an hour's 240 looks: it begins first, and is waited for at the end.
  const checkpoints = async (): Promise<unknown> => superuser("CHECKPOINT");

  it("connections", async () => {
    const held: pg.Client[] = [];
    await brings(
      "connection_utilization",
      async () => held.push(...(await Promise.all(Array.from({ length: 42 }, () => connect())))),
      () => Promise.all(held.map((client) => client.end())),
    );
  });

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

  it.runIf(FULL)(`cache hit ratio, statements that take long${LONG}`, async () => {
    await superuser("CREATE TABLE large AS SELECT i, repeat('x', 500) AS t FROM generate_series(1, 120000) i");
    let stop = false;
    const scans = (): Promise<unknown> =>
      withClients(1, ([client]) => {
        const scan = async (): Promise<void> => {
          while (!stop) await superuser("SELECT count(*) FROM large");
        };
        const doze = async (): Promise<void> => {
          while (!stop) await client?.query("SELECT pg_sleep(0.7)");
        };
        return Promise.all([scan(), doze()]);
      });
    const running = scans();
    await Promise.all(
      ["cache_hit_ratio", "query_duration_p99"].map((id) => receiver.fires({ alertname: alertName(id) })),
    );
    stop = true;
    await running;
    await superuser("DROP TABLE large");
    for (const id of ["cache_hit_ratio", "query_duration_p99"]) await receiver.resolves({ alertname: alertName(id) });
  });

  it("dead tuples", async () => {
    await superuser(
      "CREATE TABLE bloated (i int) WITH (autovacuum_enabled = off); INSERT INTO bloated SELECT generate_series(1, 9000); DELETE FROM bloated",
    );
    await brings(
      "dead_tuples",
      () => Promise.resolve(),
      // A replica says every ten seconds (wal_receiver_status_interval) what it may still read: until it has said so
      // again, VACUUM removes nothing that was deleted since.
      () =>
        eventually("the dead tuples are removed", async () => {
          await superuser("VACUUM bloated");
          return (await superuser("SELECT n_dead_tup FROM pg_stat_user_tables WHERE relname = 'bloated'")) === "0\n";
        }),
      { severity: "critical" },
    );
    await superuser("DROP TABLE bloated");
  });

  it("long transactions, also idle ones", async () => {
    await withClients(1, async ([client]) => {
      await client?.query("BEGIN");
      await Promise.all(
        ["long_transaction", "idle_in_transaction"].map((id) => receiver.fires({ alertname: alertName(id) })),
      );
      await client?.query("ROLLBACK");
      for (const id of ["long_transaction", "idle_in_transaction"])
        await receiver.resolves({ alertname: alertName(id) });
    });
  });

  it("deadlocks and requested checkpoints", async () => {
    await superuser(
      "CREATE TABLE pair (i int PRIMARY KEY); INSERT INTO pair VALUES (1), (2); GRANT ALL ON pair TO cgraph",
    );
    for (let n = 0; n < 3; n++) await checkpoints();
    await withClients(2, async ([one, two]) => {
      await one?.query("BEGIN");
      await two?.query("BEGIN");
      await one?.query("SELECT * FROM pair WHERE i = 1 FOR UPDATE");
      await two?.query("SELECT * FROM pair WHERE i = 2 FOR UPDATE");
      const results = await Promise.allSettled([
        one?.query("SELECT * FROM pair WHERE i = 2 FOR UPDATE"),
        two?.query("SELECT * FROM pair WHERE i = 1 FOR UPDATE"),
      ]);
      expect(results.filter(({ status }) => status === "rejected")).toHaveLength(1);
    });
    await receiver.fires({ alertname: "Deadlocks" });
    await receiver.fires({ alertname: "CheckpointsRequested" });
    await receiver.resolves({ alertname: "Deadlocks" });
  });

  it.runIf(FULL)(`the age of transaction ids${LONG}`, async () => {
    await brings(
      "transaction_id_age",
      () =>
        superuser(
          "CREATE PROCEDURE burn() LANGUAGE plpgsql AS 'BEGIN FOR n IN 1..4000 LOOP PERFORM pg_current_xact_id(); COMMIT; END LOOP; END'",
        ).then(() => superuser("CALL burn()")),
      async () => {
        await superuser("UPDATE pg_database SET datallowconn = true WHERE datname = 'template0'", "pg0", "postgres");
        for (const database of ["template0", "template1", "postgres", "cgraph_production"]) {
          await superuser("VACUUM FREEZE", "pg0", database);
        }
        await superuser("UPDATE pg_database SET datallowconn = false WHERE datname = 'template0'", "pg0", "postgres");
      },
    );
  });

  it.runIf(FULL)(`WAL that a slot keeps${LONG}`, async () => {
    await superuser("SELECT pg_create_physical_replication_slot('forgotten', true)");
    await brings(
      "slot_retained_wal",
      () =>
        superuser(
          "CREATE TABLE much AS SELECT i, repeat(md5(i::text), 10) FROM generate_series(1, 150000) i; DROP TABLE much",
        ),
      () => superuser("SELECT pg_drop_replication_slot('forgotten')"),
    );
  });

  it.runIf(FULL)(`a replica that does not replay${LONG}`, async () => {
    await superuser("SELECT pg_wal_replay_pause()", "pg1", "postgres");
    await brings(
      "replication_lag",
      () =>
        superuser(
          "CREATE TABLE more AS SELECT i, repeat(md5(i::text), 10) FROM generate_series(1, 20000) i; DROP TABLE more",
        ),
      () => superuser("SELECT pg_wal_replay_resume()", "pg1", "postgres"),
    );
  });

  it.runIf(FULL)(`WAL that is not archived, a backup that grows old${LONG}`, async () => {
    const archive = "/var/lib/pgbackrest/archive";
    await brings(
      "archiving_behind",
      async () => {
        await inServer("pg0", `chmod a-w ${archive}/cgraph/*-1 ${archive}/cgraph/*-1/*`);
        await superuser("SELECT pg_switch_wal()");
      },
      () => inServer("pg0", `chmod u+w ${archive}/cgraph/*-1 ${archive}/cgraph/*-1/*`),
    );
    await brings(
      "backup_age",
      () => Promise.resolve(),
      async () => {
        await cgraphOk("backup", "--stack", stack);
        // As the schedule does, once a minute.
        await docker(["exec", "--user", "postgres", container("backup"), "cgraph-backup-figures"]);
      },
    );
  });

  it.runIf(FULL)(`a disk that fills${LONG}`, async () => {
    const file = "/var/lib/postgresql/filler";
    await brings(
      "disk_usage",
      () =>
        inServer(
          "pg2",
          `for n in $(seq 40); do dd if=/dev/zero of=${file} bs=1M count=12 oflag=append conv=notrunc status=none; sleep 0.5; done`,
        ),
      () => inServer("pg2", `rm ${file}`),
      { volume: "pg2-data" },
    );
    await receiver.fires({ alertname: "DiskFullSoon" });
  });

  it.runIf(FULL)(`a server that is busy${LONG}`, async () => {
    await brings(
      "cpu",
      () => inServer("pg2", "for n in 1 2; do (timeout 60 sh -c 'while :; do :; done' >/dev/null 2>&1 &) ; done"),
      () => inServer("pg2", "pkill -f '[w]hile :' || true"),
    );
  });

  it.runIf(FULL)(`a server that is short of memory${LONG}`, async () => {
    const limit = Number(await docker(["inspect", "--format", "{{.HostConfig.Memory}}", container("pg2")]));
    await brings(
      "memory",
      () =>
        inServer(
          "pg2",
          `(timeout 90 python3 -c 'import time; held = bytearray(${Math.floor(limit * 0.86)}); time.sleep(90)' >/dev/null 2>&1 &)`,
        ),
      () => inServer("pg2", "pkill -f '[b]ytearray' || true"),
    );
  });

  it.runIf(FULL)(`full pools, and clients that wait at them${LONG}`, async () => {
    const { pool } = await currentValues(stack);
    const size = 2 * ((pool?.poolSize ?? 0) + (pool?.reserveSize ?? 0));
    let stop = false;
    // Four times as many as there are connections: whoever waits does so for 15 seconds.
    const busy = withClients(
      4 * size,
      (clients) =>
        Promise.all(
          clients.map(async (client) => {
            while (!stop) await client.query("SELECT pg_sleep(5)");
          }),
        ),
      "DATABASE_URL",
    );
    try {
      await Promise.all(["PoolUse", "PoolWait"].map((alertname) => receiver.fires({ alertname })));
    } finally {
      stop = true;
      await busy;
    }
    for (const alertname of ["PoolUse", "PoolWait"]) await receiver.resolves({ alertname });
  });

  it("the cache, an exporter, etcd", async () => {
    await brings(
      "cache_down",
      () => docker(["stop", container("redis")]),
      () => docker(["start", container("redis")]),
    );
    await brings(
      "exporter_down",
      () => docker(["pause", container("haproxy")]),
      () => docker(["unpause", container("haproxy")]),
    );
    await brings(
      "etcd_unavailable",
      () => docker(["stop", container("etcd0")]),
      () => docker(["start", container("etcd0")]),
      { severity: "critical" },
    );
  });

  it("a cluster in maintenance mode", async () => {
    const pause = (value: boolean): Promise<string> =>
      inServer(
        "pg0",
        `curl -sf --cacert /run/cgraph-tls/ca.crt --cert /run/cgraph-tls/server.crt --key /run/cgraph-tls/server.key -X PATCH -d '{"pause": ${value}}' https://localhost:8008/config`,
      );
    await brings(
      "cluster_paused",
      () => pause(true),
      () => pause(false),
    );
  });

  it("a replica that is gone", async () => {
    await brings(
      "replica_missing",
      () => docker(["stop", container("pg2")]),
      () => docker(["start", container("pg2")]),
    );
  });

  it.runIf(FULL)(`a primary that is gone, until another has taken over${LONG}`, async () => {
    await docker(["kill", container("pg0")]);
    await Promise.all([
      receiver.fires({ alertname: "NoPrimary" }),
      receiver.fires({ alertname: "ServerDown", server: "pg0" }),
    ]);
    await receiver.resolves({ alertname: "NoPrimary" });
    await docker(["start", container("pg0")]);
    await receiver.resolves({ alertname: "ServerDown", server: "pg0" });
    await receiver.resolves({ alertname: "CheckpointsRequested" }, 300_000);
  });

  it.runIf(FULL)(`waiting for the disk${LONG}`, async () => {
    await brings(
      "io_wait",
      () =>
        inServer(
          "backup",
          "(timeout 120 sh -c 'while :; do dd if=/dev/zero of=/tmp/io bs=4k count=2000 oflag=direct,dsync status=none; done' >/dev/null 2>&1 &)",
        ),
      () => inServer("backup", "pkill -f '[o]flag=direct' || true"),
    );
  });

  it("leaves none untried", () => {
    const tried = new Set([
      ...["connection_utilization", "cache_hit_ratio", "query_duration_p99", "dead_tuples", "long_transaction"],
      ...["idle_in_transaction", "deadlocks", "checkpoints_requested", "transaction_id_age", "slot_retained_wal"],
      ...[
        "replication_lag",
        "archiving_behind",
        "backup_age",
        "disk_usage",
        "disk_full_soon",
        "cpu",
        "memory",
        "pool_use",
      ],
      ...["pool_wait", "cache_down", "exporter_down", "etcd_unavailable", "cluster_paused", "replica_missing"],
      ...["no_primary", "server_down", "io_wait"],
    ]);
    const all = alertsOf({ replicas: 2, pool: true, cache: true, backupIntervalHours: 24 }, {}).map(({ id }) => id);
    expect(all.filter((id) => !tried.has(id)).sort()).toEqual(["backup_unverified", "host_memory"]);
  });
});
