/** The steps of a promotion of another region on AWS, with the commands that a person carries them out by; and the way back. */
import type { AwsNodeOutput, AwsRegionOutput, AwsStackValues } from "../stacks/aws/outputs.ts";
import { READ_TTL_SECONDS } from "../stacks/aws/readNames.ts";
import { EXIT, UserError } from "../tuning/errors.ts";
import { AWS, MINUTE } from "./awsTimes.ts";
import type { PlannedStep } from "./moveSteps.ts";
import {
  adopt,
  available,
  copyOf,
  fencing,
  figure,
  gone,
  leadReads,
  promoting,
  rds,
  removal,
  standby,
} from "./regionCommands.ts";

export interface Promotion {
  /** Outputs of a stack with several regions. */
  readonly values: Pick<AwsStackValues, "region" | "nodes" | "regions" | "across">;
  /** The one that takes over. */
  readonly region: string;
  /** Days that the promoted servers keep backups; a replica keeps none. */
  readonly backupRetentionDays: number;
}

export interface PromotionStep extends PlannedStep {
  /** Of the AWS CLI, in their order. */
  readonly commands: readonly string[];
}

export interface PromotionPlan {
  readonly from: string;
  readonly to: string;
  readonly steps: readonly PromotionStep[];
  readonly wayBack: readonly PromotionStep[];
  /** What is lost by it. */
  readonly loses: string;
  /** What nobody may do until the way back has been gone. */
  readonly meanwhile: string;
}

/** A cluster: who has the writes, and who gets them. */
interface Succession {
  readonly cluster: string | null;
  readonly primary: AwsNodeOutput;
  readonly heir: AwsNodeOutput;
}

interface Known extends Promotion {
  readonly home: string;
  readonly across: NonNullable<AwsStackValues["across"]>;
  readonly heirs: AwsRegionOutput;
  /** The other regions beside home. */
  readonly bystanders: readonly AwsRegionOutput[];
  readonly clusters: readonly Succession[];
}

const clusterOf = ({ cluster }: AwsNodeOutput): string | null => cluster ?? null;

/** Throws a UserError where the region cannot take over. */
function known(promotion: Promotion): Known {
  const { values, region } = promotion;
  const { region: home, nodes, across } = values;
  const regions = values.regions ?? [];
  if (region === home) {
    throw new UserError(`${region} is home: it has the primary`, "name another region", EXIT.wrongUse);
  }
  const heirs = regions.find(({ name }) => name === region);
  if (!heirs || !across) {
    const there = regions.map(({ name }) => name).join(", ");
    throw new UserError(
      `the stack has no region ${region}`,
      there === "" ? "it has one region: name more in cgraph:regions" : `it has ${there} beside ${home}`,
    );
  }
  const clusters = nodes
    .filter(({ role }) => role === "primary")
    .map((primary): Succession => {
      const cluster = clusterOf(primary);
      const heir = heirs.nodes.find((node) => clusterOf(node) === cluster);
      if (!heir)
        throw new UserError(`${region} has no replica of ${primary.name}`, "./cgraph-db up makes it", EXIT.failed);
      return { cluster, primary, heir };
    });
  return { ...promotion, home, across, heirs, clusters, bystanders: regions.filter(({ name }) => name !== region) };
}

const QUIET = { clients: "nothing", pause: null, movesBytes: 0, noReturn: null, commands: [] } as const;
const NONE = "nothing to take back";

