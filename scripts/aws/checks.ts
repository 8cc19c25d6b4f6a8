/** What AWS can tell before anything is planned or made; each refusal says what to change. Without the CLI the plugin finds it out, later. */
import { type Ec2Node, citusServers, placeIn } from "../../stacks/aws/citusPlan.ts";
import { planAws } from "../../stacks/aws/plan.ts";
import { ZONES, zonesOf } from "../../stacks/aws/zones.ts";
import type { StackConfig } from "../../stacks/config.ts";
import { EXIT, UserError } from "../../tuning/errors.ts";
import { note } from "../lib/progress.ts";
import { aws, hasAwsCli } from "./cli.ts";

/** Credentials, the class and the version in each region, an existing VPC's subnets. */
export async function checkAws(config: StackConfig): Promise<void> {
  if (!(await hasAwsCli())) {
    note("  the AWS CLI is not installed: credentials, class and subnets are checked by the plan only");
    return;
  }
  await aws(config.aws.region, ["sts", "get-caller-identity"]);
  await Promise.all([...config.regions.all.map((region) => checkClass(region, config)), checkSubnets(config)]);
}

/** An answer, or undefined where AWS gives none: the plan finds out later what could not be asked now. */
const asked = <T>(region: string, args: readonly string[]): Promise<T | undefined> =>
  aws<T>(region, args).catch((error: unknown) => {
    if (/NotFound|InvalidParameter/.test(String(error))) throw error;
    note(`  ${args.slice(0, 2).join(" ")} could not be asked`);
    return undefined;
  });

async function checkClass(region: string, config: StackConfig): Promise<void> {
  const plan = planAws(config);
  if (plan.citus) return checkEc2Classes(region, citusServers(placeIn(plan.citus, plan.region, region)));
  const wanted = plan.nodes[0]?.class.name ?? "";
  const versions = await asked<{ DBEngineVersions?: readonly { readonly EngineVersion: string }[] }>(region, [
    ...["rds", "describe-db-engine-versions", "--engine", "postgres", "--default-only"],
    ...["--engine-version", String(config.postgresVersion)],
  ]);
  if (versions === undefined) return;
  const version = versions.DBEngineVersions?.[0]?.EngineVersion;
  if (version === undefined) {
    throw new UserError(
      `RDS has no PostgreSQL ${config.postgresVersion} in ${region}`,
      "choose another: pulumi config set cgraph:postgresVersion 16",
      EXIT.failed,
    );
  }
  const orderable = await asked<{ OrderableDBInstanceOptions?: readonly unknown[] }>(region, [
    ...["rds", "describe-orderable-db-instance-options", "--engine", "postgres", "--engine-version", version],
    ...["--db-instance-class", wanted, "--max-items", "1"],
  ]);
  if (orderable && (orderable.OrderableDBInstanceOptions ?? []).length === 0) {
    throw new UserError(
      `RDS has no ${wanted} for PostgreSQL ${version} in ${region}`,
      "name a class that it has: pulumi config set cgraph:instanceClass CLASS",
      EXIT.failed,
    );
  }
}

/** Whether each server's zone has its class. */
async function checkEc2Classes(region: string, servers: readonly Ec2Node[]): Promise<void> {
  const names = [...new Set(servers.map((server) => server.class.name))];
  const found = await asked<{ InstanceTypeOfferings?: readonly { InstanceType: string; Location: string }[] }>(region, [
    ...["ec2", "describe-instance-type-offerings", "--location-type", "availability-zone"],
    ...["--filters", `Name=instance-type,Values=${names.join(",")}`],
  ]);
  if (found === undefined) return;
  const zones = zonesOf(region, ZONES);
  const missing = servers.find(
    (server) =>
      !(found.InstanceTypeOfferings ?? []).some(
        ({ InstanceType, Location }) => InstanceType === server.class.name && Location === zones[server.zone],
      ),
  );
  if (!missing) return;
  throw new UserError(
    `EC2 has no ${missing.class.name} in ${zones[missing.zone]}, where ${missing.name} would be`,
    "name a class that all three zones have: ./cgraph-db config set instanceClass CLASS",
    EXIT.failed,
  );
}

interface Subnet {
  readonly SubnetId: string;
  readonly VpcId: string;
  readonly AvailabilityZone: string;
}

interface RouteTable {
  readonly Associations?: readonly { readonly SubnetId?: string; readonly Main?: boolean }[];
  readonly Routes?: readonly { readonly GatewayId?: string; readonly DestinationCidrBlock?: string }[];
}

/** Subnets of an existing VPC: its own, private, in two zones at least. */
async function checkSubnets({ aws: { region, vpcId, subnetIds } }: StackConfig): Promise<void> {
  if (vpcId === undefined) return;
  const found = await asked<{ Subnets?: readonly Subnet[] }>(region, [
    ...["ec2", "describe-subnets", "--subnet-ids", ...subnetIds],
  ]);
  if (found === undefined) return;
  const { Subnets: subnets = [] } = found;
  const refuse = (what: string): UserError =>
    new UserError(what, "set cgraph:subnetIds to private subnets of the VPC, in two zones or more", EXIT.failed);
  const strange = subnets.find(({ VpcId }) => VpcId !== vpcId);
  if (strange) throw refuse(`the subnet ${strange.SubnetId} is in ${strange.VpcId}, not in ${vpcId}`);
  if (new Set(subnets.map(({ AvailabilityZone }) => AvailabilityZone)).size < 2) {
    throw refuse(`the subnets ${subnetIds.join(", ")} are all in one zone`);
  }
  const { RouteTables: tables = [] } =
    (await asked<{ RouteTables?: readonly RouteTable[] }>(region, [
      ...["ec2", "describe-route-tables", "--filters", `Name=vpc-id,Values=${vpcId}`],
    ])) ?? {};
  const isPublic = (subnet: string): boolean => {
    const own = tables.find(({ Associations = [] }) => Associations.some(({ SubnetId }) => SubnetId === subnet));
    const table = own ?? tables.find(({ Associations = [] }) => Associations.some(({ Main }) => Main === true));
    return (table?.Routes ?? []).some(({ GatewayId = "" }) => GatewayId.startsWith("igw-"));
  };
  const open = subnetIds.find(isPublic);
  if (open !== undefined) throw refuse(`the subnet ${open} is public: it has a route to an internet gateway`);
}

/**
 * Refuses `up` between stage 4, stage 5 and the others: it moves no rows, and would lead clients to a database without
 * tables.
 */
export function checkShards(stack: string, from: number, to: number): void {
  if (from === to) return;
  if (from === 5 || to === 5) {
    throw new UserError(
      to === 5
        ? `stack ${stack} is at stage ${from}, on RDS: stage 5 is a new cluster on EC2, to which its rows are moved by hand; up replaces no database`
        : `stack ${stack} is at stage 5: up does not move the rows of its nodes to RDS`,
      to === 5
        ? `make the new one beside it, then move the rows as docs/aws.md says (Stage 5, "From RDS"): ./cgraph-db up --stack NAME --stage 5 --target aws`
        : `make a new stack of that stage: ./cgraph-db up --stack NAME --stage ${to} --target aws`,
      EXIT.refused,
    );
  }
  if (from !== 4 && to !== 4) return;
  throw new UserError(
    `stack ${stack} is at stage ${from}: up does not move its rows ${to === 4 ? "to" : "from"} shards, and on AWS this version has no command that does`,
    `make a new stack of that stage: ./cgraph-db up --stack NAME --stage ${to} --target aws`,
    EXIT.refused,
  );
}
