/**
 * Changes on AWS, and what each means: from the Amazon RDS User Guide ("Settings for DB instances", "Modifying"), the API
 * reference of ModifyDBInstance, ElastiCache's and ECS's guides, and which inputs the aws plugin cannot change in place.
 */
import * as pulumi from "@pulumi/pulumi";
import type { Expected, Inputs, Scenario } from "./scenario.ts";

const HARMLESS: Expected = { happens: "change", clients: "nothing", unsafe: false, verdict: "safe" };
const ADDED: Expected = { ...HARMLESS, happens: "create" };
const GONE_UNNOTICED: Expected = { ...HARMLESS, happens: "delete" };
/** RDS reboots the instance. */
const REBOOT: Expected = { happens: "restart", clients: "writes pause", unsafe: false, verdict: "restarts" };
const REPLICA_REBOOT: Expected = { ...REBOOT, clients: "reads pause" };
const LOST: Expected = { happens: "replace", clients: "writes pause", unsafe: true, verdict: "unsafe" };
const NEW_TASKS: Expected = { happens: "restart", clients: "reconnect", unsafe: false, verdict: "restarts" };
const ADDRESS_GOES: Expected = { happens: "delete", clients: "writes pause", unsafe: false, verdict: "restarts" };

const set = (inputs: Inputs) => (): Inputs => inputs;
const PG0 = "Instance pg0";
/** Of the first server's inputs. */
const pg0 = (inputs: Inputs) => ({ inputs: { [PG0]: set(inputs) } });
const OTHER_KEY = "arn:aws:kms:us-east-1:123456789012:key/other";