function there(plan: Known): PromotionStep[] {
  const { home, region, clusters, across, bystanders, heirs, backupRetentionDays } = plan;
  const primaries = clusters.map(({ primary }) => primary.identifier);
  const heirIds = clusters.map(({ heir }) => heir.identifier);
  // RDS attaches none of them to another primary, those of the promoted region's own included.
  const stale = [
    ...bystanders.map((one) => ({ region: one.name, place: one.place, nodes: one.nodes })),
    { region, place: heirs.place, nodes: heirs.nodes.filter(({ identifier }) => !heirIds.includes(identifier)) },
  ];
  const heirOf = (node: AwsNodeOutput): AwsNodeOutput | undefined =>
    clusters.find(({ cluster }) => cluster === clusterOf(node))?.heir;
  const addresses = clusters.map(({ heir }) => `${heir.host}:${heir.port}`).join(", ");
  const most = clusters[0]?.heir.settings["max_connections"] ?? "";
  return [
    {
      ...QUIET,
      id: "check",
      title: "checks",
      does: `${home} is lost, or given up: of a primary that is only unwell its standby takes over, in two minutes and without loss (docs/runbooks/on-aws.md). Every replica in ${region} is available; its lag is what would be lost`,
      duration: AWS.person,
      wayBack: NONE,
      commands: [
        ...primaries.map((id) =>
          rds("describe-db-instances", home, id, "--query 'DBInstances[0].[DBInstanceStatus,MultiAZ]'"),
        ),
        ...heirIds.flatMap((id) => [
          rds("describe-db-instances", region, id, "--query 'DBInstances[0].[DBInstanceStatus,StatusInfos]'"),
          figure(region, "ReplicaLag", id),
        ]),
      ],
    },
    {
      ...QUIET,
      id: "fence",
      title: "fence",
      does: `the old primary lets nobody in: a group without rules, and a reboot that ends its sessions. While ${home} does not answer this waits; it is the first thing to do when it does, before any application runs there`,
      clients: "writes pause",
      pause: AWS.reboot,
      duration: AWS.reboot,
      wayBack: `as long as nothing is promoted, the group from before: ${across.home.securityGroup}`,
      commands: primaries.flatMap((id) => fencing(home, id, across.home.fenceGroup)),
    },
    {
      ...QUIET,
      id: "drain",
      title: "drain",
      does: `where ${home} answers: wait until the fenced primary keeps nothing back for its replicas (0 bytes); then nothing is lost`,
      duration: AWS.person,
      wayBack: NONE,
      commands: primaries.map((id) => figure(home, "OldestReplicationSlotLag", id)),
    },
    {
      ...QUIET,
      id: "promote",
      title: "promote",
      does: `${heirIds.join(", ")} ${heirIds.length > 1 ? "take" : "takes"} writes${heirIds.length > 1 ? ", each from where it is: what was written to several clusters at once may be in some of them" : ""}`,
      clients: "writes pause",
      pause: AWS.promotion,
      duration: AWS.promotion,
      wayBack: "the way back below, which is a promotion too",
      noReturn: "the two databases go separate ways: what had not arrived is only in the old one",
      commands: heirIds.flatMap((id) => promoting(region, id, backupRetentionDays)),
    },
    {
      ...QUIET,
      id: "clients",
      title: "clients",
      does: `applications in every region write to ${addresses}, directly, with the logins they have: ${region} has no pool, so that their own pools together must fit its ${most} connections${clusters.length > 1 ? `. They route by themselves: the router database and the shards' copies of global tables still lead to servers in ${home}` : ""}`,
      clients: "reconnect",
      pause: { seconds: 1, basis: "a reconnect each" },
      duration: { seconds: 10 * MINUTE, basis: "a deployment of the application; yours may take longer" },
      wayBack: "the URLs from before",
    },
    {
      ...QUIET,
      id: "records",
      title: "records",
      does: `reads of every region go to ${region}. Route 53 takes changes in us-east-1 only: while that is lost, its health checks take the others out, ten minutes after their last change`,
      clients: "reconnect",
      pause: { seconds: READ_TTL_SECONDS, basis: "for so long an answer is kept" },
      duration: AWS.person,
      wayBack: "the same, each region to its own",
      commands: clusters.map(({ cluster }) =>
        leadReads(across, cluster, [home, ...bystanders.map(({ name }) => name)], region),
      ),
    },
    {
      ...QUIET,
      id: "standby",
      title: "standby",
      does: "a standby in another zone, as the primary had",
      duration: AWS.classChange,
      wayBack: "the same with --no-multi-az",
      commands: heirIds.map((id) => standby(region, id)),
    },
    {
      ...QUIET,
      id: "replicas",
      title: "replicas",
      does: "replicas that followed the old primary are made anew, of the new one",
      clients: "reads pause",
      pause: AWS.acrossRegions,
      duration: AWS.acrossRegions,
      wayBack: NONE,
      commands: stale.flatMap(({ region: where, place, nodes }) =>
        nodes.flatMap((node) => {
          const heir = heirOf(node);
          if (!heir) return [];
          return [
            ...removal(where, node.identifier),
            gone(where, node.identifier),
            ...copyOf({ region, node: heir }, { region: where, place, node }),
          ];
        }),
      ),
    },
  ];
}

