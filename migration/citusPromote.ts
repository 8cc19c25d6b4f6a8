/**
 * The steps of a promotion of another region at stage 5 on AWS, with the commands that a person carries them out by; and the
 * way back, which is the same. Nodes do their part themselves (images/ec2/bin/cgraph-region), called by Session Manager.
 */
import type { AwsCitusOutput, AwsNodeOutput, AwsStackValues } from "../stacks/aws/outputs.ts";
import { READ_TTL_SECONDS } from "../stacks/aws/readNames.ts";
import { EXIT, UserError } from "../tuning/errors.ts";
import { AWS, MINUTE } from "./awsTimes.ts";
import type { Estimate } from "./moveSteps.ts";
import type { PromotionPlan, PromotionStep } from "./regionPromote.ts";

/** A region with its nodes. */
interface Side {
  readonly region: string;
  readonly nodes: readonly AwsNodeOutput[];
  /** `database.eu-west-1.…:5432`. */
  readonly writes: string;
}

/** Systems Manager takes so many instances in one command (SendCommand, "InstanceIds"). */
const MOST_INSTANCES = 50;
/** So long a command waits for an instance that does not answer: the longest is thirty days, a week is taken. */
const PATIENCE_SECONDS = 7 * 24 * 3600;
/** Two rounds of Patroni's, and two health checks of the balancer's. */
const PROMOTION: Estimate = {
  seconds: 60,
  basis: "Patroni promotes within seconds, the balancer sees it ten later; an estimate",
};
const STOP: Estimate = { seconds: MINUTE, basis: "a checkpoint, and what is on its way; an estimate" };

const QUIET = { clients: "nothing", pause: null, movesBytes: 0, noReturn: null, commands: [] } as const;
const NONE = "nothing to take back";

/** Of the shell that the commands are copied into: runs one on instances, waits, and shows what each says. */
const ON =
  'on() { id=$(aws ssm send-command --region "$1" --document-name AWS-RunShellScript --timeout-seconds "$2" --instance-ids $3 --parameters "commands=/usr/local/bin/cgraph-region $4" --query Command.CommandId --output text) && sleep 20 && aws ssm list-command-invocations --region "$1" --command-id "$id" --details --query "CommandInvocations[].[InstanceId,Status,CommandPlugins[0].Output]" --output text; }';

/** Calls a node's own command on some nodes of a region. */
function call({ region }: Side, nodes: readonly AwsNodeOutput[], command: string, seconds = 600): string[] {
  const chunks = Array.from({ length: Math.ceil(nodes.length / MOST_INSTANCES) }, (_, index) =>
    nodes.slice(index * MOST_INSTANCES, (index + 1) * MOST_INSTANCES),
  );
  return chunks.map((chunk) => {
    const ids = chunk.map(({ identifier }) => identifier).join(" ");
    return `on ${region} ${seconds} "${ids}" "${command}"`;
  });
}

const isCoordinator = ({ cluster }: AwsNodeOutput): boolean => /(^|-)coordinator$/.test(cluster ?? "");
const coordinators = ({ nodes }: Side): readonly AwsNodeOutput[] => nodes.filter(isCoordinator);
const workers = ({ nodes }: Side): readonly AwsNodeOutput[] => nodes.filter((node) => !isCoordinator(node));

interface Moving {
  readonly from: Side;
  readonly to: Side;
  /** Every region but the one that takes over. */
  readonly following: readonly Side[];
}

/** Ends writes where they were: the coordinator first, so that no transaction is on its way between nodes. */
const stopping = (from: Side): string[] => [
  ...call(from, coordinators(from), "stop"),
  ...call(from, workers(from), "stop"),
];
/** Workers first: a coordinator finds all of its shards where they take writes. */
const promoting = (to: Side): string[] => [
  ...call(to, workers(to), "promote"),
  ...call(to, coordinators(to), "promote"),
];

/** What both ways have in common, once nobody writes any more. */
function takeOver(prefix: string, { from, to, following }: Moving): PromotionStep[] {
  return [
    {
      ...QUIET,
      id: `${prefix}promote`,
      title: "promote",
      does: `every node in ${to.region} takes writes, each from where it is; names, and what Citus knows of its nodes, stay: in each region they lead to its own`,
      clients: "writes pause",
      pause: PROMOTION,
      duration: PROMOTION,
      wayBack: "another promotion",
      noReturn: `what had not arrived in ${to.region} is only in ${from.region}, and is thrown away when that follows`,
      commands: promoting(to),
    },
    {
      ...QUIET,
      id: `${prefix}clients`,
      title: "clients",
      does: `applications in every region write to ${to.writes}`,
      clients: "reconnect",
      pause: { seconds: 1, basis: "a reconnect each" },
      duration: { seconds: 10 * MINUTE, basis: "a deployment of the application; yours may take longer" },
      wayBack: "the URLs from before",
    },
    {
      ...QUIET,
      id: `${prefix}follow`,
      title: "follow",
      does: `the other regions, ${from.region} among them, follow ${to.region}: where they have more than it, by pg_rewind; a region that does not answer gets the command when it comes back within a week`,
      duration: AWS.person,
      wayBack: NONE,
      commands: following.flatMap((side) => call(side, side.nodes, `follow ${to.region}`, PATIENCE_SECONDS)),
    },
  ];
}

