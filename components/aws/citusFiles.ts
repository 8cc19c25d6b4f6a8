/** What a node of a Citus cluster on EC2 is told, and by which names it is known, as pure data. */
import type { CitusNodes } from "../../stacks/aws/citusPlan.ts";
import { acrossName, acrossZone, linkPort, readLabel, readZone } from "../../stacks/aws/readNames.ts";
import { setting } from "../../tuning/setting.ts";
import { CITUS_IDENT_RULES, citusRules } from "../docker/citusFiles.ts";
import { COORDINATOR, workerCluster } from "../docker/citusNames.ts";
import { clusterConfig, standbyUpstream } from "../docker/patroniFiles.ts";
import { namesOf } from "../logins.ts";
import type { AwsSite } from "./AwsSite.ts";
import { DATABASE_LABEL } from "./citusBalancer.ts";
import type { Ec2CitusClusterArgs } from "./citusOnEc2.ts";

/** Beside home: pgBackRest's configuration of home's archive, where a standby finds WAL that home has no more. */
export const HOME_ARCHIVE_FILE = "home-archive.conf";
/** As Patroni's own support of Citus sets it, which is at home alone: a node that asks itself comes by its socket. */
const LOCAL_HOST = "/run/postgresql";

/** A cluster's name at home, by its group. */
export const homeCluster = (group: number): string => (group === 0 ? COORDINATOR : workerCluster(group));

/**
 * "REGION HOST PORT" a line: where each other region leads to its primary of a group. `regions`: all that there are.
 */
export const otherRegions = (
  { stack, region }: Pick<AwsSite, "stack" | "region">,
  regions: readonly string[],
  group: number,
): string =>
  regions
    .filter((other) => other !== region)
    // In an order that the configuration's does not change.
    .toSorted()
    .map((other) => `${other} ${acrossName(stack, homeCluster(group), other)} ${linkPort(group)}\n`)
    .join("");

/**
 * Names on the certificate of a cluster's nodes beside each one's own: where other regions find the cluster; beside home
 * those of home's nodes, by which the region's own know each other; the coordinator's, where clients find it. They are the
 * same whatever further regions there are.
 */
export function citusNames(
  { site: { stack, region }, follows }: Pick<Ec2CitusClusterArgs, "site" | "follows">,
  cluster: CitusNodes,
): string[] {
  const domain = readZone(stack);
  return [
    acrossName(stack, homeCluster(cluster.group), region),
    ...(follows?.homeNodes(cluster) ?? []).map((node) => `${node}.${domain}`),
    ...(cluster.group === 0
      ? [
          `${DATABASE_LABEL}.${domain}`,
          acrossName(stack, DATABASE_LABEL, region),
          `${readLabel(null)}.${acrossZone(stack)}`,
        ]
      : []),
  ];
}

/**
 * Whom a node lets in: its region's nodes by their certificates; the copies in other regions, which come by the balancer,
 * with their passwords. Which regions the balancer lets in its security group says.
 */
function rules({ site, place, follows }: Ec2CitusClusterArgs) {
  const { nodes, balancers } = place.network;
  const links = [
    `hostssl postgres  ${namesOf("cgraph_rewind").join(",")}  ${balancers}  scram-sha-256`,
    `hostssl replication  ${namesOf("replicator").join(",")}  ${balancers}  scram-sha-256`,
  ];
  const ident = follows
    ? CITUS_IDENT_RULES.map((rule) => rule.replace(`/^(${COORDINATOR}|`, `/^${site.region}-(${COORDINATOR}|`))
    : CITUS_IDENT_RULES;
  return { hba: [...citusRules(nodes, []), ...links], ident };
}

/** Patroni's configuration of a cluster. Beside home it follows home's, and has no second server to wait for. */
export function citusClusterConfig(args: Ec2CitusClusterArgs, cluster: CitusNodes): Record<string, unknown> {
  const { plan, synchronous, follows, site } = args;
  const common = { slots: {}, rules: rules(args) };
  if (!follows) return clusterConfig({ ...common, settings: plan.settings, synchronous });
  const home = acrossName(site.stack, homeCluster(cluster.group), follows.region);
  const upstream = {
    ...standbyUpstream(home, linkPort(cluster.group)),
    restore_command: `pgbackrest --config=/etc/cgraph/${HOME_ARCHIVE_FILE} archive-get %f "%p"`,
  };
  return clusterConfig({
    ...common,
    settings: {
      ...plan.settings,
      ...Object.fromEntries([
        setting("citus.local_hostname", LOCAL_HOST, undefined, "where no Patroni says so: a node asks itself there"),
      ]),
    },
    // After a promotion nobody could confirm a write.
    synchronous: synchronous === "strict" ? "on" : synchronous,
    upstream,
  });
}
