import { Provider } from "@pulumi/aws/provider.js";
import * as pulumi from "@pulumi/pulumi";
import { beforeAll, describe, expect, it } from "vitest";
import { backupCopies } from "../../components/aws/backupCopies.ts";
import { awsInstead } from "../../scripts/lib/awsBackups.ts";
import { readConfig } from "../../stacks/config.ts";

interface Made {
  readonly type: string;
  readonly name: string;
  readonly inputs: Readonly<Record<string, unknown>>;
  readonly provider: string | undefined;
}

const made: Made[] = [];
const options = new Map<string, pulumi.CustomResourceOptions>();
const found = (name: string, type: string): Made => {
  const one = made.find((resource) => resource.name === name && resource.type.startsWith(type));
  if (!one) throw new Error(`no ${type} ${name}`);
  return one;
};

beforeAll(async () => {
  await pulumi.runtime.setMocks(
    {
      newResource: ({ type, name, inputs, id, provider }) => {
        made.push({ type, name, inputs: inputs as Made["inputs"], provider });
        // The mocks give an empty id to what is new.
        return { id: id || `${name}-id`, state: { ...(inputs as object), arn: `arn:${name}` } };
      },
      call: ({ inputs }) => inputs as Record<string, unknown>,
    },
    "cgraph",
    "unit",
  );
  await pulumi.runtime.runInPulumiStack(() => {
    pulumi.runtime.registerStackTransformation(({ type, name, opts, props }) => {
      options.set(`${type} ${name}`, opts);
      return { props, opts };
    });
    const provider = new Provider("aws", { region: "us-east-1" });
    const kept = { protect: true, retainOnDelete: true };
    backupCopies({
      site: { stack: "unit", provider, keyArn: pulumi.output("arn:site-key"), kept },
      ...{ region: "eu-west-1", primaryArns: ["arn:pg0"], retentionDays: 7 },
    });
    return Promise.resolve({});
  });
  await pulumi.runtime.disconnect();
}, 120_000);

describe("copies of backups in another region", () => {
  it("are made daily of the server that takes writes, and kept as long as the backups", () => {
    expect(found("backup-plan", "aws:backup").inputs["rules"]).toEqual([
      {
        ruleName: "daily",
        targetVaultName: "cgraph-unit",
        schedule: "cron(0 4 * * ? *)",
        lifecycle: { deleteAfter: 7 },
        copyActions: [{ destinationVaultArn: "arn:backup-copies", lifecycle: { deleteAfter: 7 } }],
      },
    ]);
    expect(found("backup-selection", "aws:backup").inputs).toMatchObject({
      planId: "backup-plan-id",
      resources: ["arn:pg0"],
      iamRoleArn: "arn:backup-role",
    });
  });

  it("lie in that region, encrypted with a key of that region; both are protected and stay", () => {
    const there = found("backup-copies", "aws:backup");
    expect(there.provider).toContain("aws-backup-copies");
    expect(there.inputs["kmsKeyArn"]).toBe("arn:backup-copies-key");
    expect(found("backup-copies-key", "aws:kms").provider).toBe(there.provider);
    expect(found("aws-backup-copies", "pulumi:providers:aws").inputs["region"]).toContain("eu-west-1");
    const here = found("backup-vault", "aws:backup");
    expect(here.provider).not.toBe(there.provider);
    expect(here.inputs["kmsKeyArn"]).toBe("arn:site-key");
    for (const key of [
      "aws:backup/vault:Vault backup-copies",
      "aws:backup/vault:Vault backup-vault",
      "aws:kms/key:Key backup-copies-key",
    ]) {
      expect(options.get(key), key).toMatchObject({ protect: true, retainOnDelete: true });
    }
  });

  it("are refused in the region of the database itself, and where RDS is not", () => {
    for (const backupCopyRegion of ["us-east-1", "moon-1"]) {
      const values: Record<string, string> = { target: "aws", backupCopyRegion };
      expect(() => readConfig((key) => values[key])).toThrow("another region than us-east-1");
    }
  });
});

describe("backups on AWS", () => {
  const primary = { region: "eu-west-1", identifier: "cgraph-production-pg0" };
  it("are AWS's to take and restore: the command to call is told", () => {
    expect(awsInstead("backup", primary)).toMatch(
      /^aws rds create-db-snapshot --region eu-west-1 --db-instance-identifier cgraph-production-pg0 --db-snapshot-identifier cgraph-production-pg0-\d{8}-\d{6}$/,
    );
    expect(awsInstead("backups", primary)).toContain("describe-db-snapshots --region eu-west-1");
    expect(awsInstead("restore", primary, "2026-11-22T15:05:00+01:00")).toBe(
      "aws rds restore-db-instance-to-point-in-time --region eu-west-1 --source-db-instance-identifier cgraph-production-pg0 --target-db-instance-identifier cgraph-production-pg0-restored --restore-time 2026-11-22T14:05:00Z",
    );
    expect(awsInstead("restore", primary, "latest")).toContain("--use-latest-restorable-time");
  });
});
