import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { CACHE_NODES, chooseCacheNode } from "../../stacks/aws/cacheNodes.ts";
import { checkCidr, checkNoOverlap, subnetCidrs } from "../../stacks/aws/cidr.ts";
import { RDS_CLASSES, chooseClass } from "../../stacks/aws/classes.ts";
import { checkAwsStackName, checkStorage } from "../../stacks/aws/config.ts";
import { costOf, totalCost } from "../../stacks/aws/cost.ts";
import { planAws } from "../../stacks/aws/plan.ts";
import { type StackConfig, readConfig } from "../../stacks/config.ts";
import { tunePostgres } from "../../tuning/postgresql.ts";
import { MANAGED_BY_RDS, PG_UNITS, renderRdsParameters } from "../../tuning/rds.ts";
import { UserError } from "../../tuning/errors.ts";
import { baseValue } from "../../tuning/setting.ts";

const config = (values: Record<string, string>): StackConfig =>
  readConfig((key) => ({ target: "aws", ...values })[key as "target"]);

describe("the class of a server", () => {
  it.each([
    [1, "db.t4g.medium"],
    [2, "db.m7g.xlarge"],
    [3, "db.m7g.2xlarge"],
  ])("of stage %i is the cheapest that has its CPUs and memory", (stage, name) => {
    expect(planAws(config({ stage: String(stage) })).nodes.map((node) => node.class.name)).toEqual(
      Array(planAws(config({ stage: String(stage) })).nodes.length).fill(name),
    );
  });

  it("has what was asked for, and no cheaper one has", () => {
    const request = fc.record({
      cpus: fc.integer({ min: 1, max: 64 }),
      memoryMiB: fc.integer({ min: 512, max: 256 * 1024 }),
      burstable: fc.boolean(),
    });
    fc.assert(
      fc.property(request, (wanted) => {
        const found = chooseClass(wanted);
        const fits = (one: typeof found): boolean =>
          one.cpus >= wanted.cpus && one.memoryMiB >= wanted.memoryMiB && (wanted.burstable || !one.burstable);
        expect(fits(found)).toBe(true);
        expect(RDS_CLASSES.filter((one) => fits(one) && one.usdPerHour < found.usdPerHour)).toEqual([]);
      }),
    );
    expect(() => chooseClass({ cpus: 200, memoryMiB: 1024, burstable: false })).toThrow("no class known here has 200");
  });

  it("of a cache too", () => {
    expect(chooseCacheNode(4096).name).toBe("cache.m7g.large");
    expect(() => chooseCacheNode((CACHE_NODES.at(-1)?.memoryMiB ?? 0) + 1)).toThrow("the largest node");
  });
});

describe("parameters for RDS", () => {
  const settings = planAws(config({ stage: "2" })).nodes[0]?.settings ?? {};
  const parameters = renderRdsParameters(settings);
  const value = (name: string): string | undefined => parameters.find((one) => one.name === name)?.value;

  it("are in PostgreSQL's internal units", () => {
    // 16 GiB: three quarters in pages of 8 kB.
    expect(value("effective_cache_size")).toBe("1572864");
    expect(value("max_wal_size")).toBe("32768");
    expect(value("checkpoint_timeout")).toBe("900");
    expect(value("idle_in_transaction_session_timeout")).toBe("300000");
    expect(value("jit")).toBe("0");
  });

  it("mean what postgresql.conf would", () => {
    const factors: Record<string, number> = { "8kB": 8192, kB: 1024, MB: 1024 ** 2, ms: 1, s: 1000 };
    for (const { name, value: text } of parameters) {
      const unit = PG_UNITS[name];
      const setting = settings[name];
      if (unit !== undefined && setting) expect(Number(text) * (factors[unit] ?? NaN), name).toBe(baseValue(setting));
    }
  });

  it("leave out what RDS sets itself, and what is the default anyway", () => {
    for (const name of Object.keys(MANAGED_BY_RDS)) expect(value(name)).toBeUndefined();
    for (const name of ["autovacuum_vacuum_scale_factor", "checkpoint_completion_target", "password_encryption"]) {
      expect(settings[name], name).toBeDefined();
      expect(value(name)).toBeUndefined();
    }
  });

  it("leave shared_buffers to the class that the server starts on, unless the user has set it", () => {
    expect(value("shared_buffers")).toBeUndefined();
    const own = planAws(config({ stage: "2", settings: '{"shared_buffers": "2GB"}' })).nodes[0]?.parameters ?? [];
    expect(own.find(({ name }) => name === "shared_buffers")?.value).toBe("262144");
  });

  it("wait for a reboot exactly where PostgreSQL needs a restart", () => {
    for (const { name, applyMethod } of parameters) {
      const static_ = name === "rds.logical_replication" || settings[name]?.restart === true;
      expect(applyMethod, name).toBe(static_ ? "pending-reboot" : "immediate");
    }
    expect(value("rds.logical_replication")).toBe("1");
  });

  it("are known for every setting that tuning makes, on any hardware", () => {
    const hardware = fc.record({
      cpus: fc.integer({ min: 1, max: 192 }),
      memoryMiB: fc.integer({ min: 2048, max: 1_572_864 }),
      diskGiB: fc.integer({ min: 20, max: 65_536 }),
      storage: fc.constant({ kind: "ssd" as const }),
    });
    fc.assert(
      fc.property(hardware, (one) => {
        const tuned = tunePostgres({ hardware: one, role: "primary", postgresMajor: 17 });
        for (const { value: text } of renderRdsParameters(tuned)) expect(text).not.toMatch(/NaN|undefined|\d[kM]B$/);
      }),
    );
  });
});

