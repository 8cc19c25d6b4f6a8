import * as elasticache from "@pulumi/aws/elasticache/index.js";
import type * as pulumi from "@pulumi/pulumi";
import type { AwsCache } from "../../stacks/aws/plan.ts";
import type { AwsSite } from "./AwsSite.ts";
import { awsName } from "./names.ts";

export interface ElastiCacheArgs {
  readonly target: "aws";
  readonly site: AwsSite;
  readonly cache: AwsCache;
  /** Secret; 16 to 128 letters and digits. The newest. */
  readonly password: pulumi.Output<string>;
  /** Whether the one before is refused from now on; else it is valid beside. */
  readonly refusesOlder: boolean;
}

export interface ElastiCacheServer {
  readonly address: pulumi.Output<string>;
  readonly replicationGroupId: pulumi.Output<string>;
}

const FAMILIES = {
  valkey: { family: "valkey8", version: "8.0" },
  redis: { family: "redis7", version: "7.1" },
} as const;

/** A cache in two zones, over TLS, with a password. It holds nothing that the database does not have. */
export function elastiCache(args: ElastiCacheArgs, parent: pulumi.Resource): ElastiCacheServer {
  const { site, cache, password, refusesOlder } = args;
  const child = { parent };
  const { family, version } = FAMILIES[cache.engine];
  const parameters = new elasticache.ParameterGroup(
    "cache",
    {
      name: awsName(site.stack, family),
      family,
      description: `Cache of stack ${site.stack}`,
      // The least used keys go when it is full, so it never grows without bound.
      parameters: [{ name: "maxmemory-policy", value: "allkeys-lfu" }],
    },
    child,
  );
  const subnets = new elasticache.SubnetGroup(
    "cache",
    { name: awsName(site.stack), subnetIds: [...site.network.subnetIds] },
    child,
  );
  const security = site.network.serviceGroup("cache", "Cache", 6379);
  const group = new elasticache.ReplicationGroup(
    "cache",
    {
      replicationGroupId: awsName(site.stack, "cache"),
      description: `Cache of stack ${site.stack}`,
      engine: cache.engine,
      engineVersion: version,
      nodeType: cache.node.name,
      numCacheClusters: cache.nodes,
      port: 6379,
      parameterGroupName: parameters.name,
      subnetGroupName: subnets.name,
      securityGroupIds: [security.id],
      multiAzEnabled: cache.nodes > 1,
      automaticFailoverEnabled: cache.nodes > 1,
      atRestEncryptionEnabled: true,
      kmsKeyId: site.keyArn,
      transitEncryptionEnabled: true,
      transitEncryptionMode: "required",
      authToken: password,
      authTokenUpdateStrategy: refusesOlder ? "SET" : "ROTATE",
      autoMinorVersionUpgrade: true,
      maintenanceWindow: "sun:05:30-sun:06:30",
      snapshotRetentionLimit: 1,
      snapshotWindow: "03:00-04:00",
      finalSnapshotIdentifier: awsName(site.stack, "cache-final"),
    },
    child,
  );
  return { address: group.primaryEndpointAddress, replicationGroupId: group.id };
}
