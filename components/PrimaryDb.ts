import * as pulumi from "@pulumi/pulumi";
import { type PostgresContainer, type PostgresContainerArgs, postgresContainer } from "./docker/postgresContainer.ts";

export type PrimaryDbArgs = PostgresContainerArgs;

/**
 * The server that takes the writes: stage 1's only one. Its volumes are protected and kept when it is destroyed; its
 * name and parent are the same in every stage, so that moving to the next never replaces it.
 */
export class PrimaryDb extends pulumi.ComponentResource {
  /** Host and port for clients. */
  readonly host: pulumi.Output<string>;
  readonly port: pulumi.Output<number>;
  readonly containerName: pulumi.Output<string>;
  readonly dataVolumeName: pulumi.Output<string>;
  /** Volume with the server's Unix socket. */
  readonly runVolumeName: pulumi.Output<string>;

  constructor(name: string, args: PrimaryDbArgs, opts?: pulumi.ComponentResourceOptions) {
    super("cgraph:db:PrimaryDb", name, {}, opts);
    const server: PostgresContainer = postgresContainer(args, this);
    this.host = pulumi.output("localhost");
    this.port = pulumi.output(args.port);
    this.containerName = server.container.name;
    this.dataVolumeName = server.dataVolumeName;
    this.runVolumeName = server.runVolumeName;
    this.registerOutputs({
      host: this.host,
      port: this.port,
      containerName: this.containerName,
      dataVolumeName: this.dataVolumeName,
      runVolumeName: this.runVolumeName,
    });
  }
}
