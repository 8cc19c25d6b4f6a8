import * as pulumi from "@pulumi/pulumi";
import { beforeAll, describe, expect, it } from "vitest";
import { parse } from "yaml";
import { haproxyConf } from "../../components/docker/haproxyFiles.ts";
import { clusterConfig } from "../../components/docker/patroniFiles.ts";
import { pgbouncerIni } from "../../components/docker/pgbouncerFiles.ts";
import { redisConf } from "../../components/docker/redisFiles.ts";
import { readConfig } from "../../stacks/config.ts";
import type { StackOutputs } from "../../stacks/outputs.ts";
import { planTopology } from "../../stacks/topology.ts";
import { confText } from "../../tuning/setting.ts";

interface Made {
  readonly type: string;
  readonly name: string;
  readonly inputs: Record<string, unknown>;
}

const host = { cpus: 16, memoryMiB: 262_144 };
const options = new Map<string, pulumi.CustomResourceOptions>();
const made: Record<number, Made[]> = { 2: [], 3: [], 4: [] };
let collecting = 2;

const containers = (stage: number): string[] =>
  (made[stage] ?? [])
    .filter(({ type, inputs }) => type === "docker:index/container:Container" && inputs["mustRun"] !== false)
    .map(({ name }) => name)
    .sort();
const inputsOf = (stage: number, name: string): Record<string, unknown> => {
  const found = made[stage]?.find((one) => one.name === name);
  if (!found) throw new Error(`no resource ${name} at stage ${stage}`);
  return found.inputs;
};
const given = (stage: number, writer: string, file: string): string => {
  const uploads = inputsOf(stage, writer)["uploads"] as { file: string; content: string }[];
  return uploads.find((upload) => upload.file === `/run/cgraph-config/${file}`)?.content ?? "";
};

beforeAll(async () => {
  await pulumi.runtime.setMocks(
    {
      newResource: ({ type, name, inputs, id }) => {
        made[collecting]?.push({ type, name, inputs: inputs as Record<string, unknown> });
        const outputs: Record<string, unknown> = { ...(inputs as Record<string, unknown>) };
        if (type === "random:index/randomPassword:RandomPassword") outputs["result"] = `${name}-secret`;
        if (type === "random:index/randomId:RandomId") outputs["hex"] = "0123456789abcdef";
        if (type === "docker:index/remoteImage:RemoteImage") outputs["imageId"] = "sha256:image";
        return { id: id ?? `${name}-id`, state: outputs };
      },
      call: ({ inputs }) => inputs as Record<string, unknown>,
    },
    "cgraph",
    "unit",
  );
  const stages = [
    [2, (await import("../../stacks/stage2.ts")).stage2],
    [3, (await import("../../stacks/stage3.ts")).stage3],
    [4, (await import("../../stacks/stage4.ts")).stage4],
  ] as const;
  for (const [stage, compose] of stages) {
    collecting = stage;
    const config = readConfig((key) => ({ stage: String(stage) })[key]);
    await pulumi.runtime.runInPulumiStack(async (): Promise<StackOutputs> => {
      pulumi.runtime.registerStackTransformation(({ type, name, opts, props }) => {
        options.set(`${stage} ${type} ${name}`, opts);
        return { props, opts };
      });
      return compose("unit", config, planTopology(config, host));
    });
  }
  await pulumi.runtime.disconnect();
  // A hundred resources, their passwords' verifiers among them: on a busy machine that takes a while.
}, 120_000);

describe("backups of a cluster", () => {
  it("are given by each server to the backup container's certificate alone, which asks a replica first", () => {
    const served = given(2, "pg1-config-writer", "pgbackrest.conf");
    expect(served).toMatch(/^tls-server-auth=backup=cgraph$/m);
    const uploads = inputsOf(2, "backup")["uploads"] as { content: string }[];
    const conf = uploads.map(({ content }) => content).join("\n");
    expect(conf).toMatch(/^backup-standby=prefer$/m);
    expect([...conf.matchAll(/^pg\d-host=(.*)$/gm)].map(([, host]) => host)).toEqual(["pg0", "pg1"]);
    expect(conf).not.toContain("tls-server");
    expect(inputsOf(2, "backup")["envs"]).toContain("CGRAPH_TLS_NAMES=backup");
  });
});

