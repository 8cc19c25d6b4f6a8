import * as pulumi from "@pulumi/pulumi";
import { beforeAll, describe, expect, it } from "vitest";
import { RegionalDatabase, nearestReplica } from "../../regions/RegionalDatabase.ts";
import { regionSuffix } from "../../regions/names.ts";
import { environmentAws } from "../../scripts/aws/environment.ts";
import type { AwsStackValues } from "../../stacks/aws/outputs.ts";
import { planAws } from "../../stacks/aws/plan.ts";
import { regionCidr } from "../../stacks/aws/regions.ts";
import { awsStage } from "../../stacks/aws/stage.ts";
import { readConfig } from "../../stacks/config.ts";

interface Made {
  readonly type: string;
  readonly name: string;
  readonly inputs: Readonly<Record<string, unknown>>;
  readonly provider: string | undefined;
}

const made: Made[] = [];
const options = new Map<string, pulumi.CustomResourceOptions>();
let values: AwsStackValues | undefined;

const RDS = "aws:rds/instance:Instance";
const ofType = (type: string): Made[] => made.filter((one) => one.type === type);
const found = (type: string, name: string): Made => {
  const one = ofType(type).find((resource) => resource.name === name);
  if (!one)
    throw new Error(
      `no ${type} ${name} among ${ofType(type)
        .map((other) => other.name)
        .join(", ")}`,
    );
  return one;
};
/** The region whose provider makes a resource. */
const regionOf = ({ provider = "" }: Made): string => /::([a-z0-9-]+)-aws::/.exec(provider)?.[1] ?? "us-east-1";

const CONFIG: Record<string, string> = {
  ...{ target: "aws", stage: "4", shards: "2", regionReplicas: "2", alertEmail: "a@example.com" },
  regions: '["us-east-1", "eu-west-1", "ap-southeast-1"]',
  clientCidrs: '["10.9.0.0/16"]',
};
const [EU, ASIA] = [regionCidr("10.20.0.0/16", "eu-west-1"), regionCidr("10.20.0.0/16", "ap-southeast-1")];

beforeAll(async () => {
  await pulumi.runtime.setMocks(
    {
      newResource: ({ type, name, inputs, id, provider }) => {
        made.push({ type, name, inputs: inputs as Made["inputs"], provider });
        const state: Record<string, unknown> = { ...(inputs as object), arn: `arn:${name}`, address: `${name}.rds` };
        if (type === "random:index/randomPassword:RandomPassword") state["result"] = "a-password-of-many-letters";
        if (type === "aws:route53/zone:Zone") state["zoneId"] = `${name}-id`;
        // The mocks give an empty id to what is new.
        return { id: id || `${name}-id`, state };
      },
      call: ({ inputs }) => inputs as Record<string, unknown>,
    },
    "cgraph",
    "unit",
  );
  await pulumi.runtime.runInPulumiStack(async () => {
    pulumi.runtime.registerStackTransformation(({ type, name, opts, props }) => {
      options.set(`${type} ${name}`, opts);
      return { props, opts };
    });
    const config = readConfig((key) => CONFIG[key]);
    const outputs = awsStage("unit", config, planAws(config));
    pulumi.output(outputs).apply((known) => (values = known as unknown as AwsStackValues));
    return {};
  });
  await pulumi.runtime.disconnect();
}, 120_000);

