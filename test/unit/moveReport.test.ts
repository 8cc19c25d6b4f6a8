import { describe, expect, it } from "vitest";
import type { Change } from "../../migration/change.ts";
import { misfitsOf } from "../../migration/fitting.ts";
import { leavingOf } from "../../migration/leaving.ts";
import { isSecretOnly } from "../../migration/secretChange.ts";
import { meaningOf, verdictOf } from "../../migration/verdict.ts";
import { awsReport, change, dockerReport } from "../support/moveReports.ts";
import { schemaErrors } from "../support/previewSchema.ts";

const VOLUME = "docker:index/volume:Volume";
const ids = (steps: readonly { id: string }[]): string[] => steps.map(({ id }) => id.replace(/^\d:/, ""));

describe("the report of a move", () => {
  it.each([
    ["up by one in Docker", dockerReport(1, 2, [change("pg0", "replace")])],
    ["up by two in Docker", dockerReport(1, 3, [change("pg0", "replace")])],
    ["down in Docker", dockerReport(3, 1, [change("pg1-data", "delete", { type: VOLUME, stateful: true })])],
    ["the first on AWS", awsReport(0, 3, [change("pg0", "create")])],
    ["up on AWS", awsReport(1, 2, [])],
    ["down on AWS", awsReport(3, 2, [])],
    ["on AWS with its proxy", awsReport(1, 3, [], { pooler: "rds-proxy" })],
    [
      "with drift",
      {
        ...dockerReport(1, 2, []),
        drift: [{ kind: "role", where: "pg0", what: "role x", expected: "there", found: "missing", remedy: "up" }],
      },
    ],
  ])("%s is what the schema says", (_, report) => {
    expect(schemaErrors(JSON.parse(JSON.stringify(report)))).toEqual([]);
  });

  it("is told by the schema from one that is not", () => {
    expect(schemaErrors({ ...dockerReport(1, 2, []), verdict: "perhaps", more: 1 })).toEqual(
      expect.arrayContaining([expect.stringContaining("additional properties"), expect.stringContaining("/verdict")]),
    );
  });

  it("never has the inputs that it was told from", () => {
    const secret = change("pg0", "update", { before: { env: "hidden-value-1" }, after: { env: "hidden-value-2" } });
    expect(JSON.stringify(dockerReport(1, 2, [secret]))).not.toContain("hidden-value");
  });

  it("names the worst pause: a short one of writes before a longer reconnect", () => {
    expect(dockerReport(1, 3, []).longestPause).toMatchObject({ step: "2:takeover", clients: "writes pause" });
    const down = dockerReport(3, 2, []);
    expect(down.longestPause).toMatchObject({ step: "2:home", clients: "writes pause" });
    expect(awsReport(2, 3, []).longestPause).toMatchObject({ step: "3:window", seconds: 120 });
    expect(awsReport(0, 1, []).longestPause).toBeNull();
  });

  it("sums what is copied", () => {
    const report = dockerReport(1, 3, []);
    expect(report.movesBytes).toBe((1 + 2) * 5 * 1024 ** 3 + 2 * 1024 ** 3);
  });
});

describe("steps on AWS", () => {
  it("begin with nothing but what makes it, where there is nothing", () => {
    expect(ids(awsReport(0, 2, []).steps)).toEqual(["up", "replicas", "schema", "clients", "verify"]);
  });

  it("wait for the window, and say that a server without a standby is away for minutes", () => {
    const { steps, longestPause } = awsReport(1, 2, []);
    expect(ids(steps)).toEqual(["check", "up", "replicas", "window", "clients", "verify"]);
    expect(steps.find(({ id }) => id === "2:window")?.does).toContain("maintenance window");
    expect(steps.find(({ id }) => id === "2:up")?.pause?.basis).toContain("snapshot");
    expect(longestPause).toMatchObject({ step: "2:window", seconds: 600 });
    // With a standby from the first day it is a failover.
    expect(awsReport(1, 2, [], { multiAz: "true" }).longestPause).toMatchObject({ step: "2:window", seconds: 120 });
  });

  it("are done at once where the configuration says so", () => {
    const { steps } = awsReport(1, 2, [], { applyImmediately: "true" });
    expect(steps.find(({ id }) => id === "2:window")?.does).toContain("at once");
  });

  it("reboot for static parameters where the class stays", () => {
    const { steps } = awsReport(2, 3, [], { instanceClass: "db.m7g.2xlarge" });
    expect(ids(steps)).toContain("restart");
    const restart = steps.find(({ id }) => id === "3:restart");
    expect(restart?.does).toContain("max_connections");
    expect(restart?.pause?.seconds).toBe(120);
  });

  it("take clients off what goes first, and delete it last", () => {
    const { steps } = awsReport(3, 2, []);
    const order = ids(steps);
    expect(order.indexOf("clients")).toBeLessThan(order.indexOf("up"));
    expect(order.indexOf("discard")).toBe(order.length - 2);
    expect(steps.find(({ id }) => id === "2:discard")?.noReturn).not.toBeNull();
  });
});