describe("stages 2 and 3 in Docker", () => {
  it("have the guide's servers, pools and cache", () => {
    const watching = ["alertmanager", "exporters", "prometheus"];
    expect(containers(2)).toEqual(["backup", "etcd0", "haproxy", "pg0", "pg1", "pgbouncer0", ...watching].sort());
    expect(containers(3)).toEqual(
      [
        "backup",
        "cache-sync",
        "etcd0",
        "haproxy",
        "pg0",
        "pg1",
        "pg2",
        "pg3",
        "pgbouncer0",
        "pgbouncer1",
        "redis",
        ...watching,
      ].sort(),
    );
  });

  it("publish the router and the cache, on 127.0.0.1 only; no server, pooler or etcd", () => {
    expect(inputsOf(2, "haproxy")["ports"]).toEqual([
      { internal: 5432, external: 5432, ip: "127.0.0.1" },
      { internal: 5433, external: 5433, ip: "127.0.0.1" },
      { internal: 6432, external: 6432, ip: "127.0.0.1" },
    ]);
    expect(inputsOf(3, "redis")["ports"]).toEqual([{ internal: 6379, external: 6379, ip: "127.0.0.1" }]);
    for (const name of ["pg0", "pg1", "pgbouncer0", "etcd0", "cache-sync"]) {
      expect(inputsOf(3, name)["ports"], name).toBeUndefined();
    }
  });

  it("stop servers cleanly and remove one before its successor comes", () => {
    for (const name of ["pg0", "pg1", "pg2", "pg3"]) {
      expect(inputsOf(3, name)).toMatchObject({ stopSignal: "SIGINT", destroyGraceSeconds: 120 });
      expect(options.get(`3 docker:index/container:Container ${name}`)).toMatchObject({ deleteBeforeReplace: true });
    }
  });

  it("protect and keep every server's data, and etcd's, which says who led last", () => {
    for (const name of ["pg0-data", "pg1-data", "pg3-data", "etcd0-data"]) {
      expect(options.get(`3 docker:index/volume:Volume ${name}`), name).toMatchObject({
        protect: true,
        retainOnDelete: true,
      });
    }
  });

  it("let exactly one server make a new cluster", () => {
    const bootstraps = ["pg0", "pg1", "pg2", "pg3"].filter(
      (name) => "bootstrap" in (parse(given(3, `${name}-config-writer`, "patroni.yml")) as object),
    );
    expect(bootstraps).toEqual(["pg0"]);
  });

  it("give no container a password in its environment or command", () => {
    for (const stage of [2, 3]) {
      for (const { name, type, inputs } of made[stage] ?? []) {
        if (type !== "docker:index/container:Container") continue;
        expect(JSON.stringify({ ...inputs, uploads: [] }), name).not.toMatch(/-secret/);
      }
    }
  });
});

