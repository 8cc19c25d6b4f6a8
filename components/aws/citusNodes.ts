/** The servers of one cluster of a Citus cluster on EC2, the coordinator's or a worker's, in one region. */
import * as iam from "@pulumi/aws/iam/index.js";
import type * as s3 from "@pulumi/aws/s3/index.js";
import * as secretsmanager from "@pulumi/aws/secretsmanager/index.js";
import * as pulumi from "@pulumi/pulumi";
import type { CitusNodes, Ec2Node } from "../../stacks/aws/citusPlan.ts";
import { configKey, patroniYaml } from "../docker/patroniFiles.ts";
import { serverBackupConf } from "../docker/pgbackrestFiles.ts";
import { DATABASE } from "../roles.ts";
import { HOME_ARCHIVE_FILE, citusClusterConfig, citusNames, otherRegions } from "./citusFiles.ts";
import type { Ec2CitusClusterArgs } from "./citusOnEc2.ts";
import { type Ec2Server, type ServerPlace, ec2Server } from "./ec2Server.ts";
import { NO_RECOVERY_DAYS, awsName } from "./names.ts";
import { type Allowed, allow, assumedBy } from "./policies.ts";

export interface Ec2Cluster {
  readonly name: string;
  readonly servers: readonly Ec2Server[];
}

/** The nodes' authority as one region has it: ARNs of its secrets. */
export interface Authority {
  readonly keyArn: pulumi.Output<string>;
  readonly certificateArn: pulumi.Output<string>;
}

/** What all servers of a Citus cluster in one region have in common. */
export interface CitusShared extends Omit<ServerPlace, "site"> {
  readonly args: Ec2CitusClusterArgs;
  readonly authority: Authority;
  /** The region's own. */
  readonly bucket: s3.Bucket;
  readonly etcdMembers: readonly string[];
}

const DATA_DIRECTORY = "/var/lib/postgresql/17/data";
const READS = ["s3:ListBucket", "s3:GetBucketLocation"];

/** What a cluster's role may do with backups: its own part of the region's bucket; beside home, read home's. */
function backupRights(cluster: CitusNodes, { args, bucket }: CitusShared): pulumi.Output<Allowed[]> {
  const { follows } = args;
  const own = bucket.arn.apply((arn): Allowed[] => [
    { actions: READS, resources: arn },
    {
      actions: ["s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload"],
      resources: `${arn}/${cluster.name}/*`,
    },
  ]);
  if (!follows) return own;
  return pulumi
    .all([own, follows.bucketArn, follows.keyArn])
    .apply(([rights, homeBucket, homeKey]) => [
      ...rights,
      { actions: READS, resources: homeBucket },
      { actions: "s3:GetObject", resources: `${homeBucket}/${follows.nameOf(cluster)}/*` },
      { actions: "kms:Decrypt", resources: homeKey },
    ]);
}

/**
 * The role of a cluster's instances, or of etcd's members: Session Manager, figures, and what is theirs. All sign their own
 * certificates, so all read the authority's key; home's members of etcd, which are there first, make it.
 */
export function instanceProfile(
  name: string,
  shared: CitusShared,
  cluster: { readonly nodes: CitusNodes; readonly secrets: readonly secretsmanager.Secret[] } | undefined,
  parent: pulumi.Resource,
) {
  const child = { parent };
  const { args, authority } = shared;
  const role = new iam.Role(name, { assumeRolePolicy: assumedBy("ec2.amazonaws.com") }, child);
  const manager = new iam.RolePolicyAttachment(
    name,
    { role: role.name, policyArn: "arn:aws:iam::aws:policy/AmazonSSMManagedInstanceCore" },
    child,
  );
  const makesAuthority = cluster === undefined && args.follows === undefined;
  const own = new iam.RolePolicy(
    name,
    {
      role: role.name,
      policy: pulumi
        .all([
          pulumi.all((cluster?.secrets ?? []).map(({ arn }) => arn)),
          pulumi.all([authority.keyArn, authority.certificateArn]),
          args.site.keyArn,
          cluster ? backupRights(cluster.nodes, shared) : [],
        ])
        .apply(([secretArns, authorityArns, keyArn, backups]) =>
          allow(
            { actions: "secretsmanager:GetSecretValue", resources: [...secretArns, ...authorityArns] },
            ...(makesAuthority ? [{ actions: "secretsmanager:PutSecretValue", resources: authorityArns }] : []),
            { actions: ["kms:Decrypt", "kms:GenerateDataKey"], resources: keyArn },
            { actions: "cloudwatch:PutMetricData", resources: "*" },
            ...backups,
          ),
        ),
    },
    child,
  );
  const profile = new iam.InstanceProfile(name, { role: role.name }, child);
  return { profileName: profile.name, ready: [manager, own] };
}