describe("storage", () => {
  it("follows gp3's rules", () => {
    expect(() => checkStorage(50, undefined, undefined)).not.toThrow();
    expect(() => checkStorage(400, 12_000, 500)).not.toThrow();
    expect(() => checkStorage(399, 12_000, undefined)).toThrow("under 400 GiB take no storageIops");
    expect(() => checkStorage(2000, 12_000, 4000)).toThrow("4000 MiB/s need 16000 IOPS");
  });

  it("grows by itself, and the volume of a stage is never smaller than the stage's before", () => {
    const sizes = ["1", "2", "3"].map((stage) => planAws(config({ stage })).nodes[0]?.storageGiB ?? 0);
    expect(sizes).toEqual([50, 200, 2000]);
    expect(planAws(config({ stage: "1" })).nodes[0]?.maxStorageGiB).toBe(200);
  });
});

describe("ranges of addresses", () => {
  it("are cut into parts that lie within and do not overlap", () => {
    expect(subnetCidrs("10.20.0.0/16", 4, 3)).toEqual(["10.20.0.0/20", "10.20.16.0/20", "10.20.32.0/20"]);
    fc.assert(
      fc.property(fc.integer({ min: 16, max: 24 }), fc.integer({ min: 1, max: 16 }), (bits, count) => {
        const parts = subnetCidrs(`10.0.0.0/${bits}`, 4, count);
        expect(parts).toHaveLength(count);
        expect(() => checkNoOverlap(parts)).not.toThrow();
        for (const part of parts) expect(() => checkNoOverlap([`10.0.0.0/${bits}`, part])).toThrow("overlap");
      }),
    );
  });

  it.each(["10.20.0.0", "10.20.0.1/16", "300.0.0.0/16", "10.0.0.0/8", "10.0.0.0/28", "ten"])("are not %s", (cidr) => {
    expect(() => checkCidr("vpcCidr", cidr, 16, 24)).toThrow(UserError);
  });
});

describe("what AWS would refuse is refused first", () => {
  it.each([
    ["an unknown region", { region: "us-middle-1" }, 'cgraph:region is "us-middle-1"'],
    ["a class that does not exist", { instanceClass: "db.huge" }, 'cgraph:instanceClass is "db.huge"'],
    ["storage too small for its numbers", { storageIops: "12000" }, "gp3 volumes under 400 GiB"],
    ["IOPS that gp3 does not have", { storageIops: "100", stage: "3" }, "a whole number from 12000 to 64000"],
    ["overlapping ranges", { clientCidrs: '["10.20.4.0/24"]' }, "overlap"],
    ["an existing VPC without private subnets", { vpcId: "vpc-0123" }, "with 0 private subnets"],
    ["subnets without their VPC", { subnetIds: '["subnet-1", "subnet-2"]' }, "without cgraph:vpcId"],
    ["a version that RDS does not have", { postgresVersion: "12" }, "one of 16, 17"],
    ["backups kept longer than RDS keeps them", { backupRetentionDays: "36" }, "35 days at the most"],
    ["an address that is none", { alertEmail: "me" }, "an e-mail address"],
  ])("%s", (_, values, words) => {
    expect(() => planAws(config(values))).toThrow(words);
  });
});

describe("the name of a stack on AWS", () => {
  it("is as short as the shortest limit, and as plain", () => {
    expect(() => checkAwsStackName("a".repeat(27))).not.toThrow();
    for (const name of ["a".repeat(28), "a--b", "a-"]) {
      expect(() => checkAwsStackName(name)).toThrow("is no name for a stack on AWS");
    }
  });
});

describe("cost", () => {
  it("adds up, doubles with Multi-AZ, and grows with the stage", () => {
    const cost = (values: Record<string, string>): number => totalCost(costOf(planAws(config(values))));
    const lines = costOf(planAws(config({ stage: "1" })));
    const of = (part: string): number =>
      lines.filter((line) => line.part === part).reduce((sum, { usdPerMonth }) => sum + usdPerMonth, 0);
    // db.t4g.medium at $0.065 an hour, 50 GiB at $0.115.
    expect(of("pg0")).toBeCloseTo(0.065 * 730 + 50 * 0.115, 5);
    expect(of("security")).toBeCloseTo(1.4, 5);
    // Sixteen alarms, two of which look at two figures; three figures of the check, two counted from the log.
    expect(of("monitoring")).toBeCloseTo(18 * 0.1 + 5 * 0.3 + 3, 5);
    // Two of Session Manager's endpoints, in one zone.
    expect(of("network")).toBeCloseTo(2 * 0.01 * 730, 5);
    expect(cost({ stage: "1" })).toBeCloseTo(
      ["pg0", "security", "monitoring", "network", "access"].map(of).reduce((a, b) => a + b),
      1,
    );
    expect(cost({ stage: "1" }) - cost({ stage: "1", accessHost: "false" })).toBeCloseTo(
      of("network") + of("access"),
      1,
    );
    expect(cost({ stage: "2", pooler: "rds-proxy" })).not.toBe(cost({ stage: "2" }));
    expect(cost({ stage: "1", multiAz: "true" }) - cost({ stage: "1" })).toBeCloseTo(0.065 * 730 + 50 * 0.115, 1);
    expect(cost({ stage: "2" })).toBeGreaterThan(cost({ stage: "1" }));
    expect(cost({ stage: "3", cacheEngine: "valkey" })).toBeLessThan(cost({ stage: "3", cacheEngine: "redis" }));
    expect(cost({ stage: "3", storageIops: "13000" }) - cost({ stage: "3" })).toBeCloseTo(5 * 1000 * 0.02, 1);
  });
});
