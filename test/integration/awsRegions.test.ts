import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Change } from "../../migration/change.ts";
import { resourceName } from "../../migration/change.ts";
import { effectOf, unsafeOf, verdictOf } from "../../migration/verdict.ts";
import { planOf } from "../../scripts/lib/plan.ts";
import { violations } from "../../scripts/lib/policy.ts";
import { alarmCount } from "../../stacks/aws/alarms.ts";
import { checkNoOverlap } from "../../stacks/aws/cidr.ts";
import type { AwsStackValues } from "../../stacks/aws/outputs.ts";
import { type AwsPlan, planAws } from "../../stacks/aws/plan.ts";
import { homeReadWatches, regionAlarmCount } from "../../stacks/aws/regionAlarms.ts";
import { readConfig } from "../../stacks/config.ts";
import { cgraph } from "../support/cli.ts";
import { type OfflineAws, type Resource, inputsOf, openOfflineAws } from "../support/offlineAws.ts";

const RDS = "aws:rds/instance:Instance";
const [TWO, THREE] = ['["us-east-1", "eu-west-1"]', '["us-east-1", "eu-west-1", "ap-southeast-1"]'];

const planned = (values: Record<string, string>): AwsPlan =>
  planAws(readConfig((key) => ({ target: "aws", ...values })[key]));
const names = (changes: readonly Change[]): string[] => changes.map(({ urn }) => resourceName(urn)).sort();
const outputsOf = (all: readonly Resource[], type: string, name: string): Readonly<Record<string, unknown>> =>
  all.find((one) => one.type === type && one.name === name)?.outputs ?? {};

/** What holds of replicas in a region, as the real plugin has made them. */
function expectRegion(all: readonly Resource[], stack: string, { regions }: AwsPlan): void {
  for (const { name: region, nodes, cidr } of regions) {
    expect(inputsOf(all, "aws:ec2/vpc:Vpc", `${region}-vpc`)["cidrBlock"]).toBe(cidr);
    for (const { name, cluster, parameters } of nodes) {
      const replica = all.find((one) => one.type === RDS && one.name === name);
      const source = cluster === null ? "pg0" : `${cluster}-pg0`;
      expect(replica?.provider, name).toContain(`::${region}-aws::`);
      expect(replica?.inputs, name).toMatchObject({
        replicateSourceDb: outputsOf(all, RDS, source)["arn"],
        kmsKeyId: outputsOf(all, "aws:kms/key:Key", `${region}-key`)["arn"],
        dbSubnetGroupName: `cgraph-${stack}`,
        identifier: `cgraph-${stack}-${name}`,
        multiAz: false,
        deletionProtection: true,
      });
      expect(replica?.outputs["region"]).toBe(region);
      expect(replica?.protect).toBe(true);
      for (const key of ["username", "password", "dbName", "allocatedStorage", "backupRetentionPeriod"]) {
        expect(replica?.inputs[key], `${name} ${key}`).toBeUndefined();
      }
      const group = inputsOf(all, "aws:rds/parameterGroup:ParameterGroup", `${name}-parameters`);
      expect(group["parameters"]).toHaveLength(parameters.length);
    }
  }
}

/** The real plugin plans, a process for each region. */
let offline: OfflineAws;
const begin = (name: string) =>
  beforeAll(async () => {
    offline = await openOfflineAws(name);
  });
const end = () => afterAll(() => offline.close());

