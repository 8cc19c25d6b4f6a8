import * as sns from "@pulumi/aws/sns/index.js";
import type * as pulumi from "@pulumi/pulumi";
import type { AwsSite } from "./AwsSite.ts";
import { awsName } from "./names.ts";

/**
 * Where a region's alarms are told, since an alarm tells only its own region's. `prefix` begins the names of its resources;
 * `email`: who is told by e-mail.
 */
export function alarmTopic(
  prefix: string,
  { stack }: Pick<AwsSite, "stack">,
  email: string | undefined,
  opts: pulumi.CustomResourceOptions,
): sns.Topic {
  // Without a key: AWS's own for topics is closed to CloudWatch, and an alarm's name is no secret.
  const topic = new sns.Topic(`${prefix}alarms`, { name: awsName(stack, "alarms") }, opts);
  if (email !== undefined) {
    new sns.TopicSubscription(`${prefix}alarms-email`, { topic: topic.arn, protocol: "email", endpoint: email }, opts);
  }
  return topic;
}
