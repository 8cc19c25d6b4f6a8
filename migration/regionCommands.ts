/** Commands of the AWS CLI by which a person carries a promotion of another region out. */
import type { AwsNodeOutput, AwsPlaceOutput } from "../stacks/aws/outputs.ts";
import { READ_TTL_SECONDS, readLabel, regionLabel } from "../stacks/aws/readNames.ts";

export const rds = (verb: string, region: string, identifier: string, ...more: readonly string[]): string =>
  ["aws rds", verb, "--region", region, "--db-instance-identifier", identifier, ...more].join(" ");

export const available = (region: string, identifier: string): string =>
  rds("wait db-instance-available", region, identifier);

/** A figure of a server, of the last ten minutes. */
export const figure = (region: string, metric: string, identifier: string): string =>
  [
    `aws cloudwatch get-metric-statistics --region ${region} --namespace AWS/RDS --metric-name ${metric}`,
    `--dimensions Name=DBInstanceIdentifier,Value=${identifier} --statistics Average --period 60`,
    `--start-time "$(date -u -d '-10 minutes' +%FT%TZ)" --end-time "$(date -u +%FT%TZ)"`,
  ].join(" ");

/** Deletes a server for good, by its last snapshot's name where it is to leave one: AWS takes none of a replica. */
export const removal = (region: string, identifier: string, lastSnapshot?: string): string[] => [
  rds("modify-db-instance", region, identifier, "--no-deletion-protection --apply-immediately"),
  rds(
    "delete-db-instance",
    region,
    identifier,
    lastSnapshot === undefined ? "--skip-final-snapshot" : `--final-db-snapshot-identifier ${lastSnapshot}`,
  ),
];

/** Waits until a server is gone, and its name is free. */
export const gone = (region: string, identifier: string): string => rds("wait db-instance-deleted", region, identifier);

/** Makes a server as a replica of another, with what it was declared with. */
export function copyOf(
  source: { readonly region: string; readonly node: AwsNodeOutput },
  to: { readonly region: string; readonly place: AwsPlaceOutput; readonly node: AwsNodeOutput },
): string[] {
  const { place, region } = to;
  const { identifier, instanceClass, parameterGroup = "" } = to.node;
  // Within a region the source is known by its name, and its key and subnets are taken.
  const from =
    source.region === region
      ? `--source-db-instance-identifier ${source.node.identifier}`
      : `--source-region ${source.region} --source-db-instance-identifier ${source.node.arn ?? ""} --kms-key-id ${place.keyArn} --db-subnet-group-name ${place.subnetGroup}`;
  return [
    rds(
      "create-db-instance-read-replica",
      region,
      identifier,
      from,
      `--db-instance-class ${instanceClass} --vpc-security-group-ids ${place.securityGroup}`,
      "--no-publicly-accessible --deletion-protection",
    ),
    available(region, identifier),
    rds("modify-db-instance", region, identifier, `--db-parameter-group-name ${parameterGroup} --apply-immediately`),
    rds("reboot-db-instance", region, identifier),
  ];
}

/** Puts a primary where nobody reaches it, and ends the sessions that it has: another group alone does not. */
export const fencing = (region: string, identifier: string, fenceGroup: string): string[] => [
  rds("modify-db-instance", region, identifier, `--vpc-security-group-ids ${fenceGroup} --apply-immediately`),
  rds("reboot-db-instance", region, identifier),
];

export const promoting = (region: string, identifier: string, backupDays: number): string[] => [
  rds(
    "promote-read-replica",
    region,
    identifier,
    `--backup-retention-period ${backupDays} --preferred-backup-window 03:00-04:00`,
  ),
  available(region, identifier),
];

export const standby = (region: string, identifier: string): string =>
  rds("modify-db-instance", region, identifier, "--multi-az --apply-immediately");

/** Leads reads near to some regions to the replicas of another one. */
export function leadReads(
  { zone, zoneId }: { readonly zone: string; readonly zoneId: string },
  cluster: string | null,
  regions: readonly string[],
  to: string,
): string {
  const changes = regions.map((near) => ({
    Action: "UPSERT",
    ResourceRecordSet: {
      ...{ Name: `${readLabel(cluster)}.${zone}`, Type: "CNAME", SetIdentifier: near, Region: near },
      TTL: READ_TTL_SECONDS,
      ResourceRecords: [{ Value: `${regionLabel(cluster, to)}.${zone}` }],
    },
  }));
  const batch = JSON.stringify({ Changes: changes });
  return `aws route53 change-resource-record-sets --hosted-zone-id ${zoneId} --change-batch '${batch}'`;
}

/** RDS's own id of a server, by which Pulumi's state knows it; it stays when the server gets another name. */
const resourceId = (region: string, identifier: string): string =>
  `$(${rds("describe-db-instances", region, identifier, "--query 'DBInstances[0].DbiResourceId' --output text")})`;

/** Has the stack's state mean the servers that have taken the place, and the names, of others. */
export const adopt = (region: string, pairs: readonly { readonly old: string; readonly now: string }[]): string[] => [
  "pulumi stack export --file state.json",
  ...pairs.map(({ old, now }) => `sed -i "s/${resourceId(region, old)}/${resourceId(region, now)}/g" state.json`),
  "pulumi stack import --file state.json",
];
