import * as cloudwatch from "@pulumi/aws/cloudwatch/index.js";
import * as rds from "@pulumi/aws/rds/index.js";
import type * as pulumi from "@pulumi/pulumi";
import type { AwsNode } from "../../stacks/aws/plan.ts";
import type { PostgresMajor } from "../../tuning/hardware.ts";
import { DATABASE } from "../roles.ts";
import type { AwsSite } from "./AwsSite.ts";
import { ADMINISTRATOR, awsName, serverLog } from "./names.ts";

/** Where in its region an instance is, and who may do what with it. */
export interface InstancePlace {
  readonly subnetGroupName: pulumi.Output<string>;
  readonly securityGroupId: pulumi.Output<string>;
  readonly monitoringRoleArn: pulumi.Output<string>;
}

export interface RdsArgs {
  readonly site: AwsSite;
  readonly place: InstancePlace;
  readonly node: AwsNode;
  readonly postgresVersion: PostgresMajor;
  /** What restarts the server is done at once; otherwise in its maintenance window. */
  readonly applyImmediately: boolean;
}

export interface RdsPrimaryArgs extends RdsArgs {
  readonly target: "aws";
  /** Secret. */
  readonly administratorPassword: pulumi.Output<string>;
  /** Days; the guide's 7. */
  readonly backupRetentionDays: number;
}

export interface RdsReplicaArgs extends RdsArgs {
  readonly source: RdsServer;
  /** Whether the source is in another region; default false. */
  readonly acrossRegions?: boolean;
}

/** Where one RDS instance is. */
export interface RdsServer {
  readonly name: string;
  readonly identifier: pulumi.Output<string>;
  /** DNS name, without port. */
  readonly address: pulumi.Output<string>;
  readonly instance: rds.Instance;
  readonly logGroupName: pulumi.Output<string>;
}

/** Its parameters. The family follows the version, and AWS wants a new group for it: the old one goes when it is free. */
function parameterGroup({ site, node, postgresVersion }: RdsArgs, parent: pulumi.Resource): rds.ParameterGroup {
  return new rds.ParameterGroup(
    `${node.name}-parameters`,
    {
      family: `postgres${postgresVersion}`,
      description: `Settings of ${awsName(site.stack, node.name)}`,
      parameters: node.parameters.map(({ name, value, applyMethod }) => ({ name, value, applyMethod })),
    },
    { parent },
  );
}

const LOG_DAYS = 30;

/** What primaries and replicas have in common. */
function common(args: RdsArgs, parent: pulumi.Resource) {
  const { site, place, node } = args;
  return {
    identifier: awsName(site.stack, node.name),
    instanceClass: node.class.name,
    maxAllocatedStorage: node.maxStorageGiB,
    storageType: "gp3",
    ...(node.storageIops === undefined ? {} : { iops: node.storageIops }),
    ...(node.storageThroughputMiBs === undefined ? {} : { storageThroughput: node.storageThroughputMiBs }),
    storageEncrypted: true,
    kmsKeyId: site.keyArn,
    vpcSecurityGroupIds: [place.securityGroupId],
    publiclyAccessible: false,
    multiAz: node.multiAz,
    parameterGroupName: parameterGroup(args, parent).name,
    iamDatabaseAuthenticationEnabled: true,
    // What became of Performance Insights: this mode costs nothing and keeps a week.
    databaseInsightsMode: "standard",
    performanceInsightsEnabled: true,
    performanceInsightsKmsKeyId: site.keyArn,
    performanceInsightsRetentionPeriod: 7,
    monitoringInterval: 60,
    monitoringRoleArn: place.monitoringRoleArn,
    enabledCloudwatchLogsExports: ["postgresql", "upgrade"],
    // Upgrades are ours to order: replicas first.
    autoMinorVersionUpgrade: false,
    maintenanceWindow: "sun:04:30-sun:05:30",
    applyImmediately: args.applyImmediately,
    deletionProtection: site.kept.protect === true,
    copyTagsToSnapshot: true,
    caCertIdentifier: "rds-ca-rsa2048-g1",
  } satisfies Partial<rds.InstanceArgs>;
}

/** The log that the server is going to write: ours before RDS makes it, so that it does not grow for ever. */
function log({ site, node }: RdsArgs, parent: pulumi.Resource): cloudwatch.LogGroup {
  return new cloudwatch.LogGroup(
    `${node.name}-log`,
    { name: serverLog(awsName(site.stack, node.name)), retentionInDays: LOG_DAYS },
    { parent },
  );
}

const describe = (name: string, instance: rds.Instance, logs: cloudwatch.LogGroup): RdsServer => ({
  name,
  identifier: instance.identifier,
  address: instance.address,
  instance,
  logGroupName: logs.name,
});

/** The RDS instance that takes writes at first. */
export function rdsPrimary(args: RdsPrimaryArgs, parent: pulumi.Resource): RdsServer {
  const { site, place, node } = args;
  const logs = log(args, parent);
  const instance = new rds.Instance(
    node.name,
    {
      ...common(args, parent),
      engine: "postgres",
      // A prefix: AWS's default minor version at creation, and none is changed behind our back.
      engineVersion: String(args.postgresVersion),
      allocatedStorage: node.storageGiB,
      dbSubnetGroupName: place.subnetGroupName,
      dbName: DATABASE,
      username: ADMINISTRATOR,
      password: args.administratorPassword,
      backupRetentionPeriod: args.backupRetentionDays,
      backupWindow: "03:00-04:00",
      deleteAutomatedBackups: false,
      skipFinalSnapshot: false,
      finalSnapshotIdentifier: `${awsName(site.stack, node.name)}-final`,
    },
    { parent, dependsOn: [logs], ...site.kept },
  );
  return describe(node.name, instance, logs);
}

/** A replica: it takes user, password, database and backups from its source. */
export function rdsReplica(args: RdsReplicaArgs, parent: pulumi.Resource): RdsServer {
  const { site, place, node, source, acrossRegions = false } = args;
  const zone = site.network.zones?.[node.zone];
  const logs = log(args, parent);
  const instance = new rds.Instance(
    node.name,
    {
      ...common(args, parent),
      // Another region knows the source by its ARN only, and nothing of its subnets; within one AWS takes the source's.
      ...(acrossRegions
        ? { replicateSourceDb: source.instance.arn, dbSubnetGroupName: place.subnetGroupName }
        : { replicateSourceDb: source.identifier }),
      ...(zone === undefined ? {} : { availabilityZone: zone }),
      // AWS takes none of a replica.
      skipFinalSnapshot: true,
    },
    { parent, dependsOn: [logs], ...site.kept },
  );
  return describe(node.name, instance, logs);
}
