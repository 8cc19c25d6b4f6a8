/** What a change of AWS's resources means: from AWS's own tables of what a modification does. */
import { type Change, isElsewhere, resourceName, topLevel } from "./change.ts";
import { type Effect, plain } from "./effect.ts";

const CHANGE: Effect = { happens: "change", clients: "nothing", why: "" };

/** Inputs that change, each once. */
const keysOf = ({ properties }: Change): string[] => [...new Set(properties.map(({ path }) => topLevel(path)))];

/** Whether nothing but these inputs changes. Where nobody says what does, it may be anything. */
const onlyChanges = (change: Change, harmless: readonly string[]): boolean =>
  change.properties.length > 0 && keysOf(change).every((key) => harmless.includes(key));

const TAGS = ["tags", "tagsAll"];

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
  // Only says what a change of engineVersion may do.
  "allowMajorVersionUpgrade",
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
  storageType: "from or to magnetic storage",
};

const keepsBackups = (inputs: Change["before"]): boolean => Number(inputs["backupRetentionPeriod"] ?? 0) > 0;

/** Whether an input of an instance restarts it. */
function restarts(key: string, { before, after }: Change): boolean {
  // From none to some and back AWS restarts it; other numbers are days.
  if (key === "backupRetentionPeriod") return keepsBackups(before) !== keepsBackups(after);
  if (key === "storageType") return [before, after].some((inputs) => inputs[key] === "standard");
  return !RDS_ONLINE.has(key);
}

export const isReplica = (inputs: Change["before"]): boolean => inputs["replicateSourceDb"] !== undefined;

function rdsInstance(change: Change): Effect {
  const { before, after } = change;
  const keys = keysOf(change);
  const reasons = keys
    .filter((key) => restarts(key, change))
    .map((key) => RDS_RESTARTS[key] ?? `${key}, which is not known to be harmless`);
  if (reasons.length === 0) {
    const shrinks = Number(after["allocatedStorage"]) < Number(before["allocatedStorage"]);
    return shrinks ? { ...CHANGE, why: "AWS refuses: storage does not shrink" } : CHANGE;
  }
  // Another port does not wait for the window, whatever is asked for.
  const when = after["applyImmediately"] === true || keys.includes("port") ? "at once" : "in its maintenance window";
  const how = after["multiAz"] === true ? "a reboot with failover, one to two minutes" : "a reboot of some minutes";
  return {
    happens: "restart",
    clients: isReplica(after) ? "reads pause" : "writes pause",
    why: `${reasons.join(", ")}: ${how}, ${when}`,
  };
}

/** Inputs of what opens data that change unnoticed. */
const UNNOTICED: Readonly<Record<string, readonly string[]>> = {
  "aws:kms/key:Key": ["description", "enableKeyRotation", "rotationPeriodInDays", "deletionWindowInDays", ...TAGS],
  // Copies in other regions are those regions' to read.
  "aws:secretsmanager/secret:Secret": ["description", "recoveryWindowInDays", "replicas", ...TAGS],
};

/** What opens data: with another policy, or disabled, it may open it no more. */
function opener(change: Change): Effect {
  const harmless = UNNOTICED[change.type] ?? [];
  if (change.op !== "update" || onlyChanges(change, harmless)) return plain(change);
  const keys = keysOf(change).filter((key) => !harmless.includes(key));
  return { happens: "change", clients: "writes pause", why: `${keys.join(", ")}: not known to be harmless` };
}

/** Where everything is. The plugin finds nothing of it in another region, and would make all of it anew. */
function provider(change: Change): Effect {
  if (!keysOf(change).includes("region")) return plain(change);
  return { ...plain(change), clients: "writes pause", why: "everything would begin anew in another region" };
}

/** Whether a change in place loses data, or makes it unreadable. */
export function losesInPlace(change: Change): boolean {
  const { op, type, before, after } = change;
  if (type === "pulumi:providers:aws") return keysOf(change).includes("region");
  if (op !== "update") return false;
  // AWS deletes all automated backups of an instance that is to have none.
  if (type === "aws:rds/instance:Instance") return keepsBackups(before) && !keepsBackups(after);
  return type === "aws:kms/key:Key" && after["isEnabled"] === false;
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
    // A group is a server's own. On AWS the first of a cluster, at home, is the one that the others follow.
    clients: /(^|-)pg[1-9]/.test(resourceName(change.urn)) || isElsewhere(change.urn) ? "reads pause" : "writes pause",
    why: `${waiting.join(", ")} from the next reboot on (./cgraph-db restart --rolling)`,
  };
}

