/** What a change of AWS's resources means: from AWS's own tables of what a modification does. */
import { type Change, topLevel } from "./change.ts";
import { type Effect, plain } from "./effect.ts";

const CHANGE: Effect = { happens: "change", clients: "nothing", why: "" };

/**
 * Inputs of an RDS instance that change while it serves (Amazon RDS User Guide, "Settings for DB instances"); what is in
 * neither table is taken to restart it.
 */
const RDS_ONLINE = new Set([
  ...["allocatedStorage", "maxAllocatedStorage", "iops", "storageThroughput", "storageType", "multiAz", "tags"],
  ...["tagsAll", "applyImmediately", "password", "backupWindow", "maintenanceWindow", "copyTagsToSnapshot"],
  ...["deletionProtection", "enabledCloudwatchLogsExports", "iamDatabaseAuthenticationEnabled", "monitoringInterval"],
  ...["monitoringRoleArn", "performanceInsightsEnabled", "performanceInsightsKmsKeyId", "databaseInsightsMode"],
  ...["performanceInsightsRetentionPeriod", "vpcSecurityGroupIds", "autoMinorVersionUpgrade", "caCertIdentifier"],
  ...["finalSnapshotIdentifier", "skipFinalSnapshot", "deleteAutomatedBackups", "publiclyAccessible"],
  // The group itself takes effect at once; its static parameters wait for a reboot, which the group's own change says.
  "parameterGroupName",
]);

const RDS_RESTARTS: Readonly<Record<string, string>> = {
  instanceClass: "another class of server",
  engineVersion: "another version of PostgreSQL",
  identifier: "another name, and another address",
  port: "another port",
  backupRetentionPeriod: "backups on or off",
  dbSubnetGroupName: "other subnets",
};

/** Whether a retention of backups goes to none or comes from none: AWS restarts the instance for it. */
const turnsBackups = ({ before, after }: Change): boolean =>
  Number(before["backupRetentionPeriod"] ?? 0) > 0 !== Number(after["backupRetentionPeriod"] ?? 0) > 0;

function rdsInstance(change: Change): Effect {
  const keys = [...new Set(change.properties.map(({ path }) => topLevel(path)))];
  const reasons = keys
    .filter((key) => (key === "backupRetentionPeriod" ? turnsBackups(change) : !RDS_ONLINE.has(key)))
    .map((key) => RDS_RESTARTS[key] ?? `${key}, which is not known to be harmless`);
  if (reasons.length === 0) return CHANGE;
  const when = change.after["applyImmediately"] === true ? "at once" : "in its maintenance window";
  const isReplica = change.after["replicateSourceDb"] !== undefined;
  const how =
    change.after["multiAz"] === true ? "a reboot with failover, one to two minutes" : "a reboot of some minutes";
  return {
    happens: "restart",
    clients: isReplica ? "reads pause" : "writes pause",
    why: `${reasons.join(", ")}: ${how}, ${when}`,
  };
}

interface Parameter {
  readonly name: string;
  readonly value: string;
  readonly applyMethod?: string;
}

const parametersOf = (inputs: Change["before"]): Map<string, Parameter> =>
  new Map(((inputs["parameters"] ?? []) as Parameter[]).map((parameter) => [parameter.name, parameter]));

function parameterGroup(change: Change): Effect {
  const [before, after] = [parametersOf(change.before), parametersOf(change.after)];
  const changed = [...new Set([...before.keys(), ...after.keys()])].filter(
    (name) => before.get(name)?.value !== after.get(name)?.value,
  );
  const isStatic = (name: string): boolean => (after.get(name) ?? before.get(name))?.applyMethod === "pending-reboot";
  const waiting = changed.filter(isStatic);
  if (waiting.length === 0) {
    return changed.length === 0 ? CHANGE : { ...CHANGE, happens: "reload", why: changed.join(", ") };
  }
  return {
    happens: "restart",
    clients: "writes pause",
    why: `${waiting.join(", ")} from the next reboot on (./cgraph-db restart --rolling)`,
  };
}

function cache(change: Change): Effect {
  const failing = change.properties
    .map(({ path }) => topLevel(path))
    .filter((key) => ["nodeType", "engineVersion", "engine", "authToken", "parameterGroupName"].includes(key));
  if (change.op === "update" && failing.length === 0) return CHANGE;
  if (change.op === "create") return plain(change);
  return {
    happens: change.op === "update" ? "restart" : change.op === "replace" ? "replace" : "delete",
    clients: "reconnect",
    why: "the cache's nodes change places, or start empty; the database answers meanwhile",
  };
}

/** Whose new tasks take over from the old ones, which let their clients finish. */
function rolling(change: Change): Effect {
  if (change.op === "create") return plain(change);
  return {
    happens: change.op === "delete" ? "delete" : "restart",
    clients: "reconnect",
    why: "new tasks take over; the old ones drain for two minutes",
  };
}

/** A changed address, or none: clients must be told. */
function address(change: Change): Effect {
  if (change.op === "create" || change.op === "update") return plain(change);
  return { happens: change.op === "replace" ? "replace" : "delete", clients: "writes pause", why: "its address goes" };
}

const RULES: Readonly<Record<string, (change: Change) => Effect>> = {
  "aws:rds/instance:Instance": (change) => (change.op === "update" ? rdsInstance(change) : plain(change)),
  "aws:rds/parameterGroup:ParameterGroup": (change) =>
    change.op === "update" ? parameterGroup(change) : plain(change),
  "aws:elasticache/replicationGroup:ReplicationGroup": cache,
  "aws:ecs/service:Service": rolling,
  "aws:ecs/cluster:Cluster": rolling,
  "aws:lb/loadBalancer:LoadBalancer": address,
  "aws:lb/listener:Listener": address,
  "aws:lb/targetGroup:TargetGroup": address,
  "aws:rds/proxy:Proxy": address,
  "aws:rds/proxyDefaultTargetGroup:ProxyDefaultTargetGroup": address,
  "aws:rds/proxyTarget:ProxyTarget": address,
  "aws:ec2/vpc:Vpc": address,
  "aws:ec2/subnet:Subnet": address,
  "aws:rds/subnetGroup:SubnetGroup": address,
  "aws:ec2/securityGroup:SecurityGroup": address,
  "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule": (change) =>
    change.op === "create"
      ? plain(change)
      : { ...plain(change), clients: "reconnect", why: "who may connect is another set of servers" },
};

/** What a change of a resource of AWS's means. */
export const awsEffect = (change: Change): Effect => (RULES[change.type] ?? plain)(change);