describe("regions beside home on RDS", () => {
  it("have replicas of each cluster's primary, by its ARN, with nothing of their own that RDS refuses", () => {
    const replicas = ofType(RDS).filter((one) => regionOf(one) === "eu-west-1");
    expect(replicas.map(({ name, inputs }) => `${name} of ${String(inputs["replicateSourceDb"])}`).sort()).toEqual(
      [
        ...["eu-west-1-pg0 of arn:pg0", "eu-west-1-pg1 of arn:pg0"],
        ...["eu-west-1-global-pg0 of arn:global-pg0", "eu-west-1-global-pg1 of arn:global-pg0"],
        ...["eu-west-1-shard1-pg0 of arn:shard1-pg0", "eu-west-1-shard1-pg1 of arn:shard1-pg0"],
      ].sort(),
    );
    for (const { name, inputs } of replicas) {
      for (const key of ["username", "password", "dbName", "backupRetentionPeriod", "allocatedStorage", "engine"]) {
        expect(inputs[key], `${name} ${key}`).toBeUndefined();
      }
      expect(inputs).toMatchObject({
        identifier: `cgraph-unit-${name}`,
        kmsKeyId: "arn:eu-west-1-key",
        performanceInsightsKmsKeyId: "arn:eu-west-1-key",
        monitoringRoleArn: "arn:database-monitoring",
        monitoringInterval: 60,
        dbSubnetGroupName: "cgraph-unit",
        vpcSecurityGroupIds: ["eu-west-1-database-id"],
        storageEncrypted: true,
        publiclyAccessible: false,
        deletionProtection: true,
        multiAz: false,
        skipFinalSnapshot: true,
      });
      // Home's replicas follow theirs by name, in the same subnets.
      expect(found(RDS, "pg1").inputs).toMatchObject({ replicateSourceDb: "cgraph-unit-pg0" });
      expect(found(RDS, "pg1").inputs["dbSubnetGroupName"]).toBeUndefined();
    }
  });

  it("have everything that is theirs made by their own provider", () => {
    for (const one of made.filter(({ name, type }) => name.startsWith("eu-west-1-") && !type.startsWith("pulumi:"))) {
      // Route 53 is everywhere; a way is asked for by its first end.
      if (/route53|vpcPeeringConnection:/.test(one.type) || one.name === "eu-west-1-to-us-east-1") continue;
      if (one.type.startsWith("cgraph:")) continue;
      expect([one.type, one.name, regionOf(one)]).toEqual([one.type, one.name, "eu-west-1"]);
    }
    expect(found("pulumi:providers:aws", "eu-west-1-aws").inputs["region"]).toContain("eu-west-1");
    expect(regionOf(found("aws:rds/subnetGroup:SubnetGroup", "eu-west-1-database"))).toBe("eu-west-1");
    expect(regionOf(found("aws:rds/parameterGroup:ParameterGroup", "eu-west-1-pg0-parameters"))).toBe("eu-west-1");
  });

  it("protect what holds data; being copies they go, when somebody lets them, with their network", () => {
    for (const key of [`${RDS} eu-west-1-pg0`, "aws:kms/key:Key eu-west-1-key"]) {
      expect(options.get(key), key).toMatchObject({ protect: true, retainOnDelete: false });
    }
    expect(options.get(`${RDS} pg0`)).toMatchObject({ protect: true, retainOnDelete: true });
  });

  it("are connected, every pair, both ways, by one peering that the other end accepts", () => {
    const pairs = ["us-east-1-ap-southeast-1", "us-east-1-eu-west-1", "ap-southeast-1-eu-west-1"];
    const type = "aws:ec2/vpcPeeringConnection:VpcPeeringConnection";
    expect(
      ofType(type)
        .map(({ name }) => name)
        .sort(),
    ).toEqual(pairs.sort());
    expect(found(type, "us-east-1-eu-west-1").inputs).toMatchObject({
      ...{ vpcId: "vpc-id", peerVpcId: "eu-west-1-vpc-id", peerRegion: "eu-west-1" },
    });
    const accepter = found("aws:ec2/vpcPeeringConnectionAccepter:VpcPeeringConnectionAccepter", "us-east-1-eu-west-1");
    expect(accepter.inputs).toMatchObject({ vpcPeeringConnectionId: "us-east-1-eu-west-1-id", autoAccept: true });
    expect(regionOf(accepter)).toBe("eu-west-1");
    const routes = ofType("aws:ec2/route:Route").map((one) => [
      one.name,
      regionOf(one),
      one.inputs["routeTableId"],
      one.inputs["destinationCidrBlock"],
    ]);
    expect(routes.sort()).toEqual(
      [
        ["us-east-1-to-eu-west-1", "us-east-1", "private-id", EU],
        ["eu-west-1-to-us-east-1", "eu-west-1", "eu-west-1-private-id", "10.20.0.0/16"],
        ["us-east-1-to-ap-southeast-1", "us-east-1", "private-id", ASIA],
        ["ap-southeast-1-to-us-east-1", "ap-southeast-1", "ap-southeast-1-private-id", "10.20.0.0/16"],
        ["ap-southeast-1-to-eu-west-1", "ap-southeast-1", "ap-southeast-1-private-id", EU],
        ["eu-west-1-to-ap-southeast-1", "eu-west-1", "eu-west-1-private-id", ASIA],
      ].sort(),
    );
  });

  it("let each other in by addresses, to the database and, at home, the pool; the fence lets in nobody", () => {
    const rules = ofType("aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule");
    const into = (group: string): string[] =>
      rules
        .filter(({ inputs }) => inputs["securityGroupId"] === `${group}-id`)
        .map(
          ({ inputs }) =>
            `${String(inputs["cidrIpv4"] ?? inputs["referencedSecurityGroupId"])} ${String(inputs["toPort"])}`,
        )
        .sort();
    expect(into("database")).toEqual(
      ["10.9.0.0/16 5432", `${ASIA} 5432`, `${EU} 5432`, "clients-id 5432", "database-id 5432"].sort(),
    );
    expect(into("pool")).toEqual(["10.9.0.0/16 6432", `${ASIA} 6432`, `${EU} 6432`, "clients-id 6432"].sort());
    expect(into("eu-west-1-database")).toEqual(
      [
        "10.20.0.0/16 5432",
        "10.9.0.0/16 5432",
        `${ASIA} 5432`,
        "eu-west-1-clients-id 5432",
        "eu-west-1-database-id 5432",
      ].sort(),
    );
    expect(into("cache")).toEqual(["10.9.0.0/16 6379", "clients-id 6379"]);
    for (const fence of ["fence", "eu-west-1-fence"]) {
      found("aws:ec2/securityGroup:SecurityGroup", fence);
      expect(into(fence)).toEqual([]);
    }
  });

  it("are known to each other by a zone of all VPCs, whose names lead to the nearest that keeps up", () => {
    expect(found("aws:route53/zone:Zone", "reads").inputs).toMatchObject({
      name: "unit.cgraph.internal",
      vpcs: [
        { vpcId: "vpc-id", vpcRegion: "us-east-1" },
        { vpcId: "eu-west-1-vpc-id", vpcRegion: "eu-west-1" },
        { vpcId: "ap-southeast-1-vpc-id", vpcRegion: "ap-southeast-1" },
      ],
    });
    const records = ofType("aws:route53/record:Record").map(({ inputs }) => inputs);
    const nearest = records.filter(({ name }) => name === "read.unit.cgraph.internal");
    expect(nearest.map(({ latencyRoutingPolicies, records: to }) => [latencyRoutingPolicies, to])).toEqual(
      ["us-east-1", "eu-west-1", "ap-southeast-1"].map((region) => [
        [{ region }],
        [`read-${region}.unit.cgraph.internal`],
      ]),
    );
    // Each region's replicas take turns, each by what its own region's alarm says.
    const turns = records.filter(({ name }) => name === "read-shard1-eu-west-1.unit.cgraph.internal");
    expect(turns.map(({ records: to, healthCheckId }) => [to, healthCheckId])).toEqual(
      ["eu-west-1-shard1-pg0", "eu-west-1-shard1-pg1"].map((name) => [[`${name}.rds`], `${name}-id`]),
    );
    const health = found("aws:route53/healthCheck:HealthCheck", "eu-west-1-shard1-pg0");
    expect(health.inputs).toMatchObject({
      type: "CLOUDWATCH_METRIC",
      cloudwatchAlarmName: "cgraph-unit-eu-west-1-shard1-pg0-behind-critical",
      cloudwatchAlarmRegion: "eu-west-1",
      insufficientDataHealthStatus: "Unhealthy",
      triggers: { threshold: "600" },
    });
    expect(found("aws:route53/healthCheck:HealthCheck", "read-shard1-eu-west-1").inputs).toMatchObject({
      type: "CALCULATED",
      childHealthThreshold: 1,
      childHealthchecks: ["eu-west-1-shard1-pg0-id", "eu-west-1-shard1-pg1-id"],
    });
    // Home has one replica of each cluster: its own check will do.
    const home = records.find(
      ({ name, setIdentifier }) => name === "read.unit.cgraph.internal" && setIdentifier === "us-east-1",
    );
    expect(home?.["healthCheckId"]).toBe("pg1-id");
    expect(found("aws:route53/healthCheck:HealthCheck", "pg1").inputs).toMatchObject({
      ...{ cloudwatchAlarmName: "cgraph-unit-pg1-behind-critical", cloudwatchAlarmRegion: "us-east-1" },
    });
  });

  it("ring in their own region, and tell people there; home's extra alarms tell Route 53 only", () => {
    const alarm = found("aws:cloudwatch/metricAlarm:MetricAlarm", "eu-west-1-pg0-cpu-warning");
    expect(regionOf(alarm)).toBe("eu-west-1");
    expect(alarm.inputs).toMatchObject({ alarmActions: ["arn:eu-west-1-alarms"], okActions: ["arn:eu-west-1-alarms"] });
    const topic = found("aws:sns/topic:Topic", "eu-west-1-alarms");
    // AWS's own key for topics is closed to CloudWatch: alarms would reach nobody.
    for (const { inputs } of [topic, found("aws:sns/topic:Topic", "alarms")]) {
      expect(inputs["kmsMasterKeyId"]).toBeUndefined();
    }
    expect(found("aws:sns/topicSubscription:TopicSubscription", "eu-west-1-alarms-email").inputs).toMatchObject({
      ...{ topic: "arn:eu-west-1-alarms", endpoint: "a@example.com" },
    });
    expect(
      found("aws:cloudwatch/metricAlarm:MetricAlarm", "pg1-behind-critical").inputs["alarmActions"],
    ).toBeUndefined();
  });
});

