import * as cloudwatch from "@pulumi/aws/cloudwatch/index.js";
import type * as pulumi from "@pulumi/pulumi";
import { SEVERITIES } from "../../monitoring/alerts/alert.ts";
import { OWN_NAMESPACE, SLOW_BY_SEVERITY, slowMetric, watchesOf } from "../../stacks/aws/alarms.ts";
import type { AwsPlan } from "../../stacks/aws/plan.ts";
import type { AwsSite } from "./AwsSite.ts";
import { dashboardBody } from "./dashboard.ts";
import { databaseCheck } from "./databaseCheck.ts";
import { alarmTopic } from "./alarmTopic.ts";
import { metricAlarm } from "./metricAlarm.ts";
import { awsName } from "./names.ts";
import type { RdsServer } from "./rdsInstance.ts";
import { slowStatements } from "./slowStatements.ts";

export interface CloudWatchArgs {
  readonly target: "aws";
  readonly site: AwsSite;
  readonly plan: AwsPlan;
  readonly servers: readonly RdsServer[];
  /** Who hears of alarms by e-mail. */
  readonly email: string | undefined;
}

/**
 * Alarms to one topic, warning and critical, for every row of the guide's table; what CloudWatch cannot see comes from a
 * scheduled check, from the poolers, and from counting slow statements in the servers' logs. And a dashboard.
 */
export function cloudWatch(args: CloudWatchArgs, parent: pulumi.Resource): { topicArn: pulumi.Output<string> } {
  const { site, plan, servers } = args;
  const child = { parent };
  const topic = alarmTopic("", site, args.email, child);
  databaseCheck(site, servers, parent);
  for (const server of servers) {
    for (const severity of SEVERITIES) {
      new cloudwatch.LogMetricFilter(
        `${server.name}-slow-${severity}`,
        {
          name: awsName(site.stack, server.name, "slow", severity),
          logGroupName: server.logGroupName,
          pattern: slowStatements(SLOW_BY_SEVERITY[severity]),
          metricTransformation: {
            name: slowMetric(`${site.stack}-${server.name}`, severity),
            namespace: OWN_NAMESPACE,
            value: "1",
          },
        },
        child,
      );
    }
  }
  const identifier = (server: string): string => awsName(site.stack, server);
  for (const watch of watchesOf(site.stack, plan, identifier)) {
    for (const severity of SEVERITIES) {
      metricAlarm({ stack: site.stack, watch, severity, topicArn: topic.arn }, child);
    }
  }
  new cloudwatch.Dashboard(
    "dashboard",
    {
      dashboardName: awsName(site.stack),
      dashboardBody: dashboardBody(
        site.region,
        site.stack,
        plan.nodes.map((node) => ({ name: node.name, identifier: identifier(node.name) })),
      ),
    },
    child,
  );
  return { topicArn: topic.arn };
}