const instance: readonly Scenario[] = [
  {
    name: "tags",
    stage: 1,
    changed: "a tag of the database",
    about: PG0,
    change: pg0({ tags: { team: "chat" } }),
    expected: HARMLESS,
  },
  {
    name: "instance-class",
    stage: 1,
    changed: "instanceClass to db.m7g.large",
    about: PG0,
    change: { config: { instanceClass: "db.m7g.large" } },
    expected: REBOOT,
  },
  {
    name: "instance-class-of-replicas",
    stage: 2,
    changed: "instanceClass to db.r7g.xlarge, seen from a replica",
    about: "Instance pg1",
    change: { config: { instanceClass: "db.r7g.xlarge" } },
    expected: REPLICA_REBOOT,
  },
  {
    name: "storage-grows",
    stage: 1,
    changed: "storageGiB from 50 to 100",
    about: PG0,
    change: { config: { storageGiB: "100" } },
    expected: HARMLESS,
  },
  {
    // The plugin leaves the smaller size out while the storage may grow by itself: only the bound changes.
    name: "storage-shrinks",
    stage: 1,
    changed: "storageGiB from 50 to 30",
    about: PG0,
    change: { config: { storageGiB: "30" } },
    expected: HARMLESS,
  },
  {
    // AWS refuses the call: nothing is lost, and nothing restarts.
    name: "storage-shrinks-without-autoscaling",
    stage: 1,
    changed: "allocatedStorage from 50 to 30, with no maxAllocatedStorage",
    about: PG0,
    before: pg0({ maxAllocatedStorage: undefined }),
    change: pg0({ maxAllocatedStorage: undefined, allocatedStorage: 30 }),
    expected: HARMLESS,
  },
  {
    name: "storage-iops",
    stage: 1,
    changed: "storageIops to 16000",
    about: PG0,
    before: { config: { storageGiB: "400" } },
    change: { config: { storageIops: "16000" } },
    expected: HARMLESS,
  },
  {
    name: "storage-throughput",
    stage: 1,
    changed: "storageThroughputMiBs to 800",
    about: PG0,
    before: { config: { storageGiB: "400" } },
    change: { config: { storageThroughputMiBs: "800" } },
    expected: HARMLESS,
  },
  {
    name: "storage-type",
    stage: 1,
    changed: "storageType from gp3 to io2",
    about: PG0,
    change: pg0({ storageType: "io2", iops: 4000 }),
    expected: HARMLESS,
  },
  {
    // From or to magnetic storage the instance is down while its data is copied.
    name: "storage-type-from-magnetic",
    stage: 1,
    changed: "storageType from standard to gp3",
    about: PG0,
    before: pg0({ storageType: "standard" }),
    change: pg0({ storageType: "gp3" }),
    expected: REBOOT,
  },
  {
    name: "engine-minor",
    stage: 1,
    changed: "engineVersion from 17.5 to 17.6",
    about: PG0,
    before: pg0({ engineVersion: "17.5" }),
    change: pg0({ engineVersion: "17.6" }),
    expected: REBOOT,
  },
  {
    name: "engine-major",
    stage: 1,
    changed: "postgresVersion from 16 to 17",
    about: PG0,
    before: { config: { postgresVersion: "16" } },
    change: { config: { postgresVersion: "17" } },
    expected: REBOOT,
  },
  {
    name: "multi-az-on",
    stage: 1,
    changed: "multiAz to true",
    about: PG0,
    change: { config: { multiAz: "true" } },
    expected: HARMLESS,
  },
  {
    name: "multi-az-off",
    stage: 2,
    changed: "multiAz to false",
    about: PG0,
    change: { config: { multiAz: "false" } },
    expected: HARMLESS,
  },
  {
    name: "backups-longer",
    stage: 1,
    changed: "backupRetentionDays from 7 to 30",
    about: PG0,
    change: { config: { backupRetentionDays: "30" } },
    expected: HARMLESS,
  },
  {
    name: "backups-shorter",
    stage: 1,
    changed: "backupRetentionDays from 30 to 7",
    about: PG0,
    before: { config: { backupRetentionDays: "30" } },
    change: { config: { backupRetentionDays: "7" } },
    expected: HARMLESS,
  },
  {
    // RDS reboots the instance, and deletes all of its automated backups at once: no restore to a time any more.
    name: "backups-off",
    stage: 1,
    changed: "backupRetentionPeriod from 7 to 0",
    about: PG0,
    change: pg0({ backupRetentionPeriod: 0 }),
    expected: { happens: "restart", clients: "writes pause", unsafe: true, verdict: "unsafe" },
  },
  {
    name: "backups-on",
    stage: 1,
    changed: "backupRetentionPeriod from 0 to 7",
    about: PG0,
    before: pg0({ backupRetentionPeriod: 0 }),
    change: pg0({ backupRetentionPeriod: 7 }),
    expected: REBOOT,
  },
  {
    name: "kms-key",
    stage: 1,
    changed: "kmsKeyId to another key",
    about: PG0,
    change: pg0({ kmsKeyId: OTHER_KEY }),
    expected: LOST,
  },
  {
    name: "encryption-on",
    stage: 1,
    changed: "storageEncrypted from false to true",
    about: PG0,
    before: pg0({ storageEncrypted: false, kmsKeyId: undefined }),
    change: pg0({ storageEncrypted: true, kmsKeyId: OTHER_KEY }),
    expected: LOST,
  },
  {
    name: "database-name",
    stage: 1,
    changed: "dbName to another name",
    about: PG0,
    change: pg0({ dbName: "cgraph" }),
    expected: LOST,
  },
  {
    name: "identifier",
    stage: 1,
    changed: "identifier to another name",
    about: PG0,
    change: pg0({ identifier: "cgraph-renamed-pg0" }),
    expected: REBOOT,
  },
  {
    name: "identifier-of-replica",
    stage: 2,
    changed: "identifier of a replica to another name",
    about: "Instance pg1",
    change: { inputs: { "Instance pg1": set({ identifier: "cgraph-renamed-pg1" }) } },
    expected: REPLICA_REBOOT,
  },
  {
    // RDS moves the instance to the group's VPC, which takes it down meanwhile.
    name: "subnet-group-of-database",
    stage: 1,
    changed: "dbSubnetGroupName to another group",
    about: PG0,
    change: pg0({ dbSubnetGroupName: "another" }),
    expected: REBOOT,
  },
  { name: "port", stage: 1, changed: "port to 5433", about: PG0, change: pg0({ port: 5433 }), expected: REBOOT },
  {
    // The rules refuse it (policy.ts); to data and clients it does nothing.
    name: "public",
    stage: 1,
    changed: "publiclyAccessible to true",
    about: PG0,
    change: pg0({ publiclyAccessible: true }),
    expected: HARMLESS,
  },
  {
    name: "deletion-protection-off",
    stage: 1,
    changed: "deletionProtection to false",
    about: PG0,
    change: pg0({ deletionProtection: false }),
    expected: HARMLESS,
  },
  {
    name: "apply-immediately",
    stage: 1,
    changed: "applyImmediately to true",
    about: PG0,
    change: { config: { applyImmediately: "true" } },
    expected: HARMLESS,
  },
  {
    name: "instance-class-at-once",
    stage: 1,
    changed: "instanceClass to db.m7g.large with applyImmediately",
    about: PG0,
    change: { config: { instanceClass: "db.m7g.large", applyImmediately: "true" } },
    expected: REBOOT,
  },
  {
    // PostgreSQL on RDS takes another certificate without a restart.
    name: "certificate-authority",
    stage: 1,
    changed: "caCertIdentifier to rds-ca-rsa4096-g1",
    about: PG0,
    change: pg0({ caCertIdentifier: "rds-ca-rsa4096-g1" }),
    expected: HARMLESS,
  },
  {
    name: "monitoring-interval",
    stage: 1,
    changed: "monitoringInterval from 60 to 15",
    about: PG0,
    change: pg0({ monitoringInterval: 15 }),
    expected: HARMLESS,
  },
  {
    name: "security-groups-of-database",
    stage: 1,
    changed: "another security group beside the database's",
    about: PG0,
    change: {
      inputs: {
        [PG0]: ({ vpcSecurityGroupIds }) => ({
          vpcSecurityGroupIds: [...(vpcSecurityGroupIds as unknown[]), "sg-another"],
        }),
      },
    },
    expected: HARMLESS,
  },
  {
    name: "replica-added",
    stage: 2,
    changed: "replicas from 1 to 2",
    about: "Instance pg2",
    change: { config: { replicas: "2" } },
    // The pool learns of it by new tasks.
    expected: { ...ADDED, verdict: "restarts" },
  },
  {
    name: "replica-removed",
    stage: 2,
    changed: "replicas from 2 to 1",
    about: "Instance pg2",
    before: { config: { replicas: "2" } },
    change: { config: { replicas: "1" } },
    expected: { happens: "delete", clients: "reads pause", unsafe: true, verdict: "unsafe" },
  },
];

