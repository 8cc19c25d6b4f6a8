/** On AWS backups and restores are RDS's own: what to call there instead of a command of ours. */
import type { Stack } from "@pulumi/pulumi/automation/index.js";
import type { AwsStackValues } from "../../stacks/aws/outputs.ts";
import type { StackValues } from "../../stacks/outputs.ts";
import { needsRds } from "../aws/onRds.ts";
import { UserError } from "../../tuning/errors.ts";
import { clusterView } from "./clusters.ts";
import { type AnyStackValues, anyStackValues } from "./stack.ts";

export type BackupCommand = "backup" | "backups" | "restore";

interface RdsPrimary {
  readonly region: string;
  readonly identifier: string;
}

/** The command of the AWS CLI that does it. `to`: a time or `latest`; RDS knows no positions in WAL and no restore points. */
export function awsInstead(command: BackupCommand, { region, identifier }: RdsPrimary, to = "latest"): string {
  if (command === "backup") {
    const now = new Date().toISOString().replace(/[-:]/g, "").replace("T", "-").slice(0, 15);
    return `aws rds create-db-snapshot --region ${region} --db-instance-identifier ${identifier} --db-snapshot-identifier ${identifier}-${now}`;
  }
  if (command === "backups") {
    return `aws rds describe-db-snapshots --region ${region} --db-instance-identifier ${identifier} --query 'DBSnapshots[].[DBSnapshotIdentifier,SnapshotType,SnapshotCreateTime,Status]' --output table`;
  }
  const time = new Date(to);
  const until =
    to === "latest" || Number.isNaN(time.getTime())
      ? "--use-latest-restorable-time"
      : `--restore-time ${time.toISOString().replace(/\.\d+Z$/, "Z")}`;
  return `aws rds restore-db-instance-to-point-in-time --region ${region} --source-db-instance-identifier ${identifier} --target-db-instance-identifier ${identifier}-restored ${until}`;
}

const isAws = (values: AnyStackValues): values is AwsStackValues => values.target === "aws";

/**
 * The outputs of a stack's cluster, for a command about its backups: the first one's, or the named one's. Throws a UserError
 * with AWS's own command where the stack is there.
 */
export async function valuesForBackups(
  stack: Stack,
  command: BackupCommand,
  { to, cluster }: { to?: string; cluster?: string } = {},
): Promise<StackValues> {
  const values = await anyStackValues(stack);
  // A restore is all clusters' affair.
  if (!isAws(values)) return command === "restore" ? values : clusterView(values, { cluster }).values;
  needsRds(
    values,
    command,
    "aws ssm start-session --target INSTANCE, then as postgres, with /etc/cgraph/node.env read: pgbackrest info, backup, restore",
  );
  const primary = values.nodes[0];
  throw new UserError(
    `stack ${stack.name} is on AWS, where RDS takes backups and restores them, always into an instance of another name`,
    `docs/aws.md#backups says how to go on from: ${awsInstead(command, { region: values.region, identifier: primary?.identifier ?? "" }, to)}`,
  );
}