describe("what a stack with several regions tells", () => {
  const known = (): AwsStackValues => {
    if (!values) throw new Error("the outputs are not known");
    return values;
  };

  it("has each region's servers, addresses and groups, and what a promotion needs", () => {
    const [eu, asia, ...more] = known().regions ?? [];
    expect(more).toEqual([]);
    expect(asia?.name).toBe("ap-southeast-1");
    expect(eu).toMatchObject({
      name: "eu-west-1",
      read: [
        { host: "eu-west-1-pg0.rds", port: 5432 },
        { host: "eu-west-1-pg1.rds", port: 5432 },
      ],
      shards: [{ name: "global" }, { name: "shard1" }],
      clientSecurityGroup: "eu-west-1-clients-id",
      place: {
        subnetGroup: "cgraph-unit",
        securityGroup: "eu-west-1-database-id",
        fenceGroup: "eu-west-1-fence-id",
        keyArn: "arn:eu-west-1-key",
      },
    });
    expect(eu?.nodes[2]).toMatchObject({
      ...{ name: "eu-west-1-global-pg0", cluster: "global", role: "replica", arn: "arn:eu-west-1-global-pg0" },
      identifier: "cgraph-unit-eu-west-1-global-pg0",
    });
    expect(known().across).toEqual({
      zone: "unit.cgraph.internal",
      zoneId: "reads-id",
      nearest: { host: "read.unit.cgraph.internal", port: 5432 },
      home: { subnetGroup: "cgraph-unit", securityGroup: "database-id", fenceGroup: "fence-id", keyArn: "arn:key" },
    });
    // What is at home is as it is without other regions.
    expect(known().nodes.map(({ name }) => name)).toEqual([
      "pg0",
      "pg1",
      "global-pg0",
      "global-pg1",
      "shard1-pg0",
      "shard1-pg1",
    ]);
  });

  it("gives applications a URL for each region's replicas, verified by name, and one for the nearest", () => {
    const env = environmentAws(known(), "/ca.pem");
    expect(env["SHARD_0_REPLICA_URL_EU_WEST_1"]).toMatch(
      /@eu-west-1-pg0\.rds:5432,eu-west-1-pg1\.rds:5432\/cgraph_production\?sslmode=verify-full&sslrootcert=\/ca\.pem&load_balance_hosts=random$/,
    );
    expect(env["SHARD_1_REPLICA_URL_AP_SOUTHEAST_1"]).toContain("@ap-southeast-1-shard1-pg0.rds:5432,");
    expect(env["DATABASE_GLOBAL_REPLICA_URL_EU_WEST_1"]).toContain("/cgraph_production?");
    // All shards as one are in the router database, which asks them at home: shard 0 alone would be a part of the rows.
    expect(env["DATABASE_REPLICA_URL_EU_WEST_1"]).toBe(env["DATABASE_REPLICA_URL"]);
    expect(env["SHARD_1_NEAREST_REPLICA_URL"]).toContain(
      "@read-shard1.unit.cgraph.internal:5432/cgraph_production?sslmode=verify-ca&",
    );
    expect(env["DATABASE_NEAREST_REPLICA_URL"]).toBeUndefined();
    const regions = known().regions?.map((region) => ({ ...region, shards: [] })) ?? [];
    const plain = environmentAws({ ...known(), sharding: null, regions }, "/ca.pem");
    expect(plain["DATABASE_REPLICA_URL_EU_WEST_1"]).toContain(
      "@eu-west-1-pg0.rds:5432,eu-west-1-pg1.rds:5432/cgraph_production?",
    );
    expect(plain["DATABASE_NEAREST_REPLICA_URL"]).toContain("@read.unit.cgraph.internal:5432/cgraph_production?");
    const alone = environmentAws({ ...known(), regions: [], across: null }, "/ca.pem");
    expect(Object.keys(alone).filter((key) => /EU_WEST|US_EAST|NEAREST/.test(key))).toEqual([]);
    expect(alone["DATABASE_URL"]).toBe(env["DATABASE_URL"]);
  });

  it("gives each region what the library asks for: writes home, reads near", () => {
    const env = environmentAws(known(), "/ca.pem");
    for (const region of ["us-east-1", "eu-west-1"]) {
      expect(nearestReplica(region, env, "SHARD_1")).toContain(
        region === "us-east-1" ? "/cgraph_shard1_ro?" : "@eu-west-1-shard1-pg0.rds",
      );
      expect(env[`DATABASE_URL_${regionSuffix(region)}`]).toBe(env["DATABASE_URL"]);
      expect(env[`SHARD_1_URL_${regionSuffix(region)}`]).toBe(env["SHARD_1_URL"]);
      expect(() => RegionalDatabase.fromEnvironment(region, env)).not.toThrow();
    }
  });
});