/** Home again, with the names that it had: then the stack's state says what is, and `up` makes the rest anew. */
function back(plan: Known): PromotionStep[] {
  const { home, region, clusters, across, bystanders, heirs, values, backupRetentionDays } = plan;
  const followers = { name: home, nodes: values.nodes.filter(({ role }) => role === "replica") };
  const leaving = [followers, heirs, ...bystanders].flatMap(({ name: where, nodes }) =>
    nodes.map(({ identifier }) => ({ where, identifier })),
  );
  const old = ({ identifier }: AwsNodeOutput): string => `${identifier}-old`;
  return [
    {
      ...QUIET,
      id: "back:copy",
      title: "copy",
      does: `when ${home} is well: the old primary, fenced, under another name, and in its place a replica of the new one. What only the old one has is looked for before it is deleted`,
      duration: AWS.acrossRegions,
      wayBack: "the replica is deleted, the old name given back",
      commands: clusters.flatMap(({ primary, heir }) => [
        rds(
          "modify-db-instance",
          home,
          primary.identifier,
          `--new-db-instance-identifier ${old(primary)} --apply-immediately`,
        ),
        available(home, old(primary)),
        ...copyOf({ region, node: heir }, { region: home, place: across.home, node: primary }),
      ]),
    },
    {
      ...QUIET,
      id: "back:fence",
      title: "fence",
      does: `when its lag is small: ${region} lets nobody in, and what it wrote last arrives`,
      clients: "writes pause",
      pause: AWS.reboot,
      duration: AWS.reboot,
      wayBack: `the group from before: ${heirs.place.securityGroup}`,
      commands: clusters.flatMap(({ primary, heir }) => [
        ...fencing(region, heir.identifier, heirs.place.fenceGroup),
        figure(region, "OldestReplicationSlotLag", heir.identifier),
        figure(home, "ReplicaLag", primary.identifier),
      ]),
    },
    {
      ...QUIET,
      id: "back:promote",
      title: "promote",
      does: `${home} takes the writes, at the addresses that it had; nothing is lost`,
      clients: "writes pause",
      pause: AWS.promotion,
      duration: AWS.promotion,
      wayBack: "another promotion",
      noReturn: `what is written at home from now on is not in ${region}`,
      commands: clusters.flatMap(({ primary }) => [
        ...promoting(home, primary.identifier, backupRetentionDays),
        standby(home, primary.identifier),
      ]),
    },
    {
      ...QUIET,
      id: "back:replicas",
      title: "replicas",
      does: "what does not follow home is deleted: replicas at home and elsewhere, and the old primary, with a last snapshot. The state is told of the new one, pulumi refresh finds the others gone, and ./cgraph-db up makes them, records and rights as declared",
      clients: "reads pause",
      pause: AWS.acrossRegions,
      duration: AWS.acrossRegions,
      wayBack: NONE,
      noReturn: "the old primary is deleted; its last snapshot stays",
      commands: [
        ...adopt(
          home,
          clusters.map(({ primary }) => ({ old: old(primary), now: primary.identifier })),
        ),
        ...leaving.flatMap(({ where, identifier }) => removal(where, identifier)),
        ...clusters.flatMap(({ primary }) => removal(home, old(primary), `${old(primary)}-final`)),
        ...leaving.map(({ where, identifier }) => gone(where, identifier)),
        "pulumi refresh",
        "./cgraph-db up",
        // A promoted server has no slots: the shards' copies of global tables are made anew.
        ...(clusters.length > 1 ? ["./cgraph-db schema apply"] : []),
      ],
    },
  ];
}

/** How a region takes over from home. Throws a UserError where it cannot. */
export function planRegionPromotion(promotion: Promotion): PromotionPlan {
  const plan = known(promotion);
  return {
    from: plan.home,
    to: plan.region,
    steps: there(plan),
    wayBack: back(plan),
    loses: `what the replicas in ${plan.region} had not replayed when ${plan.home} was lost (their ReplicaLag): seconds of writes, mostly less than one; nothing where the old primary was fenced and drained`,
    meanwhile: `the stack's configuration says that ${plan.home} has the primary: until the way back has been gone, ./cgraph-db up refuses, and pulumi up and pulumi refresh must not be called`,
  };
}
