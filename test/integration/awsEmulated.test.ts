import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { type Server, createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { run } from "../../scripts/lib/run.ts";
import { writeStackConfig } from "../../scripts/lib/stackConfig.ts";
import { localStateFile } from "../../scripts/lib/stackFiles.ts";
import { cgraph, removeStack, uniqueStack } from "../support/cli.ts";
import { type EmulatedAws, installMoto, noCredentials, startMoto } from "../support/moto.ts";

/** Not us-east-1, in which the AWS CLI asks the real RDS whatever it is told. */
const REGION = "eu-west-1";
const reason = await installMoto();
const stack = uniqueStack();
let emulated: EmulatedAws;

beforeAll(async () => {
  if (reason === undefined) emulated = await startMoto();
});
afterAll(async () => {
  if (reason === undefined) await emulated.stop();
  await removeStack(stack);
});

const cgraphThere = (...args: string[]) => cgraph([...args, "--stack", stack], { env: emulated.env });

/** The AWS CLI's answer. */
async function ask<T>(...args: string[]): Promise<T> {
  const { stdout, stderr, code } = await run("aws", [...args, "--region", REGION, "--output", "json"], {
    env: emulated.env,
  });
  if (code !== 0) throw new Error(`aws ${args.join(" ")}: ${stderr}`);
  return JSON.parse(stdout || "{}") as T;
}

const resourcesOf = (name: string): { type: string }[] => {
  const state = JSON.parse(readFileSync(localStateFile(name), "utf8")) as {
    checkpoint: { latest?: { resources?: { type: string }[] } };
  };
  return state.checkpoint.latest?.resources ?? [];
};

describe.skipIf(reason !== undefined)(`AWS emulated${reason === undefined ? "" : ` (skipped: ${reason})`}`, () => {
  describe("without credentials that AWS takes", () => {
    const other = uniqueStack();
    let expired: Server;
    beforeAll(async () => {
      writeStackConfig(other, { target: "aws", region: REGION });
      expired = createServer((_, response) => {
        response.writeHead(403, { "content-type": "text/xml" });
        response.end(
          "<ErrorResponse><Error><Type>Sender</Type><Code>ExpiredToken</Code><Message>The security token included in the request is expired</Message></Error></ErrorResponse>",
        );
      });
      await new Promise<void>((resolve) => expired.listen(0, "127.0.0.1", resolve));
    });
    afterAll(async () => {
      expired.close();
      rmSync(broken, { recursive: true });
      await removeStack(other);
    });
    // One that is there but does not run hides any that the machine has.
    const broken = mkdtempSync(join(tmpdir(), "cgraph-no-aws-"));
    writeFileSync(join(broken, "aws"), "#!/bin/sh\nexit 127\n", { mode: 0o755 });
    const withoutCli = (env: NodeJS.ProcessEnv): NodeJS.ProcessEnv => ({
      ...env,
      PATH: `${broken}${delimiter}${env["PATH"] ?? ""}`,
    });
    const url = (): string => `http://127.0.0.1:${(expired.address() as AddressInfo).port}`;
    const expiredEnv = (): NodeJS.ProcessEnv => ({
      ...noCredentials(),
      AWS_ACCESS_KEY_ID: "once",
      AWS_SECRET_ACCESS_KEY: "once",
      AWS_SESSION_TOKEN: "once",
      AWS_ENDPOINT_URL: url(),
    });
    it.each([
      ["none, by the AWS CLI", noCredentials, "log in to AWS"],
      ["none, by the plugin alone", () => withoutCli(noCredentials()), "log in to AWS"],
      ["expired, by the AWS CLI", expiredEnv, "have expired"],
      ["expired, by the plugin alone", () => withoutCli(expiredEnv()), "have expired"],
    ])("%s: said before anything is made", async (_, env, words) => {
      const { code, stderr } = await cgraph(["up", "--stack", other, "--yes"], { env: env() });
      expect(stderr).toContain(words);
      expect(stderr).not.toMatch(/\n {4}at /);
      expect(code).toBe(1);
    });
    it("nothing was made", () => {
      const made = resourcesOf(other).filter(({ type }) => !type.startsWith("pulumi:"));
      expect(made).toEqual([]);
    });
  });

  describe("an existing VPC", () => {
    let vpcId: string;
    const subnets: string[] = [];
    beforeAll(async () => {
      const vpc = await ask<{ Vpc: { VpcId: string } }>("ec2", "create-vpc", "--cidr-block", "10.9.0.0/16");
      vpcId = vpc.Vpc.VpcId;
      for (const [zone, cidr] of [
        ["a", "10.9.1.0/24"],
        ["b", "10.9.2.0/24"],
        ["a", "10.9.3.0/24"],
      ] as const) {
        const made = await ask<{ Subnet: { SubnetId: string } }>(
          ...["ec2", "create-subnet", "--vpc-id", vpcId, "--cidr-block", cidr],
          ...["--availability-zone", `${REGION}${zone}`],
        );
        subnets.push(made.Subnet.SubnetId);
      }
    });
    const up = async (ids: readonly string[]): Promise<{ code: number; stderr: string }> => {
      const name = uniqueStack();
      writeStackConfig(name, { target: "aws", region: REGION, vpcId, subnetIds: JSON.stringify(ids) });
      try {
        // Nobody answers the question: what is well so far ends there.
        return await cgraph(["up", "--stack", name], { env: emulated.env });
      } finally {
        await removeStack(name);
      }
    };
    it("whose subnets are in one zone is refused", async () => {
      const { code, stderr } = await up([subnets[0] ?? "", subnets[2] ?? ""]);
      expect(code).toBe(1);
      expect(stderr).toContain("are all in one zone");
    });
    it("with private subnets in two zones is taken", async () => {
      const { code, stderr } = await up(subnets.slice(0, 2));
      expect(stderr).toContain("there is no terminal to answer at");
      expect(code).toBe(3);
    });
    it("with a way to the internet is refused", async () => {
      const gateway = await ask<{ InternetGateway: { InternetGatewayId: string } }>("ec2", "create-internet-gateway");
      const { InternetGatewayId: id } = gateway.InternetGateway;
      await ask("ec2", "attach-internet-gateway", "--vpc-id", vpcId, "--internet-gateway-id", id);
      const tables = await ask<{ RouteTables: { RouteTableId: string }[] }>(
        ...["ec2", "describe-route-tables", "--filters", `Name=vpc-id,Values=${vpcId}`],
      );
      await ask(
        ...["ec2", "create-route", "--route-table-id", tables.RouteTables[0]?.RouteTableId ?? ""],
        ...["--destination-cidr-block", "0.0.0.0/0", "--gateway-id", id],
      );
      const { code, stderr } = await up(subnets.slice(0, 2));
      expect(code).toBe(1);
      expect(stderr).toContain("is public");
    });
  });

  describe("stage 1", () => {
    // The plugin waits a minute before it asks how an instance is, and longer each time.
    const PATIENCE_MS = 600_000;
    it("comes up by the real plugin", { timeout: PATIENCE_MS }, async () => {
      writeStackConfig(stack, { target: "aws", region: REGION });
      const { code, stdout, stderr } = await cgraphThere("up", "--yes");
      // The emulator's database is none: its roles cannot be made, which is said.
      expect(stdout, stderr).toContain(`Stage 1 is up in ${REGION}`);
      expect(stdout).toContain("the application's roles are not made");
      expect(code).toBe(1);
    });

    it("is what was planned: encrypted, private, protected, tagged", async () => {
      const { DBInstances: instances } = await ask<{ DBInstances: Record<string, unknown>[] }>(
        "rds",
        "describe-db-instances",
      );
      expect(instances).toHaveLength(1);
      expect(instances[0]).toMatchObject({
        DBInstanceIdentifier: `cgraph-${stack}-pg0`,
        DBInstanceClass: "db.t4g.medium",
        AllocatedStorage: 50,
        StorageType: "gp3",
        StorageEncrypted: true,
        PubliclyAccessible: false,
        DeletionProtection: true,
        BackupRetentionPeriod: 7,
        IAMDatabaseAuthenticationEnabled: true,
        DBName: "cgraph_production",
        TagList: expect.arrayContaining([{ Key: "cgraph:stack", Value: stack }]) as unknown,
      });
      const { Subnets: subnets } = await ask<{ Subnets: { MapPublicIpOnLaunch: boolean; AvailabilityZone: string }[] }>(
        ...["ec2", "describe-subnets", "--filters", `Name=tag:cgraph:stack,Values=${stack}`],
      );
      expect(subnets.map(({ AvailabilityZone }) => AvailabilityZone).sort()).toEqual(
        ["a", "b", "c"].map((zone) => `${REGION}${zone}`),
      );
      expect(subnets.some(({ MapPublicIpOnLaunch }) => MapPublicIpOnLaunch)).toBe(false);
      expect(emulated.cloudWatch.alarms.size).toBe(16);
      expect([...emulated.cloudWatch.dashboards.keys()]).toEqual([`cgraph-${stack}`]);
    });

    it("has the check as a function that runs every minute", async () => {
      const found = await ask<{ Configuration: Record<string, unknown> }>(
        ...["lambda", "get-function", "--function-name", `cgraph-${stack}-check`],
      );
      expect(found.Configuration).toMatchObject({ Handler: "handler.handler", Runtime: "nodejs22.x" });
      const rules = await ask<{ Rules: { ScheduleExpression: string }[] }>("events", "list-rules");
      expect(rules.Rules.map(({ ScheduleExpression }) => ScheduleExpression)).toEqual(["rate(1 minute)"]);
    });

    it("shows no change afterwards, but for what the emulator forgets", async () => {
      const { stdout } = await cgraphThere("preview", "--json");
      const { changes, verdict } = JSON.parse(stdout) as {
        changes: { urn: string; properties: { path: string }[] }[];
        verdict: string;
      };
      const paths = changes.flatMap(({ properties }) => properties.map(({ path }) => path.replace(/[[.].*/, "")));
      const forgotten = [
        // Of an instance: Performance Insights. Of a function: where it logs. Of a template: tags of its own, twice.
        ...["databaseInsightsMode", "performanceInsightsEnabled", "performanceInsightsKmsKeyId"],
        ...["performanceInsightsRetentionPeriod", "loggingConfig"],
        ...["defaultVersion", "latestVersion", "tagSpecifications"],
      ];
      expect(paths.filter((path) => !forgotten.includes(path))).toEqual([]);
      expect(verdict).not.toBe("unsafe");
    });

    it("tells its state, and where the application reaches it", async () => {
      const { stdout, code } = await cgraphThere("status", "--json");
      expect(code).toBe(0);
      expect(JSON.parse(stdout)).toMatchObject({
        target: "aws",
        region: REGION,
        nodes: [{ name: "pg0", role: "primary", state: "available", instanceClass: "db.t4g.medium" }],
        alarms: [],
      });
    });

    it("stays where it is, whatever the configuration says", async () => {
      for (const [change, words] of [
        [{ target: "docker" }, "is on aws; its configuration says cgraph:target is docker"],
        [{ region: "eu-west-2" }, "is on eu-west-1; its configuration says cgraph:region is eu-west-2"],
      ] as const) {
        writeStackConfig(stack, change);
        const { code, stderr } = await cgraphThere("preview");
        expect(stderr).toContain(words);
        expect(code).toBe(3);
        writeStackConfig(stack, { target: "aws", region: REGION });
      }
    });

    it("is rebooted when asked", async () => {
      const { code, stdout, stderr } = await cgraphThere("restart", "--rolling", "--json");
      expect(code, stderr).toBe(0);
      expect(JSON.parse(stdout)).toMatchObject({ restarted: ["pg0"] });
    });

    it("goes down without its data", async () => {
      const { code, stdout, stderr } = await cgraphThere("down");
      expect(code, stderr).toBe(0);
      expect(stdout).toContain("Kept, running and paid for");
      const { DBInstances: instances } = await ask<{ DBInstances: unknown[] }>("rds", "describe-db-instances");
      expect(instances).toHaveLength(1);
    });

    it("and with it, when told to by name: a final snapshot stays", { timeout: PATIENCE_MS }, async () => {
      const refused = await cgraphThere("down", "--delete-data");
      expect(refused.code).toBe(3);
      const { code, stderr } = await cgraphThere("down", "--delete-data", "--yes");
      expect(code, stderr).toBe(0);
      const { DBInstances: instances } = await ask<{ DBInstances: unknown[] }>("rds", "describe-db-instances");
      expect(instances).toEqual([]);
      const { DBSnapshots: snapshots } = await ask<{ DBSnapshots: { DBSnapshotIdentifier: string }[] }>(
        ...["rds", "describe-db-snapshots", "--snapshot-type", "manual"],
      );
      expect(snapshots.map(({ DBSnapshotIdentifier: name }) => name)).toEqual([`cgraph-${stack}-pg0-final`]);
      expect(emulated.cloudWatch.alarms.size).toBe(0);
    });
  });
});
