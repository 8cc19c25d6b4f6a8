import { rmSync } from "node:fs";
import { afterEach, describe, expect, it } from "vitest";
import { backPublicationSql, backSubscriptionSql, keepOwnSql } from "../../citus/backSql.ts";
import { routingSql } from "../../citus/routingSql.ts";
import { coordinatorPools } from "../../components/docker/shardRoutes.ts";
import { pgbouncerIni } from "../../components/docker/pgbouncerFiles.ts";
import { planMove } from "../../migration/moves.ts";
import type { MoveFacts } from "../../migration/moveSteps.ts";
import { stackFolder } from "../../scripts/lib/paths.ts";
import { type StepState, beginJournal, markStep, openJournal } from "../../scripts/migrate/journal.ts";
import { type MoveStep, runBack } from "../../scripts/migrate/runner.ts";
import { shardedTables } from "../../sharding/tables.ts";
import { followingSettings } from "../../stacks/shardSettings.ts";
import { planTopology } from "../../stacks/topology.ts";
import { EXIT, UserError } from "../../tuning/errors.ts";
import { configOf } from "../support/moveReports.ts";

const FACTS: MoveFacts = {
  ...{ databaseBytes: 2 ** 30, messagesBytes: 2 ** 29, partitioned: true },
  ...{ servers: { 3: 4, 5: 2 }, restarts: {}, citus: { workers: 2, replicas: 1 } },
};
const ids = (facts: MoveFacts): string[] => planMove(3, 5, facts).map(({ id }) => id.slice(2));
const HOST = { cpus: 16, memoryMiB: 262_144 };

describe("a move to a Citus cluster", () => {
  it("can be taken back until the databases before are left", () => {
    const steps = planMove(4, 5, FACTS);
    expect(steps.filter(({ noReturn }) => noReturn !== null).map(({ id }) => id)).toEqual(["5:leave"]);
    const at = (id: string): number => steps.findIndex((step) => step.id === `5:${id}`);
    expect(at("switch")).toBeLessThan(at("recheck"));
    expect(at("recheck")).toBeLessThan(at("follow"));
    expect(at("follow")).toBeLessThan(at("leave"));
  });

  it("restarts one database where its settings do not carry a stream from each node, and says so", () => {
    expect(ids(FACTS)).not.toContain("restart");
    const more = ids({ ...FACTS, restarts: { 5: ["max_logical_replication_workers"] } });
    expect(more.indexOf("restart")).toBe(more.indexOf("replicas") + 1);
    expect(followingSettings(4, 8)).toEqual({});
    expect(followingSettings(9, 7.5)).toEqual({
      ...{ max_replication_slots: "19", max_logical_replication_workers: "9", max_worker_processes: "25" },
    });
    const settings = (config: Record<string, string>) =>
      planTopology(configOf({ stage: "3", ...config }), HOST).nodes[0]?.settings;
    expect(settings({ workers: "8", fromStage: "3" })?.["max_logical_replication_workers"]?.value).toBe(9);
    expect(settings({ workers: "8" })?.["max_logical_replication_workers"]).toBeUndefined();
    expect(settings({ workers: "3", fromStage: "3" })).toEqual(settings({ workers: "3" }));
  });
});

describe("what goes back", () => {
  it("is told whole transactions of the application only, by the partitioned table", () => {
    expect(backPublicationSql("shard1", ["messages"])).toContain("publish_via_partition_root = true");
    const sql = backSubscriptionSql("shard1", "worker2", "host=worker2-pg0");
    for (const part of ["origin = none", "streaming = off", "copy_data = false", "slot_name = 'cgraph_back_shard1'"]) {
      expect(sql).toContain(part);
    }
  });

  it("is kept by a shard where it is the shard's own, by triggers for streams alone", () => {
    const sql = keepOwnSql(shardedTables());
    for (const { name, shardKey } of shardedTables()) {
      expect(sql).toContain(`BEFORE INSERT ON public.${name} FOR EACH ROW WHEN (NOT sharding.owns(NEW.${shardKey}))`);
      expect(sql).toContain(`ALTER TABLE public.${name} ENABLE REPLICA TRIGGER cgraph_back_own`);
    }
  });
});

describe("applications that route by themselves", () => {
  it("find the last map, and every bucket once", () => {
    const sql = routingSql({ version: 7, shards: [0, 1, 1, 0] });
    expect(sql).toContain("7::bigint AS version, '{0,1,1,0}'::int[] AS shards");
    expect(sql).toContain("THEN '1111'::bit varying ELSE '0000'::bit varying");
  });

  it("ask as a shard by what their pool begins each connection with", () => {
    const ini = pgbouncerIni({
      ...{ write: { hosts: ["h"], port: 1 }, read: { hosts: ["h"], port: 2 }, auth: "file" },
      ...{ maxClientConnections: 10, poolSize: 5, reserveSize: 1, front: coordinatorPools() },
      more: [{ name: "cgraph_shard1", upstream: { hosts: ["h"], port: 3 }, database: "d", connectQuery: "SET a TO 1" }],
    });
    expect(ini).toContain("\ncgraph_shard1 = host=h port=3 dbname=d connect_query='SET a TO 1'\n");
    expect(ini).toContain("\ncgraph_production = host=haproxy port=5438 dbname=cgraph_production\n");
  });
});

describe("taking back what cannot be taken back any more", () => {
  const stack = "test-tocitus";
  afterEach(() => rmSync(stackFolder(stack), { recursive: true, force: true }));
  const refused = new UserError("a slot is lost", "--resume", EXIT.refused);
  const undone: string[] = [];
  const steps: MoveStep[] = ["copy", "switch", "follow"].map((id) => ({
    ...{ id, title: id, run: () => Promise.resolve({}), undo: () => Promise.resolve(void undone.push(id)) },
    ...(id === "switch" && { mayUndo: () => Promise.reject(refused) }),
  }));
  const journal = (states: readonly StepState[], direction: "forward" | "back") => {
    let made = beginJournal({ kind: "migrate", stack, from: "3", to: "5" }, steps);
    states.forEach((state, index) => (made = markStep(made, steps[index]?.id ?? "", { state })));
    return { ...made, direction };
  };

  it("is refused before anything is undone, and the move can be gone on with", async () => {
    await expect(runBack(journal(["done", "done", "running"], "forward"), steps)).rejects.toThrow("a slot is lost");
    expect(undone).toEqual([]);
    expect(openJournal(stack)?.direction).toBe("forward");
  });

  it("turns a move forward again that was being taken back", async () => {
    await expect(runBack(journal(["done", "undoing", "undone"], "back"), steps)).rejects.toThrow("a slot is lost");
    const { direction, steps: found } = openJournal(stack) ?? {};
    expect([direction, found?.map(({ state }) => state)]).toEqual(["forward", ["done", "running", "pending"]]);
  });

  it("is asked of steps that were done only", async () => {
    await runBack(journal(["done", "pending", "pending"], "forward"), steps);
    expect(undone).toEqual(["copy"]);
  });
});