describe("stage 3 in three regions from nothing", () => {
  begin("test-regions");
  end();
  const plan = planned({ stage: "3", regions: THREE });
  let all: Resource[];

  it("is planned by the real plugin without an error or a warning, and shows no change once it is there", async () => {
    await offline.configure({ stage: "3", regions: THREE });
    const { changes, warnings } = await offline.plan();
    expect(warnings).toEqual([]);
    expect(changes.filter(({ op }) => op !== "create")).toEqual([]);
    expect(verdictOf(changes)).toBe("safe");
    await offline.stack.up();
    expect(await offline.plan()).toEqual({ changes: [], warnings: [] });
    all = await offline.resources();
  });

  it("has a replica in each further region, by its source's ARN, with a key and a network of its own", () => {
    expect(plan.regions.map(({ nodes }) => nodes.length)).toEqual([1, 1]);
    expectRegion(all, "test-regions", plan);
    expect(violations(all)).toEqual([]);
    const cidrs = all.filter(({ type }) => type === "aws:ec2/vpc:Vpc").map(({ inputs }) => String(inputs["cidrBlock"]));
    expect(cidrs).toHaveLength(3);
    expect(() => checkNoOverlap(cidrs)).not.toThrow();
  });

  it("connects every pair of regions, both ways, in the right regions", () => {
    const of = (type: string): Resource[] => all.filter((one) => one.type === type);
    expect(of("aws:ec2/vpcPeeringConnection:VpcPeeringConnection")).toHaveLength(3);
    for (const { name, inputs, outputs } of of("aws:ec2/vpcPeeringConnectionAccepter:VpcPeeringConnectionAccepter")) {
      expect(inputs["autoAccept"], name).toBe(true);
      expect(name.endsWith(String(outputs["region"])), name).toBe(true);
    }
    const routes = of("aws:ec2/route:Route");
    expect(routes).toHaveLength(6);
    for (const { name, outputs } of routes)
      expect(name.startsWith(`${String(outputs["region"])}-to-`), name).toBe(true);
  });

  it("has names for the nearest reads, each with a health check by an alarm that there is", () => {
    const records = all.filter(({ type }) => type === "aws:route53/record:Record").map(({ inputs }) => inputs);
    const nearest = records.filter(({ name }) => name === "read.test-regions.cgraph.internal");
    expect(nearest.map(({ setIdentifier }) => setIdentifier).sort()).toEqual(
      [...(JSON.parse(THREE) as string[])].sort(),
    );
    const checks = all.filter(({ type }) => type === "aws:route53/healthCheck:HealthCheck");
    const ids = checks.map(({ id }) => id);
    for (const record of records) expect(ids).toContain(record["healthCheckId"]);
    const alarms = all.filter(({ type }) => type === "aws:cloudwatch/metricAlarm:MetricAlarm");
    for (const { inputs } of checks.filter(({ inputs: one }) => one["type"] === "CLOUDWATCH_METRIC")) {
      const alarm = alarms.find(({ inputs: one }) => one["name"] === inputs["cloudwatchAlarmName"]);
      expect(alarm?.outputs["region"]).toBe(inputs["cloudwatchAlarmRegion"]);
      // Route 53 goes by no formula.
      expect(alarm?.inputs["metricQueries"]).toBeUndefined();
      expect((inputs["triggers"] as { threshold: string }).threshold).toBe(String(alarm?.inputs["threshold"]));
    }
    const counted = plan.regions.reduce((sum, region) => sum + regionAlarmCount(region), 0);
    expect(alarms).toHaveLength(alarmCount(plan) + counted + homeReadWatches(plan, (server) => server).length);
  });

  it("tells where each region's replicas are", async () => {
    const outputs = await offline.stack.outputs();
    const regions = outputs["regions"]?.value as AwsStackValues["regions"];
    expect(regions?.map(({ name, read }) => [name, read.length])).toEqual([
      ["eu-west-1", 1],
      ["ap-southeast-1", 1],
    ]);
    expect(outputs["across"]?.value).toMatchObject({ zone: "test-regions.cgraph.internal" });
  });

  it("is the same in whatever order the further regions are named", async () => {
    await offline.configure({ regions: '["us-east-1", "ap-southeast-1", "eu-west-1"]' });
    const { changes } = await offline.plan();
    // The zone's VPCs are a set; nothing else knows an order.
    expect(names(changes)).toEqual([]);
  });
});

