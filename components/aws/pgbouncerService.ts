import * as appautoscaling from "@pulumi/aws/appautoscaling/index.js";
import * as cloudwatch from "@pulumi/aws/cloudwatch/index.js";
import * as ecs from "@pulumi/aws/ecs/index.js";
import * as iam from "@pulumi/aws/iam/index.js";
import * as lb from "@pulumi/aws/lb/index.js";
import * as secretsmanager from "@pulumi/aws/secretsmanager/index.js";
import * as pulumi from "@pulumi/pulumi";
import type { AwsPool } from "../../stacks/aws/plan.ts";
import type { Credentials } from "../Credentials.ts";
import { pgbouncerIni, userlist } from "../docker/pgbouncerFiles.ts";
import { type ClusterUpstreams, FIRST_CLUSTER, routerPools, shardPools } from "../docker/shardRoutes.ts";
import type { RoleName } from "../roles.ts";
import { scramVerifier } from "../scram.ts";
import type { AwsSite } from "./AwsSite.ts";
import { NO_RECOVERY_DAYS, POSTGRES_PORT, awsName } from "./names.ts";
import { assumedBy, readSecrets } from "./policies.ts";
import type { RdsServer } from "./rdsInstance.ts";

/** A server, or what leads to one. */
export interface PooledServer {
  readonly address: pulumi.Output<string>;
  /** Default 5432. */
  readonly port?: number;
}

export interface PgbouncerServiceArgs {
  readonly target: "aws";
  readonly site: AwsSite;
  readonly pool: AwsPool;
  /** Where the image is, with its tag. */
  readonly image: pulumi.Input<string>;
  readonly credentials: Credentials;
  readonly primary: PooledServer;
  /** Who serves reads, all at one port; empty: the primary. */
  readonly replicas: readonly PooledServer[];
  /** ARN of a secret with the certificate of the servers' authority; default: they have RDS's. */
  readonly authorityArn?: pulumi.Output<string> | undefined;
  /** Clusters beside the first, each with its primary first: then the application's names lead to the router database. */
  readonly clusters?: readonly { readonly name: string; readonly servers: readonly RdsServer[] }[];
}

/** Who of a cluster takes writes and who serves reads, when their names are known. */
const upstreamsOf = (servers: readonly PooledServer[]): pulumi.Output<ClusterUpstreams> =>
  pulumi.all(servers.map(({ address }) => address)).apply(([write = "", ...replicas]) => ({
    write: { hosts: [write], port: servers[0]?.port ?? POSTGRES_PORT },
    read: { hosts: replicas.length > 0 ? replicas : [write], port: servers.at(-1)?.port ?? POSTGRES_PORT },
  }));

export interface PgbouncerService {
  /** DNS name of the load balancer in front of the tasks. */
  readonly address: pulumi.Output<string>;
  readonly clusterName: pulumi.Output<string>;
  /** Of the balancer: who may connect. */
  readonly securityGroupId: pulumi.Output<string>;
}

const PORT = 6432;
/** Where a task puts the certificate of the servers' authority, which it is given as a variable. */
const AUTHORITY_FILE = "/tmp/server-authority.crt";
const WITH_AUTHORITY = [
  ...["sh", "-c"],
  `printf '%s' "$CGRAPH_SERVER_AUTHORITY" >${AUTHORITY_FILE} && chmod 0644 ${AUTHORITY_FILE} && exec cgraph-service pgbouncer-from-environment`,
];
/** Fargate's longest: tasks that end let their clients finish. */
const DRAIN_SECONDS = 120;
/** Whom the pools let in. RDS shows nobody its password hashes, so there is no asking for others. */
export const POOLED: readonly RoleName[] = ["cgraph", "cgraph_readonly", "cgraph_monitor"];

