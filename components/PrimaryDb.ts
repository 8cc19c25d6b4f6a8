import * as pulumi from "@pulumi/pulumi";
import { type RdsPrimaryArgs, type RdsServer, rdsPrimary } from "./aws/rdsInstance.ts";
import { type PostgresContainerArgs, type PostgresServer, postgresContainer } from "./docker/postgresContainer.ts";

export type PrimaryDbArgs = PostgresContainerArgs | RdsPrimaryArgs;

/**
 * The server that takes the writes at first: stage 1's only one, the one that makes the database in every stage; a
 * container or an RDS instance. What holds its data is protected and kept when it is destroyed; its name and parent are
 * the same in every stage, so that moving to the next never replaces it.
 */
export class PrimaryDb<Args extends PrimaryDbArgs> extends pulumi.ComponentResource {
  readonly server: Args extends RdsPrimaryArgs ? RdsServer : PostgresServer;

  constructor(name: string, args: Args, opts?: pulumi.ComponentResourceOptions) {
    super("cgraph:db:PrimaryDb", name, {}, opts);
    const given: PrimaryDbArgs = args;
    const server = "target" in given ? rdsPrimary(given, this) : postgresContainer(given, this);
    this.server = server as typeof this.server;
    this.registerOutputs(
      "address" in server
        ? { identifier: server.identifier, address: server.address }
        : {
            containerName: server.containerName,
            dataVolumeName: server.dataVolumeName,
            runVolumeName: server.runVolumeName,
          },
    );
  }
}
