import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import type { Change } from "../../migration/change.ts";
import { checkNotPromoted, releaseReplicas } from "../../scripts/aws/furtherRegions.ts";
import { listRegionsAws, promoteRegionAws } from "../../scripts/aws/regions.ts";
import { rebootServers } from "../../scripts/aws/restart.ts";
import { statusAws } from "../../scripts/aws/status.ts";
import type { AwsNodeOutput, AwsStackValues } from "../../stacks/aws/outputs.ts";

/** An AWS CLI that answers from files: `REGION-VERB.json`; without one it fails. What it is asked is kept. */
const folder = mkdtempSync(join(tmpdir(), "cgraph-regions-"));
const path = process.env["PATH"] ?? "";
const asked = (): string[] => readFileSync(join(folder, "asked"), "utf8").split("\n").filter(Boolean);
const answer = (region: string, verb: string, value: unknown): void =>
  writeFileSync(join(folder, `${region}-${verb}.json`), JSON.stringify(value));

beforeAll(() => {
  writeFileSync(
    join(folder, "aws"),
    `#!/bin/sh
[ "$1" = --version ] && exit 0
echo "$*" >> "${folder}/asked"
verb=$2
while [ "$1" != --region ]; do shift; done
cat "${folder}/$2-$verb.json" 2>/dev/null || { echo "Could not connect to the endpoint of $2" >&2; exit 255; }
`,
    { mode: 0o755 },
  );
  process.env["PATH"] = `${folder}${delimiter}${path}`;
});
afterAll(() => {
  process.env["PATH"] = path;
  rmSync(folder, { recursive: true });
});

const node = (name: string, role: string): AwsNodeOutput => ({
  ...{ name, cluster: null, role, host: `${name}.rds`, port: 5432, cpus: 8, memoryMiB: 32_768 },
  ...{ instanceClass: "db.m7g.2xlarge", identifier: `cgraph-s-${name}`, settings: { max_connections: "400" } },
});

const values = {
  ...{ stage: 3, target: "aws", region: "us-east-1", postgresVersion: 17, notes: [], usdPerMonth: 1 },
  nodes: [node("pg0", "primary"), node("pg1", "replica")],
  endpoints: { write: { host: "pg0.rds", port: 5432 }, read: [], pool: null, cache: null },
  regions: [
    {
      ...{ name: "eu-west-1", nodes: [node("eu-west-1-pg0", "replica")], read: [], shards: [] },
      clientSecurityGroup: "sg",
      place: { subnetGroup: "g", securityGroup: "sg", fenceGroup: "sg-fence", keyArn: "arn:k" },
    },
  ],
  across: {
    ...{ zone: "s.cgraph.internal", zoneId: "Z", nearest: { host: "read.s.cgraph.internal", port: 5432 } },
    home: { subnetGroup: "g", securityGroup: "sg", fenceGroup: "sg-fence", keyArn: "arn:k" },
  },
} as unknown as AwsStackValues;

const instance = (name: string, source = "", more: Record<string, unknown> = {}) => ({
  ...{ DBInstanceIdentifier: `cgraph-s-${name}`, DBInstanceStatus: "available" },
  ...(source === "" ? {} : { ReadReplicaSourceDBInstanceIdentifier: source }),
  ...more,
});
const home = { DBInstances: [instance("pg0"), instance("pg1", "cgraph-s-pg0")] };
const abroad = (source: string) => ({ DBInstances: [instance("eu-west-1-pg0", source)] });
const ARN = "arn:aws:rds:us-east-1:1:db:cgraph-s-pg0";

let printed: string;
beforeEach(() => {
  for (const region of ["us-east-1", "eu-west-1"]) {
    answer(region, "describe-alarms", { MetricAlarms: [{ AlarmName: `ring-${region}` }] });
    answer(region, "get-metric-statistics", {
      Datapoints: [
        { Timestamp: "2026-11-27T00:02:00Z", Average: 0.4 },
        { Timestamp: "2026-11-27T00:01:00Z", Average: 9 },
      ],
    });
    for (const verb of ["modify-db-instance", "reboot-db-instance", "wait"]) answer(region, verb, {});
  }
  answer("us-east-1", "describe-db-instances", home);
  answer("eu-west-1", "describe-db-instances", abroad(ARN));
  writeFileSync(join(folder, "asked"), "");
  printed = "";
  vi.spyOn(process.stdout, "write").mockImplementation((chunk) => {
    printed += String(chunk);
    return true;
  });
});