describe("regions added to a stage 3 that is there", () => {
  begin("test-regions-later");
  end();

  it("touch nothing of it", async () => {
    await offline.configure({ stage: "3" });
    await offline.stack.up();
    await offline.configure({ regions: TWO });
    const { changes, warnings } = await offline.plan();
    expect(warnings).toEqual([]);
    expect(changes.length).toBeGreaterThan(40);
    expect(changes.filter(({ op }) => op !== "create")).toEqual([]);
    expect(verdictOf(changes)).toBe("safe");
    expect(changes.filter(({ type }) => type === RDS).map(({ urn }) => resourceName(urn))).toEqual(["eu-west-1-pg0"]);
    await offline.stack.up();
    expect(await offline.plan()).toEqual({ changes: [], warnings: [] });
  });

  it("one more touches neither home nor the other: its VPC joins the zone", async () => {
    await offline.configure({ regions: THREE });
    const { changes, warnings } = await offline.plan();
    expect(warnings).toEqual([]);
    expect(names(changes.filter(({ op }) => op !== "create"))).toEqual(["reads"]);
    expect(verdictOf(changes)).toBe("safe");
  });

  it("one more replica in each touches neither home nor the one that is there", async () => {
    await offline.configure({ regions: TWO, regionReplicas: "2" });
    const { changes, warnings } = await offline.plan();
    expect(warnings).toEqual([]);
    // A region with two serves while one of them does.
    expect(names(changes.filter(({ op }) => op !== "create"))).toEqual(["read-eu-west-1"]);
    expect(verdictOf(changes)).toBe("safe");
    await offline.configure({ regionReplicas: "1" });
  });

  it("one less is refused, and names its replica and its key; nothing of home goes", async () => {
    await offline.configure({ regions: '["us-east-1"]' });
    // Pulumi itself goes no further than the replica, which is protected.
    const { changes } = await planOf("a region less", offline.stack);
    expect(verdictOf(changes)).toBe("unsafe");
    expect(names(unsafeOf(changes))).toEqual(["eu-west-1-key", "eu-west-1-pg0"]);
    const replica = changes.find(({ type }) => type === RDS);
    expect(replica && effectOf(replica)).toMatchObject({ happens: "delete", clients: "reads pause" });
    // Of home goes what was there for the others: rules that let them in, the fence, routes.
    const home = changes.filter(({ urn }) => !urn.includes("cgraph:db:MultiRegion$"));
    expect(names(home)).toEqual(["fence", "fence-out"]);
    expect(home.filter(({ op }) => op !== "delete")).toEqual([]);
  });
});

describe("stage 4 in two regions", () => {
  begin("test-regions-shards");
  end();
  const plan = planned({ stage: "4", regions: TWO });

  it("has replicas of every shard and of the global database in both", async () => {
    await offline.configure({ stage: "4", regions: TWO });
    const { changes, warnings } = await offline.plan();
    expect(warnings).toEqual([]);
    expect(changes.filter(({ op }) => op !== "create")).toEqual([]);
    await offline.stack.up();
    expect(await offline.plan()).toEqual({ changes: [], warnings: [] });
    const all = await offline.resources();
    expect(violations(all)).toEqual([]);
    expect(plan.regions[0]?.nodes).toHaveLength(5);
    expectRegion(all, "test-regions-shards", plan);
    const records = all.filter(({ type }) => type === "aws:route53/record:Record").map(({ inputs }) => inputs["name"]);
    for (const label of ["read", "read-global", "read-shard1", "read-shard2", "read-shard3"]) {
      expect(records.filter((name) => name === `${label}.test-regions-shards.cgraph.internal`)).toHaveLength(2);
    }
  });
});

describe("region on a stack in Docker", () => {
  it("says that it is for stacks that there are", async () => {
    const { code, stderr } = await cgraph(["region", "list", "--stack", "nosuch"]);
    expect(code).toBe(2);
    expect(stderr).toContain('there is no stack "nosuch"');
  });
});
