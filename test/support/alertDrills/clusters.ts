/** Drills of the alerts about what keeps servers together, pools and the cache: pg0 is the primary, pg1 and pg2 follow. */
import { docker } from "../../../scripts/lib/docker.ts";
import { eventually } from "../eventually.ts";
import { Repeated, type Drill, type Drilled } from "./drill.ts";
import { writeWal } from "./servers.ts";

/**
 * A reader on the replica holds a table that the primary drops: replay waits for it, for as long as
 * max_standby_streaming_delay allows. (Patroni resumes a replay that is merely paused.)
 */
function replicationLag(on: Drilled): Drill {
  let reader: Promise<unknown> = Promise.resolve();
  const reads = "query LIKE 'SELECT count(*) FROM held%' AND pid <> pg_backend_pid()";
  return {
    alerts: ["replication_lag"],
    labels: { replica: "pg1" },
    before: async () => {
      await on.superuser("CREATE TABLE held (i int)");
      await eventually("pg1 has the table", async () => {
        return (await on.superuser("SELECT to_regclass('held')", "pg1")) === "held";
      });
      reader = on.superuser("SELECT count(*) FROM held; SELECT pg_sleep(600)", "pg1").catch(() => undefined);
      await eventually("pg1 reads the table", async () => {
        return (await on.superuser(`SELECT count(*) FROM pg_stat_activity WHERE ${reads}`, "pg1")) === "1";
      });
    },
    causes: {
      warning: async () => {
        await on.superuser("DROP TABLE held");
        await writeWal(on, 8);
      },
      critical: () => writeWal(on, 110),
    },
    end: async () => {
      await on.superuser(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE ${reads}`, "pg1");
      await reader;
    },
  };
}

/** At each of two poolers so many clients keep a server connection busy. */
function poolUse(on: Drilled, size: number): Drill {
  const load = new Repeated();
  const busy = (count: number) => () => load.start(on, 2 * count, () => "SELECT pg_sleep(5)", { key: "DATABASE_URL" });
  const some = Math.floor(size * 0.89);
  return {
    alerts: ["pool_use"],
    causes: { warning: busy(some), critical: busy(size - some) },
    end: () => load.stop(),
  };
}

/** Twice as many clients as connections: whoever waits does so for as long as the other half takes. */
function poolWait(on: Drilled, size: number): Drill {
  const load = new Repeated();
  let seconds = 6;
  return {
    alerts: ["pool_wait"],
    causes: {
      warning: () => load.start(on, 4 * size, () => `SELECT pg_sleep(${seconds})`, { key: "DATABASE_URL" }),
      critical: () => Promise.resolve((seconds = 20)),
    },
    end: () => load.stop(),
  };
}

/** `poolSize`: server connections of each of two poolers, with their reserve. */
export function clusterDrills(on: Drilled, poolSize: number): Drill[] {
  const each = (verb: string, names: readonly string[]) => () =>
    Promise.all(names.map((name) => docker([verb, on.container(name)])));
  const pause = (value: boolean) => () =>
    on.shell(
      "pg0",
      `curl -sf --cacert /run/cgraph-tls/ca.crt --cert /run/cgraph-tls/server.crt --key /run/cgraph-tls/server.key -X PATCH -d '{"pause": ${value}}' https://localhost:8008/config`,
    );
  return [
    replicationLag(on),
    poolUse(on, poolSize),
    poolWait(on, poolSize),
    {
      alerts: ["cache_down"],
      quick: "warning",
      causes: { warning: each("stop", ["redis"]) },
      end: each("start", ["redis"]),
    },
    {
      alerts: ["exporter_down"],
      labels: { job: "haproxy" },
      quick: "warning",
      causes: { warning: each("pause", ["haproxy"]) },
      end: each("unpause", ["haproxy"]),
    },
    {
      alerts: ["etcd_unavailable"],
      quick: "critical",
      causes: { critical: each("stop", ["etcd0"]) },
      end: each("start", ["etcd0"]),
    },
    { alerts: ["cluster_paused"], quick: "warning", causes: { warning: pause(true) }, end: pause(false) },
    {
      alerts: ["replica_missing"],
      quick: "warning",
      causes: { warning: each("stop", ["pg2"]), critical: each("stop", ["pg1"]) },
      end: each("start", ["pg1", "pg2"]),
      resolvesWithinMs: 180_000,
    },
    {
      // Another takes over when the primary's lease has run out.
      alerts: ["no_primary", "server_down"],
      causes: { critical: each("kill", ["pg0"]) },
      end: each("start", ["pg0"]),
      resolvesWithinMs: 180_000,
    },
  ];
}
