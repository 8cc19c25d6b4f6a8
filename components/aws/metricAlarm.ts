import * as cloudwatch from "@pulumi/aws/cloudwatch/index.js";
import type * as pulumi from "@pulumi/pulumi";
import type { Severity } from "../../monitoring/alerts/alert.ts";
import { type Figure, PERIODS, PERIOD_SECONDS, type Watch } from "../../stacks/aws/alarms.ts";
import { awsName } from "./names.ts";

const metric = ({ namespace, metric: metricName, dimensions, statistic }: Figure) => ({
  namespace,
  metricName,
  dimensions: { ...dimensions },
  stat: statistic,
  period: PERIOD_SECONDS,
});

/** What an alarm looks at: one figure, or an expression over several. */
function subject({ watch, severity, dimensions: given }: MetricAlarmArgs): Partial<cloudwatch.MetricAlarmArgs> {
  if ("metric" in watch.of) {
    const { namespace, metric: metricName, dimensions, statistic } = watch.of;
    return { namespace, metricName, dimensions: { ...dimensions, ...given }, statistic, period: PERIOD_SECONDS };
  }
  const { formula, figures } = watch.of[severity];
  return {
    metricQueries: [
      ...Object.entries(figures).map(([id, figure]) => ({ id, metric: metric(figure), returnData: false })),
      { id: "watched", expression: formula, label: watch.name, returnData: true },
    ],
  };
}

export interface MetricAlarmArgs {
  readonly stack: string;
  readonly watch: Watch;
  readonly severity: Severity;
  /** Names that AWS gives; default none. */
  readonly dimensions?: Readonly<Record<string, pulumi.Input<string>>>;
  /** Who is told, of the alarm's own region; undefined: nobody. */
  readonly topicArn: pulumi.Input<string> | undefined;
}

/** An alarm of one severity: the threshold is passed for five minutes. */
export const metricAlarm = (args: MetricAlarmArgs, opts: pulumi.CustomResourceOptions): cloudwatch.MetricAlarm => {
  const { stack, watch, severity, topicArn } = args;
  return new cloudwatch.MetricAlarm(
    `${watch.name}-${severity}`,
    {
      name: awsName(stack, watch.name, severity),
      alarmDescription: `${watch.name}: ${watch.description}`,
      ...subject(args),
      evaluationPeriods: PERIODS,
      comparisonOperator: watch.bad === "above" ? "GreaterThanThreshold" : "LessThanThreshold",
      threshold: watch[severity],
      treatMissingData: watch.missing === "well" ? "notBreaching" : severity === "critical" ? "breaching" : "missing",
      ...(topicArn === undefined ? {} : { alarmActions: [topicArn], okActions: [topicArn] }),
    },
    opts,
  );
};
