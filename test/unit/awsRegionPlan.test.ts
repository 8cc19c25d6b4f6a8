import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { awsName } from "../../components/aws/names.ts";
import { alarmCount } from "../../stacks/aws/alarms.ts";
import { checkNoOverlap, cidrBeside } from "../../stacks/aws/cidr.ts";
import { REGIONS } from "../../stacks/aws/config.ts";
import { costOf, totalCost } from "../../stacks/aws/cost.ts";
import { type AwsPlan, planAws } from "../../stacks/aws/plan.ts";
import { homeReadWatches, regionAlarmCount, regionWatches } from "../../stacks/aws/regionAlarms.ts";
import { regionCidr } from "../../stacks/aws/regions.ts";
import { zonesOf } from "../../stacks/aws/zones.ts";
import { type StackConfig, readConfig } from "../../stacks/config.ts";
import { UserError } from "../../tuning/errors.ts";

const config = (values: Record<string, string>): StackConfig => readConfig((key) => values[key]);
const THREE = '["us-east-1", "eu-west-1", "ap-southeast-1"]';
const plan = (values: Record<string, string>): AwsPlan => planAws(config({ target: "aws", stage: "3", ...values }));

describe("the regions of a stack", () => {
  it("are one where nothing is said, at every stage", () => {
    for (const stage of ["1", "2", "3", "4"]) {
      expect(config({ stage }).regions).toEqual({
        ...{ all: ["us-east-1"], others: [], primary: "us-east-1", replicas: 1 },
      });
      expect(config({ stage, target: "aws", region: "eu-west-1" }).regions).toMatchObject({
        all: ["eu-west-1"],
        others: [],
      });
    }
  });

  it("begin with home: where cgraph:region is not given, the first is", () => {
    const { regions, aws } = config({ target: "aws", stage: "2", regions: '["eu-west-1", "us-east-1"]' });
    expect(regions).toMatchObject({ all: ["eu-west-1", "us-east-1"], others: ["us-east-1"], primary: "eu-west-1" });
    expect(aws.region).toBe("eu-west-1");
    expect(config({ target: "aws", stage: "2", region: "us-east-1", regions: THREE }).aws.region).toBe("us-east-1");
  });

  it("are called as one likes in Docker", () => {
    expect(config({ stage: "2", regions: '["home", "far-away"]', regionReplicas: "2" }).regions).toMatchObject({
      all: ["home", "far-away"],
      others: ["far-away"],
      replicas: 2,
    });
    // AWS's region is of no meaning there.
    expect(config({ stage: "2", region: "eu-west-1", regions: '["home", "far"]' }).regions.all[0]).toBe("home");
  });

  it.each([
    ["a region twice", { regions: '["us-east-1", "us-east-1"]' }, "names us-east-1 twice"],
    ["what is no list", { regions: '"us-east-1"' }, "a list of 1 to 7 regions"],
    ["what is no JSON", { regions: "us-east-1,eu-west-1" }, "which is not JSON"],
    ["an empty list", { regions: "[]" }, "a list of 1 to 7 regions"],
    ["a list of other things", { regions: "[1, 2]" }, "a list of 1 to 7 regions"],
    ["a name that no region of AWS's has", { regions: '["us-east-1", "europe"]' }, "a list of 1 to 7 regions"],
    ["a region that RDS does not have", { regions: '["us-east-1", "eu-middle-1"]' }, 'cgraph:regions is "eu-middle-1"'],
    ["a home that RDS does not have", { regions: '["eu-middle-1"]' }, 'cgraph:regions is "eu-middle-1"'],
    [
      "another home than cgraph:region",
      { region: "eu-west-1", regions: THREE },
      "begins with us-east-1, but cgraph:region is eu-west-1",
    ],
    ["several at stage 1", { stage: "1", regions: THREE }, "stage 1 is a single server"],
    ["a primary elsewhere", { regions: THREE, primaryRegion: "eu-west-1" }, "on AWS the primary's region is home"],
    ["no replica in a region", { regions: THREE, regionReplicas: "0" }, "a whole number from 1 to 5"],
    ["more than AWS makes of one", { regions: THREE, replicas: "6", regionReplicas: "5" }, "RDS makes 15 of one"],
  ])("on AWS are not %s", (_, values, words) => {
    expect(() => plan(values)).toThrow(words);
    expect(() => plan(values)).toThrow(UserError);
  });
});

