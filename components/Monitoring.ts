import * as pulumi from "@pulumi/pulumi";
import { type CitusWatchArgs, citusWatch } from "./aws/citusWatch.ts";
import { type CloudWatchArgs, cloudWatch } from "./aws/cloudWatch.ts";
import { type MonitoringContainersArgs, monitoringContainers } from "./docker/monitoringContainers.ts";

export type MonitoringArgs = CloudWatchArgs | CitusWatchArgs | MonitoringContainersArgs;

/** What watches a stack and tells people: CloudWatch on AWS; Prometheus, Alertmanager and exporters in Docker. */
export class Monitoring<Args extends MonitoringArgs> extends pulumi.ComponentResource {
  readonly place: Args extends CloudWatchArgs | CitusWatchArgs
    ? ReturnType<typeof cloudWatch>
    : ReturnType<typeof monitoringContainers>;

  constructor(name: string, args: Args, opts?: pulumi.ComponentResourceOptions) {
    super("cgraph:monitoring:Monitoring", name, {}, opts);
    const given: MonitoringArgs = args;
    const place =
      "target" in given
        ? "citus" in given
          ? citusWatch(given, this)
          : cloudWatch(given, this)
        : monitoringContainers(given, this);
    this.place = place as typeof this.place;
    this.registerOutputs(place);
  }
}
