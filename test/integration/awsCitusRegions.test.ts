import { gunzipSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Change } from "../../migration/change.ts";
import { resourceName } from "../../migration/change.ts";
import { unsafeOf, verdictOf } from "../../migration/verdict.ts";
import { planOf } from "../../scripts/lib/plan.ts";
import { violations } from "../../scripts/lib/policy.ts";
import { alarmCount } from "../../stacks/aws/alarms.ts";
import { checkNoOverlap } from "../../stacks/aws/cidr.ts";
import { citusRegionAlarmCount } from "../../stacks/aws/citusAlarms.ts";
import { type CitusAwsPlan, citusServers } from "../../stacks/aws/citusPlan.ts";
import type { AwsStackValues } from "../../stacks/aws/outputs.ts";
import { type AwsPlan, planAws } from "../../stacks/aws/plan.ts";
import { readConfig } from "../../stacks/config.ts";
import { type OfflineAws, type Resource, inputsOf, openOfflineAws } from "../support/offlineAws.ts";

const INSTANCE = "aws:ec2/instance:Instance";
const VOLUME = "aws:ebs/volume:Volume";
const RECORD = "aws:route53/record:Record";
const STACK = "test-citus-regions";
const ZONE = `${STACK}.cgraph.internal`;
const ONE = '["us-east-1"]';

const planned = (values: Record<string, string>): AwsPlan =>
  planAws(readConfig((key) => ({ target: "aws", stage: "5", ...values })[key]));
const citusOf = (values: Record<string, string>): CitusAwsPlan => {
  const { citus } = planned(values);
  if (!citus) throw new Error("stage 5 without Citus");
  return citus;
};
// Nothing said of regions: the guide's three.
const plan = planned({ workers: "1" });
const citus = citusOf({ workers: "1" });
const elsewhere = citus.regions.flatMap((region) => citusServers(region));

/** Without what the stand-in makes up (awsCitus.test.ts). */
const genuine = (changes: readonly Change[]): Change[] =>
  changes.filter(
    ({ type, properties }) =>
      !(
        type.startsWith("aws:s3/bucketLifecycle") &&
        properties.length > 0 &&
        properties.every(({ path }) => path === "region")
      ),
  );
const names = (changes: readonly Change[]): string[] => changes.map(({ urn }) => resourceName(urn)).sort();
const ofType = (all: readonly Resource[], type: string): Resource[] => all.filter((one) => one.type === type);
/** What an instance begins with. */
const userDataOf = (all: readonly Resource[], name: string): string =>
  gunzipSync(Buffer.from(String(inputsOf(all, INSTANCE, name)["userDataBase64"]), "base64")).toString();

/** The real plugin plans, a process for each region. */
let offline: OfflineAws;
let all: Resource[];
beforeAll(async () => {
  offline = await openOfflineAws(STACK);
});
afterAll(() => offline.close());