const GROUP = "ParameterGroup pg0-parameters";
const settings: readonly Scenario[] = [
  {
    name: "setting-dynamic",
    stage: 1,
    changed: "work_mem",
    about: GROUP,
    change: { config: { settings: '{"work_mem": "32MB"}' } },
    expected: { ...HARMLESS, happens: "reload" },
  },
  {
    // RDS reads it at the next reboot, which somebody has to order.
    name: "setting-static",
    stage: 1,
    changed: "max_locks_per_transaction",
    about: GROUP,
    change: { config: { settings: '{"max_locks_per_transaction": "256"}' } },
    expected: REBOOT,
  },
  {
    name: "max-connections",
    stage: 1,
    changed: "maxConnections from 100 to 150",
    about: GROUP,
    change: { config: { maxConnections: "150" } },
    expected: REBOOT,
  },
  {
    name: "setting-static-of-replica",
    stage: 2,
    changed: "max_connections of a replica's own group",
    about: "ParameterGroup pg1-parameters",
    change: {
      inputs: {
        "ParameterGroup pg1-parameters": ({ parameters }) => ({
          parameters: (parameters as { name: string; value: string }[]).map((one) =>
            one.name === "max_connections" ? { ...one, value: "400" } : one,
          ),
        }),
      },
    },
    expected: REPLICA_REBOOT,
  },
];

