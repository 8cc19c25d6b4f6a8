import { describe, expect, it } from "vitest";
import {
  type CitusNode,
  type NodeVersions,
  checkRoom,
  checkVersions,
  forgetGroupSql,
  nodeName,
  shareOf,
  skewOf,
} from "../../citus/nodes.ts";
import { type Rebalance, isUnderWay, movesAt, progressOf } from "../../citus/rebalance.ts";
import { type CitusStatus, citusTable } from "../../scripts/citus/report.ts";
import { stackFolder } from "../../scripts/lib/paths.ts";
import { forgetPending, pendingOf, rememberWorkers } from "../../scripts/citus/pending.ts";
import { rmSync } from "node:fs";

const node = (group: number, bytes: number, more: Partial<CitusNode> = {}): CitusNode => ({
  ...{ group, nodeId: group + 10, host: `worker${group}-pg0`, port: 5432, ready: true },
  ...{ takesShards: group > 0, shards: bytes > 0 ? 8 : 0, bytes, ...more },
});
const GiB = 1024 ** 3;

describe("what nodes hold", () => {
  it("is shared as their bytes are, and skewed as the largest is over the mean", () => {
    const nodes = [node(0, 0), node(1, 100), node(2, 300)];
    expect(nodes.map((one) => shareOf(one, nodes))).toEqual([0, 0.25, 0.75]);
    expect(skewOf(nodes)).toBe(1.5);
    expect(nodes.map(nodeName)).toEqual(["coordinator", "worker1", "worker2"]);
  });

  it("is not skewed while there is nothing, nor by a worker that is being emptied", () => {
    expect(skewOf([node(0, 0), node(1, 0)])).toBeNull();
    expect(skewOf([node(1, 100), node(2, 100), node(3, 10, { takesShards: false })])).toBe(1);
  });
});

describe("versions of nodes", () => {
  const coordinator: NodeVersions = { name: "coordinator", postgresMajor: 17, citus: "14.0-1", extension: "14.0-1" };
  const worker = (more: Partial<NodeVersions>): NodeVersions => ({ ...coordinator, name: "worker2", ...more });

  it("may be the same", () => {
    expect(() => checkVersions(coordinator, [worker({})])).not.toThrow();
  });
  it.each([
    [{ postgresMajor: 16 }, "worker2 has PostgreSQL 16, Citus 14.0-1"],
    [{ citus: "13.2-1", extension: "13.2-1" }, "worker2 has PostgreSQL 17, Citus 13.2-1 (extension 13.2-1)"],
    [{ citus: "none", extension: "none" }, "no shard moves there"],
  ])("are refused otherwise: %j", (more, words) => {
    expect(() => checkVersions(coordinator, [worker({}), worker(more)])).toThrow(words);
  });
});

describe("room for what moves", () => {
  const disk = (source: string, freeGiB: number) => ({ source, sizeBytes: 100 * GiB, freeBytes: freeGiB * GiB });

  it("is counted once where servers share a disk, a tenth of which stays free", () => {
    // 10 GiB on 2 servers with a fifth more: 24 GiB.
    expect(() => checkRoom(10 * GiB, 2, [disk("a", 35), disk("a", 35)])).not.toThrow();
    expect(() => checkRoom(10 * GiB, 2, [disk("a", 33), disk("a", 33)])).toThrow(
      /need 24.0 GiB, and there are 23.0 GiB/,
    );
    expect(() => checkRoom(10 * GiB, 2, [disk("a", 23), disk("b", 23)])).not.toThrow();
  });
  it("does not count below nothing where less than a tenth is free", () => {
    expect(() => checkRoom(10 * GiB, 2, [disk("a", 5), disk("b", 35)])).not.toThrow();
  });
});

describe("a rebalance", () => {
  const move = (state: string, shard: number | null, more = {}) => ({
    ...{ state, shard, fromNode: 11, toNode: 13, retries: 0, message: null, ...more },
  });
  const rebalance: Rebalance = {
    ...{ job: 3, state: "running" },
    moves: [
      move("done", null, { fromNode: null, toNode: null }),
      move("done", 1),
      move("running", 2),
      move("blocked", 3),
    ],
  };

  it("is told in moves and bytes of shards; reference tables are neither", () => {
    expect(progressOf(rebalance, { 1: 10, 2: 20, 3: 30, 4: 40 })).toEqual({
      ...{ job: 3, state: "running", movesDone: 1, movesTotal: 3, bytesDone: 10, bytesTotal: 60 },
    });
    expect([movesAt(rebalance, 11), movesAt(rebalance, 13), movesAt(rebalance, 12)]).toEqual([
      { to: 0, from: 2 },
      { to: 2, from: 0 },
      { to: 0, from: 0 },
    ]);
  });
  it("is under way until it has ended in one way or the other", () => {
    const states = ["scheduled", "running", "cancelling", "failing", "finished", "failed", "cancelled"];
    expect(states.map((state) => isUnderWay({ ...rebalance, state }))).toEqual([
      ...[true, true, true, true, false, false, false],
    ]);
    expect(movesAt({ ...rebalance, state: "failed" }, 13)).toEqual({ to: 0, from: 0 });
  });
  it("stands below the workers in words", () => {
    const status: CitusStatus = {
      ...{ shardCount: 16, skew: 1.25, rebalance: progressOf(rebalance, { 1: 1024, 2: 1024, 3: 2048 }) },
      workers: [
        {
          ...{ name: "worker1", primary: "worker1-pg0", shards: 8, bytes: 2048, share: 0.5, takesShards: false },
          moves: { to: 0, from: 2 },
        },
      ],
    };
    const text = citusTable(status);
    expect(text).toContain("2 from it (takes no more shards)");
    expect(text).toContain("1.25 times the mean");
    expect(text).toContain("rebalance: running, 1 of 3 moves, 1.0 kiB of 4.0 kiB");
  });
});

describe("a change of workers that was broken off", () => {
  const stack = "test-citus-pending";
  it("is gone on with by the same command, and no other begins", () => {
    try {
      expect(pendingOf(stack, "add")).toBeUndefined();
      rememberWorkers(stack, { kind: "add", workers: 4 });
      expect(pendingOf(stack, "add")).toEqual({ kind: "add", workers: 4 });
      expect(() => pendingOf(stack, "remove")).toThrow("being added, so that there are 4");
      forgetPending(stack);
      expect(pendingOf(stack, "remove")).toBeUndefined();
    } finally {
      rmSync(stackFolder(stack), { recursive: true, force: true });
    }
  });
});

describe("removing a group", () => {
  it("takes its primary last", () => {
    expect(forgetGroupSql(3)).toContain("WHERE groupid = 3 ORDER BY noderole = 'primary'");
  });
});
