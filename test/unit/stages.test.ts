import { planAws } from "../../stacks/aws/plan.ts";
import { describe, expect, it } from "vitest";
import { checkKeys, readConfig } from "../../stacks/config.ts";
import { ALERTS, type Origin, CACHE_RULES, GUIDE, STAGES } from "../../stacks/guide.ts";
import { fitToHost, planTopology } from "../../stacks/topology.ts";
import { checkPools } from "../../tuning/pools.ts";
import { APP_POOLS } from "../../stacks/guide.ts";

const config = (values: Record<string, string> = {}) => readConfig((key) => values[key]);
const big = { cpus: 64, memoryMiB: 262_144 };

describe("the guide's table", () => {
  it("has stages that follow on one another without gaps", () => {
    for (const stage of STAGES.slice(1)) {
      const [before, here] = [GUIDE[(stage - 1) as 1], GUIDE[stage]];
      expect(here.users.value.min).toBe(before.users.value.max);
      expect(here.databaseSizeGB.value.min).toBe(before.databaseSizeGB.value.max);
      expect(here.messagesPerMonth.value.min).toBe(before.messagesPerMonth.value.max);
    }
  });

  it("says of every figure where it comes from", () => {
    for (const stage of STAGES) {
      for (const [name, figure] of Object.entries<unknown>({ ...GUIDE[stage] })) {
        if (typeof figure !== "object" || figure === null || !("origin" in figure)) continue;
        const origin = figure.origin as Origin;
        expect(origin.from === "guide" ? origin.section : origin.reason, `stage ${stage}: ${name}`).not.toBe("");
      }
    }
  });

  it("has disks that hold each stage's largest database", () => {
    for (const stage of STAGES) {
      const { databaseSizeGB, primaries, serverSize } = GUIDE[stage];
      const largest = databaseSizeGB.value.max ?? databaseSizeGB.value.min * 2;
      expect(serverSize.value.diskGiB * primaries.value).toBeGreaterThan(largest);
    }
  });

  it("has a server at each stage whose connections its memory and its pools fit", () => {
    for (const stage of STAGES) {
      const { serverSize, maxConnections, pool } = GUIDE[stage];
      expect(serverSize.value.memoryMiB / maxConnections.value).toBeGreaterThanOrEqual(20);
      const pools = [
        { name: "primary", connections: APP_POOLS.primary.value },
        { name: "replica", connections: APP_POOLS.replica.value },
        { name: "pgbouncer", connections: (pool?.value.defaultPoolSize ?? 0) * (pool?.value.instances ?? 0) },
      ];
      expect(() => checkPools(pools, maxConnections.value)).not.toThrow();
    }
  });

  it("has the guide's TTLs and thresholds", () => {
    expect(CACHE_RULES.value.map((rule) => rule.ttlSeconds)).toEqual([300, 600, 60, null, 300]);
    expect(ALERTS.value).toHaveLength(6);
    for (const { bad, warning, critical } of ALERTS.value) {
      expect(bad === "above" ? critical > warning : critical < warning).toBe(true);
    }
  });
});

describe("a stage on a Docker host", () => {
  it("is as the guide says where the host is large enough", () => {
    const topology = planTopology(config(), big);
    expect(topology.nodes).toHaveLength(1);
    expect(topology.nodes[0]).toMatchObject({ name: "pg0", role: "primary", hardware: { cpus: 2, memoryMiB: 4096 } });
    expect(topology.notes).toEqual([]);
  });

  it("is scaled down to a smaller host, with settings to match, and says so", () => {
    const topology = planTopology(config(), { cpus: 1, memoryMiB: 2048 });
    expect(topology.nodes[0]?.hardware).toMatchObject({ cpus: 1, memoryMiB: 1536 });
    expect(topology.nodes[0]?.settings["shared_buffers"]).toMatchObject({ value: 384, unit: "MB" });
    expect(topology.notes[0]).toContain("1 CPUs and 1536 MiB");
  });

  it("refuses a smaller host where the size must be exact", () => {
    expect(() => planTopology(config({ localSize: "exact" }), { cpus: 1, memoryMiB: 2048 })).toThrow(
      "wants 1 × 2 CPUs and 4096 MiB",
    );
  });

  it("refuses a host that is too small for PostgreSQL at all", () => {
    expect(() => planTopology(config(), { cpus: 1, memoryMiB: 300 })).toThrow("memoryMiB is 192");
  });

  it("shares memory among servers in proportion, in steps of 64 MiB", () => {
    const sizes = [8192, 8192, 4096].map((memoryMiB) => ({ cpus: 4, memoryMiB, diskGiB: 50 }));
    const fitted = fitToHost(sizes, { cpus: 2, memoryMiB: 16_384 });
    expect(fitted.map((size) => size.memoryMiB)).toEqual([4864, 4864, 2432]);
    expect(fitted.every((size) => size.cpus === 2)).toBe(true);
  });
});

