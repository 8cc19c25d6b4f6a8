import * as cloudwatch from "@pulumi/aws/cloudwatch/index.js";
import * as pulumi from "@pulumi/pulumi";
import { SEVERITIES } from "../../monitoring/alerts/alert.ts";
import { PERIOD_SECONDS, type Watch, watchesOf } from "../../stacks/aws/alarms.ts";
import { OWN_NAMESPACE } from "../../stacks/aws/ownNamespace.ts";
import type { AwsPlan } from "../../stacks/aws/plan.ts";
import { alarmTopic } from "./alarmTopic.ts";
import type { AwsSite } from "./AwsSite.ts";
import type { CitusOnEc2 } from "./citusOnEc2.ts";
import { metricAlarm } from "./metricAlarm.ts";
import { awsName } from "./names.ts";

export interface CitusWatchArgs {
  readonly target: "aws";
  readonly site: AwsSite;
  readonly plan: AwsPlan;
  readonly citus: CitusOnEc2;
  /** Who hears of alarms by e-mail. */
  readonly email: string | undefined;
}

type Names = Readonly<Record<string, pulumi.Input<string>>>;

/** The names that AWS gives to what is watched. */
export function watchedNames({ etcd, clusters, balancer }: CitusOnEc2): (place: Watch["place"]) => Names {
  const instances = new Map(
    [...etcd, ...clusters.flatMap(({ servers }) => servers)].map(({ node, instanceId }) => [node.name, instanceId]),
  );
  return (place) => {
    if (place === undefined) return {};
    if ("way" in place) {
      return { LoadBalancer: balancer.figures.balancer, TargetGroup: balancer.figures[place.way] };
    }
    const id = instances.get(place.instance);
    if (!id) throw new Error(`${place.instance} has no instance`);
    return { InstanceId: id };
  };
}

const [WIDTH, HEIGHT] = [12, 6];

/** A panel a figure; a line a server, or a cluster. */
function dashboard(
  region: string,
  stack: string,
  instances: Readonly<Record<string, string>>,
  clusters: readonly string[],
) {
  const machine = (metric: string) =>
    Object.entries(instances).map(([name, id]) => ["AWS/EC2", metric, "InstanceId", id, { label: name }]);
  const server = (metric: string) =>
    Object.keys(instances).map((name) => [OWN_NAMESPACE, metric, "Stack", stack, "Server", name]);
  const cluster = (metric: string) => clusters.map((name) => [OWN_NAMESPACE, metric, "Stack", stack, "Cluster", name]);
  const panels = {
    "CPU (percent)": machine("CPUUtilization"),
    "Data volume in use (percent)": server("disk_used_percent"),
    "EBS write operations": machine("EBSWriteOps"),
    "Network in (bytes)": machine("NetworkIn"),
    "Servers that take writes": cluster("primaries"),
    "Standbys that follow": cluster("standbys"),
    "WAL not replayed (bytes)": cluster("replication_lag_bytes"),
    "Age of the newest backup (seconds)": cluster("backup_age_seconds"),
  };
  return JSON.stringify({
    widgets: Object.entries(panels).map(([title, metrics], index) => ({
      ...{ type: "metric", width: WIDTH, height: HEIGHT, x: (index % 2) * WIDTH, y: Math.floor(index / 2) * HEIGHT },
      properties: { title, region, metrics, stat: "Maximum", period: PERIOD_SECONDS },
    })),
  });
}

/** Alarms of a Citus cluster on EC2 to one topic, warning and critical, and a dashboard of what they look at. */
export function citusWatch(args: CitusWatchArgs, parent: pulumi.Resource): { topicArn: pulumi.Output<string> } {
  const { site, plan, citus } = args;
  const { stack, region } = site;
  const child = { parent };
  const topic = alarmTopic("", site, args.email, child);
  const names = watchedNames(citus);
  for (const watch of watchesOf(stack, plan, (server) => server)) {
    for (const severity of SEVERITIES) {
      metricAlarm({ stack, watch, severity, topicArn: topic.arn, dimensions: names(watch.place) }, child);
    }
  }
  const servers = [...citus.etcd, ...citus.clusters.flatMap((cluster) => cluster.servers)];
  const clusters = citus.clusters.map(({ name }) => name);
  new cloudwatch.Dashboard(
    "dashboard",
    {
      dashboardName: awsName(stack),
      dashboardBody: pulumi
        .all(Object.fromEntries(servers.map(({ node, instanceId }) => [node.name, instanceId])))
        .apply((instances) => dashboard(region, stack, instances, clusters)),
    },
    child,
  );
  return { topicArn: topic.arn };
}
