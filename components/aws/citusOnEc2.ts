import * as ec2 from "@pulumi/aws/ec2/index.js";
import * as iam from "@pulumi/aws/iam/index.js";
import * as route53 from "@pulumi/aws/route53/index.js";
import type * as s3 from "@pulumi/aws/s3/index.js";
import * as secretsmanager from "@pulumi/aws/secretsmanager/index.js";
import * as pulumi from "@pulumi/pulumi";
import type { CitusAwsPlan, CitusNodes, Ec2Node } from "../../stacks/aws/citusPlan.ts";
import { readZone } from "../../stacks/aws/readNames.ts";
import type { Credentials } from "../Credentials.ts";
import { CITUS_IDENT_RULES, citusRules } from "../docker/citusFiles.ts";
import { COORDINATOR } from "../docker/citusNames.ts";
import { type Synchronous, clusterConfig, configKey, patroniYaml } from "../docker/patroniFiles.ts";
import { serverBackupConf } from "../docker/pgbackrestFiles.ts";
import { DATABASE } from "../roles.ts";
import type { AwsSite } from "./AwsSite.ts";
import { backupBucket } from "./backupBucket.ts";
import { type CitusBalancer, DATABASE_LABEL, PATRONI_PORT, READ_PORT, citusBalancer } from "./citusBalancer.ts";
import { type Ec2Server, type ServerPlace, ec2Server } from "./ec2Server.ts";
import { NO_RECOVERY_DAYS, POSTGRES_PORT, awsName } from "./names.ts";
import { nodeNetwork } from "./nodeNetwork.ts";
import { type Allowed, allow, assumedBy } from "./policies.ts";

export interface Ec2CitusClusterArgs {
  readonly target: "aws";
  readonly site: AwsSite;
  readonly plan: CitusAwsPlan;
  readonly credentials: Credentials;
  readonly synchronous: Synchronous;
  readonly maxReadLagMiB: number;
  readonly clientCidrs: readonly string[];
  readonly backups: { readonly intervalHours: number; readonly fullDays: number; readonly retentionDays: number };
}

export interface Ec2Cluster {
  readonly name: string;
  readonly servers: readonly Ec2Server[];
}

export interface CitusOnEc2 {
  /** The coordinator first. */
  readonly clusters: readonly Ec2Cluster[];
  readonly etcd: readonly Ec2Server[];
  readonly balancer: CitusBalancer;
  /** ARN of the secret that holds the certificate of the nodes' authority. */
  readonly authorityArn: pulumi.Output<string>;
  readonly bucket: pulumi.Output<string>;
  readonly domain: string;
  /** Groups of nodes and of etcd's members. */
  readonly securityGroupIds: readonly pulumi.Output<string>[];
}

/** Debian's newest image, looked up when an instance is made (Debian's own parameter, "Cloud/AmazonEC2Image"). */
const IMAGE = "resolve:ssm:/aws/service/debian/release/13/latest/amd64";
const [CLIENTS, PEERS] = [2379, 2380];
const DATA_DIRECTORY = "/var/lib/postgresql/17/data";

/** The nodes' authority, made by whichever is first; its key apart from what clients may read. */
function authoritySecrets(site: AwsSite, parent: pulumi.Resource) {
  const secret = (name: string, description: string, kept: boolean): secretsmanager.Secret =>
    new secretsmanager.Secret(
      name,
      {
        ...{ name: awsName(site.stack, name), description, kmsKeyId: site.keyArn },
        recoveryWindowInDays: kept ? 30 : NO_RECOVERY_DAYS,
      },
      { parent, ...(kept && site.kept) },
    );
  return {
    key: secret("authority-key", "Key and certificate of the authority of the nodes' certificates", true),
    certificate: secret("authority", "Certificate of the authority of the nodes' certificates", false),
  };
}

interface Shared extends Omit<ServerPlace, "site"> {
  readonly args: Ec2CitusClusterArgs;
  readonly authority: ReturnType<typeof authoritySecrets>;
  readonly bucket: s3.Bucket;
  readonly etcdMembers: readonly string[];
}