describe("a cluster on a Docker host", () => {
  it("has the stage's servers and pools, whose sum fits on one server even when no replica serves", () => {
    for (const [stage, nodes, instances] of [
      ["2", 2, 1],
      ["3", 4, 2],
    ] as const) {
      const { nodes: servers, pool, cache } = planTopology(config({ stage }), big);
      expect(servers).toHaveLength(nodes);
      expect(pool).toMatchObject({ instances, poolSize: 50, maxClientConnections: 1000 });
      const most = 2 * instances * ((pool?.poolSize ?? 0) + (pool?.reserveSize ?? 0));
      expect(most).toBeLessThan(Number(servers[0]?.settings["max_connections"]?.value) - 3);
      expect(cache === undefined).toBe(stage === "2");
    }
  });

  it("makes pools smaller on a smaller host, and says so", () => {
    const { pool, notes } = planTopology(config({ stage: "3" }), { cpus: 2, memoryMiB: 8192 });
    expect(pool?.poolSize).toBeLessThan(50);
    expect(notes.join()).toContain(`pools of ${pool?.poolSize} instead of 50`);
  });

  it("refuses pools that are asked for and do not fit", () => {
    expect(() => planTopology(config({ stage: "2", poolSize: "150" }), big)).toThrow("may open 330 connections");
  });

  it("refuses more servers than the host can hold, replicas at stage 1, and too few connections for Patroni", () => {
    expect(() => planTopology(config({ stage: "2", replicas: "15" }), { cpus: 2, memoryMiB: 4096 })).toThrow(
      "more than this Docker host can hold",
    );
    expect(() => planTopology(config({ replicas: "1" }), big)).toThrow("stage 1 is a single server");
    expect(() => planTopology(config({ stage: "2", maxConnections: "20" }), big)).toThrow("at least 25");
  });

  it("takes as many replicas as are asked for", () => {
    const { nodes } = planTopology(config({ stage: "2", replicas: "5" }), big);
    expect(nodes.map(({ name, role }) => `${name} ${role}`)).toEqual([
      "pg0 primary",
      ...[1, 2, 3, 4, 5].map((n) => `pg${n} replica`),
    ]);
  });
});

describe("configuration", () => {
  it("has defaults for everything", () => {
    expect(config()).toMatchObject({
      stage: 1,
      target: "docker",
      postgresVersion: 17,
      ports: { write: 5432, read: 5433, pool: 6432, cache: 6379 },
      synchronous: "off",
      etcdMembers: 1,
      messages: { premakeMonths: 4, retention: { months: undefined, action: "archive" } },
      dataGenerations: [1],
    });
  });

  it.each([
    ["stage", "9", "whole number from 1 to 5"],
    ["stage", "one", "whole number"],
    ["target", "gcp", "one of docker, aws"],
    ["postgresVersion", "12", "one of 16, 17"],
    ["port", "80", "from 1024"],
    ["port", "5432.5", "whole number"],
    ["maxConnections", "-1", "whole number"],
    ["localSize", "big", "fit, exact"],
    ["settings", "work_mem=1", "JSON"],
    ["settings", "[1]", "object"],
    ["dataGenerations", "[2, 1]", "ascending"],
    ["backupRetentionDays", "0", "from 1"],
    ["replicas", "-1", "whole number"],
    ["synchronous", "maybe", "off, on, strict"],
    ["etcdMembers", "2", "1, 3, 5"],
    ["readPort", "5432", "two ports are the same"],
    ["messagesRetentionMonths", "0", "from 1"],
    ["dataVolumeOptions", '{"type": "none", "o": "bind", "device": "/mnt/pg"}', "must have {volume} in it"],
    ["dataVolumeOptions", "[1]", "an object such as"],
    ["backupVolumeOptions", '{"device": "/mnt/backups"}', "must have {volume} in it"],
    ["backupS3Bucket", "Our_Backups", "the name of a bucket"],
    ["backupS3Region", "eu-west-1", "backupS3Region is set, but no bucket"],
  ])("refuses %s = %s", (key, value, message) => {
    expect(() => config({ [key]: value })).toThrow(message);
  });

  it("takes a bucket at Amazon by its name and region alone, others by their endpoint", () => {
    const bucket = { backupS3Bucket: "our-backups", backupS3Region: "eu-central-1" };
    expect(config(bucket).backups.s3).toMatchObject({
      endpoint: "s3.eu-central-1.amazonaws.com",
      uriStyle: "host",
      path: undefined,
    });
    const elsewhere = config({ ...bucket, backupS3Endpoint: "minio.example.com:9000", backupS3UriStyle: "path" });
    expect(elsewhere.backups.s3).toMatchObject({ endpoint: "minio.example.com:9000", uriStyle: "path" });
    expect(() => config({ ...bucket, backupS3Endpoint: "http://minio" })).toThrow("reached over TLS");
    expect(() => planAws(config({ ...bucket, target: "aws" }))).toThrow("RDS keeps its backups itself");
  });

  it("begins with what a repository has, up to now, a time or a backup's end; not where each shard has its own", () => {
    const restoring = (restoreFirst: string, more: Record<string, string> = {}) =>
      config({ ...more, restoreFirst }).backups.restoreFirst;
    expect(config({}).backups.restoreFirst).toBeUndefined();
    expect(restoring("latest")).toEqual(["--type=default"]);
    expect(restoring("2026-11-22T15:05:00+01:00", { stage: "3" })).toEqual([
      "--type=time",
      "--target=2026-11-22 14:05:00+00",
    ]);
    expect(restoring("20261122-030000F_20261123-030000D")).toEqual([
      "--set=20261122-030000F_20261123-030000D",
      "--type=immediate",
      "--recovery-option=recovery_target_timeline=current",
    ]);
    for (const vague of ["2026-11-22T14:05:00", "2026-13-22T14:05:00Z", "yesterday", "--delta"]) {
      expect(() => restoring(vague), vague).toThrow("latest, a time such as");
    }
    expect(() => restoring("latest", { stage: "4" })).toThrow("a repository each");
    expect(() => planAws(config({ restoreFirst: "latest", target: "aws" }))).toThrow("RDS keeps its backups itself");
  });

  it("names a key that nothing reads", () => {
    expect(() => checkKeys(["stage", "prot"])).toThrow("cgraph:prot");
  });
});
