import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { ASSUMED, READINGS, type Reading, loadOf, shardsAsked } from "../../capacity/load.ts";
import { MEASURED } from "../../capacity/measured.ts";
import { PRICES, moneyOf } from "../../capacity/money.ts";
import { type CapacityPlan, NODE, firstToGive, isPlan, mostUsers, planFor, walls } from "../../capacity/nodes.ts";
import { figure, people } from "../../capacity/tables.ts";
import { DOCUMENT, TABLE_NAMES, filled } from "../../scripts/capacity/document.ts";
import { readUsers } from "../../scripts/commands/capacity.ts";
import { ROOT } from "../../scripts/lib/paths.ts";
import { totalCost } from "../../stacks/aws/cost.ts";
import { UserError } from "../../tuning/errors.ts";

const M = 1e6;
const readings = Object.keys(READINGS) as Reading[];

function plan(users: number, reading: Reading = "members"): CapacityPlan {
  const found = planFor(users, reading);
  if (!isPlan(found)) throw new Error(`${users} users, ${reading}: ${found.why}`);
  return found;
}

interface Facts {
  readonly statements: readonly Record<string, number | string>[];
  readonly sizes: Readonly<Record<string, number>>;
  readonly replay: { readonly bytes: number; readonly seconds: number };
  readonly poolerCpuMs: number;
  readonly cacheEntryBytes: number;
}

const facts = (name: string): unknown =>
  (JSON.parse(readFileSync(join(ROOT, "bench", "results", `${name}.json`), "utf8")) as { facts: unknown }).facts;

describe("measured figures", () => {
  it("are those of bench capacity", () => {
    const { statements, sizes, replay, poolerCpuMs, cacheEntryBytes } = facts("capacity") as Facts;
    const of = (name: string, key: string): number => Number(statements.find((one) => one["name"] === name)?.[key]);
    for (const name of ["read", "lookup", "insert", "mark", "reaction"] as const) {
      expect(MEASURED[`${name}CpuMs`].value, name).toBe(of(name, "cpuMs"));
    }
    for (const name of ["insert", "mark", "reaction"] as const) {
      expect(MEASURED[`${name}WalBytes`].value, name).toBe(of(name, "walRecordBytes") + of(name, "walImageBytes"));
      expect(MEASURED[`${name}ImagePages`].value, name).toBe(of(name, "imagePages"));
    }
    expect(MEASURED.userBytes.value).toBe(sizes["usersRowBytes"]);
    expect(MEASURED.messageContentBytes.value).toBe(sizes["messagesContentBytes"]);
    expect(MEASURED.poolerCpuMs.value).toBe(poolerCpuMs);
    expect(MEASURED.cacheEntryBytes.value).toBe(cacheEntryBytes);
    expect(MEASURED.replayBytesPerSecond.value).toBe(replay.bytes / replay.seconds);
  });
  it("are those of bench routing", () => {
    const found = facts("routing") as Record<string, number>;
    for (const name of ["routeCpuMs", "fanOutCpuMs", "shardCpuMs", "furtherShardCpuMs"] as const) {
      expect(MEASURED[name].value, name).toBe(found[name]);
    }
  });
});

describe("load", () => {
  it("is as reckoned by hand for 10 million users", () => {
    const load = loadOf(10 * M, 2);
    // 1 B messages a month, 730 hours in it, three times as many in the busiest: 3e9 / 2 628 000.
    expect(load.messagesPerSecond).toBeCloseTo(1141.55, 2);
    // With 0.2 reactions and 0.5 marks each, 1940.6 writes; ten statements to each write, eight of them reads.
    expect(load.statementsPerSecond).toBeCloseTo(19_406.4, 1);
    expect(load.readsPerSecond).toBeCloseTo(15_525.1, 1);
    expect(load.lookupsPerSecond).toBeCloseTo(1940.6, 1);
    expect(load.databaseBytes).toBe(10e12);
    // 1141.55 × 15 177 + 228.3 × 12 843 + 570.8 × 34 540.
    expect(load.walBytesPerSecond / 1e6).toBeCloseTo(39.97, 1);
  });
  it("costs CPU for each shard asked, at the router and at the workers", () => {
    const [two, three] = [loadOf(10 * M, 2), loadOf(10 * M, 3)];
    // 15 525.1 reads and 570.8 marks ask one shard more.
    const asking = 16_095.9 / 1000;
    expect(three.workerCpus - two.workerCpus).toBeCloseTo(asking * MEASURED.furtherShardCpuMs.value, 2);
    expect(three.routingCpus - two.routingCpus).toBeCloseTo(asking * MEASURED.fanOutCpuMs.value, 2);
    expect(three.walBytesPerSecond).toBe(two.walBytesPerSecond);
  });
  it("asks as many shards as a way of reading needs", () => {
    expect(readings.map((reading) => shardsAsked(reading, 64))).toEqual([64, 2, 1]);
    expect(shardsAsked("members", 1)).toBe(1);
  });
});