/** The role of a cluster's instances, or of etcd's members: Session Manager, figures, and what is theirs. */
function instanceProfile(
  name: string,
  { args: { site }, authority, bucket }: Shared,
  secrets: readonly secretsmanager.Secret[],
  parent: pulumi.Resource,
) {
  const child = { parent };
  const role = new iam.Role(name, { assumeRolePolicy: assumedBy("ec2.amazonaws.com") }, child);
  const manager = new iam.RolePolicyAttachment(
    name,
    { role: role.name, policyArn: "arn:aws:iam::aws:policy/AmazonSSMManagedInstanceCore" },
    child,
  );
  const own = new iam.RolePolicy(
    name,
    {
      role: role.name,
      policy: pulumi
        .all([
          pulumi.all(secrets.map(({ arn }) => arn)),
          pulumi.all([authority.key.arn, authority.certificate.arn]),
          site.keyArn,
          bucket.arn,
        ])
        .apply(([secretArns, authorityArns, keyArn, bucketArn]) => {
          const backups: Allowed[] = [
            { actions: ["s3:ListBucket", "s3:GetBucketLocation"], resources: bucketArn },
            {
              actions: ["s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload"],
              resources: `${bucketArn}/${name}/*`,
            },
          ];
          return allow(
            { actions: "secretsmanager:GetSecretValue", resources: [...secretArns, ...authorityArns] },
            { actions: "secretsmanager:PutSecretValue", resources: authorityArns },
            { actions: ["kms:Decrypt", "kms:GenerateDataKey"], resources: keyArn },
            { actions: "cloudwatch:PutMetricData", resources: "*" },
            ...(secrets.length > 0 ? backups : []),
          );
        }),
    },
    child,
  );
  const profile = new iam.InstanceProfile(name, { role: role.name }, child);
  return { profileName: profile.name, ready: [manager, own] };
}

/** The files of a node that hold passwords, or what stands for them, in a secret of its own. */
function nodeSecret(shared: Shared, cluster: CitusNodes, node: Ec2Node, parent: pulumi.Resource) {
  const { site, credentials, backups } = shared.args;
  const secret = new secretsmanager.Secret(
    node.name,
    {
      ...{ name: awsName(site.stack, node.name), description: `Files of ${node.name}`, kmsKeyId: site.keyArn },
      recoveryWindowInDays: NO_RECOVERY_DAYS,
    },
    { parent },
  );
  const { replicator, cgraph_rewind: rewind } = credentials.logins;
  const secretString = pulumi
    .all([replicator.password, rewind.password, credentials.backupKey, credentials.rolesSql, shared.bucket.id])
    .apply(([replicatorPassword, rewindPassword, key, rolesSql, bucket]) =>
      JSON.stringify({
        "patroni.yml": patroniYaml({
          ...{ scope: scopeOf(site.stack), node: node.name, domain: shared.domain, etcdMembers: shared.etcdMembers },
          postgresVersion: 17,
          replication: { username: replicator.name, password: replicatorPassword },
          rewind: { username: rewind.name, password: rewindPassword },
          bootstrap: "initdb",
          regional: false,
          citus: { group: cluster.group, database: DATABASE },
          // It is in etcd before Patroni starts (cgraph-node), and there it is read.
          cluster: {},
        }),
        "pgbackrest.conf": serverBackupConf({
          ...{ key, retentionDays: backups.retentionDays, dataDirectory: DATA_DIRECTORY, clustered: false },
          s3: {
            ...{ bucket, endpoint: `s3.${site.region}.amazonaws.com`, region: site.region, uriStyle: "host" },
            ...{ path: `/${cluster.name}`, ca: undefined, keys: undefined },
          },
        }),
        "roles.sql": rolesSql,
      }),
    );
  const version = new secretsmanager.SecretVersion(node.name, { secretId: secret.id, secretString }, { parent });
  return { secret, version };
}

const scopeOf = (stack: string): string => awsName(stack, "citus");