/** pgbouncer.ini and the user list in one secret: verifiers, no passwords, and who reads them is who runs the pool. */
function configuration(args: PgbouncerServiceArgs, parent: pulumi.Resource) {
  const { site, pool, credentials, primary, replicas } = args;
  const secret = new secretsmanager.Secret(
    "pool",
    {
      name: awsName(site.stack, "pool"),
      description: "PgBouncer's configuration",
      kmsKeyId: site.keyArn,
      recoveryWindowInDays: NO_RECOVERY_DAYS,
    },
    { parent },
  );
  const verifiers = pulumi
    .all(
      POOLED.flatMap((role) => credentials.loginsOf(role)).map(({ name, password }) =>
        password.apply((known) => [name, scramVerifier(name, known)] as const),
      ),
    )
    .apply(userlist);
  const others = args.clusters ?? [];
  const ini = pulumi
    .all([upstreamsOf([primary, ...replicas]), pulumi.all(others.map(({ servers }) => upstreamsOf(servers)))])
    .apply(([first, rest]) => {
      const clusters = new Map([
        [FIRST_CLUSTER, first],
        ...rest.map((upstreams, index) => [others[index]?.name ?? "", upstreams] as const),
      ]);
      return pgbouncerIni({
        ...pool,
        ...first,
        ...(others.length > 0 && {
          front: routerPools(clusters, pool.routerPoolSize, false),
          more: shardPools(clusters, false),
        }),
        auth: "file",
        authorities: args.authorityArn && AUTHORITY_FILE,
      });
    });
  const version = new secretsmanager.SecretVersion(
    "pool",
    {
      secretId: secret.id,
      secretString: pulumi
        .all([ini, verifiers])
        .apply(([pgbouncerIniText, users]) => JSON.stringify({ pgbouncerIni: pgbouncerIniText, userlist: users })),
    },
    { parent },
  );
  return { secret, version };
}

/** PgBouncer as tasks of ECS Fargate over the zones, behind an internal load balancer. */
export function pgbouncerService(args: PgbouncerServiceArgs, parent: pulumi.Resource): PgbouncerService {
  const { site, pool } = args;
  const { stack, network, region } = site;
  const child = { parent };
  const { secret, version } = configuration(args, parent);
  const authority = args.authorityArn ? [args.authorityArn] : [];
  const logs = new cloudwatch.LogGroup("pool", { name: `/cgraph/${stack}/pgbouncer`, retentionInDays: 30 }, child);
  const execution = new iam.Role("pool-execution", { assumeRolePolicy: assumedBy("ecs-tasks.amazonaws.com") }, child);
  new iam.RolePolicyAttachment(
    "pool-execution",
    {
      role: execution.name,
      policyArn: "arn:aws:iam::aws:policy/service-role/AmazonECSTaskExecutionRolePolicy",
    },
    child,
  );
  new iam.RolePolicy(
    "pool-secret",
    {
      role: execution.name,
      policy: pulumi
        .all([pulumi.all([secret.arn, ...authority]), site.keyArn])
        .apply(([secretArn, keyArn]) => readSecrets(secretArn, keyArn)),
    },
    child,
  );
  const cluster = new ecs.Cluster(
    "pool",
    { name: awsName(stack), settings: [{ name: "containerInsights", value: "enabled" }] },
    child,
  );
  const task = new ecs.TaskDefinition(
    "pool",
    {
      family: awsName(stack, "pgbouncer"),
      requiresCompatibilities: ["FARGATE"],
      networkMode: "awsvpc",
      cpu: String(pool.cpuUnits),
      memory: String(pool.memoryMiB),
      executionRoleArn: execution.arn,
      containerDefinitions: pulumi
        // The version too: a changed configuration makes new tasks, which take over from the old ones.
        .all([secret.arn, version.versionId, logs.name, args.image, pulumi.all(authority)])
        .apply(([secretArn, versionId, logGroup, image, authorities]) =>
          JSON.stringify([
            {
              name: "pgbouncer",
              image,
              command: authorities.length > 0 ? WITH_AUTHORITY : ["pgbouncer-from-environment"],
              essential: true,
              portMappings: [{ containerPort: PORT, protocol: "tcp" }],
              environment: [
                { name: "CGRAPH_SERVICE", value: "pgbouncer" },
                { name: "CGRAPH_TLS_NAMES", value: "localhost" },
                { name: "CGRAPH_CONFIG_VERSION", value: versionId },
                { name: "CGRAPH_FIGURES_STACK", value: stack },
              ],
              secrets: [
                { name: "CGRAPH_PGBOUNCER_INI", valueFrom: `${secretArn}:pgbouncerIni::` },
                { name: "CGRAPH_USERLIST", valueFrom: `${secretArn}:userlist::` },
                ...authorities.map((valueFrom) => ({ name: "CGRAPH_SERVER_AUTHORITY", valueFrom })),
              ],
              // Waits for transactions under way, as long as Fargate lets it.
              stopTimeout: DRAIN_SECONDS,
              linuxParameters: { initProcessEnabled: true },
              ulimits: [{ name: "nofile", softLimit: 16_384, hardLimit: 16_384 }],
              healthCheck: {
                command: ["CMD", "cgraph-answers"],
                interval: 10,
                timeout: 8,
                retries: 3,
                startPeriod: 30,
              },
              logConfiguration: {
                logDriver: "awslogs",
                options: { "awslogs-group": logGroup, "awslogs-region": region, "awslogs-stream-prefix": "pgbouncer" },
              },
            },
          ]),
        ),
    },
    child,
  );
  // The balancer's own group: who comes through it has its address, not the client's.
  const balancerGroup = network.serviceGroup("pool", "PgBouncer's balancer", PORT);
  const taskGroup = network.securityGroup("pool-tasks", "PgBouncer", [{ port: PORT, from: [balancerGroup.id] }]);
  const balancer = new lb.LoadBalancer(
    "pool",
    {
      name: awsName(stack, "pool").slice(0, 32),
      internal: true,
      loadBalancerType: "network",
      subnets: [...network.subnetIds],
      securityGroups: [balancerGroup.id],
      enableCrossZoneLoadBalancing: true,
    },
    child,
  );
  const targets = new lb.TargetGroup(
    "pool",
    {
      port: PORT,
      protocol: "TCP",
      targetType: "ip",
      vpcId: network.vpcId,
      deregistrationDelay: DRAIN_SECONDS,
      // Clients of a task that is gone must notice, rather than wait.
      connectionTermination: true,
      healthCheck: { protocol: "TCP", port: String(PORT), interval: 10, healthyThreshold: 2, unhealthyThreshold: 2 },
    },
    child,
  );
  const listener = new lb.Listener(
    "pool",
    {
      loadBalancerArn: balancer.arn,
      port: PORT,
      protocol: "TCP",
      defaultActions: [{ type: "forward", targetGroupArn: targets.arn }],
    },
    child,
  );
  const service = new ecs.Service(
    "pool",
    {
      name: "pgbouncer",
      cluster: cluster.arn,
      taskDefinition: task.arn,
      launchType: "FARGATE",
      desiredCount: pool.tasks,
      // The new ones are well before an old one goes.
      deploymentMinimumHealthyPercent: 100,
      deploymentMaximumPercent: 200,
      deploymentCircuitBreaker: { enable: true, rollback: true },
      healthCheckGracePeriodSeconds: 60,
      networkConfiguration: {
        subnets: [...network.subnetIds],
        // The second lets them to the database.
        securityGroups: [taskGroup.id, network.clientGroupId],
        assignPublicIp: false,
      },
      loadBalancers: [{ targetGroupArn: targets.arn, containerName: "pgbouncer", containerPort: PORT }],
    },
    // How many there are is for the scaling below to say.
    { ...child, dependsOn: [listener], ignoreChanges: ["desiredCount"] },
  );
  scaling(args, { cluster, service, balancer, targets }, parent);
  return { address: balancer.dnsName, clusterName: cluster.name, securityGroupId: balancerGroup.id };
}