const foundations: readonly Scenario[] = [
  {
    name: "vpc-cidr",
    stage: 1,
    changed: "vpcCidr to 10.30.0.0/16",
    about: "Vpc vpc",
    change: { config: { vpcCidr: "10.30.0.0/16" } },
    expected: LOST,
  },
  {
    name: "subnet-cidr",
    stage: 1,
    changed: "another range for one subnet",
    about: "Subnet private-0",
    change: { inputs: { "Subnet private-0": set({ cidrBlock: "10.20.240.0/20" }) } },
    expected: LOST,
  },
  {
    name: "subnet-group-renamed",
    stage: 1,
    changed: "name of the database's subnet group",
    about: "SubnetGroup database",
    change: { inputs: { "SubnetGroup database": set({ name: "cgraph-other" }) } },
    expected: LOST,
  },
  {
    name: "subnet-group-grows",
    stage: 1,
    changed: "one more subnet in the database's subnet group",
    about: "SubnetGroup database",
    change: {
      inputs: {
        "SubnetGroup database": ({ subnetIds }) => ({ subnetIds: [...(subnetIds as unknown[]), "subnet-another"] }),
      },
    },
    expected: HARMLESS,
  },
  {
    name: "key-description",
    stage: 1,
    changed: "description of the key",
    about: "Key key",
    change: { inputs: { "Key key": set({ description: "The database's key" }) } },
    expected: HARMLESS,
  },
  {
    // An instance whose key is disabled stops, and after seven days cannot be started any more.
    name: "key-disabled",
    stage: 1,
    changed: "isEnabled of the key to false",
    about: "Key key",
    change: { inputs: { "Key key": set({ isEnabled: false }) } },
    expected: { happens: "change", clients: "writes pause", unsafe: true, verdict: "unsafe" },
  },
  {
    name: "key-multi-region",
    stage: 1,
    changed: "multiRegion of the key to true",
    about: "Key key",
    change: { inputs: { "Key key": set({ multiRegion: true }) } },
    expected: LOST,
  },
  {
    name: "secret-renamed",
    stage: 1,
    changed: "name of the administrator's secret",
    about: "Secret administrator",
    change: { inputs: { "Secret administrator": set({ name: "cgraph-other" }) } },
    expected: LOST,
  },
  {
    // Another version takes the place of the one from before, which nobody asks for any more.
    name: "secret-value",
    stage: 1,
    changed: "what the administrator's secret says",
    about: "SecretVersion administrator",
    change: { inputs: { "SecretVersion administrator": set({ secretString: pulumi.secret("{}") }) } },
    expected: { ...HARMLESS, happens: "replace" },
  },
  {
    name: "password-length",
    stage: 1,
    changed: "length of the application's password",
    about: "RandomPassword password-cgraph",
    change: { inputs: { "RandomPassword password-cgraph": set({ length: 40 }) } },
    expected: LOST,
  },
  {
    name: "administrator-password-length",
    stage: 1,
    changed: "length of the administrator's password",
    about: "RandomPassword password-administrator",
    change: { inputs: { "RandomPassword password-administrator": set({ length: 56 }) } },
    expected: LOST,
  },
];

