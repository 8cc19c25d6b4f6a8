import { describe, expect, it } from "vitest";
import { type PromotionPlan, planRegionPromotion } from "../../migration/regionPromote.ts";
import type { AwsNodeOutput, AwsRegionOutput, AwsStackValues } from "../../stacks/aws/outputs.ts";

const node = (name: string, region: string, more: Partial<AwsNodeOutput> = {}): AwsNodeOutput => ({
  ...{ name, cluster: null, role: "replica", host: `${name}.${region}`, port: 5432, cpus: 8, memoryMiB: 32_768 },
  ...{ instanceClass: "db.m7g.2xlarge", identifier: `cgraph-s-${name}`, settings: { max_connections: "400" } },
  arn: `arn:aws:rds:${region}:1:db:cgraph-s-${name}`,
  parameterGroup: `group-${name}`,
  ...more,
});

const place = (region: string) => ({
  subnetGroup: "cgraph-s",
  securityGroup: `sg-${region}`,
  fenceGroup: `sg-fence-${region}`,
  keyArn: `arn:aws:kms:${region}:1:key/k`,
});

const region = (name: string, clusters: readonly (string | null)[], replicas = 1): AwsRegionOutput => ({
  name,
  nodes: clusters.flatMap((cluster) =>
    Array.from({ length: replicas }, (_, index) =>
      node([name, ...(cluster === null ? [] : [cluster]), `pg${index}`].join("-"), name, { cluster }),
    ),
  ),
  read: [],
  shards: [],
  clientSecurityGroup: "sg-clients",
  place: place(name),
});

function values(clusters: readonly (string | null)[] = [null], replicas = 1): AwsStackValues {
  return {
    region: "us-east-1",
    nodes: clusters.flatMap((cluster) => {
      const prefix = cluster === null ? "" : `${cluster}-`;
      return [
        node(`${prefix}pg0`, "us-east-1", { cluster, role: "primary" }),
        node(`${prefix}pg1`, "us-east-1", { cluster }),
      ];
    }),
    regions: [region("eu-west-1", clusters, replicas), region("ap-southeast-1", clusters, replicas)],
    across: {
      ...{ zone: "s.cgraph.internal", zoneId: "Z1", home: place("us-east-1") },
      nearest: { host: "read.s.cgraph.internal", port: 5432 },
    },
  } as unknown as AwsStackValues;
}

const promotion = (of: AwsStackValues = values(), to = "eu-west-1"): PromotionPlan =>
  planRegionPromotion({ values: of, region: to, backupRetentionDays: 9 });

const commandsOf = (plan: PromotionPlan, id: string): readonly string[] => {
  const step = [...plan.steps, ...plan.wayBack].find((one) => one.id === id);
  if (!step) throw new Error(`no step ${id}`);
  return step.commands;
};

