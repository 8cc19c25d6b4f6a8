import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { UserError } from "../../tuning/errors.ts";
import type { Hardware } from "../../tuning/hardware.ts";
import { BACKEND_MIB, fittingMaxConnections, memoryBudget } from "../../tuning/memory.ts";
import { checkPools, suggestedPoolSize } from "../../tuning/pools.ts";
import { FIXED, tunePostgres } from "../../tuning/postgresql.ts";
import { renderPostgresConf } from "../../tuning/render.ts";
import { baseValue, confText, parseSetting, pgSettingsText } from "../../tuning/setting.ts";

const guideHardware: Hardware = { cpus: 2, memoryMiB: 4096, diskGiB: 50, storage: { kind: "ssd" } };
const tune = (
  hardware: Partial<Hardware> = {},
  more: { maxConnections?: number; overrides?: Record<string, string> } = {},
) => tunePostgres({ hardware: { ...guideHardware, ...hardware }, role: "primary", postgresMajor: 17, ...more });

const anyHardware = fc.record({
  cpus: fc.double({ min: 0.25, max: 192, noNaN: true }),
  memoryMiB: fc.integer({ min: 256, max: 1_572_864 }),
  diskGiB: fc.integer({ min: 1, max: 65_536 }),
  storage: fc.oneof(
    fc.constant({ kind: "ssd" } as const),
    fc.record({ kind: fc.constant("hdd" as const), spindles: fc.integer({ min: 1, max: 24 }) }),
  ),
});

describe("tuning for the guide's hardware", () => {
  it("gives the guide's values", () => {
    const settings = tune({}, { maxConnections: 100 });
    const text = (name: string) => settings[name] && pgSettingsText(settings[name], null);
    const base = (name: string) => settings[name] && baseValue(settings[name]);
    const MB = 1024 ** 2;
    expect(base("shared_buffers")).toBe(1024 * MB);
    expect(base("effective_cache_size")).toBe(3 * 1024 * MB);
    expect(base("work_mem")).toBe(16 * MB);
    expect(base("maintenance_work_mem")).toBe(256 * MB);
    expect(base("wal_buffers")).toBe(64 * MB);
    expect(base("log_min_duration_statement")).toBe(1000);
    expect(text("max_connections")).toBe("100");
    expect(text("checkpoint_completion_target")).toBe("0.9");
    expect(text("random_page_cost")).toBe("1.1");
    expect(text("effective_io_concurrency")).toBe("200");
  });

  it("is ready for backups and for moving to shards without a restart", () => {
    const settings = tune();
    expect(settings["wal_level"]?.value).toBe("logical");
    expect(settings["archive_mode"]?.value).toBe("on");
    expect(settings["max_wal_senders"]?.value).toBeGreaterThanOrEqual(10);
  });
});

describe("tuning for any hardware", () => {
  it("never promises more memory than there is", () => {
    fc.assert(
      fc.property(anyHardware, (hardware) => {
        const settings = tune(hardware);
        expect(memoryBudget(settings).totalMiB).toBeLessThanOrEqual(hardware.memoryMiB);
      }),
      { numRuns: 500 },
    );
  });

  it("gives whole numbers where PostgreSQL wants them, and a reason for each setting", () => {
    fc.assert(
      fc.property(anyHardware, (hardware) => {
        for (const [name, setting] of Object.entries(tune(hardware))) {
          expect(setting.reason, name).not.toBe("");
          if (setting.unit) expect(Number.isInteger(setting.value), `${name} = ${String(setting.value)}`).toBe(true);
        }
      }),
      { numRuns: 200 },
    );
  });

  it("grows shared memory and cache with memory, and never shrinks a setting on a larger server", () => {
    fc.assert(
      fc.property(anyHardware, fc.integer({ min: 1, max: 8 }), (hardware, factor) => {
        const memoryMiB = Math.min(hardware.memoryMiB * factor, 1_572_864);
        const [small, large] = [
          tune(hardware, { maxConnections: 10 }),
          tune({ ...hardware, memoryMiB }, { maxConnections: 10 }),
        ];
        for (const name of [
          "shared_buffers",
          "effective_cache_size",
          "work_mem",
          "maintenance_work_mem",
          "wal_buffers",
        ]) {
          expect(large[name]?.value, name).toBeGreaterThanOrEqual(Number(small[name]?.value));
        }
      }),
      { numRuns: 200 },
    );
  });

  it("keeps WAL within a fifth of the disk, or at PostgreSQL's smallest useful size", () => {
    fc.assert(
      fc.property(anyHardware, (hardware) => {
        const settings = tune(hardware);
        const size = Number(settings["max_wal_size"]?.value);
        expect(size).toBeLessThanOrEqual(Math.max(128, hardware.diskGiB * 1024 * 0.2));
        expect(Number(settings["min_wal_size"]?.value)).toBeGreaterThanOrEqual(32);
        expect(Number(settings["min_wal_size"]?.value)).toBeLessThan(size);
      }),
    );
  });
});