interface Scaled {
  readonly cluster: ecs.Cluster;
  readonly service: ecs.Service;
  readonly balancer: lb.LoadBalancer;
  readonly targets: lb.TargetGroup;
}

/** More tasks when each has many connections: seven tenths of what PgBouncer lets in. */
function scaling({ pool }: PgbouncerServiceArgs, made: Scaled, parent: pulumi.Resource): void {
  const { cluster, service, balancer, targets } = made;
  const target = new appautoscaling.Target(
    "pool",
    {
      serviceNamespace: "ecs",
      scalableDimension: "ecs:service:DesiredCount",
      resourceId: pulumi.interpolate`service/${cluster.name}/${service.name}`,
      minCapacity: pool.tasks,
      maxCapacity: pool.maxTasks,
    },
    { parent },
  );
  const loadBalancer = { name: "LoadBalancer", value: balancer.arnSuffix };
  const metric = (id: string, metricName: string, dimensions: { name: string; value: pulumi.Input<string> }[]) => ({
    id,
    returnData: false,
    metricStat: { stat: "Average", metric: { namespace: "AWS/NetworkELB", metricName, dimensions } },
  });
  new appautoscaling.Policy(
    "pool-connections",
    {
      policyType: "TargetTrackingScaling",
      serviceNamespace: target.serviceNamespace,
      scalableDimension: target.scalableDimension,
      resourceId: target.resourceId,
      targetTrackingScalingPolicyConfiguration: {
        targetValue: Math.floor(pool.maxClientConnections * 0.7),
        scaleInCooldown: 600,
        scaleOutCooldown: 60,
        customizedMetricSpecification: {
          metrics: [
            metric("flows", "ActiveFlowCount", [loadBalancer]),
            metric("tasks", "HealthyHostCount", [loadBalancer, { name: "TargetGroup", value: targets.arnSuffix }]),
            { id: "each", expression: "flows / tasks", label: "connections of each task", returnData: true },
          ],
        },
      },
    },
    { parent },
  );
}
