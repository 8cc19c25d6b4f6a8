import * as cloudwatch from "@pulumi/aws/cloudwatch/index.js";
import * as sns from "@pulumi/aws/sns/index.js";
import * as pulumi from "@pulumi/pulumi";
import type { AwsNode } from "../stacks/aws/plan.ts";
import { ALERTS } from "../stacks/guide.ts";
import type { AwsSite } from "./aws/AwsSite.ts";
import { dashboardBody } from "./aws/dashboard.ts";
import { awsName } from "./aws/names.ts";
import type { RdsServer } from "./aws/rdsInstance.ts";

export interface MonitoringArgs {
  readonly site: AwsSite;
  readonly nodes: readonly AwsNode[];
  readonly servers: readonly RdsServer[];
  /** Who hears of alarms by e-mail. */
  readonly email: string | undefined;
}

const GiB = 1024 ** 3;

/** One figure of a server that CloudWatch watches, with the guide's two thresholds. */
export interface Watch {
  readonly name: string;
  readonly metric: string;
  readonly bad: "above" | "below";
  readonly warning: number;
  readonly critical: number;
}

function threshold(metric: string): { warning: number; critical: number } {
  const found = ALERTS.value.find((one) => one.metric === metric);
  if (!found) throw new Error(`the guide has no threshold for ${metric}`);
  return found;
}

/** What of the guide's table CloudWatch itself knows of a server, in its own units. */
export function watchesOf(node: AwsNode): Watch[] {
  const connections = Number(node.settings["max_connections"]?.value);
  const [use, disk] = [threshold("connection_utilization"), threshold("disk_usage")];
  const free = (percentUsed: number): number => Math.round(((100 - percentUsed) / 100) * node.storageGiB * GiB);
  return [
    {
      name: "connections",
      metric: "DatabaseConnections",
      bad: "above",
      warning: Math.floor((connections * use.warning) / 100),
      critical: Math.floor((connections * use.critical) / 100),
    },
    {
      name: "disk",
      metric: "FreeStorageSpace",
      bad: "below",
      warning: free(disk.warning),
      critical: free(disk.critical),
    },
    { name: "cpu", metric: "CPUUtilization", bad: "above", warning: 80, critical: 95 },
    // Seconds: CloudWatch knows no bytes of lag. At a megabyte of WAL a second these are the guide's 1 MB and 100 MB.
    ...(node.role === "replica"
      ? [{ name: "lag", metric: "ReplicaLag", bad: "above" as const, warning: 1, critical: 100 }]
      : []),
    // A slot that nobody reads keeps WAL until the disk is full; a transaction id that wraps around stops the server.
    { name: "slot", metric: "OldestReplicationSlotLag", bad: "above", warning: GiB, critical: 10 * GiB },
    { name: "xid", metric: "MaximumUsedTransactionIDs", bad: "above", warning: 500e6, critical: 1000e6 },
  ];
}

/** Alarms for every server to one topic, warning and critical, and a dashboard. */
export class Monitoring extends pulumi.ComponentResource {
  readonly topicArn: pulumi.Output<string>;

  constructor(name: string, args: MonitoringArgs, opts?: pulumi.ComponentResourceOptions) {
    super("cgraph:monitoring:Monitoring", name, {}, opts);
    const { site, nodes, servers } = args;
    const child = { parent: this };
    const topic = new sns.Topic(
      "alarms",
      { name: awsName(site.stack, "alarms"), kmsMasterKeyId: "alias/aws/sns" },
      child,
    );
    this.topicArn = topic.arn;
    if (args.email !== undefined) {
      new sns.TopicSubscription("alarms-email", { topic: topic.arn, protocol: "email", endpoint: args.email }, child);
    }
    nodes.forEach((node, index) => {
      const server = servers[index];
      if (!server) throw new Error(`${node.name} has no server`);
      for (const watch of watchesOf(node)) {
        for (const severity of ["warning", "critical"] as const) {
          new cloudwatch.MetricAlarm(
            `${node.name}-${watch.name}-${severity}`,
            {
              name: awsName(site.stack, node.name, watch.name, severity),
              alarmDescription: `${watch.metric} of ${node.name}: ${severity}`,
              namespace: "AWS/RDS",
              metricName: watch.metric,
              dimensions: { DBInstanceIdentifier: server.identifier },
              statistic: "Average",
              period: 60,
              evaluationPeriods: 5,
              comparisonOperator: watch.bad === "above" ? "GreaterThanThreshold" : "LessThanThreshold",
              threshold: watch[severity],
              // A server that says nothing at all is in trouble; one without slots has no lag of theirs to tell.
              treatMissingData:
                watch.name === "slot" ? "notBreaching" : severity === "critical" ? "breaching" : "missing",
              alarmActions: [topic.arn],
              okActions: [topic.arn],
            },
            child,
          );
        }
      }
    });
    new cloudwatch.Dashboard(
      "dashboard",
      {
        dashboardName: awsName(site.stack),
        dashboardBody: pulumi
          .all(servers.map(({ identifier }) => identifier))
          .apply((identifiers) => dashboardBody(site.region, identifiers)),
      },
      child,
    );
    this.registerOutputs({ topicArn: this.topicArn });
  }
}
