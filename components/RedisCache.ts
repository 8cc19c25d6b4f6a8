import * as pulumi from "@pulumi/pulumi";
import { type ElastiCacheArgs, type ElastiCacheServer, elastiCache } from "./aws/elasticache.ts";
import { type RedisContainerArgs, type RedisServer, redisContainer } from "./docker/redisContainer.ts";

export type RedisCacheArgs = RedisContainerArgs | ElastiCacheArgs;

/** Redis (on AWS Valkey or Redis) as a cache: bounded memory, TLS, a password; what it holds can be lost at any time. */
export class RedisCache<Args extends RedisCacheArgs> extends pulumi.ComponentResource {
  readonly server: Args extends ElastiCacheArgs ? ElastiCacheServer : RedisServer;

  constructor(name: string, args: Args, opts?: pulumi.ComponentResourceOptions) {
    super("cgraph:cache:RedisCache", name, {}, opts);
    const given: RedisCacheArgs = args;
    const server = "target" in given ? elastiCache(given, this) : redisContainer(given, this);
    this.server = server as typeof this.server;
    this.registerOutputs({ ...server });
  }
}
