/** Reports of moves for tests of what is made of them, from the real plans. */
import { planAwsMove } from "../../migration/awsMoves.ts";
import type { Change } from "../../migration/change.ts";
import { planMove } from "../../migration/moves.ts";
import type { MoveFacts } from "../../migration/moveSteps.ts";
import { awsPicture, dockerPicture } from "../../migration/picture.ts";
import { type MoveReport, moveReport } from "../../migration/report.ts";
import { costOf, totalCost } from "../../stacks/aws/cost.ts";
import { planAws } from "../../stacks/aws/plan.ts";
import { type StackConfig, readConfig } from "../../stacks/config.ts";
import { planTopology } from "../../stacks/topology.ts";
import type { UseFacts } from "../../migration/fitting.ts";

export const GIB = 1024 ** 3;

export const configOf = (values: Readonly<Record<string, string>>): StackConfig => readConfig((key) => values[key]);

export const change = (name: string, op: string, more: Partial<Change> = {}): Change => ({
  urn: `urn:pulumi:s::cgraph::cgraph:db:PrimaryDb$docker:index/container:Container::${name}`,
  type: "docker:index/container:Container",
  op,
  stateful: false,
  properties: [],
  before: {},
  after: {},
  ...more,
});

/** Names that would break every form that does not escape. */
export const HOSTILE = `x<script>alert("1")</script>|\`&'*_[a](b)`;

const FACTS: MoveFacts = {
  databaseBytes: 5 * GIB,
  messagesBytes: 2 * GIB,
  partitioned: false,
  servers: { 1: 1, 2: 2, 3: 4 },
  restarts: { 2: ["shared_buffers"], 3: ["shared_buffers", "max_connections"] },
};

const LARGE_HOST = { cpus: 16, memoryMiB: 262_144 };

export function dockerReport(from: number, to: number, changes: readonly Change[], use?: UseFacts): MoveReport {
  const picture = (stage: number) => {
    const config = configOf({ stage: String(stage) });
    return dockerPicture(planTopology(config, LARGE_HOST), config);
  };
  return moveReport({
    ...{ stack: "test-docker", target: "docker", from, to, changes, use },
    steps: planMove(from, to, FACTS),
    before: picture(from),
    after: picture(to),
    notes: [HOSTILE],
  });
}

const costOfPlan = (config: StackConfig) => {
  const lines = costOf(planAws(config));
  return { lines, usdPerMonth: totalCost(lines) };
};

/** `from` 0: there is nothing yet. */
export function awsReport(
  from: number,
  to: number,
  changes: readonly Change[],
  more: Readonly<Record<string, string>> = {},
): MoveReport {
  const at = (stage: number): StackConfig => configOf({ target: "aws", stage: String(stage), ...more });
  const [before, after] = [from === 0 ? undefined : at(from), at(to)];
  return moveReport({
    ...{ stack: "test-aws", target: "aws", from, to, changes },
    steps: planAwsMove({
      from: before ? planAws(before) : null,
      to: planAws(after),
      applyImmediately: after.aws.applyImmediately,
      databaseBytes: null,
    }),
    cost: costOfPlan(after),
    costNow: before && costOfPlan(before),
    before: before ? awsPicture(planAws(before), before) : null,
    after: awsPicture(planAws(after), after),
    notes: planAws(after).notes,
  });
}
