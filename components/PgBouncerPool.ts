import * as pulumi from "@pulumi/pulumi";
import { type PgbouncerService, type PgbouncerServiceArgs, pgbouncerService } from "./aws/pgbouncerService.ts";
import {
  type PgbouncerContainers,
  type PgbouncerContainersArgs,
  pgbouncerContainers,
} from "./docker/pgbouncerContainers.ts";

export type PgBouncerPoolArgs = PgbouncerContainersArgs | PgbouncerServiceArgs;

/** PgBouncer, one or more: a thousand clients each share few server connections, transaction by transaction. */
export class PgBouncerPool<Args extends PgBouncerPoolArgs> extends pulumi.ComponentResource {
  readonly pool: Args extends PgbouncerServiceArgs ? PgbouncerService : PgbouncerContainers;

  constructor(name: string, args: Args, opts?: pulumi.ComponentResourceOptions) {
    super("cgraph:pool:PgBouncerPool", name, {}, opts);
    const given: PgBouncerPoolArgs = args;
    const pool = "target" in given ? pgbouncerService(given, this) : pgbouncerContainers(given, this);
    this.pool = pool as typeof this.pool;
    this.registerOutputs({ ...pool });
  }
}