describe("regions added to a Citus cluster on AWS that is there", () => {
  let alone: Resource[];

  it("touch nothing of it: home's zone and nodes stay, its authority's secrets are copied", async () => {
    await offline.configure({ stage: "5", workers: "1", regions: ONE });
    await offline.stack.up();
    alone = await offline.resources();
    await offline.configure({ regions: '["us-east-1", "eu-west-1", "ap-southeast-1"]' });
    const { changes, warnings } = await offline.plan();
    expect(warnings).toEqual([]);
    const touched = genuine(changes).filter(({ op }) => op !== "create");
    // The nodes' files name the other regions; a node looks for them every five minutes.
    const files = citus.clusters.flatMap(({ nodes }) => nodes.map(({ name }) => name));
    expect(names(touched)).toEqual(["authority", "authority-key", ...files].sort());
    expect(touched.filter(({ type }) => !type.startsWith("aws:secretsmanager/"))).toEqual([]);
    expect(verdictOf(changes)).toBe("safe");
    expect(names(changes.filter(({ type }) => type === INSTANCE))).toEqual(elsewhere.map(({ name }) => name).sort());
  });

  it("are the guide's three where nobody names any, and shows no change once they are there", async () => {
    await offline.stack.up();
    all = await offline.resources();
    await offline.stack.removeConfig("cgraph:regions");
    const { changes, warnings } = await offline.plan();
    expect({ changes: genuine(changes), warnings }).toEqual({ changes: [], warnings: [] });
    expect(violations(all)).toEqual([]);
    // A cluster alone, and in three regions.
    expect({ alone: alone.length, regions: all.length }).toEqual({ alone: 251, regions: 612 });
  });

  it("are each made through a provider of their own", () => {
    for (const { name, cidr, clusters } of citus.regions) {
      const its = all.filter((one) => one.name.startsWith(`${name}-`) && one.type.startsWith("aws:"));
      // A way between two regions is named after both, and accepted where it ends.
      const strange = its.filter(
        ({ type, provider }) => !type.endsWith("Accepter") && !String(provider).includes(`::${name}-aws::`),
      );
      expect(strange.map((one) => one.type)).toEqual([]);
      expect(its.length).toBeGreaterThan(100);
      expect(inputsOf(all, "aws:ec2/vpc:Vpc", `${name}-vpc`)["cidrBlock"]).toBe(cidr);
      expect(clusters).toHaveLength(2);
    }
    const cidrs = ofType(all, "aws:ec2/vpc:Vpc").map(({ inputs }) => String(inputs["cidrBlock"]));
    expect(() => checkNoOverlap(cidrs)).not.toThrow();
    expect(cidrs).toHaveLength(3);
  });

  it("have a standby of every node, with a key, volumes and a bucket of their own", () => {
    for (const region of citus.regions) {
      const key = all.find((one) => one.name === `${region.name}-key`)?.outputs["arn"];
      for (const { name, volume, address } of citusServers(region)) {
        expect(inputsOf(all, VOLUME, `${name}-data`), name).toMatchObject({
          ...{ type: "gp3", size: volume.sizeGiB, iops: volume.iops, encrypted: true, kmsKeyId: key },
        });
        const kept = all.find((one) => one.type === VOLUME && one.name === `${name}-data`);
        expect({ protect: kept?.protect, retain: kept?.retainOnDelete ?? false }, name).toEqual({
          ...{ protect: true, retain: false },
        });
        const instance = inputsOf(all, INSTANCE, name);
        expect(instance["privateIp"], name).toBe(address);
        expect(instance["keyName"]).toBeUndefined();
        expect(String(all.find((one) => one.type === INSTANCE && one.name === name)?.outputs["region"])).toBe(
          region.name,
        );
      }
      expect(
        inputsOf(
          all,
          "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration",
          `${region.name}-backups`,
        ),
      ).toMatchObject({
        rules: [{ applyServerSideEncryptionByDefault: { kmsMasterKeyId: key } }],
      });
    }
  });

  it("follow home over its balancer, without Citus in Patroni, and know home's nodes by their names", () => {
    for (const region of citus.regions) {
      const text = userDataOf(all, `${region.name}-worker1-pg0`);
      expect(text).toContain(`"standby_cluster":{"host":"worker1.us-east-1.regions.${ZONE}","port":5501`);
      expect(text).toContain('CGRAPH_BESIDE="yes"');
      expect(text).toContain(`worker1-pg0.${ZONE},worker1-pg1.${ZONE},`);
      const zone = all.find((one) => one.name === `${region.name}-nodes` && one.type === "aws:route53/zone:Zone");
      expect(zone?.inputs).toMatchObject({ name: ZONE, vpcs: [{ vpcRegion: region.name }] });
      const node = region.clusters[1]?.nodes[0];
      for (const homeNode of ["worker1-pg0", "worker1-pg1"]) {
        expect(inputsOf(all, RECORD, `${region.name}-for-${homeNode}`)).toMatchObject({
          ...{ name: `${homeNode}.${ZONE}`, zoneId: zone?.id, records: [node?.address] },
        });
      }
    }
    // Its scripts have the word too.
    expect(userDataOf(all, "worker1-pg0")).not.toContain('"standby_cluster":');
    for (const where of ["us-east-1", "eu-west-1", "ap-southeast-1"]) {
      const name = where === "us-east-1" ? "link-1" : `${where}-link-1`;
      expect(inputsOf(all, "aws:lb/targetGroup:TargetGroup", name)).toMatchObject({
        healthCheck: { path: "/primary", protocol: "HTTPS", port: "8008" },
      });
      expect(inputsOf(all, "aws:lb/listener:Listener", name)["port"]).toBe(5501);
    }
  });

  it("reach each other, both ways, by the addresses of nodes for what is nodes'", () => {
    expect(ofType(all, "aws:ec2/vpcPeeringConnection:VpcPeeringConnection")).toHaveLength(3);
    const between = ofType(all, "aws:ec2/route:Route").filter(({ name }) => name.includes("-to-"));
    // Clients' routes and nodes', both ways, of three pairs.
    expect(between).toHaveLength(12);
    for (const { name, outputs } of between) expect(name.startsWith(`${String(outputs["region"])}-`), name).toBe(true);
    const rule = (name: string) => inputsOf(all, "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule", name);
    const [asia] = citus.regions.filter(({ name }) => name === "ap-southeast-1");
    expect(rule("links-from-ap-southeast-1")).toMatchObject({
      ...{ fromPort: 5500, toPort: 5501, cidrIpv4: asia?.network.nodes },
    });
    expect(rule("eu-west-1-database-from-ap-southeast-1")).toMatchObject({
      ...{ fromPort: 5432, toPort: 5433, cidrIpv4: asia?.cidr },
    });
    expect(rule("pool-from-eu-west-1")).toMatchObject({ fromPort: 6432, toPort: 6432 });
  });

  it("read the authority's copies in their own region, and home's archive, and write neither", () => {
    for (const { name } of citus.regions) {
      const policy = String(inputsOf(all, "aws:iam/rolePolicy:RolePolicy", `${name}-worker1`)["policy"]);
      const { Statement: statements } = JSON.parse(policy) as {
        Statement: { Action: string | string[]; Resource: string | string[] }[];
      };
      const resources = (action: string): string[] =>
        statements.filter(({ Action }) => [Action].flat().includes(action)).flatMap(({ Resource }) => Resource);
      expect(resources("secretsmanager:PutSecretValue")).toEqual([]);
      const authority = resources("secretsmanager:GetSecretValue").filter((arn) => arn.includes("authority"));
      expect(authority).toHaveLength(2);
      for (const arn of authority) expect(arn.split(":")[3]).toBe(name);
      const home = String(
        all.find((one) => one.name === "backups" && one.type === "aws:s3/bucket:Bucket")?.outputs["arn"],
      );
      expect(resources("s3:GetObject")).toContain(`${home}/worker1/*`);
      expect(resources("s3:PutObject").filter((arn) => arn.startsWith(home))).toEqual([]);
    }
    expect(inputsOf(all, "aws:secretsmanager/secret:Secret", "authority-key")["replicas"]).toHaveLength(2);
  });

  it("are made after home, one after the other", () => {
    const dependenciesOf = (name: string): string[] =>
      (
        all.find((one) => one.type === INSTANCE && one.name === name) as unknown as { dependencies: string[] }
      ).dependencies.map(resourceName);
    expect(dependenciesOf("ap-southeast-1-etcd0")).toContain("worker1-pg0-works");
    expect(dependenciesOf("eu-west-1-etcd0")).toContain("ap-southeast-1-worker1-pg0-works");
    expect(dependenciesOf("eu-west-1-worker1-pg0")).toContain("eu-west-1-etcd2-works");
  });

  it("are read by whoever is near, while all of their clusters keep up", () => {
    const nearest = ofType(all, RECORD).filter(({ inputs }) => inputs["name"] === `read.regions.${ZONE}`);
    expect(nearest.map(({ inputs }) => inputs["setIdentifier"]).sort()).toEqual([
      "ap-southeast-1",
      "eu-west-1",
      "us-east-1",
    ]);
    const checks = ofType(all, "aws:route53/healthCheck:HealthCheck");
    const alarms = ofType(all, "aws:cloudwatch/metricAlarm:MetricAlarm");
    for (const { inputs } of nearest) {
      const check = checks.find(({ id }) => id === inputs["healthCheckId"]);
      if (inputs["setIdentifier"] === "us-east-1") {
        expect(check?.inputs["cloudwatchAlarmName"]).toBe(`cgraph-${STACK}-database-read-critical`);
        continue;
      }
      // Coordinator, worker, and the way to them.
      expect(check?.inputs).toMatchObject({ type: "CALCULATED", childHealthThreshold: 3 });
      expect(check?.inputs["childHealthchecks"]).toHaveLength(3);
    }
    for (const { inputs } of checks.filter(({ inputs: one }) => one["type"] === "CLOUDWATCH_METRIC")) {
      const alarm = alarms.find(
        (one) =>
          one.inputs["name"] === inputs["cloudwatchAlarmName"] &&
          one.outputs["region"] === inputs["cloudwatchAlarmRegion"],
      );
      expect(alarm, String(inputs["cloudwatchAlarmName"])).toBeDefined();
      expect(alarm?.inputs["metricQueries"]).toBeUndefined();
      expect((inputs["triggers"] as { threshold: string }).threshold).toBe(String(alarm?.inputs["threshold"]));
    }
    const counted = citus.regions.reduce((sum, region) => sum + citusRegionAlarmCount(region), 0);
    expect(alarms).toHaveLength(alarmCount(plan) + counted);
  });

  it("tell where each is, and what applications may hold there", async () => {
    const value = (await offline.stack.outputs())["citus"]?.value as NonNullable<AwsStackValues["citus"]>;
    expect(value.regions?.map(({ name, nodes }) => [name, nodes.length])).toEqual([
      ["eu-west-1", 2],
      ["ap-southeast-1", 2],
    ]);
    expect(value.regions?.[0]).toMatchObject({
      write: { host: `database.eu-west-1.regions.${ZONE}`, port: 5432 },
      read: { host: `database.eu-west-1.regions.${ZONE}`, port: 5433 },
      pools: { read: { perApiNode: 30 } },
    });
    expect(value.nearest).toEqual({ host: `read.regions.${ZONE}`, port: 5433 });
  });
});