const RULE = "SecurityGroupIngressRule database-5432-cidr-0";
const network: readonly Scenario[] = [
  {
    name: "clients-added",
    stage: 1,
    changed: "clientCidrs with a range",
    about: RULE,
    change: { config: { clientCidrs: '["10.9.0.0/16"]' } },
    expected: ADDED,
  },
  {
    name: "clients-removed",
    stage: 1,
    changed: "clientCidrs without its range",
    about: RULE,
    before: { config: { clientCidrs: '["10.9.0.0/16"]' } },
    change: { config: { clientCidrs: "[]" } },
    expected: { happens: "delete", clients: "reconnect", unsafe: false, verdict: "restarts" },
  },
  {
    name: "clients-changed",
    stage: 1,
    changed: "clientCidrs with another range",
    about: RULE,
    before: { config: { clientCidrs: '["10.9.0.0/16"]' } },
    change: { config: { clientCidrs: '["10.8.0.0/16"]' } },
    expected: { happens: "change", clients: "reconnect", unsafe: false, verdict: "restarts" },
  },
  {
    name: "rule-description",
    stage: 1,
    changed: "description of a rule of the database's security group",
    about: "SecurityGroupIngressRule database-5432-0",
    change: { inputs: { "SecurityGroupIngressRule database-5432-0": set({ description: "The application" }) } },
    expected: HARMLESS,
  },
  {
    // Who is in the old group, such as the application's servers, is not in the new one.
    name: "clients-group-replaced",
    stage: 1,
    changed: "description of the clients' security group, which AWS cannot change",
    about: "SecurityGroup clients",
    change: { inputs: { "SecurityGroup clients": set({ description: "Clients" }) } },
    expected: { ...ADDRESS_GOES, happens: "replace" },
  },
  {
    name: "access-host-off",
    stage: 1,
    changed: "accessHost to false: the host goes, and its ways to AWS's services",
    about: "Group access",
    change: { config: { accessHost: "false" } },
    expected: GONE_UNNOTICED,
  },
  {
    name: "access-host-type",
    stage: 1,
    changed: "another class of access host",
    about: "LaunchTemplate access",
    change: { inputs: { "LaunchTemplate access": set({ instanceType: "t4g.micro" }) } },
    expected: HARMLESS,
  },
  {
    name: "endpoint-added",
    stage: 2,
    changed: "accessHost to true: ways to AWS's services for it",
    about: "VpcEndpoint ssm",
    before: { config: { accessHost: "false" } },
    change: { config: { accessHost: "true" } },
    expected: ADDED,
  },
  {
    name: "endpoint-tags",
    stage: 1,
    changed: "a tag of an endpoint",
    about: "VpcEndpoint ssm",
    change: { inputs: { "VpcEndpoint ssm": set({ tags: { team: "chat" } }) } },
    expected: HARMLESS,
  },
];

const watching: readonly Scenario[] = [
  {
    name: "dashboard",
    stage: 1,
    changed: "another panel of the dashboard",
    about: "Dashboard dashboard",
    change: { inputs: { "Dashboard dashboard": set({ dashboardBody: '{"widgets": []}' }) } },
    expected: HARMLESS,
  },
  {
    name: "alarm-threshold",
    stage: 1,
    changed: "threshold of an alarm",
    about: "MetricAlarm pg0-cpu-warning",
    change: { inputs: { "MetricAlarm pg0-cpu-warning": set({ threshold: 85 }) } },
    expected: HARMLESS,
  },
  {
    name: "alarm-email",
    stage: 1,
    changed: "alertEmail",
    about: "TopicSubscription alarms-email",
    change: { config: { alertEmail: "operator@example.com" } },
    expected: ADDED,
  },
  {
    name: "check-code",
    stage: 1,
    changed: "code of the scheduled check",
    about: "Function check",
    change: {
      inputs: {
        "Function check": set({
          code: new pulumi.asset.AssetArchive({ "handler.js": new pulumi.asset.StringAsset("export {};") }),
        }),
      },
    },
    expected: HARMLESS,
  },
  {
    name: "check-memory",
    stage: 1,
    changed: "memory of the scheduled check",
    about: "Function check",
    change: { inputs: { "Function check": set({ memorySize: 256 }) } },
    expected: HARMLESS,
  },
  {
    name: "log-retention",
    stage: 1,
    changed: "days that the server's log is kept",
    about: "LogGroup pg0-log",
    change: { inputs: { "LogGroup pg0-log": set({ retentionInDays: 90 }) } },
    expected: HARMLESS,
  },
];