describe("stage 4 in Docker", () => {
  const clusters = ["", "global-", "shard1-", "shard2-", "shard3-"];

  it("has the guide's four shards with a replica each, a global database, and one of the rest", () => {
    const servers = clusters.flatMap((cluster) => [`${cluster}pg0`, `${cluster}pg1`, `${cluster}backup`]);
    const syncs = ["cache-sync", "shard1-cache-sync", "shard2-cache-sync", "shard3-cache-sync"];
    const rest = [
      "etcd0",
      "haproxy",
      "shard-ports",
      "pgbouncer0",
      "pgbouncer1",
      "redis",
      "alertmanager",
      "exporters",
      "prometheus",
    ];
    expect(containers(4)).toEqual([...servers, ...syncs, ...rest].sort());
  });

  it("keeps the URNs of stage 3's servers and data, so that they become the first shard", () => {
    for (const { type, name } of made[3] ?? []) {
      // Stage 3 has more replicas of its only primary.
      if (/^pg[23]/.test(name) || !/Volume|RandomPassword/.test(type)) continue;
      expect(
        made[4]?.some((one) => one.type === type && one.name === name),
        name,
      ).toBe(true);
    }
  });

  it("protects every shard's data and backups, each with volumes of its own", () => {
    for (const cluster of clusters) {
      for (const name of [`${cluster}pg0-data`, `${cluster}pg1-data`, `${cluster}backups`]) {
        expect(options.get(`4 docker:index/volume:Volume ${name}`), name).toMatchObject({
          protect: true,
          retainOnDelete: true,
        });
      }
    }
  });

  it("gives each cluster a scope and a first server, the global one slots for the shards", () => {
    const scopes = clusters.map((cluster) => {
      const yaml = parse(given(4, `${cluster}pg0-config-writer`, "patroni.yml")) as {
        scope: string;
        bootstrap: { dcs: { slots: object; postgresql: { pg_hba: string[] } } };
      };
      const { slots, postgresql } = yaml.bootstrap.dcs;
      const shards = [0, 1, 2, 3].map((shard) => `cgraph_global_shard${shard}`);
      expect(Object.keys(slots)).toEqual(cluster === "global-" ? shards : []);
      const routed = postgresql.pg_hba.some((rule) => rule.includes("cgraph_router"));
      expect(routed).toBe(cluster === "global-");
      return yaml.scope;
    });
    expect(new Set(scopes).size).toBe(clusters.length);
  });

  it("has a pool and a published route for each cluster", () => {
    const ini = given(4, "pgbouncer0-config-writer", "pgbouncer.ini");
    const haproxy = given(4, "haproxy-config-writer", "haproxy.cfg");
    expect(ini).toContain(
      "cgraph_shard0 = host=haproxy port=5432 dbname=cgraph_production auth_dbname=cgraph_shard0\n",
    );
    expect(ini).toContain(
      "cgraph_global = host=haproxy port=5440 dbname=cgraph_production auth_dbname=cgraph_global\n",
    );
    expect(ini).toContain("cgraph_shard1_ro = host=haproxy port=5443 dbname=cgraph_production");
    // The application's own names lead to all shards as one.
    expect(ini).toContain(
      "cgraph_production = host=haproxy port=5440 dbname=cgraph_router auth_dbname=cgraph_global pool_size=10",
    );
    expect(ini).toContain(
      "cgraph_production_ro = host=haproxy port=5441 dbname=cgraph_router auth_dbname=cgraph_global_ro pool_size=10",
    );
    // Monitoring logs in to none of these: it is not looked up in the router database, where nobody may look.
    expect(ini).toContain("\nauth_dbname = cgraph_global\n");
    expect(haproxy).toMatch(/frontend write-shard1\n {2}bind :5442\n {2}default_backend primary-shard1\n/);
    expect(haproxy).toMatch(/backend primary-shard1\n[^]*?server shard1-pg0 shard1-pg0:5432/);
    const published = (name: string): number[][] =>
      (inputsOf(4, name)["ports"] as { internal: number; external: number }[]).map(({ internal, external }) => [
        internal,
        external,
      ]);
    // The same at every stage: one more shard must not make anew what clients hang on.
    expect(published("haproxy")).toEqual([
      [5432, 5432],
      [5433, 5433],
      [6432, 6432],
    ]);
    expect(published("shard-ports")).toEqual([0, 1, 2, 3, 4, 5, 6, 7].map((place) => [5440 + place, 5442 + place]));
    expect(given(4, "shard-ports-config-writer", "haproxy.cfg")).toContain(
      "listen to-5447\n  bind :5447\n  server haproxy haproxy:5447 ",
    );
  });

  it("refuses numbers of shards and buckets that cannot be", () => {
    const read = (values: Record<string, string>) => () => readConfig((key) => ({ stage: "4", ...values })[key]);
    for (const shards of ["0", "3.5", "-1", "257", "four"]) {
      expect(read({ shards }), shards).toThrow("256 buckets can be given to a whole number of shards from 1 to 256");
    }
    for (const buckets of ["0", "100", "4096"]) expect(read({ buckets }), buckets).toThrow(/from 1 to 2048/);
    expect(read({ buckets: "2" })().sharding).toEqual({ shards: 2, buckets: 2 });
  });

  it("gives servers room for streams to other shards, the same for up to sixteen: one more restarts nobody", () => {
    const plan = (shards: string) =>
      planTopology(
        readConfig((key) => ({ stage: "4", shards, replicas: "1" })[key]),
        host,
      );
    const senders = (settings: Record<string, { value: unknown }> | undefined) => settings?.["max_wal_senders"]?.value;
    const four = plan("4");
    expect(senders(four.sharding?.others[0]?.nodes[0]?.settings)).toBe(59);
    expect(senders(four.nodes[0]?.settings)).toBe(42);
    expect(four.nodes[0]?.settings["max_logical_replication_workers"]).toMatchObject({ value: 20, restart: true });
    const names = ["max_wal_senders", "max_replication_slots", "max_worker_processes"];
    for (const name of names) {
      expect(plan("5").nodes[0]?.settings[name]).toEqual(four.nodes[0]?.settings[name]);
    }
  });
});

