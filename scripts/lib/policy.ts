/** Rules that whatever we plan on AWS must keep, whoever changed the components: checked on the plan, before anything is made. */

/** A planned resource, as Pulumi's events tell it. */
export interface Planned {
  readonly urn: string;
  readonly type: string;
  readonly inputs: Readonly<Record<string, unknown>>;
  readonly protect: boolean;
}

export interface Violation {
  readonly urn: string;
  readonly rule: string;
}

interface Rule {
  readonly type: string;
  readonly rule: string;
  readonly broken: (resource: Planned) => boolean;
}

const isReplica = ({ inputs }: Planned): boolean => inputs["replicateSourceDb"] !== undefined;
const isEverywhere = (cidr: unknown): boolean => cidr === "0.0.0.0/0" || cidr === "::/0";

/** Some properties come as text: AWS has a third value for them, which is none at all. */
const isOn = (value: unknown): boolean => value === true || value === "true";

interface Parameter {
  readonly name: string;
  readonly value: string;
}

const RULES: readonly Rule[] = [
  {
    type: "aws:rds/instance:Instance",
    rule: "a database is not public",
    broken: ({ inputs }) => inputs["publiclyAccessible"] === true,
  },
  {
    type: "aws:rds/instance:Instance",
    rule: "a database is encrypted with a key of ours",
    broken: ({ inputs }) => inputs["storageEncrypted"] !== true || inputs["kmsKeyId"] === undefined,
  },
  {
    type: "aws:rds/instance:Instance",
    rule: "a database has backups",
    broken: (resource) => !isReplica(resource) && !(Number(resource.inputs["backupRetentionPeriod"]) > 0),
  },
  {
    type: "aws:rds/instance:Instance",
    rule: "a database leaves a final snapshot",
    broken: (resource) => !isReplica(resource) && resource.inputs["skipFinalSnapshot"] !== false,
  },
  {
    type: "aws:rds/instance:Instance",
    rule: "a database is protected from deletion, by AWS and by Pulumi",
    broken: ({ inputs, protect }) => inputs["deletionProtection"] !== true || !protect,
  },
  {
    type: "aws:rds/parameterGroup:ParameterGroup",
    rule: "a database takes TLS only",
    broken: ({ inputs }) =>
      ((inputs["parameters"] ?? []) as Parameter[]).some(
        ({ name, value }) => name === "rds.force_ssl" && value !== "1",
      ),
  },
  {
    type: "aws:elasticache/replicationGroup:ReplicationGroup",
    rule: "a cache is encrypted, where it lies and on its way",
    broken: ({ inputs }) => !isOn(inputs["atRestEncryptionEnabled"]) || !isOn(inputs["transitEncryptionEnabled"]),
  },
  {
    type: "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule",
    rule: "nothing is open to everybody",
    broken: ({ inputs }) => isEverywhere(inputs["cidrIpv4"]) || isEverywhere(inputs["cidrIpv6"]),
  },
  {
    type: "aws:ec2/subnet:Subnet",
    rule: "no subnet gives out public addresses",
    broken: ({ inputs }) => inputs["mapPublicIpOnLaunch"] === true,
  },
  {
    type: "aws:ec2/route:Route",
    rule: "no subnet has a way to everywhere but one that leads out only, and the gateway's of that way",
    broken: ({ urn, inputs }) =>
      (isEverywhere(inputs["destinationCidrBlock"]) || isEverywhere(inputs["destinationIpv6CidrBlock"])) &&
      inputs["natGatewayId"] === undefined &&
      !/::([a-z0-9-]+-)?way-out$/.test(urn),
  },
  {
    type: "aws:ebs/volume:Volume",
    rule: "a volume is encrypted with a key of ours, and protected",
    broken: ({ inputs, protect }) => inputs["encrypted"] !== true || inputs["kmsKeyId"] === undefined || !protect,
  },
  {
    type: "aws:s3/bucket:Bucket",
    rule: "a bucket is protected",
    broken: ({ inputs, protect }) => inputs["forceDestroy"] === true || !protect,
  },
  {
    type: "aws:ec2/instance:Instance",
    rule: "an instance has no public address, no key, and gives credentials to nobody who cannot ask twice",
    broken: ({ inputs }) =>
      inputs["associatePublicIpAddress"] !== false ||
      inputs["keyName"] !== undefined ||
      (inputs["metadataOptions"] as { httpTokens?: unknown } | undefined)?.httpTokens !== "required",
  },
  {
    type: "aws:kms/key:Key",
    rule: "a key is rotated and protected",
    broken: ({ inputs, protect }) => inputs["enableKeyRotation"] !== true || !protect,
  },
  {
    type: "aws:secretsmanager/secret:Secret",
    rule: "a secret is encrypted with a key of ours, and protected unless it is made of others",
    broken: ({ inputs, protect }) =>
      inputs["kmsKeyId"] === undefined || !(protect || inputs["recoveryWindowInDays"] === 0),
  },
  {
    type: "pulumi:providers:aws",
    rule: "everything carries the stack's tags",
    broken: ({ inputs }) => !JSON.stringify(inputs["defaultTags"] ?? "").includes("cgraph:stack"),
  },
];

/** Rules that planned resources break; none where all is well. */
export const violations = (planned: readonly Planned[]): Violation[] =>
  planned.flatMap((resource) =>
    RULES.filter(({ type, broken }) => type === resource.type && broken(resource)).map(({ rule }) => ({
      urn: resource.urn,
      rule,
    })),
  );