/** Patroni's name of a cluster: home's share one, as the groups of a Citus cluster do. */
const scopeOf = ({ args }: CitusShared, cluster: CitusNodes): string =>
  [awsName(args.site.stack, "citus"), ...(args.follows ? [cluster.name] : [])].join("-");

/** The files of a node that hold passwords, or what stands for them, in a secret of its own; and what comes and goes. */
function nodeSecret(shared: CitusShared, cluster: CitusNodes, node: Ec2Node, parent: pulumi.Resource) {
  const { site, credentials, backups, follows, regions } = shared.args;
  const secret = new secretsmanager.Secret(
    node.name,
    {
      ...{ name: awsName(site.stack, node.name), description: `Files of ${node.name}`, kmsKeyId: site.keyArn },
      recoveryWindowInDays: NO_RECOVERY_DAYS,
    },
    { parent },
  );
  const { replicator, cgraph_rewind: rewind } = credentials.logins;
  const conf = (key: string, bucket: string, region: string, path: string): string =>
    serverBackupConf({
      ...{ key, retentionDays: backups.retentionDays, dataDirectory: DATA_DIRECTORY, clustered: false },
      s3: {
        ...{ bucket, endpoint: `s3.${region}.amazonaws.com`, region, uriStyle: "host" },
        ...{ path: `/${path}`, ca: undefined, keys: undefined },
      },
    });
  const secretString = pulumi
    .all([
      ...([replicator.password, rewind.password, credentials.backupKey, credentials.rolesSql] as const),
      ...([shared.bucket.id, follows?.bucket ?? ""] as const),
    ])
    .apply(([replicatorPassword, rewindPassword, key, rolesSql, bucket, homeBucket]) =>
      JSON.stringify({
        "patroni.yml": patroniYaml({
          ...{ scope: scopeOf(shared, cluster), node: node.name, domain: shared.domain },
          etcdMembers: shared.etcdMembers.map((member) => `${member}.${shared.domain}`),
          postgresVersion: 17,
          replication: { username: replicator.name, password: replicatorPassword },
          rewind: { username: rewind.name, password: rewindPassword },
          bootstrap: "initdb",
          // Whoever follows, and home after a promotion, may have to copy what no server of its own has.
          regional: true,
          // Beside home nobody tells Citus who takes writes: the names of home's nodes lead to the region's.
          ...(follows ? {} : { citus: { group: cluster.group, database: DATABASE } }),
          // It is in etcd before Patroni starts (cgraph-node), and there it is read.
          cluster: {},
        }),
        "pgbackrest.conf": conf(key, bucket, site.region, cluster.name),
        ...(follows && { [HOME_ARCHIVE_FILE]: conf(key, homeBucket, follows.region, follows.nameOf(cluster)) }),
        "roles.sql": rolesSql,
        regions: otherRegions(site, regions, cluster.group),
      }),
    );
  const version = new secretsmanager.SecretVersion(node.name, { secretId: secret.id, secretString }, { parent });
  return { secret, version };
}

/** A cluster of the coordinator's or a worker's servers, made and replaced one after the other, the standbys first. */
export function citusNodes(
  shared: CitusShared,
  cluster: CitusNodes,
  securityGroupId: pulumi.Output<string>,
  after: readonly pulumi.Resource[],
  parent: pulumi.Resource,
): Ec2Cluster {
  const { args, authority, etcdMembers } = shared;
  const { site, follows } = args;
  const secrets = cluster.nodes.map((node) => nodeSecret(shared, cluster, node, parent));
  const profile = instanceProfile(
    cluster.name,
    shared,
    { nodes: cluster, secrets: secrets.map(({ secret }) => secret) },
    parent,
  );
  const scope = scopeOf(shared, cluster);
  let waitsFor: readonly pulumi.Resource[] = [...after, ...profile.ready];
  const made = new Map<string, Ec2Server>();
  for (const [index, node] of [...cluster.nodes.entries()].reverse()) {
    const secret = secrets[index];
    if (!secret) throw new Error(`${node.name} has no secret`);
    const input = pulumi
      .all([secret.secret.arn, authority.certificateArn, authority.keyArn])
      .apply(([secretArn, certificateArn, keyArn]) => ({
        ...{ kind: "citus" as const, cluster: cluster.name, etcdMembers, beside: follows !== undefined },
        clusterConfig: citusClusterConfig(args, cluster),
        ...{ authority: certificateArn, authorityKey: keyArn, secret: secretArn, backups: args.backups },
        clientNames: citusNames(args, cluster),
        configKey: follows ? configKey(scope) : configKey(scope, cluster.group),
      }));
    const server = ec2Server(
      { ...shared, site, node, input, securityGroupId, profileName: profile.profileName },
      [...waitsFor, secret.version],
      parent,
    );
    made.set(node.name, server);
    waitsFor = [server.working];
  }
  return { name: cluster.name, servers: cluster.nodes.flatMap(({ name }) => made.get(name) ?? []) };
}
