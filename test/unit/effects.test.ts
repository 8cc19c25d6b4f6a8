import { describe, expect, it } from "vitest";
import { type Change, changeOfStep } from "../../migration/change.ts";
import { effectOf, verdictOf } from "../../migration/verdict.ts";

const CONTAINER = "docker:index/container:Container";
const RDS = "aws:rds/instance:Instance";
const GROUP = "aws:rds/parameterGroup:ParameterGroup";

const change = (op: string, type = CONTAINER, more: Partial<Change> = {}): Change => ({
  urn: "urn:pulumi:s::p::t::n",
  op,
  type,
  stateful: false,
  properties: [],
  before: {},
  after: {},
  ...more,
});

describe("the verdict on changes", () => {
  it.each([
    ["nothing", [], "none"],
    ["a new container", [change("create")], "safe"],
    ["a changed one", [change("update")], "restarts"],
    ["one made anew", [change("replace")], "restarts"],
    ["a new volume", [change("create", "docker:index/volume:Volume", { stateful: true })], "safe"],
    ["a volume made anew", [change("replace", "docker:index/volume:Volume", { stateful: true })], "unsafe"],
    [
      "a password that goes",
      [change("create"), change("delete", "random:index/randomPassword:RandomPassword", { stateful: true })],
      "unsafe",
    ],
    ["the network of a database made anew", [change("replace", "aws:ec2/vpc:Vpc")], "unsafe"],
    ["an address that goes", [change("delete", "aws:lb/loadBalancer:LoadBalancer")], "restarts"],
  ] as const)("%s", (_, changes, verdict) => {
    expect(verdictOf(changes)).toBe(verdict);
  });
});

describe("what a change of an RDS instance means", () => {
  const instance = (key: string, before: unknown, after: unknown, more: Record<string, unknown> = {}): Change =>
    change("update", RDS, {
      stateful: true,
      properties: [{ path: key, kind: "update", replaces: false }],
      before: { [key]: before },
      after: { ...more, [key]: after },
    });
  it.each([
    ["storage grows while it serves", instance("allocatedStorage", 50, 200), "change", "nothing", ""],
    ["another class restarts it", instance("instanceClass", "a", "b"), "restart", "writes pause", "maintenance window"],
    [
      "at once, where the configuration says so",
      instance("instanceClass", "a", "b", { applyImmediately: true, multiAz: true }),
      "restart",
      "writes pause",
      "failover, one to two minutes, at once",
    ],
    [
      "of a replica, reads wait",
      instance("instanceClass", "a", "b", { replicateSourceDb: "pg0" }),
      "restart",
      "reads pause",
      "",
    ],
    ["backups kept longer", instance("backupRetentionPeriod", 7, 30), "change", "nothing", ""],
    ["no backups any more", instance("backupRetentionPeriod", 7, 0), "restart", "writes pause", "backups on or off"],
    [
      "what is not in the tables",
      instance("somethingNew", 1, 2),
      "restart",
      "writes pause",
      "not known to be harmless",
    ],
  ])("%s", (_, changed, happens, clients, why) => {
    expect(effectOf(changed)).toMatchObject({ happens, clients });
    expect(effectOf(changed).why).toContain(why);
  });
});

describe("what a change of parameters means", () => {
  const group = (value: string, applyMethod: string): Change =>
    change("update", GROUP, {
      properties: [{ path: "parameters[0].value", kind: "update", replaces: false }],
      before: { parameters: [{ name: "x", value: "1", applyMethod }] },
      after: { parameters: value === "" ? [] : [{ name: "x", value, applyMethod }] },
    });
  it.each([
    ["dynamic ones are read anew", group("2", "immediate"), "reload", "nothing"],
    ["static ones wait for a reboot", group("2", "pending-reboot"), "restart", "writes pause"],
    ["also one that is taken away", group("", "pending-reboot"), "restart", "writes pause"],
    ["the same ones in another order mean nothing", group("1", "pending-reboot"), "change", "nothing"],
  ])("%s", (_, changed, happens, clients) => {
    expect(effectOf(changed)).toMatchObject({ happens, clients });
  });
});

describe("a change as Pulumi's events tell it", () => {
  const step = { urn: "urn:pulumi:s::p::t::pg0", type: RDS, old: { inputs: { a: 1 } }, new: { inputs: { a: 2 } } };
  it("has its properties, and which of them replace it", () => {
    const found = changeOfStep({
      ...step,
      op: "replace",
      detailedDiff: { storageEncrypted: { diffKind: "update-replace" }, tags: { diffKind: "add" } },
    });
    expect(found?.properties).toEqual([
      { path: "storageEncrypted", kind: "update", replaces: true },
      { path: "tags", kind: "add", replaces: false },
    ]);
    expect(found).toMatchObject({ stateful: true, before: { a: 1 }, after: { a: 2 } });
  });

  it("where a plugin tells no details, has the keys that it tells", () => {
    expect(changeOfStep({ ...step, op: "replace", keys: ["a"], diffs: ["a", "b"] })?.properties).toEqual([
      { path: "a", kind: "update", replaces: true },
      { path: "b", kind: "update", replaces: false },
    ]);
  });

  it.each(["same", "read", "create-replacement", "delete-replaced"])("is none for %s", (op) => {
    expect(changeOfStep({ ...step, op })).toBeUndefined();
  });
});
