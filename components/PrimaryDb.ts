import * as pulumi from "@pulumi/pulumi";
import { type PostgresContainerArgs, type PostgresServer, postgresContainer } from "./docker/postgresContainer.ts";

export type PrimaryDbArgs = PostgresContainerArgs;

/**
 * The server that takes the writes at first: stage 1's only one, the one that makes the database in every stage. Its
 * volumes are protected and kept when it is destroyed; its name and parent are the same in every stage, so that moving
 * to the next never replaces them.
 */
export class PrimaryDb extends pulumi.ComponentResource {
  readonly server: PostgresServer;

  constructor(name: string, args: PrimaryDbArgs, opts?: pulumi.ComponentResourceOptions) {
    super("cgraph:db:PrimaryDb", name, {}, opts);
    this.server = postgresContainer(args, this);
    this.registerOutputs({
      containerName: this.server.containerName,
      dataVolumeName: this.server.dataVolumeName,
      runVolumeName: this.server.runVolumeName,
    });
  }
}