describe("nonsense is refused", () => {
  it.each([
    [{ cpus: 0 }, "cpus"],
    [{ memoryMiB: 128 }, "memoryMiB"],
    [{ diskGiB: Number.NaN }, "diskGiB"],
    [{ storage: { kind: "hdd", spindles: 0 } as const }, "spindles"],
  ])("hardware %j", (hardware, property) => {
    expect(() => tune(hardware)).toThrow(property);
  });

  it("connections that the memory does not carry, with the sum", () => {
    expect(() => tune({ memoryMiB: 1024 }, { maxConnections: 400 })).toThrow(
      /need \d+ MiB when busy, but the server has 1024 MiB/,
    );
  });

  it("overrides that need more memory than there is", () => {
    expect(() => tune({}, { overrides: { shared_buffers: "5GB" } })).toThrow(/shared_buffers 5120/);
  });

  it.each(FIXED)("an override of %s, which other parts depend on", (name) => {
    expect(() => tune({}, { overrides: { [name]: "on" } })).toThrow(`${name} is fixed`);
  });

  it("an override of the wrong kind", () => {
    expect(() => tune({}, { overrides: { work_mem: "10s" } })).toThrow("measured in MB");
    expect(() => tune({}, { overrides: { max_connections: "many" } })).toThrow("no number");
    expect(() => tune({}, { overrides: { "drop table": "1" } })).toThrow("no PostgreSQL setting");
  });

  it("as a UserError that says what to do", () => {
    expect.assertions(2);
    try {
      tune({ memoryMiB: 100 });
    } catch (error) {
      expect(error).toBeInstanceOf(UserError);
      expect((error as UserError).remedy).toContain("256");
    }
  });
});

describe("overrides", () => {
  it("win over ours, and say that they are the user's", () => {
    const settings = tune({}, { overrides: { work_mem: "32MB", jit: "on", "auto_explain.log_min_duration": "5s" } });
    expect(settings["work_mem"]).toMatchObject({ value: 32, unit: "MB", reason: "set by cgraph:settings" });
    expect(settings["jit"]?.value).toBe(true);
    expect(settings["auto_explain.log_min_duration"]).toMatchObject({ value: 5, unit: "s" });
  });

  it("take the setting's own unit where none is given", () => {
    expect(parseSetting("work_mem", "64", tune()["work_mem"])).toMatchObject({ value: 64, unit: "MB" });
  });
});

describe("rendering", () => {
  it("writes every setting once, quoted, with its reason", () => {
    const settings = tune();
    const conf = renderPostgresConf(settings);
    for (const [name, setting] of Object.entries(settings)) {
      expect(conf).toContain(`# ${setting.reason}\n${name} = '${confText(setting)}'\n`);
    }
    expect(conf.split("\n").filter((line) => line !== "" && !line.startsWith("#"))).toHaveLength(
      Object.keys(settings).length,
    );
  });

  it("doubles quotes", () => {
    expect(renderPostgresConf({ a: { value: "it's", restart: false, reason: "r" } })).toContain("a = 'it''s'");
  });

  it.each([
    [{ value: 1, unit: "GB" }, "8kB", "131072"],
    [{ value: 64, unit: "MB" }, "8kB", "8192"],
    [{ value: 8192, unit: "MB" }, "MB", "8192"],
    [{ value: 15, unit: "min" }, "s", "900"],
    [{ value: true }, null, "on"],
    [{ value: 0.9 }, null, "0.9"],
  ] as const)("%j reads %s in pg_settings as %s", (setting, unit, text) => {
    expect(pgSettingsText({ ...setting, restart: false, reason: "" }, unit)).toBe(text);
  });
});

describe("pools", () => {
  it("follow the guide's formula", () => {
    expect(suggestedPoolSize({ cpus: 4, storage: { kind: "ssd" } })).toBe(16);
    expect(suggestedPoolSize({ cpus: 4, storage: { kind: "hdd", spindles: 2 } })).toBe(10);
    expect(suggestedPoolSize({ cpus: 0.25, storage: { kind: "ssd" } })).toBe(1);
  });

  it("must fit into max_connections less the reserved ones", () => {
    const pools = [
      { name: "app", connections: 20 },
      { name: "replica", connections: 30 },
      { name: "pgbouncer", connections: 47 },
    ];
    expect(() => checkPools(pools, 100)).not.toThrow();
    expect(() => checkPools([...pools, { name: "cron", connections: 1 }], 100)).toThrow(
      /98 connections .*gives clients 97/,
    );
  });

  it("leave each connection its private memory", () => {
    expect(fittingMaxConnections(4096) * BACKEND_MIB).toBeLessThan(4096 / 4);
  });
});