describe("nodes", () => {
  it("are as reckoned by hand for 100 million users whose members' shards are asked", () => {
    const { servers, workersBy, routing } = plan(100 * M);
    // 4000 GiB × 0.7 are 3.0065 TB; 280 bytes of each user on every worker leave 2.9785 TB: 100 / 2.9785 = 33.6.
    expect(workersBy["disk"]).toBe(34);
    expect(servers.workers).toBe(34);
    // 34 workers and the coordinator, each with a standby at home and one in each of two regions.
    expect(servers.standbysAtHome).toBe(35);
    expect(servers.standbysAbroad).toEqual([35, 35]);
    expect(servers.total).toBe(140);
    expect(routing).toBe("every node");
  });
  it("let the coordinator take all statements while its CPU is enough", () => {
    const small = plan(10 * M);
    expect(small.routing).toBe("coordinator");
    expect(small.load.routingCpus).toBeLessThanOrEqual(NODE.cpus * ASSUMED.fill);
  });
  it("are never filled beyond the plan where more workers help", () => {
    for (const users of [1, 3, 10, 30, 100, 300, 1000]) {
      for (const { share, fixed, what } of plan(users * M).limits) {
        if (!fixed) expect(share, `${what} at ${users} M`).toBeLessThanOrEqual(ASSUMED.fill);
      }
    }
  });
  it("say first what is fullest, by used and limit", () => {
    const found = plan(100 * M);
    const shares = found.limits.map(({ used, limit }) => used / limit);
    expect(found.limits.map(({ share }) => share)).toEqual(shares);
    expect(firstToGive(found).share).toBe(Math.max(...shares));
  });
  it("find none where every shard is asked by too many, and say at how many that begins", () => {
    const most = mostUsers("every") ?? 0;
    expect(most).toBeGreaterThan(10 * M);
    expect(most).toBeLessThan(30 * M);
    expect(isPlan(planFor(most, "every"))).toBe(true);
    expect(isPlan(planFor(most * 1.02, "every"))).toBe(false);
    const none = planFor(30 * M, "every");
    expect(isPlan(none) ? "" : none.why).toMatch(/more shards/);
  });
  it("meet walls at the users at which they are then full", () => {
    for (const { limit, users } of walls(plan(10 * M))) {
      if (limit.part !== "coordinator") continue;
      const there = loadOf(users, 2);
      const used = limit.what === "CPU" ? there.routingCpus : (there.resultBytesPerSecond * 8) / 1e9;
      expect(used).toBeCloseTo(limit.limit, 5);
    }
  });
});

describe("growth", () => {
  const users = [1, 2, 5, 10, 14, 20, 30, 50, 100, 200, 500, 1000].map((count) => count * M);
  it.each(readings)("never takes fewer workers, servers or money (%s)", (reading) => {
    const plans = users.map((count) => planFor(count, reading)).filter(isPlan);
    expect(plans.length).toBeGreaterThan(4);
    plans.slice(1).forEach((next, index) => {
      const before = plans[index] as CapacityPlan;
      expect(next.servers.workers).toBeGreaterThanOrEqual(before.servers.workers);
      expect(next.servers.poolers).toBeGreaterThanOrEqual(before.servers.poolers);
      expect(next.load.statementsPerSecond).toBeGreaterThan(before.load.statementsPerSecond);
      expect(totalCost(moneyOf(next))).toBeGreaterThan(totalCost(moneyOf(before)));
    });
  });
  it("is dearer the more shards are asked", () => {
    const cost = (reading: Reading): number => totalCost(moneyOf(plan(10 * M, reading)));
    expect(cost("every")).toBeGreaterThan(5 * cost("members"));
    expect(cost("members")).toBeGreaterThanOrEqual(cost("conversation"));
  });
});

