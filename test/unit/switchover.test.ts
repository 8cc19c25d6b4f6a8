import { describe, expect, it } from "vitest";
import type { Member } from "../../scripts/lib/cluster.ts";
import { MAX_LAG_BYTES, chooseCandidate, isRunning } from "../../scripts/lib/switchover.ts";

const leader: Member = { name: "pg0", role: "leader", state: "running" };
const replica = (name: string, lag: number | string, more: Partial<Member> = {}): Member => ({
  name,
  role: "replica",
  state: "streaming",
  lag,
  ...more,
});

describe("who takes over", () => {
  it("is the replica that lags least, or the one that was named", () => {
    const members = [leader, replica("pg1", 2000), replica("pg2", 100)];
    expect(chooseCandidate(members).name).toBe("pg2");
    expect(chooseCandidate(members, "pg1").name).toBe("pg1");
  });

  it("is the synchronous replica where there is one", () => {
    const members = [leader, replica("pg1", 0), replica("pg2", 500, { role: "sync_standby" })];
    expect(chooseCandidate(members).name).toBe("pg2");
    expect(() => chooseCandidate(members, "pg1")).toThrow("pg1 is not the synchronous replica");
  });

  it("is, where the primary is lost, also a replica that has nobody to follow", () => {
    const orphan = replica("pg1", 0, { state: "in archive recovery" });
    expect(() => chooseCandidate([leader, orphan])).toThrow("pg1 is in archive recovery");
    expect(chooseCandidate([orphan], undefined, isRunning).name).toBe("pg1");
    expect(() => chooseCandidate([{ ...orphan, state: "starting" }], undefined, isRunning)).toThrow("pg1 is starting");
  });

  it.each([
    ["a replica that lags", [leader, replica("pg1", MAX_LAG_BYTES + 1)], undefined, "pg1 lags"],
    ["a replica whose lag nobody knows", [leader, replica("pg1", "unknown")], undefined, "pg1 lags unknown"],
    ["a replica that does not run", [leader, replica("pg1", 0, { state: "stopped" })], undefined, "pg1 is stopped"],
    ["a server that is not there", [leader, replica("pg1", 0)], "pg7", "there is no server pg7"],
    ["the primary itself", [leader, replica("pg1", 0)], "pg0", "primary already"],
    ["nobody", [leader], undefined, "there is no replica"],
  ])("is not %s", (_, members, wanted, words) => {
    expect(() => chooseCandidate(members, wanted)).toThrow(words);
  });
});
