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
const made: Record<number, Made[]> = { 2: [], 3: [] };
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
});

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
      auth: { lookUpAs: "cgraph_pooler" },
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