describe("money", () => {
  const lines = moneyOf(plan(100 * M));
  const of = (part: string): number =>
    lines.filter((line) => line.part === part).reduce((sum, { usdPerMonth }) => sum + usdPerMonth, 0);
  it("is as reckoned by hand", () => {
    // 140 servers × 730 h × $1.6128.
    expect(of("servers")).toBeCloseTo(164_828.16, 2);
    // Each: 4000 GiB × $0.08 + 13 000 IOPS × $0.005 + 875 MiB/s × $0.04 = $420.
    expect(of("disks")).toBeCloseTo(140 * 420, 6);
    // 9 × 730 h × $0.1008.
    expect(of("etcd")).toBeCloseTo(662.26, 2);
    // WAL to two regions: 399.7 MB/s / 3 × 2 628 000 s × 2 are 700 300 GB, at $0.02.
    const abroad = lines.find(({ what }) => what.includes("of WAL to"))?.usdPerMonth ?? 0;
    expect(abroad / 1000).toBeCloseTo(14.0, 1);
  });
  it("says of each price where it can be looked up, or that it was not confirmed", () => {
    for (const { usd, per, confirmed } of Object.values(PRICES)) {
      expect(usd, per).toBeGreaterThan(0);
      expect(confirmed, per).not.toBe("");
    }
  });
});

describe("--users", () => {
  it("reads numbers and their short forms", () => {
    expect(["100M", "1b", "2500K", "30000000", "1.5M"].map(readUsers)).toEqual([
      100 * M,
      1e9,
      2.5 * M,
      30 * M,
      1.5 * M,
    ]);
  });
  it.each(["0", "-5", "abc", "1e15", "1000000000000000", "", "NaN", "Infinity", "10MM", "500K", "1000001.5"])(
    "refuses %j",
    (text) => {
      expect(() => readUsers(text)).toThrow(UserError);
      expect(() => readUsers(text)).toThrow(`--users is "${text}"`);
    },
  );
});

describe("docs/capacity.md", () => {
  const text = readFileSync(DOCUMENT, "utf8");
  // Columns are aligned in the file.
  const bare = (markdown: string): string => markdown.replace(/ {2,}/g, " ").replace(/-{3,}/g, "---");
  it("has every table as the calculation gives it", () => {
    expect(TABLE_NAMES.filter((name) => !text.includes(`<!-- table: ${name} -->`))).toEqual([]);
    expect(bare(text)).toBe(bare(filled(text)));
  });
  it("has sentences that agree with the tables", () => {
    const wall = (users: number, part: string): number =>
      walls(plan(users)).find(({ limit }) => `${limit.part} ${limit.what}`.startsWith(part))?.users ?? 0;
    expect(text).toContain(`beyond some ${Math.round((mostUsers("every") ?? 0) / M)} million users`);
    expect(text).toContain(`at some ${Math.round(wall(10 * M, "coordinator CPU") / M)} million users`);
    expect(text).toContain(
      `**Connections of a worker**, at some ${Math.round(wall(100 * M, "worker conn") / M)} million`,
    );
    expect(text).toContain(`**Shards**, at some ${Math.round(wall(100 * M, "cluster shards") / 1e7) * 10} million`);
  });
});

describe("figures", () => {
  it("are short", () => {
    expect([0.17643, 12.345, 19_406.4, 155_251].map(figure)).toEqual(["0.176", "12.3", "19 400", "155 000"]);
    expect([10 * M, 1.5 * M, 2.37e9].map(people)).toEqual(["10 M", "1.5 M", "2.4 B"]);
  });
});