describe("region list on AWS", () => {
  it("has each region's servers with their lag, of the newest figure", async () => {
    expect(await listRegionsAws({ stack: "s" }, values)).toBe(0);
    expect(printed).toMatch(/us-east-1 +pg0 +primary +available +pg0\.rds:5432/);
    expect(printed).toMatch(/eu-west-1 +eu-west-1-pg0 +replica +available +0\.4 s +eu-west-1-pg0\.rds:5432/);
    expect(printed).toContain("nearest replica: read.s.cgraph.internal:5432");
    printed = "";
    await listRegionsAws({ stack: "s", json: true }, values);
    const { regions } = JSON.parse(printed) as { regions: { region: string; home: boolean; nodes: unknown[] }[] };
    expect(regions.map(({ region, home: isHome, nodes }) => [region, isHome, nodes.length])).toEqual([
      ["us-east-1", true, 2],
      ["eu-west-1", false, 1],
    ]);
  });

  it("tells of the others when one does not answer, and says which", async () => {
    rmSync(join(folder, "us-east-1-describe-db-instances.json"));
    expect(await listRegionsAws({ stack: "s" }, values)).toBe(1);
    expect(printed).toMatch(/us-east-1 +pg0 +primary +unknown/);
    expect(printed).toMatch(/eu-west-1 +eu-west-1-pg0 +replica +available/);
    expect(printed).toContain("us-east-1 does not answer: Could not connect to the endpoint of us-east-1");
  });
});

describe("status of several regions on AWS", () => {
  it("has the servers and alarms of all", async () => {
    expect(await statusAws("s", values, true)).toBe(0);
    expect(JSON.parse(printed)).toMatchObject({
      nodes: [{ name: "pg0" }, { name: "pg1" }, { name: "eu-west-1-pg0", region: "eu-west-1", state: "available" }],
      alarms: ["ring-us-east-1", "ring-eu-west-1"],
    });
  });

  it("fails in AWS's own words where none answers", async () => {
    for (const region of ["us-east-1", "eu-west-1"]) rmSync(join(folder, `${region}-describe-db-instances.json`));
    await expect(statusAws("s", values, true)).rejects.toThrow("Could not connect to the endpoint of us-east-1");
  });
});

describe("a rolling reboot", () => {
  it("takes replicas of all regions first, each in its own", async () => {
    expect(await rebootServers(values, () => true)).toEqual(["pg1", "eu-west-1-pg0", "pg0"]);
    expect(
      asked()
        .filter((text) => text.includes("reboot-db-instance"))
        .map((text) => text.slice(0, -14)),
    ).toEqual([
      "rds reboot-db-instance --db-instance-identifier cgraph-s-pg1 --region us-east-1",
      "rds reboot-db-instance --db-instance-identifier cgraph-s-eu-west-1-pg0 --region eu-west-1",
      "rds reboot-db-instance --db-instance-identifier cgraph-s-pg0 --region us-east-1",
    ]);
  });
});

describe("region promote on AWS", () => {
  it("lists the steps with their commands, and changes nothing", () => {
    expect(promoteRegionAws("eu-west-1", { stack: "s", dryRun: true }, values)).toBe(0);
    expect(printed).toContain("eu-west-1 takes over from us-east-1. Lost: ");
    expect(printed).toMatch(/# promote\naws rds promote-read-replica --region eu-west-1 /);
    expect(printed.indexOf("# fence")).toBeLessThan(printed.indexOf("# promote"));
    expect(printed).toContain("The way back. Meanwhile ");
    expect(asked()).toEqual([]);
    printed = "";
    promoteRegionAws("eu-west-1", { stack: "s", dryRun: true, json: true }, values);
    expect(JSON.parse(printed)).toMatchObject({ stack: "s", from: "us-east-1", to: "eu-west-1" });
  });

  it("does no more than that", () => {
    expect(() => promoteRegionAws("eu-west-1", { stack: "s", force: true }, values)).toThrow("yours to carry out");
    expect(() => promoteRegionAws("eu-west-2", { stack: "s", dryRun: true }, values)).toThrow(
      "has no region eu-west-2",
    );
  });
});

describe("up with regions beside home", () => {
  const urn = (name: string): string =>
    `urn:pulumi:s::cgraph::cgraph:db:MultiRegion$aws:rds/instance:Instance::${name}`;
  const gone = (name: string, allowed: boolean): Change => ({
    ...{ urn: urn(name), type: "aws:rds/instance:Instance", op: "delete", stateful: true, allowed, properties: [] },
    before: { identifier: `cgraph-s-${name}`, replicateSourceDb: ARN },
    after: {},
  });

  it("goes on while all replicas follow, or are gone", async () => {
    await checkNotPromoted(values);
    answer("eu-west-1", "describe-db-instances", { DBInstances: [] });
    await checkNotPromoted(values);
    await checkNotPromoted(undefined);
  });

  it("refuses once a region was promoted: the configuration would have its data away", async () => {
    answer("eu-west-1", "describe-db-instances", abroad(""));
    await expect(checkNotPromoted(values)).rejects.toMatchObject({
      message: expect.stringContaining("cgraph-s-eu-west-1-pg0 in eu-west-1 was promoted") as unknown,
      exitCode: 3,
    });
  });

  it("takes AWS's protection off those that are allowed to go, and off no other", async () => {
    await releaseReplicas(values, [gone("eu-west-1-pg0", false)]);
    expect(asked()).toEqual([]);
    await releaseReplicas(values, [gone("eu-west-1-pg0", true), gone("pg1", true)]);
    expect(asked().filter((text) => text.includes("modify"))).toEqual([
      "rds modify-db-instance --db-instance-identifier cgraph-s-eu-west-1-pg0 --no-deletion-protection --apply-immediately --region eu-west-1 --output json",
    ]);
  });
});
