import * as iam from "@pulumi/aws/iam/index.js";
import * as rds from "@pulumi/aws/rds/index.js";
import * as secretsmanager from "@pulumi/aws/secretsmanager/index.js";
import * as pulumi from "@pulumi/pulumi";
import type { AwsSite } from "./AwsSite.ts";
import { ADMINISTRATOR, POSTGRES_PORT, awsName } from "./names.ts";
import { assumedBy } from "./policies.ts";

export interface DatabasePlaceArgs {
  readonly site: AwsSite;
  /** Secret. */
  readonly administratorPassword: pulumi.Output<string>;
  /**
   * Whether servers reach each other: shards follow the global database, whose router database asks all of them. Replicas
   * need no rule, RDS connects them itself.
   */
  readonly serversMeet: boolean;
}

/** What a stack's RDS instances in one region share: subnets, who may connect, the role of their monitoring, the secret. */
export class DatabasePlace extends pulumi.ComponentResource {
  readonly subnetGroupName: pulumi.Output<string>;
  readonly securityGroupId: pulumi.Output<string>;
  readonly monitoringRoleArn: pulumi.Output<string>;
  readonly secretArn: pulumi.Output<string>;

  constructor(name: string, args: DatabasePlaceArgs, opts?: pulumi.ComponentResourceOptions) {
    super("cgraph:aws:DatabasePlace", name, {}, opts);
    const { site } = args;
    const child = { parent: this };
    const subnets = new rds.SubnetGroup(
      "database",
      {
        name: awsName(site.stack),
        description: `Private subnets of stack ${site.stack}`,
        subnetIds: [...site.network.subnetIds],
      },
      child,
    );
    const group = site.network.serviceGroup("database", "PostgreSQL", POSTGRES_PORT);
    if (args.serversMeet) site.network.letInEachOther("database", group, POSTGRES_PORT);
    const role = new iam.Role(
      "database-monitoring",
      {
        assumeRolePolicy: assumedBy("monitoring.rds.amazonaws.com"),
      },
      child,
    );
    new iam.RolePolicyAttachment(
      "database-monitoring",
      { role: role.name, policyArn: "arn:aws:iam::aws:policy/service-role/AmazonRDSEnhancedMonitoringRole" },
      child,
    );
    const secret = new secretsmanager.Secret(
      "administrator",
      {
        name: awsName(site.stack, "administrator"),
        description: "The administrator of CGraph's database",
        kmsKeyId: site.keyArn,
        recoveryWindowInDays: 30,
      },
      { ...child, ...site.kept },
    );
    new secretsmanager.SecretVersion(
      "administrator",
      {
        secretId: secret.id,
        secretString: args.administratorPassword.apply((password) =>
          JSON.stringify({ username: ADMINISTRATOR, password }),
        ),
      },
      child,
    );
    this.subnetGroupName = subnets.name;
    this.securityGroupId = group.id;
    this.monitoringRoleArn = role.arn;
    this.secretArn = secret.arn;
    this.registerOutputs({ securityGroupId: this.securityGroupId, secretArn: this.secretArn });
  }
}