describe("a change of a Citus cluster's regions on AWS", () => {
  it("of their order is none", async () => {
    await offline.configure({ regions: '["us-east-1", "ap-southeast-1", "eu-west-1"]' });
    const { changes } = await offline.plan();
    expect(names(genuine(changes))).toEqual([]);
  });

  it("to one less is refused, and names volumes, bucket and key; nothing of home goes", async () => {
    await offline.configure({ regions: '["us-east-1", "eu-west-1"]' });
    const { changes } = await planOf("a region less", offline.stack);
    expect(verdictOf(changes)).toBe("unsafe");
    const lost = names(unsafeOf(changes));
    expect(lost).toEqual(
      expect.arrayContaining([...["ap-southeast-1-backups", "ap-southeast-1-key", "ap-southeast-1-worker1-pg0-data"]]),
    );
    expect(lost.filter((name) => !name.startsWith("ap-southeast-1-"))).toEqual([]);
  });

  it("by a worker makes its servers in every region, and replaces none", async () => {
    await offline.configure({ regions: '["us-east-1", "eu-west-1", "ap-southeast-1"]', workers: "2" });
    const { changes, warnings } = await offline.plan();
    expect(warnings).toEqual([]);
    expect(names(changes.filter(({ type }) => type === INSTANCE))).toEqual(
      [...["worker2-pg0", "worker2-pg1", "eu-west-1-worker2-pg0", "ap-southeast-1-worker2-pg0"]].sort(),
    );
    expect(changes.filter(({ op }) => op === "replace" || op === "delete")).toEqual([]);
    expect(unsafeOf(changes)).toEqual([]);
  });
});