describe("addresses of a region's VPC", () => {
  it("are beside home's, as many, and the same whichever other regions there are", () => {
    const cidrs = (regions: string): Record<string, string> =>
      Object.fromEntries(plan({ regions }).regions.map(({ name, cidr }) => [name, cidr]));
    const all = cidrs(THREE);
    expect(cidrs('["us-east-1", "ap-southeast-1"]')["ap-southeast-1"]).toBe(all["ap-southeast-1"]);
    expect(cidrs('["us-east-1", "ap-southeast-1", "eu-west-1"]')).toEqual(all);
    for (const cidr of Object.values(all)) expect(cidr).toMatch(/^10\.\d+\.0\.0\/16$/);
  });

  it("overlap with nobody's, for any home and any regions", () => {
    const home = fc.integer({ min: 0, max: 255 }).map((part) => `10.${part}.0.0/16`);
    fc.assert(
      fc.property(home, fc.uniqueArray(fc.constantFrom(...REGIONS), { maxLength: 31 }), (vpcCidr, regions) => {
        const all = [vpcCidr, ...regions.map((region) => regionCidr(vpcCidr, region))];
        expect(() => checkNoOverlap(all)).not.toThrow();
        for (const cidr of all) expect(cidr).toMatch(/^10\.\d+\.0\.0\/16$/);
      }),
    );
  });

  it("follow the end of a private range with its beginning, and lie in no other", () => {
    expect(cidrBeside("10.255.0.0/16", 1)).toBe("10.0.0.0/16");
    expect(cidrBeside("172.31.0.0/16", 2)).toBe("172.17.0.0/16");
    expect(cidrBeside("192.168.255.0/24", 1)).toBe("192.168.0.0/24");
    expect(() => cidrBeside("100.64.0.0/16", 1)).toThrow("in none of the private ranges");
  });

  it("are refused where applications' overlap with them, or the private range is too small for all", () => {
    const [region] = plan({ regions: THREE }).regions;
    expect(() => plan({ regions: THREE, clientCidrs: JSON.stringify([region?.cidr]) })).toThrow("overlap");
    expect(() => plan({ regions: THREE, vpcCidr: "192.168.0.0/16" })).toThrow("overlap");
    // An existing VPC's addresses are its owner's to know.
    const existing = { vpcId: "vpc-0a1b", subnetIds: '["subnet-0a", "subnet-0b"]', regions: THREE };
    expect(plan(existing).notes.join()).toContain("vpc-0a1b is yours, so nothing is peered with it");
  });

  it("are cut into the zones that the region has", () => {
    expect(zonesOf("eu-west-1", 3)).toEqual(["eu-west-1a", "eu-west-1b", "eu-west-1c"]);
    expect(zonesOf("ca-central-1", 3)).toEqual(["ca-central-1a", "ca-central-1b", "ca-central-1d"]);
    expect(zonesOf("ap-northeast-1", 3)).toEqual(["ap-northeast-1a", "ap-northeast-1c", "ap-northeast-1d"]);
  });
});