const SERVICE = "Service pool";
const BALANCER = "LoadBalancer pool";
const pool: readonly Scenario[] = [
  {
    name: "pool-size",
    stage: 2,
    changed: "poolSize to 20",
    about: SERVICE,
    change: { config: { poolSize: "20" } },
    expected: NEW_TASKS,
  },
  {
    name: "pool-image",
    stage: 2,
    changed: "poolerImage",
    about: SERVICE,
    change: { config: { poolerImage: "registry.example/pgbouncer:1" } },
    expected: NEW_TASKS,
  },
  {
    name: "pool-cpu",
    stage: 2,
    changed: "CPU of the pool's tasks",
    about: SERVICE,
    change: { inputs: { "TaskDefinition pool": set({ cpu: "1024", memory: "2048" }) } },
    expected: NEW_TASKS,
  },
  {
    name: "pool-tasks",
    stage: 2,
    changed: "poolers from 2 to 3, at the same poolSize",
    about: "Target pool",
    before: { config: { poolSize: "20" } },
    change: { config: { poolers: "3" } },
    expected: HARMLESS,
  },
  {
    // How many tasks there are is the scaling's to say.
    name: "pool-desired-count",
    stage: 2,
    changed: "desiredCount, which is ignored",
    about: SERVICE,
    change: { inputs: { [SERVICE]: set({ desiredCount: 5 }) } },
    expected: { happens: null, clients: "nothing", unsafe: false, verdict: "none" },
  },
  {
    name: "pool-grace-period",
    stage: 2,
    changed: "healthCheckGracePeriodSeconds",
    about: SERVICE,
    change: { inputs: { [SERVICE]: set({ healthCheckGracePeriodSeconds: 90 }) } },
    expected: HARMLESS,
  },
  {
    name: "pool-insights",
    stage: 2,
    changed: "containerInsights of the tasks' cluster",
    about: "Cluster pool",
    change: { inputs: { "Cluster pool": set({ settings: [{ name: "containerInsights", value: "disabled" }] }) } },
    expected: HARMLESS,
  },
  {
    name: "pool-drain",
    stage: 2,
    changed: "deregistrationDelay of the balancer's targets",
    about: "TargetGroup pool",
    change: { inputs: { "TargetGroup pool": set({ deregistrationDelay: 60 }) } },
    expected: HARMLESS,
  },
  {
    name: "pool-cross-zone",
    stage: 2,
    changed: "cross-zone balancing off",
    about: BALANCER,
    change: { inputs: { [BALANCER]: set({ enableCrossZoneLoadBalancing: false }) } },
    expected: HARMLESS,
  },
  {
    name: "pool-balancer-renamed",
    stage: 2,
    changed: "name of the balancer, and so its address",
    about: BALANCER,
    change: { inputs: { [BALANCER]: set({ name: "cgraph-other" }) } },
    expected: { ...ADDRESS_GOES, happens: "replace" },
  },
  {
    // AWS changes the listener in place, but nothing listens where clients connect.
    name: "pool-port",
    stage: 2,
    changed: "port of the balancer's listener",
    about: "Listener pool",
    change: { inputs: { "Listener pool": set({ port: 6433 }) } },
    expected: { ...ADDRESS_GOES, happens: "change" },
  },
  {
    name: "pooler-rds-proxy",
    stage: 2,
    changed: "pooler to rds-proxy",
    about: BALANCER,
    change: { config: { pooler: "rds-proxy" } },
    expected: ADDRESS_GOES,
  },
  {
    name: "pooler-pgbouncer",
    stage: 2,
    changed: "pooler from rds-proxy to pgbouncer",
    about: "Proxy proxy",
    before: { config: { pooler: "rds-proxy" } },
    change: { config: { pooler: "pgbouncer" } },
    expected: ADDRESS_GOES,
  },
  {
    name: "proxy-idle-timeout",
    stage: 2,
    changed: "idleClientTimeout of RDS Proxy",
    about: "Proxy proxy",
    before: { config: { pooler: "rds-proxy" } },
    change: { inputs: { "Proxy proxy": set({ idleClientTimeout: 900 }) } },
    expected: HARMLESS,
  },
];

