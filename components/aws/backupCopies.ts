import * as backup from "@pulumi/aws/backup/index.js";
import * as iam from "@pulumi/aws/iam/index.js";
import * as kms from "@pulumi/aws/kms/index.js";
import { Provider, type ProviderArgs } from "@pulumi/aws/provider.js";
import type * as pulumi from "@pulumi/pulumi";
import type { AwsSite } from "./AwsSite.ts";
import { awsName } from "./names.ts";
import { assumedBy } from "./policies.ts";

export interface BackupCopiesArgs {
  readonly site: Pick<AwsSite, "stack" | "provider" | "keyArn" | "kept">;
  /** The other region. */
  readonly region: string;
  /** ARNs of the instances that take writes. */
  readonly primaryArns: readonly pulumi.Input<string>[];
  /** Days that snapshots and their copies are kept. */
  readonly retentionDays: number;
}

/** After RDS's own backup window, before its maintenance window, UTC. */
const SCHEDULE = "cron(0 4 * * ? *)";

/**
 * A snapshot a day, copied to another region by AWS Backup: what is left when a region is lost. Restores to any second
 * stay RDS's own automated backups' affair; what AWS Backup would do about those (`enableContinuousBackup`) is left out,
 * as both would then set the instance's backup window. Vaults and the other region's key are kept like the databases.
 */
export function backupCopies({ site, region, primaryArns, retentionDays }: BackupCopiesArgs): void {
  const name = awsName(site.stack);
  const here = { provider: site.provider };
  const elsewhere = new Provider("aws-backup-copies", {
    region: region as NonNullable<ProviderArgs["region"]>,
    defaultTags: { tags: { "cgraph:stack": site.stack, "cgraph:managed-by": "pulumi" } },
  });
  const there = { provider: elsewhere };
  const key = new kms.Key(
    "backup-copies-key",
    {
      description: `Copies of backups of CGraph's database, stack ${site.stack}`,
      enableKeyRotation: true,
      deletionWindowInDays: 30,
      tags: { Name: `${name}-backup-copies` },
    },
    { ...there, ...site.kept },
  );
  const copies = new backup.Vault(
    "backup-copies",
    { name: `${name}-copies`, kmsKeyArn: key.arn },
    { ...there, ...site.kept },
  );
  const vault = new backup.Vault("backup-vault", { name, kmsKeyArn: site.keyArn }, { ...here, ...site.kept });
  const role = new iam.Role(
    "backup-role",
    { name: `${name}-backup`, assumeRolePolicy: assumedBy("backup.amazonaws.com") },
    here,
  );
  new iam.RolePolicyAttachment(
    "backup-role",
    { role: role.name, policyArn: "arn:aws:iam::aws:policy/service-role/AWSBackupServiceRolePolicyForBackup" },
    here,
  );
  const lifecycle = { deleteAfter: retentionDays };
  const plan = new backup.Plan(
    "backup-plan",
    {
      name,
      rules: [
        {
          ruleName: "daily",
          targetVaultName: vault.name,
          schedule: SCHEDULE,
          lifecycle,
          copyActions: [{ destinationVaultArn: copies.arn, lifecycle }],
        },
      ],
    },
    here,
  );
  new backup.Selection(
    "backup-selection",
    { name, planId: plan.id, iamRoleArn: role.arn, resources: [...primaryArns] },
    here,
  );
}
