/** What commands can do on RDS only. */
import type { AwsStackValues } from "../../stacks/aws/outputs.ts";
import { EXIT, UserError } from "../../tuning/errors.ts";

/** Refuses a command at stage 5, whose servers are none of RDS's; `instead`: what a person calls. */
export function needsRds(values: AwsStackValues | undefined, command: string, instead: string): void {
  if (!values?.citus) return;
  throw new UserError(
    `./cgraph-db ${command} does not know the servers of stage 5 on AWS in this version`,
    `${instead} (docs/aws.md, Stage 5)`,
    EXIT.refused,
  );
}

/** By Session Manager, on any server of a cluster. */
export const PATRONICTL =
  "aws ssm start-session --target INSTANCE, then sudo -u postgres patronictl -c /etc/cgraph/patroni.yml";