/** Throws a UserError where the region cannot take over. */
function sides(values: Pick<AwsStackValues, "region" | "nodes">, citus: AwsCitusOutput, region: string) {
  const home = citus.home;
  const others = (citus.regions ?? []).map((one): Side => ({
    ...{ region: one.name, nodes: one.nodes },
    writes: `${one.write.host}:${one.write.port}`,
  }));
  if (region === values.region) {
    throw new UserError(`${region} is home: it has the primaries`, "name another region", EXIT.wrongUse);
  }
  const to = others.find((one) => one.region === region);
  if (!to || !home) {
    const there = others.map((one) => one.region).join(", ");
    throw new UserError(
      `the stack has no region ${region}`,
      there === "" ? "it has one region: name more in cgraph:regions" : `it has ${there} beside ${values.region}`,
    );
  }
  const from: Side = {
    ...{ region: values.region, nodes: values.nodes, writes: `${home.write.host}:${home.write.port}` },
  };
  return { from, to, home, others };
}

/** How a region of a Citus cluster takes over from home. Throws a UserError where it cannot. */
export function planCitusPromotion(
  values: Pick<AwsStackValues, "region" | "nodes">,
  citus: AwsCitusOutput,
  region: string,
): PromotionPlan {
  const { from, to, home, others } = sides(values, citus, region);
  const door = (group: string): string =>
    `aws elbv2 set-security-groups --region ${from.region} --load-balancer-arn ${home.balancerArn} --security-groups ${group}`;
  const rest = others.filter((one) => one !== to);
  return {
    from: from.region,
    to: region,
    steps: [
      {
        ...QUIET,
        id: "check",
        title: "checks",
        does: `${from.region} is lost, or given up: of a node that is only unwell its standby takes over by itself. Every node in ${region} answers and is few seconds behind (behind_seconds): that is what would be lost`,
        duration: AWS.person,
        wayBack: NONE,
        commands: [ON, ...call(to, to.nodes, "state")],
      },
      {
        ...QUIET,
        id: "fence",
        title: "fence",
        does: `the nodes in ${from.region} stop, after they have sent everything. Where some do not answer, the balancer there gets a group that lets nobody in. A region that takes neither must be kept from its clients by other means; as soon as it reaches ${region} again it gives way by itself (cgraph-region yield: before PostgreSQL starts, and every minute)`,
        clients: "writes pause",
        pause: STOP,
        duration: STOP,
        wayBack: "as long as nothing is promoted: patronictl resume on each cluster there",
        commands: [...stopping(from), `# where one did not answer: ${door(home.fenceGroup)}`],
      },
      {
        ...QUIET,
        id: "drain",
        title: "drain",
        does: `where ${from.region} answered: each node's lsn is at or past where its cluster ended there; then nothing is lost`,
        duration: AWS.person,
        wayBack: NONE,
        commands: call(to, to.nodes, "state"),
      },
      ...takeOver("", { from, to, following: [from, ...rest] }),
      {
        ...QUIET,
        id: "reads",
        title: "reads",
        does: `nothing is to be done: reads go to the nearest region that keeps up, ${region} among them. While us-east-1 is lost Route 53 takes no changes, but its checks go on`,
        clients: "reconnect",
        pause: { seconds: READ_TTL_SECONDS, basis: "for so long an answer is kept" },
        duration: AWS.person,
        wayBack: NONE,
      },
    ],
    wayBack: [
      {
        ...QUIET,
        id: "back:check",
        title: "checks",
        does: `${from.region} is well and follows ${region}, no more than seconds behind`,
        duration: AWS.person,
        wayBack: NONE,
        commands: [ON, ...call(from, from.nodes, "state")],
      },
      {
        ...QUIET,
        id: "back:fence",
        title: "fence",
        does: `${region} stops, after it has sent everything; each node's lsn in ${from.region} is at or past where ${region} ended`,
        clients: "writes pause",
        pause: STOP,
        duration: STOP,
        wayBack: "as long as nothing is promoted: patronictl resume on each cluster there",
        commands: [...stopping(to), ...call(from, from.nodes, "state")],
      },
      ...takeOver("back:", { from: to, to: from, following: [to, ...rest] }),
      {
        ...QUIET,
        id: "back:open",
        title: "open",
        does: `clients reach ${from.region}'s coordinator again, where its balancer was closed`,
        duration: AWS.person,
        wayBack: "the other group",
        commands: [door(home.openGroup)],
      },
    ],
    loses: `what the nodes in ${region} had not received when ${from.region} was lost (behind_seconds): seconds of writes, mostly less than one; nothing where it was fenced and drained. Each node ends where it is: of a transaction over several nodes some may have it, and Citus' coordinator there decides those that were prepared`,
    meanwhile: `${region} has one server of each node and no pool, its backups begin with the promotion in its own bucket, and home's alarms ring. Who leads is in each region's etcd and not in the configuration: ./cgraph-db up changes nothing of it. Add or take away neither workers nor regions`,
  };
}
