import * as route53 from "@pulumi/aws/route53/index.js";
import type * as pulumi from "@pulumi/pulumi";
import { READ_TTL_SECONDS, readLabel, readZone, regionLabel } from "../../stacks/aws/readNames.ts";
import { awsName } from "./names.ts";

/** A replica, and the alarm that says whether it may be read. */
export interface Reader {
  readonly name: string;
  readonly address: pulumi.Input<string>;
  /** Of the same region. */
  readonly alarm: { readonly name: pulumi.Input<string>; readonly threshold: number };
}

/** A cluster's replicas in one region. */
export interface RegionReaders {
  readonly region: string;
  readonly readers: readonly Reader[];
}

export interface NearestReadsArgs {
  readonly stack: string;
  /** VPCs in which the names are known. */
  readonly vpcs: readonly { readonly region: string; readonly vpcId: pulumi.Input<string> }[];
  /** Null: the first cluster. */
  readonly clusters: readonly { readonly name: string | null; readonly regions: readonly RegionReaders[] }[];
}

export interface NearestReads {
  readonly zoneId: pulumi.Output<string>;
  /** `production.cgraph.internal`. */
  readonly zone: string;
}

/** Whether a replica may be read, by what its alarm's figure says. Route 53 cannot reach private addresses itself. */
export const healthOf = (
  { name, alarm }: Pick<Reader, "name" | "alarm">,
  region: string,
  stack: string,
  opts: pulumi.CustomResourceOptions,
) =>
  new route53.HealthCheck(
    name,
    {
      type: "CLOUDWATCH_METRIC",
      cloudwatchAlarmName: alarm.name,
      cloudwatchAlarmRegion: region,
      insufficientDataHealthStatus: "Unhealthy",
      // Route 53 copies the alarm's terms once: another threshold has it copy them anew.
      triggers: { threshold: String(alarm.threshold) },
      tags: { Name: awsName(stack, name) },
    },
    opts,
  );

/**
 * Names for reads, known in the VPCs only: `read.STACK.cgraph.internal` is the region nearest to whoever asks, of those
 * with a replica that keeps up; `read-eu-west-1.STACK.…` that region's replicas in turn. Where none keeps up Route 53
 * takes all for well, and the nearest answers.
 */
export function nearestReads(args: NearestReadsArgs, opts: pulumi.CustomResourceOptions): NearestReads {
  const { stack, vpcs, clusters } = args;
  const zone = readZone(stack);
  const hosted = new route53.Zone(
    "reads",
    {
      name: zone,
      comment: `Reads of stack ${stack}, nearest first`,
      vpcs: vpcs.map(({ region, vpcId }) => ({ vpcId, vpcRegion: region })),
    },
    opts,
  );
  const record = (name: string, of: Omit<route53.RecordArgs, "zoneId" | "type">) =>
    new route53.Record(name, { zoneId: hosted.zoneId, type: "CNAME", ttl: READ_TTL_SECONDS, ...of }, opts);
  for (const { name: cluster, regions } of clusters) {
    for (const { region, readers } of regions) {
      const place = regionLabel(cluster, region);
      const checks = readers.map((reader) => {
        const check = healthOf(reader, region, stack, opts);
        record(`read-${reader.name}`, {
          name: `${place}.${zone}`,
          records: [reader.address],
          setIdentifier: reader.name,
          weightedRoutingPolicies: [{ weight: 1 }],
          healthCheckId: check.id,
        });
        return check.id;
      });
      // A region serves while one of its replicas does.
      const [only, ...more] = checks;
      const serves =
        more.length === 0
          ? only
          : new route53.HealthCheck(
              place,
              {
                type: "CALCULATED",
                childHealthThreshold: 1,
                childHealthchecks: checks,
                tags: { Name: awsName(stack, place) },
              },
              opts,
            ).id;
      record(place, {
        name: `${readLabel(cluster)}.${zone}`,
        records: [`${place}.${zone}`],
        setIdentifier: region,
        latencyRoutingPolicies: [{ region }],
        ...(serves === undefined ? {} : { healthCheckId: serves }),
      });
    }
  }
  return { zoneId: hosted.zoneId, zone };
}