function cache(change: Change): Effect {
  // A rotated password is valid beside the one from before.
  const rotates = change.after["authTokenUpdateStrategy"] === "ROTATE";
  const failing = keysOf(change).filter((key) =>
    ["nodeType", "engineVersion", "engine", "parameterGroupName", ...(rotates ? [] : ["authToken"])].includes(key),
  );
  if (change.op === "update" && failing.length === 0) return CHANGE;
  if (change.op === "create") return plain(change);
  return {
    happens: change.op === "update" ? "restart" : change.op === "replace" ? "replace" : "delete",
    clients: "reconnect",
    why: "the cache's nodes change places, or start empty; the database answers meanwhile",
  };
}

/** Inputs of a service that its tasks have nothing to do with. */
const WITHOUT_NEW_TASKS = [
  ...["deploymentCircuitBreaker", "deploymentMaximumPercent", "deploymentMinimumHealthyPercent", "desiredCount"],
  ...["healthCheckGracePeriodSeconds", ...TAGS],
];

/** Whose new tasks take over from the old ones, which let their clients finish. */
function rolling(change: Change): Effect {
  if (change.op === "create" || (change.op === "update" && onlyChanges(change, WITHOUT_NEW_TASKS))) {
    return plain(change);
  }
  return {
    happens: change.op === "delete" ? "delete" : "restart",
    clients: "reconnect",
    why: "new tasks take over; the old ones drain for two minutes",
  };
}

/** A changed address, or none: clients must be told. */
function address(change: Change): Effect {
  if (change.op === "create" || change.op === "update") return plain(change);
  // Beside home nobody writes.
  const clients = isElsewhere(change.urn) ? "reads pause" : "writes pause";
  return { happens: change.op === "replace" ? "replace" : "delete", clients, why: "its address goes" };
}

/** A way between two regions: applications in the one write in the other. */
function way(change: Change): Effect {
  if (change.op === "create" || change.op === "update") return plain(change);
  return { ...plain(change), clients: "writes pause", why: "the way between two regions goes" };
}

/** Another port or protocol is another address. */
function listener(change: Change): Effect {
  if (change.op !== "update" || onlyChanges(change, TAGS)) return address(change);
  return { happens: "change", clients: "writes pause", why: `${keysOf(change).join(", ")}: clients need another URL` };
}

/** The group of the ways to AWS's own services: no client of the database's comes through it. */
const isBeside = ({ urn }: Change): boolean => /^endpoints(-|$)/.test(resourceName(urn));

/** Who may connect. */
function ingress(change: Change): Effect {
  const harmless = change.op === "create" || (change.op === "update" && onlyChanges(change, ["description", ...TAGS]));
  if (harmless || isBeside(change)) return plain(change);
  return { ...plain(change), clients: "reconnect", why: "who may connect is another set of servers" };
}

const RULES: Readonly<Record<string, (change: Change) => Effect>> = {
  "pulumi:providers:aws": provider,
  "aws:rds/instance:Instance": (change) => (change.op === "update" ? rdsInstance(change) : plain(change)),
  "aws:rds/parameterGroup:ParameterGroup": (change) =>
    change.op === "update" ? parameterGroup(change) : plain(change),
  "aws:elasticache/replicationGroup:ReplicationGroup": cache,
  "aws:ecs/service:Service": rolling,
  // What changes of it in place is how it is watched.
  "aws:ecs/cluster:Cluster": (change) => (change.op === "update" ? plain(change) : rolling(change)),
  "aws:lb/loadBalancer:LoadBalancer": address,
  "aws:lb/listener:Listener": listener,
  "aws:lb/targetGroup:TargetGroup": address,
  "aws:rds/proxy:Proxy": address,
  "aws:rds/proxyDefaultTargetGroup:ProxyDefaultTargetGroup": address,
  "aws:rds/proxyTarget:ProxyTarget": address,
  "aws:ec2/vpc:Vpc": address,
  "aws:ec2/subnet:Subnet": address,
  "aws:rds/subnetGroup:SubnetGroup": address,
  "aws:ec2/vpcPeeringConnection:VpcPeeringConnection": way,
  "aws:ec2/vpcPeeringConnectionAccepter:VpcPeeringConnectionAccepter": way,
  "aws:ec2/route:Route": way,
  "aws:route53/zone:Zone": address,
  "aws:route53/record:Record": address,
  "aws:ec2/securityGroup:SecurityGroup": (change) => (isBeside(change) ? plain(change) : address(change)),
  "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule": ingress,
  "aws:kms/key:Key": opener,
  "aws:secretsmanager/secret:Secret": opener,
};

/** What a change of a resource of AWS's means. */
export const awsEffect = (change: Change): Effect => (RULES[change.type] ?? plain)(change);