/** A cluster of the coordinator's or a worker's servers, made and replaced one after the other, the standbys first. */
function citusNodes(
  shared: Shared,
  cluster: CitusNodes,
  securityGroupId: pulumi.Output<string>,
  after: readonly pulumi.Resource[],
  parent: pulumi.Resource,
): Ec2Cluster {
  const { args, authority, etcdMembers, domain } = shared;
  const { plan, site } = args;
  const secrets = cluster.nodes.map((node) => nodeSecret(shared, cluster, node, parent));
  const profile = instanceProfile(
    cluster.name,
    shared,
    secrets.map(({ secret }) => secret),
    parent,
  );
  const config = clusterConfig({
    ...{ settings: plan.settings, synchronous: args.synchronous, slots: {} },
    rules: { hba: citusRules(plan.network.nodes, []), ident: CITUS_IDENT_RULES },
  });
  let waitsFor: readonly pulumi.Resource[] = [...after, ...profile.ready];
  const made = new Map<string, Ec2Server>();
  for (const [index, node] of [...cluster.nodes.entries()].reverse()) {
    const secret = secrets[index];
    if (!secret) throw new Error(`${node.name} has no secret`);
    const input = pulumi
      .all([secret.secret.arn, authority.certificate.arn, authority.key.arn])
      .apply(([secretArn, certificateArn, keyArn]) => ({
        ...{ kind: "citus" as const, cluster: cluster.name, etcdMembers, clusterConfig: config },
        ...{ authority: certificateArn, authorityKey: keyArn, secret: secretArn, backups: args.backups },
        clientNames: cluster.name === COORDINATOR ? [`${DATABASE_LABEL}.${domain}`] : [],
        configKey: configKey(scopeOf(site.stack), cluster.group),
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

/** A Citus cluster on EC2: etcd, the coordinator, workers, the way to them, and where their backups go. */
export function citusOnEc2(args: Ec2CitusClusterArgs, parent: pulumi.Resource): CitusOnEc2 {
  const { site, plan } = args;
  const { network, stack } = site;
  const child = { parent };
  const domain = readZone(stack);
  const nodes = nodeNetwork(site, plan.network, parent);
  const { id: zoneId } = new route53.Zone(
    "nodes",
    { name: domain, comment: `Names of stack ${stack}`, vpcs: [{ vpcId: network.vpcId }] },
    child,
  );
  const template = new ec2.LaunchTemplate(
    "nodes",
    { name: awsName(stack, "nodes"), imageId: IMAGE, updateDefaultVersion: true },
    child,
  );
  const shared: Shared = {
    ...{ args, domain, zoneId, template, subnetIds: nodes.subnetIds, ami: plan.ami },
    ...{ authority: authoritySecrets(site, parent), bucket: backupBucket(site, parent) },
    etcdMembers: plan.etcd.map(({ name }) => name),
  };
  const clients = { from: [network.clientGroupId], cidrs: args.clientCidrs };
  const balancerGroup = network.securityGroup("database", "The way to the coordinator", [
    { port: POSTGRES_PORT, ...clients },
    { port: READ_PORT, ...clients },
  ]);
  const nodeGroup = network.securityGroup("nodes", "Nodes of the Citus cluster", [
    { port: POSTGRES_PORT, from: [balancerGroup.id] },
    { port: PATRONI_PORT, from: [balancerGroup.id] },
  ]);
  for (const port of [POSTGRES_PORT, PATRONI_PORT]) network.letInEachOther("nodes", nodeGroup, port);
  const etcdGroup = network.securityGroup("etcd", "Members of etcd", [{ port: CLIENTS, from: [nodeGroup.id] }]);
  for (const port of [CLIENTS, PEERS]) network.letInEachOther("etcd", etcdGroup, port);

  const etcdProfile = instanceProfile("etcd", shared, [], parent);
  const etcd: Ec2Server[] = [];
  for (const node of plan.etcd) {
    const before = etcd.at(-1)?.working;
    const input = pulumi
      .all([shared.authority.certificate.arn, shared.authority.key.arn])
      .apply(([authority, authorityKey]) => ({
        ...{ kind: "etcd" as const, authority, authorityKey, etcdMembers: shared.etcdMembers },
      }));
    etcd.push(
      ec2Server(
        { ...shared, site, node, input, securityGroupId: etcdGroup.id, profileName: etcdProfile.profileName },
        before ? [before] : [...nodes.ready, ...etcdProfile.ready],
        parent,
      ),
    );
  }
  const [coordinator, ...workers] = plan.clusters;
  if (!coordinator) throw new Error("a Citus cluster without a coordinator");
  const first = citusNodes(
    shared,
    coordinator,
    nodeGroup.id,
    etcd.slice(-1).map(({ working }) => working),
    parent,
  );
  // Workers side by side; the coordinator, which they announce themselves to, before them.
  const others = workers.map((worker) =>
    citusNodes(
      shared,
      worker,
      nodeGroup.id,
      first.servers.map(({ working }) => working),
      parent,
    ),
  );
  const balancer = citusBalancer(
    {
      ...{ site, nodes: coordinator.nodes, securityGroupId: balancerGroup.id, zoneId, domain },
      maxReadLagMiB: args.maxReadLagMiB,
    },
    parent,
  );
  return {
    ...{ clusters: [first, ...others], etcd, balancer, domain, bucket: shared.bucket.id },
    authorityArn: shared.authority.certificate.arn,
    securityGroupIds: [nodeGroup.id, etcdGroup.id],
  };
}