describe("a promotion of a region on AWS", () => {
  it("checks, fences, drains, and only then promotes; clients follow, replicas come last", () => {
    const plan = promotion();
    expect(plan.steps.map(({ id }) => id)).toEqual([
      ...["check", "fence", "drain", "promote", "clients", "records", "standby", "replicas"],
    ]);
    expect(plan.wayBack.map(({ id }) => id)).toEqual(["back:copy", "back:fence", "back:promote", "back:replicas"]);
    // Before it there is a way back for everything.
    const [noReturn] = plan.steps.filter((step) => step.noReturn !== null);
    expect(noReturn?.id).toBe("promote");
    expect(plan.loses).toContain("ReplicaLag");
    expect(plan.meanwhile).toContain("./cgraph-db up refuses");
    for (const step of [...plan.steps, ...plan.wayBack]) {
      expect(step.duration.basis, step.id).not.toBe("");
      expect(step.pause === null, step.id).toBe(step.clients === "nothing");
    }
  });

  it("asks both regions first, and how far the replica is behind", () => {
    const commands = commandsOf(promotion(), "check");
    expect(commands[0]).toContain("describe-db-instances --region us-east-1 --db-instance-identifier cgraph-s-pg0");
    expect(commands[1]).toContain(
      "describe-db-instances --region eu-west-1 --db-instance-identifier cgraph-s-eu-west-1-pg0",
    );
    expect(commands[2]).toMatch(/--region eu-west-1 .*--metric-name ReplicaLag .*Value=cgraph-s-eu-west-1-pg0/);
  });

  it("fences the old primary where RDS would not stop it: nobody is let in, and who is in is put out", () => {
    expect(commandsOf(promotion(), "fence")).toEqual([
      "aws rds modify-db-instance --region us-east-1 --db-instance-identifier cgraph-s-pg0 --vpc-security-group-ids sg-fence-us-east-1 --apply-immediately",
      "aws rds reboot-db-instance --region us-east-1 --db-instance-identifier cgraph-s-pg0",
    ]);
  });

  it("promotes one replica of each cluster, with backups, and waits for it", () => {
    const promote = (id: string): string[] => [
      `aws rds promote-read-replica --region eu-west-1 --db-instance-identifier ${id} --backup-retention-period 9 --preferred-backup-window 03:00-04:00`,
      `aws rds wait db-instance-available --region eu-west-1 --db-instance-identifier ${id}`,
    ];
    expect(commandsOf(promotion(), "promote")).toEqual(promote("cgraph-s-eu-west-1-pg0"));
    const sharded = promotion(values([null, "global", "shard1"]));
    expect(commandsOf(sharded, "promote")).toEqual(
      ["pg0", "global-pg0", "shard1-pg0"].flatMap((name) => promote(`cgraph-s-eu-west-1-${name}`)),
    );
    expect(sharded.steps.find(({ id }) => id === "promote")?.does).toContain("may be in some of them");
  });

  it("leads reads of every other region to it, in one change for each cluster", () => {
    const [command = "", ...more] = commandsOf(promotion(), "records");
    expect(more).toEqual([]);
    expect(command).toMatch(/^aws route53 change-resource-record-sets --hosted-zone-id Z1 --change-batch '/);
    const { Changes: changes } = JSON.parse(/'(.*)'$/.exec(command)?.[1] ?? "") as {
      Changes: { Action: string; ResourceRecordSet: Record<string, unknown> }[];
    };
    expect(changes.map(({ ResourceRecordSet: set }) => set["Region"])).toEqual(["us-east-1", "ap-southeast-1"]);
    for (const { Action: action, ResourceRecordSet: set } of changes) {
      expect(action).toBe("UPSERT");
      expect(set).toMatchObject({
        Name: "read.s.cgraph.internal",
        Type: "CNAME",
        ResourceRecords: [{ Value: "read-eu-west-1.s.cgraph.internal" }],
      });
      expect(set["SetIdentifier"]).toBe(set["Region"]);
    }
    expect(commandsOf(promotion(values([null, "shard1"])), "records")[1]).toContain(
      '"Name":"read-shard1.s.cgraph.internal"',
    );
  });

  it("makes the other replicas anew, those of its own region too, each with its region's key and groups", () => {
    const commands = commandsOf(promotion(values([null], 2)), "replicas");
    const made = commands.filter((text) => text.includes("create-db-instance-read-replica"));
    const deleted = commands.filter((text) => text.includes(" delete-db-instance "));
    const ids = ["ap-southeast-1-pg0", "ap-southeast-1-pg1", "eu-west-1-pg1"].map((name) => `cgraph-s-${name}`);
    const idOf = (text: string): string => /--db-instance-identifier (\S+)/.exec(text)?.[1] ?? "";
    expect(made.map(idOf)).toEqual(ids);
    expect(deleted.map(idOf)).toEqual(ids);
    expect(made[0]).toContain(
      "--region ap-southeast-1 --db-instance-identifier cgraph-s-ap-southeast-1-pg0 --source-region eu-west-1 --source-db-instance-identifier arn:aws:rds:eu-west-1:1:db:cgraph-s-eu-west-1-pg0 --kms-key-id arn:aws:kms:ap-southeast-1:1:key/k --db-subnet-group-name cgraph-s",
    );
    expect(made[0]).toContain("--vpc-security-group-ids sg-ap-southeast-1");
    // Within the region the source is known by its name.
    expect(made[2]).toContain("--source-db-instance-identifier cgraph-s-eu-west-1-pg0 --db-instance-class");
    // The promoted one itself is never touched.
    expect(
      commands.filter((text) => /(modify|delete|reboot)\S* .*identifier cgraph-s-eu-west-1-pg0( |$)/.test(text)),
    ).toEqual([]);
  });

  it("has a way back: home gets its names again, and the state learns which servers bear them", () => {
    const plan = promotion();
    const copy = commandsOf(plan, "back:copy");
    expect(copy[0]).toContain("--db-instance-identifier cgraph-s-pg0 --new-db-instance-identifier cgraph-s-pg0-old");
    expect(copy[2]).toContain(
      "create-db-instance-read-replica --region us-east-1 --db-instance-identifier cgraph-s-pg0 --source-region eu-west-1",
    );
    expect(commandsOf(plan, "back:fence")[0]).toContain(
      "--region eu-west-1 --db-instance-identifier cgraph-s-eu-west-1-pg0 --vpc-security-group-ids sg-fence-eu-west-1",
    );
    expect(commandsOf(plan, "back:promote")[0]).toContain(
      "promote-read-replica --region us-east-1 --db-instance-identifier cgraph-s-pg0 --backup-retention-period 9",
    );
    const last = commandsOf(plan, "back:replicas");
    expect(last[0]).toBe("pulumi stack export --file state.json");
    expect(last[1]).toMatch(
      /^sed -i "s\/\$\(aws rds describe-db-instances .*pg0-old .*\)\/\$\(.*cgraph-s-pg0 .*\)\/g" state.json$/,
    );
    // The old primary is asked for its id before it goes, and leaves a snapshot.
    const gone = last.findIndex((text) => text.includes(" delete-db-instance ") && text.includes("pg0-old"));
    expect(gone).toBeGreaterThan(2);
    expect(last[gone]).toContain("--final-db-snapshot-identifier cgraph-s-pg0-old-final");
    // Replicas at home and elsewhere are gone before the state is compared with what is there.
    const awaited = last.filter((text) => text.includes("wait db-instance-deleted"));
    expect(awaited.map((text) => text.split(" ").at(-1))).toEqual(
      ["pg1", "eu-west-1-pg0", "ap-southeast-1-pg0"].map((name) => `cgraph-s-${name}`),
    );
    expect(last.slice(-2)).toEqual(["pulumi refresh", "./cgraph-db up"]);
    const shards = promotion(values([null, "global", "shard1"]));
    expect(commandsOf(shards, "back:replicas").at(-1)).toBe("./cgraph-db schema apply");
    expect(shards.steps.find(({ id }) => id === "clients")?.does).toContain("They route by themselves");
    expect(last.join("\n")).not.toMatch(/delete-db-instance --region us-east-1 --db-instance-identifier cgraph-s-pg0 /);
  });

  it.each([
    ["home", values(), "us-east-1", "us-east-1 is home"],
    ["a region that is not there", values(), "sa-east-1", "the stack has no region sa-east-1"],
    [
      "any of a stack with one region",
      { ...values(), regions: [], across: null },
      "eu-west-1",
      "has no region eu-west-1",
    ],
    [
      "a region without a replica of every cluster",
      { ...values([null, "shard1"]), regions: [region("eu-west-1", [null])] },
      "eu-west-1",
      "eu-west-1 has no replica of shard1-pg0",
    ],
  ] as const)("is refused for %s", (_, of, to, words) => {
    expect(() => promotion(of, to)).toThrow(words);
  });
});