describe("the cluster's configuration", () => {
  const config = readConfig((key) => ({ stage: "2" })[key]);
  const settings = planTopology(config, host).nodes[0]?.settings ?? {};
  const cluster = (synchronous: "off" | "on" | "strict") =>
    clusterConfig({ settings, synchronous, slots: { s: { database: "d", plugin: "p" } } }) as {
      ttl: number;
      loop_wait: number;
      retry_timeout: number;
      synchronous_mode: boolean;
      synchronous_mode_strict: boolean;
      failsafe_mode: boolean;
      primary_start_timeout: number;
      slots: unknown;
      postgresql: { parameters: Record<string, string>; pg_hba: string[] };
    };

  it("keeps Patroni's rule for its lease", () => {
    const { ttl, loop_wait, retry_timeout } = cluster("off");
    expect(ttl).toBeGreaterThanOrEqual(20);
    expect(loop_wait + 2 * retry_timeout).toBeLessThanOrEqual(ttl);
    expect(cluster("off")).toMatchObject({ failsafe_mode: true, primary_start_timeout: 0 });
  });

  it("has every tuned setting, and says that replicas may lag unless asked otherwise", () => {
    const { parameters } = cluster("off").postgresql;
    for (const [name, setting] of Object.entries(settings)) expect(parameters[name]).toBe(confText(setting));
    expect(parameters["wal_keep_size"]).toBe("1024MB");
    expect(cluster("off")).toMatchObject({ synchronous_mode: false, synchronous_mode_strict: false });
    expect(cluster("on")).toMatchObject({ synchronous_mode: true, synchronous_mode_strict: false });
    expect(cluster("strict")).toMatchObject({ synchronous_mode: true, synchronous_mode_strict: true });
  });

  it("declares slots that outlive a failover", () => {
    expect(cluster("off").slots).toEqual({ s: { type: "logical", database: "d", plugin: "p" } });
  });
});

describe("HAProxy, PgBouncer and Redis", () => {
  it("route reads to replicas within the lag, and to the primary when none is", () => {
    const text = haproxyConf({ nodes: ["pg0", "pg1"], poolers: ["pgbouncer0"], maxReadLagBytes: 5, maxConnections: 9 });
    expect(text).toContain("GET /replica?lag=5 HTTP/1.0");
    // A leader that is still being promoted answers 200 as well.
    expect(text).toMatch(/GET \/primary [^]*?expect rstring '[^']*200 \.\*"role": "primary"'/);
    // Whoever reads from a replica that falls behind is not cut off.
    expect(text.match(/on-marked-down shutdown-sessions/g)).toHaveLength(1);
    expect(text.slice(text.indexOf("\nbackend replicas"))).not.toContain("shutdown-sessions");
    expect(text).toMatch(/use_backend replicas if \{ nbsrv\(replicas\) gt 0 \}\n {2}default_backend primary/);
    expect(text.match(/server pg1 pg1:5432 check port 8008 check-ssl verify required verifyhost pg1/g)).toHaveLength(2);
  });

  it("pool by transaction, with a cap over all users, and look passwords up", () => {
    const ini = pgbouncerIni({
      write: { hosts: ["haproxy"], port: 5432 },
      read: { hosts: ["haproxy"], port: 5433 },
      auth: { lookUpAs: "cgraph_pooler", at: "cgraph_production" },
      maxClientConnections: 1000,
      poolSize: 50,
      reserveSize: 5,
    });
    for (const line of [
      "pool_mode = transaction",
      "max_client_conn = 1000",
      "default_pool_size = 50",
      "max_db_connections = 55",
      "server_login_retry = 1",
      "auth_type = scram-sha-256",
      "cgraph_production_ro = host=haproxy port=5433 dbname=cgraph_production",
    ]) {
      expect(ini.split("\n")).toContain(line);
    }
  });

  it("bound the cache", () => {
    const conf = redisConf({ maxMemoryMiB: 100 });
    expect(conf).toContain("maxmemory 100mb\nmaxmemory-policy allkeys-lfu\n");
    expect(conf).toContain("port 0\ntls-port 6379\n");
  });
});