const CACHE = "ReplicationGroup cache";
const cache: readonly Scenario[] = [
  {
    name: "cache-node",
    stage: 3,
    changed: "cacheMemoryMiB to 12000: a larger node",
    about: CACHE,
    change: { config: { cacheMemoryMiB: "12000" } },
    expected: { happens: "restart", clients: "reconnect", unsafe: false, verdict: "restarts" },
  },
  {
    name: "cache-engine-to-redis",
    stage: 3,
    changed: "cacheEngine from valkey to redis",
    about: CACHE,
    change: { config: { cacheEngine: "redis" } },
    expected: { happens: "replace", clients: "reconnect", unsafe: false, verdict: "restarts" },
  },
  {
    name: "cache-engine-to-valkey",
    stage: 3,
    changed: "cacheEngine from redis to valkey",
    about: CACHE,
    before: { config: { cacheEngine: "redis" } },
    change: { config: { cacheEngine: "valkey" } },
    expected: { happens: "restart", clients: "reconnect", unsafe: false, verdict: "restarts" },
  },
  {
    // By ROTATE the old password stays valid beside the new one.
    name: "cache-password-rotated",
    stage: 3,
    changed: "authToken, by ROTATE",
    about: CACHE,
    change: { inputs: { [CACHE]: set({ authToken: pulumi.secret("another-password-of-the-cache") }) } },
    expected: HARMLESS,
  },
  {
    name: "cache-nodes",
    stage: 3,
    changed: "one more node",
    about: CACHE,
    change: { inputs: { [CACHE]: set({ numCacheClusters: 3 }) } },
    expected: HARMLESS,
  },
  {
    name: "cache-snapshots",
    stage: 3,
    changed: "days that snapshots of the cache are kept",
    about: CACHE,
    change: { inputs: { [CACHE]: set({ snapshotRetentionLimit: 3 }) } },
    expected: HARMLESS,
  },
  {
    name: "cache-eviction",
    stage: 3,
    changed: "maxmemory-policy",
    about: "ParameterGroup cache",
    change: {
      inputs: { "ParameterGroup cache": set({ parameters: [{ name: "maxmemory-policy", value: "allkeys-lru" }] }) },
    },
    expected: HARMLESS,
  },
];

const stages: readonly Scenario[] = [
  {
    name: "stage-1-to-2",
    stage: 1,
    changed: "stage to 2",
    about: PG0,
    change: { config: { stage: "2" } },
    expected: REBOOT,
  },
  {
    name: "stage-2-to-1",
    stage: 2,
    changed: "stage to 1",
    about: "Instance pg1",
    change: { config: { stage: "1" } },
    expected: { happens: "delete", clients: "reads pause", unsafe: true, verdict: "unsafe" },
  },
  {
    // The plugin would look for everything in the other region, find nothing, and make it anew. It says so of few.
    name: "region",
    stage: 1,
    changed: "region to eu-west-1",
    about: "aws aws",
    change: { config: { region: "eu-west-1" } },
    expected: { happens: "change", clients: "writes pause", unsafe: true, verdict: "unsafe" },
  },
  {
    name: "region-with-existing-vpc",
    stage: 1,
    changed: "region to eu-west-1, in an existing VPC",
    about: "aws aws",
    before: { config: { vpcId: "vpc-0a1b2c3d", subnetIds: '["subnet-0a", "subnet-0b"]' } },
    change: { config: { region: "eu-west-1" } },
    expected: { happens: "change", clients: "writes pause", unsafe: true, verdict: "unsafe" },
  },
];

const TWO_REGIONS = '["us-east-1", "eu-west-1"]';
const regions: readonly Scenario[] = [
  {
    name: "region-added",
    stage: 2,
    changed: "regions from one to two",
    about: "Instance eu-west-1-pg0",
    change: { config: { regions: TWO_REGIONS } },
    // The pool of home leads to home's servers, as before.
    expected: ADDED,
  },
  {
    name: "region-removed",
    stage: 2,
    changed: "regions from two to one",
    about: "Instance eu-west-1-pg0",
    before: { config: { regions: TWO_REGIONS } },
    change: { config: { regions: '["us-east-1"]' } },
    expected: { happens: "delete", clients: "reads pause", unsafe: true, verdict: "unsafe" },
  },
];

export const AWS_SCENARIOS: readonly Scenario[] = [
  ...instance,
  ...settings,
  ...foundations,
  ...network,
  ...watching,
  ...pool,
  ...cache,
  ...stages,
  ...regions,
];
