/** Values for what a plan leaves open until AWS answers. */
import { createHash } from "node:crypto";

/** How Pulumi's protocol writes a value that is not known yet. */
export const UNKNOWN = "04da6b54-80e4-46f7-96ec-b56ff0331ba9";

const digest = (text: string): string => createHash("sha256").update(text).digest("hex").slice(0, 8);

/** What other resources refer to. Any other text has rules of its own, which a guess would break: it is left out. */
const REFERENCE = /(arn|arnSuffix|id|identifier|name|url|endpoint|address|dns\w*|zone)$/i;

/** What is empty where nobody has asked for it: a cache that belongs to a global one leaves its engine to that. */
const EMPTY = new Set(["globalReplicationGroupId"]);

function text(key: string, name: string, urn: string): string | undefined {
  if (EMPTY.has(key)) return "";
  // AWS's default; the real plugin reads it when it compares.
  if (key === "policy") return "{}";
  if (!REFERENCE.test(key)) return undefined;
  if (/arn$/i.test(key)) return `arn:aws:standin:us-east-1:123456789012:${name}-${digest(urn + key)}`;
  if (/endpoint|address|dns/i.test(key)) return `${name}.standin.internal`;
  return `${name}-${digest(urn + key)}`;
}

/**
 * Versions of the real plugin's own state, where it has changed them: a state without its version would be taken for one
 * of the first, and be brought up to date with values that were right then.
 */
const SCHEMA_VERSIONS: Readonly<Record<string, string>> = {
  "aws:cloudwatch/metricAlarm:MetricAlarm": "1",
  "aws:ec2/securityGroup:SecurityGroup": "1",
  "aws:ec2/subnet:Subnet": "1",
  "aws:ec2/vpc:Vpc": "1",
  "aws:ecs/service:Service": "1",
  "aws:ecs/taskDefinition:TaskDefinition": "1",
  "aws:elasticache/replicationGroup:ReplicationGroup": "3",
  "aws:rds/instance:Instance": "2",
};

/** Identifiers whose form other resources check. */
const ID_PREFIXES: Readonly<Record<string, string>> = { "aws:ec2/launchTemplate:LaunchTemplate": "lt-" };

const typeOf = (urn: string): string => urn.split("::")[2]?.split("$").at(-1) ?? "";

/** An identifier for a new resource, the same each time. */
export function madeId(urn: string): string {
  const prefix = ID_PREFIXES[typeOf(urn)] ?? `${urn.split("::").at(-1) ?? ""}-`;
  return `${prefix}${digest(urn)}`;
}

function meta(planned: unknown, type: string): string | undefined {
  const version = SCHEMA_VERSIONS[type];
  if (version === undefined) return undefined;
  const before = typeof planned === "string" ? (JSON.parse(planned) as Record<string, unknown>) : {};
  return JSON.stringify({ ...before, schema_version: version });
}

/** A value without its parts that are not known. */
function known(value: unknown): unknown {
  if (Array.isArray(value)) return value.filter((one) => one !== UNKNOWN).map(known);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .filter(([, one]) => one !== UNKNOWN)
      .map(([key, one]) => [key, known(one)]),
  );
}

/**
 * A resource's planned properties with every unknown one filled in: text that looks like AWS's, by the property's name and
 * its type in the plugin's schema, the same each time. Unknown parts of a value are left out, as are kinds that cannot be
 * guessed. Plain inputs that the plan leaves out (`false` where the default is `true`) are kept.
 */
export function fillPlanned(
  planned: Readonly<Record<string, unknown>>,
  inputs: Readonly<Record<string, unknown>>,
  urn: string,
  properties: Readonly<Record<string, { readonly type?: string }>>,
): Record<string, unknown> {
  const name = urn.split("::").at(-1) ?? "";
  const filled: Record<string, unknown> = Object.fromEntries(
    Object.entries(inputs).filter(([key, value]) => !(key in planned) && typeof value === "boolean"),
  );
  for (const [key, value] of Object.entries(planned)) {
    if (value !== UNKNOWN) {
      filled[key] = known(value);
      continue;
    }
    const type = properties[key]?.type;
    if (key === "id") filled[key] = madeId(urn);
    else if (type === "string") {
      const guess = text(key, name, urn);
      if (guess !== undefined) filled[key] = guess;
    } else if (key === "port") filled[key] = 5432;
    else if (key === "tagsAll") filled[key] = planned["tags"] ?? {};
    else if (type === "array") filled[key] = [];
    else if (type === "object") filled[key] = {};
  }
  const ownState = meta(planned["__meta"], typeOf(urn));
  if (ownState !== undefined) filled["__meta"] = ownState;
  return filled;
}