describe("a plan with several regions", () => {
  it("has home as it is without them", () => {
    const [alone, several] = [plan({}), plan({ regions: THREE })];
    expect(several.nodes).toEqual(alone.nodes);
    expect(alarmCount(several)).toBe(alarmCount(alone));
    expect(alone.regions).toEqual([]);
    expect(alone.notes.join()).not.toContain("region");
  });

  it("has replicas of every cluster in each, like the primary's at home but without a standby", () => {
    const [eu, asia] = plan({ regions: THREE, regionReplicas: "2" }).regions;
    expect(eu?.nodes.map(({ name, zone }) => [name, zone])).toEqual([
      ["eu-west-1-pg0", 0],
      ["eu-west-1-pg1", 1],
    ]);
    const [primary] = plan({}).nodes;
    for (const node of [...(eu?.nodes ?? []), ...(asia?.nodes ?? [])]) {
      expect(node).toMatchObject({ role: "replica", multiAz: false, cluster: null });
      expect(node.class).toEqual(primary?.class);
      expect(node.parameters).toEqual(primary?.parameters);
      expect([node.storageGiB, node.maxStorageGiB]).toEqual([primary?.storageGiB, primary?.maxStorageGiB]);
    }
    const sharded = plan({ stage: "4", regions: '["us-east-1", "eu-west-1"]' });
    expect(sharded.regions[0]?.nodes.map(({ name, storageGiB }) => [name, storageGiB])).toEqual([
      ["eu-west-1-pg0", 4000],
      ["eu-west-1-global-pg0", 400],
      ["eu-west-1-shard1-pg0", 4000],
      ["eu-west-1-shard2-pg0", 4000],
      ["eu-west-1-shard3-pg0", 4000],
    ]);
  });

  it("has names that RDS takes, with the longest name of a stack and more than a hundred shards", () => {
    const sharded = { stage: "4", shards: "101", buckets: "256" };
    const [asia] = plan({ ...sharded, regions: '["us-east-1", "ap-northeast-1"]' }).regions;
    const longest = Math.max(...(asia?.nodes ?? []).map(({ name }) => awsName("a".repeat(27), name).length));
    expect(longest).toBeLessThanOrEqual(63);
  });

  it("says what a person should know", () => {
    const notes = plan({ regions: THREE }).notes.join("\n");
    expect(notes).toContain(
      "every region's prices are counted as us-east-1's, and what crosses regions is not counted",
    );
    expect(notes).toContain("all that is written, 2 times");
    expect(notes).toContain("a promotion of a region makes the other regions' replicas anew");
    expect(notes).not.toContain("AWS promises");
    expect(plan({ regions: THREE, regionReplicas: "3" }).notes.join("\n")).toContain(
      "AWS promises 5 replicas of a server in other regions; the primary would have 6",
    );
  });

  it("costs its servers, keys, alarms, and what leads reads to the nearest", () => {
    const lines = costOf(plan({ regions: THREE }));
    const of = (part: string): number[] =>
      lines.filter((line) => line.part === part).map(({ usdPerMonth }) => usdPerMonth);
    // db.m7g.2xlarge at $0.674 an hour, 2000 GiB at $0.115.
    expect(of("eu-west-1-pg0")).toEqual([0.674 * 730, 2000 * 0.115]);
    expect(of("ap-southeast-1-pg0")).toEqual(of("eu-west-1-pg0"));
    // A key, and eight alarms.
    expect(of("eu-west-1")[0]).toBeCloseTo(1 + 0.8, 5);
    // A zone; checks of three replicas at home, of home, and of one replica each elsewhere; alarms at home.
    expect(of("reads")[0]).toBeCloseTo(0.5 + 6 * 0.5 + 3 * 0.1, 5);
    const alone = costOf(plan({}));
    expect(lines.filter(({ part }) => alone.some((line) => line.part === part))).toEqual(alone);
    expect(totalCost(lines)).toBeGreaterThan(totalCost(alone) + 2 * (0.674 * 730 + 230));
  });
});

describe("alarms of several regions", () => {
  const { regions, nodes } = plan({ regions: THREE });
  const [eu] = regions;
  if (!eu) throw new Error("no region");

  it("watch each replica's lag, CPU, disk and connections, as at home where home has the same", () => {
    const watches = regionWatches(eu, (server) => `cgraph-x-${server}`);
    expect(watches.map(({ name }) => name).sort()).toEqual(
      ["behind", "connections", "cpu", "disk"].map((what) => `eu-west-1-pg0-${what}`),
    );
    for (const { of } of watches) {
      expect(of).toMatchObject({
        namespace: "AWS/RDS",
        dimensions: { DBInstanceIdentifier: "cgraph-x-eu-west-1-pg0" },
      });
    }
    expect(regionAlarmCount(eu)).toBe(8);
  });

  it("take only figures that Route 53 can go by: one of AWS's own, no formula; and missing ones as bad", () => {
    const reads = [
      ...regionWatches(eu, (server) => server).filter(({ name }) => name.endsWith("-behind")),
      ...homeReadWatches({ nodes }, (server) => server),
    ];
    expect(reads.map(({ name }) => name)).toEqual(["eu-west-1-pg0-behind", "pg1-behind", "pg2-behind", "pg3-behind"]);
    for (const { of, missing, warning } of reads) {
      expect(of).toMatchObject({ metric: "ReplicaLag", statistic: "Average" });
      expect(missing).toBe("bad");
      // An idle primary lets it rise to five minutes.
      expect(warning).toBeGreaterThan(300);
    }
  });
});
