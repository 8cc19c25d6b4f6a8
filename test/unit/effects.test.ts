import { describe, expect, it } from "vitest";
import { type Change, changeOfStep } from "../../migration/change.ts";
import { effectOf, unsafeOf, verdictOf } from "../../migration/verdict.ts";

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

describe("a change of a region beside home", () => {
  const elsewhere = (op: string, type: string, more: Partial<Change> = {}): Change =>
    change(op, type, { urn: `urn:pulumi:s::cgraph::cgraph:db:MultiRegion$${type}::eu-west-1-x`, ...more });
  const replica = { stateful: true, before: { replicateSourceDb: "arn:pg0" } };
  const ground = ["aws:ec2/vpc:Vpc", "aws:ec2/subnet:Subnet", "aws:rds/subnetGroup:SubnetGroup"];

  it("is safe where it comes", () => {
    const made = [...ground, RDS, "aws:ec2/route:Route", "aws:route53/record:Record"];
    expect(verdictOf(made.map((type) => elsewhere("create", type, { stateful: type === RDS })))).toBe("safe");
  });

  it("is refused where it goes, for its replicas and its key, until they are named; its ground goes with them", () => {
    const going = [
      ...ground.map((type) => elsewhere("delete", type)),
      elsewhere("delete", RDS, replica),
      elsewhere("delete", "aws:kms/key:Key", { stateful: true }),
    ];
    expect(unsafeOf(going).map(({ type }) => type)).toEqual([RDS, "aws:kms/key:Key"]);
    expect(verdictOf(going)).toBe("unsafe");
    const allowed = going.map((one) => (one.stateful ? { ...one, allowed: true } : one));
    expect(verdictOf(allowed)).toBe("restarts");
    // Nobody writes there.
    expect(new Set(going.map((one) => effectOf(one).clients))).toEqual(new Set(["reads pause"]));
  });

  it("is refused where its ground is made anew, and where home's goes", () => {
    for (const type of ground) {
      expect(verdictOf([elsewhere("replace", type)]), type).toBe("unsafe");
      expect(verdictOf([change("delete", type)]), type).toBe("unsafe");
    }
  });

  it("is judged as anything is in Docker, where any region may have the primary", () => {
    const volume = { urn: "urn:pulumi:s::p::cgraph:db:MultiRegion$docker:index/volume:Volume::eu-west-1-pg0-data" };
    const gone = change("delete", "docker:index/volume:Volume", { ...volume, stateful: true });
    expect(effectOf(gone).clients).toBe("writes pause");
  });

  it.each([
    ["a way between regions", "delete", "aws:ec2/vpcPeeringConnection:VpcPeeringConnection", "writes pause"],
    ["a route to another region", "replace", "aws:ec2/route:Route", "writes pause"],
    ["a name for reads", "delete", "aws:route53/record:Record", "reads pause"],
    ["one more name", "create", "aws:route53/record:Record", "nothing"],
    ["one more VPC in the zone", "update", "aws:route53/zone:Zone", "nothing"],
  ])("%s: %s", (_, op, type, clients) => {
    expect(effectOf(elsewhere(op, type)).clients).toBe(clients);
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

  it.each([
    ["pg0-parameters", "writes pause"],
    ["pg2-parameters", "reads pause"],
    ["shard1-pg0-parameters", "writes pause"],
    ["shard1-pg1-parameters", "reads pause"],
    ["$cgraph:db:MultiRegion$aws:x::eu-west-1-pg0-parameters", "reads pause"],
  ])("of a group of %s: %s, by who follows whom", (name, clients) => {
    const one = {
      ...group("2", "pending-reboot"),
      urn: `urn:pulumi:s::p::t${name.includes("$") ? name : `::${name}`}`,
    };
    expect(effectOf(one).clients).toBe(clients);
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
