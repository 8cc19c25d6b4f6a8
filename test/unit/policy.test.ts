import { describe, expect, it } from "vitest";
import { type Planned, violations } from "../../scripts/lib/policy.ts";

const planned = (type: string, inputs: Record<string, unknown>, protect = true): Planned => ({
  urn: `urn:pulumi:s::p::${type}::one`,
  type,
  inputs,
  protect,
});

const DATABASE = {
  publiclyAccessible: false,
  storageEncrypted: true,
  kmsKeyId: "key",
  backupRetentionPeriod: 7,
  skipFinalSnapshot: false,
  deletionProtection: true,
};

describe("rules of a plan", () => {
  it("are kept by what we make", () => {
    expect(
      violations([
        planned("aws:rds/instance:Instance", DATABASE),
        planned("aws:rds/instance:Instance", {
          ...DATABASE,
          replicateSourceDb: "one",
          backupRetentionPeriod: undefined,
          skipFinalSnapshot: true,
        }),
        planned("aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule", { cidrIpv4: "10.0.0.0/8" }),
        planned("aws:ec2/route:Route", { destinationCidrBlock: "10.30.0.0/16" }),
      ]),
    ).toEqual([]);
  });

  it.each([
    ["aws:rds/instance:Instance", { ...DATABASE, publiclyAccessible: true }, true, "not public"],
    ["aws:rds/instance:Instance", { ...DATABASE, storageEncrypted: false }, true, "encrypted"],
    ["aws:rds/instance:Instance", { ...DATABASE, kmsKeyId: undefined }, true, "encrypted"],
    ["aws:rds/instance:Instance", { ...DATABASE, backupRetentionPeriod: 0 }, true, "backups"],
    ["aws:rds/instance:Instance", { ...DATABASE, skipFinalSnapshot: true }, true, "final snapshot"],
    ["aws:rds/instance:Instance", { ...DATABASE, deletionProtection: false }, true, "protected"],
    ["aws:rds/instance:Instance", DATABASE, false, "protected"],
    [
      "aws:rds/parameterGroup:ParameterGroup",
      { parameters: [{ name: "rds.force_ssl", value: "0" }] },
      true,
      "takes TLS only",
    ],
    ["aws:elasticache/replicationGroup:ReplicationGroup", { atRestEncryptionEnabled: true }, true, "encrypted"],
    ["aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule", { cidrIpv4: "0.0.0.0/0" }, true, "open to everybody"],
    ["aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule", { cidrIpv6: "::/0" }, true, "open to everybody"],
    ["aws:ec2/subnet:Subnet", { mapPublicIpOnLaunch: true }, true, "public addresses"],
    ["aws:ec2/route:Route", { destinationCidrBlock: "0.0.0.0/0" }, true, "a way to everywhere"],
    ["aws:kms/key:Key", { enableKeyRotation: false }, true, "rotated"],
    ["aws:secretsmanager/secret:Secret", { kmsKeyId: "key" }, false, "protected"],
    ["pulumi:providers:aws", {}, true, "tags"],
  ])("are broken by %s %#", (type, inputs, protect, words) => {
    expect(violations([planned(type, inputs, protect)]).map(({ rule }) => rule)).toEqual([
      expect.stringContaining(words),
    ]);
  });
});