describe("what would not fit a smaller stage", () => {
  const use = { databaseBytes: 1e9, connections: 10, partitioned: false };
  const texts = (from: number, to: number, more: Partial<typeof use>): string =>
    dockerReport(from, to, [], { ...use, ...more })
      .notFitting.map(({ what }) => what)
      .join("\n");

  it("is nothing on the way up", () => {
    expect(texts(1, 3, { databaseBytes: 1e13, connections: 10_000 })).toBe("");
  });
  it.each([
    ["a database that is larger than the guide's", 2, 1, { databaseBytes: 20e9 }, "for less than 10 GB"],
    ["a database that is larger than the disk", 2, 1, { databaseBytes: 60e9 }, "a disk of 50 GiB"],
    ["more connections than it takes", 3, 2, { connections: 250 }, "250 connections are in use; stage 2 takes 200"],
    ["partitions without pg_cron", 2, 1, { partitioned: true }, "pg_cron"],
    ["pools that go", 2, 1, {}, "the pools would be gone"],
    ["a cache that goes", 3, 2, {}, "the cache would be gone"],
  ] as const)("names %s", (_, from, to, more, words) => {
    expect(texts(from, to, more)).toContain(words);
  });
  it("says no word of partitions where pg_cron stays", () => {
    expect(texts(3, 2, { partitioned: true })).not.toContain("pg_cron");
  });
  it("says on AWS that storage does not shrink", () => {
    expect(awsReport(3, 2, []).notFitting.map(({ what }) => what)).toEqual(
      expect.arrayContaining([expect.stringContaining("keeps its 2000 GiB")]),
    );
  });
  it("says what is known where nobody could be asked", () => {
    const { before, after } = dockerReport(2, 1, []);
    expect(before && misfitsOf(before, after, undefined, "docker").map(({ what }) => what)).toEqual([
      "the pools would be gone",
      "the replicas would be gone",
    ]);
  });
});

describe("a change in which all that differs is secret", () => {
  const secret = (more: Partial<Change>): Change =>
    change("writer", "replace", {
      properties: [{ path: "uploads[0].content", kind: "update", replaces: true }],
      before: { name: "a", uploads: [{ content: "[secret]", file: "/x" }] },
      after: { name: "a", uploads: [{ content: "[secret]", file: "/x" }] },
      ...more,
    });
  it.each([
    ["within a list", secret({}), true],
    ["the whole input", secret({ before: { uploads: "[secret]" }, after: { uploads: "[secret]" } }), true],
    ["that Pulumi shows no path of", secret({ properties: [] }), true],
    ["beside another input", secret({ after: { name: "b", uploads: [{ content: "[secret]", file: "/x" }] } }), false],
    ["none of it secret", secret({ before: { uploads: "a" }, after: { uploads: "a" } }), false],
    ["a path that is not secret", secret({ properties: [{ path: "name", kind: "update", replaces: true }] }), false],
    ["a new resource", secret({ op: "create" }), false],
  ])("%s", (_, one, expected) => {
    expect(isSecretOnly(one)).toBe(expected);
  });
  it("is named in the report", () => {
    const one = secret({});
    expect(dockerReport(1, 2, [one]).secretOnly).toEqual([one.urn]);
  });
});

describe("a loss that is allowed", () => {
  const lost = change("pg1-data", "delete", { type: VOLUME, stateful: true });
  const named = { ...lost, allowed: true };
  it("restarts, and is said; unnamed ones are refused", () => {
    expect(verdictOf([lost])).toBe("unsafe");
    expect(verdictOf([named])).toBe("restarts");
    expect(meaningOf([named])).toContain("LOST to the stack, as allowed, is what these hold: pg1-data");
    const other = { ...lost, urn: `${lost.urn}-other` };
    expect(verdictOf([named, other])).toBe("unsafe");
    expect(dockerReport(2, 1, [named, other]).changes.map(({ loss }) => loss)).toEqual(["allowed", "refused"]);
  });
  it("may go in a move, also where it is a replacement", () => {
    const replaced = change("pg0-data", "replace", { type: VOLUME, stateful: true });
    expect(leavingOf([replaced]).mustNot).toEqual([replaced]);
    expect(leavingOf([{ ...replaced, allowed: true }]).mustNot).toEqual([]);
  });
});
