import * as iam from "@pulumi/aws/iam/index.js";
import * as rds from "@pulumi/aws/rds/index.js";
import * as secretsmanager from "@pulumi/aws/secretsmanager/index.js";
import * as pulumi from "@pulumi/pulumi";
import type { AwsProxy } from "../stacks/aws/plan.ts";
import type { AwsSite } from "./aws/AwsSite.ts";
import { POOLED } from "./aws/pgbouncerService.ts";
import { NO_RECOVERY_DAYS, awsName } from "./aws/names.ts";
import { assumedBy, readSecrets } from "./aws/policies.ts";
import type { RdsServer } from "./aws/rdsInstance.ts";
import type { Credentials } from "./Credentials.ts";

export interface RdsProxyArgs {
  readonly site: AwsSite;
  readonly proxy: AwsProxy;
  readonly credentials: Credentials;
  readonly primary: RdsServer;
}

/** Seconds that a client waits for a server connection. */
const BORROW_SECONDS = 60;
const IDLE_CLIENT_SECONDS = 1800;

/**
 * AWS's own pool in front of the primary, in place of PgBouncer. It has no port for reads, and gives a client that uses
 * prepared statements or session settings a server connection of its own ("pinning").
 */
export class RdsProxy extends pulumi.ComponentResource {
  /** DNS name, port 5432. Its certificate is by a public authority. */
  readonly address: pulumi.Output<string>;
  /** Who may connect. */
  readonly securityGroupId: pulumi.Output<string>;

  constructor(name: string, args: RdsProxyArgs, opts?: pulumi.ComponentResourceOptions) {
    super("cgraph:pool:RdsProxy", name, {}, opts);
    const { site, proxy, credentials, primary } = args;
    const child = { parent: this };
    const logins = POOLED.flatMap((role) => credentials.loginsOf(role));
    const secrets = logins.map((login) => {
      const secret = new secretsmanager.Secret(
        `proxy-${login.name}`,
        {
          name: awsName(site.stack, "proxy", login.name),
          description: `RDS Proxy as ${login.name}`,
          kmsKeyId: site.keyArn,
          recoveryWindowInDays: NO_RECOVERY_DAYS,
        },
        child,
      );
      new secretsmanager.SecretVersion(
        `proxy-${login.name}`,
        {
          secretId: secret.id,
          secretString: login.password.apply((password) => JSON.stringify({ username: login.name, password })),
        },
        child,
      );
      return secret;
    });
    const arns = secrets.map(({ arn }) => arn);
    const role = new iam.Role("proxy", { assumeRolePolicy: assumedBy("rds.amazonaws.com") }, child);
    new iam.RolePolicy(
      "proxy-secrets",
      {
        role: role.name,
        policy: pulumi
          .all([pulumi.all(arns), site.keyArn])
          .apply(([secretArns, keyArn]) => readSecrets(secretArns, keyArn)),
      },
      child,
    );
    const group = site.network.serviceGroup("proxy", "RDS Proxy", 5432);
    const made = new rds.Proxy(
      "proxy",
      {
        name: awsName(site.stack, "proxy"),
        engineFamily: "POSTGRESQL",
        requireTls: true,
        idleClientTimeout: IDLE_CLIENT_SECONDS,
        roleArn: role.arn,
        vpcSubnetIds: [...site.network.subnetIds],
        // The second lets it to the database.
        vpcSecurityGroupIds: [group.id, site.network.clientGroupId],
        auths: arns.map((secretArn) => ({
          authScheme: "SECRETS",
          iamAuth: "DISABLED",
          clientPasswordAuthType: "POSTGRES_SCRAM_SHA_256",
          secretArn,
        })),
      },
      child,
    );
    const targets = new rds.ProxyDefaultTargetGroup(
      "proxy",
      {
        dbProxyName: made.name,
        connectionPoolConfig: {
          maxConnectionsPercent: proxy.maxConnectionsPercent,
          connectionBorrowTimeout: BORROW_SECONDS,
        },
      },
      child,
    );
    new rds.ProxyTarget(
      "proxy",
      { dbProxyName: made.name, targetGroupName: targets.name, dbInstanceIdentifier: primary.identifier },
      child,
    );
    this.address = made.endpoint;
    this.securityGroupId = group.id;
    this.registerOutputs({ address: this.address });
  }
}
