/** What the report of a move on AWS tells beside Pulumi's plan: all of it from the two plans, with no call of AWS. */
import { planAwsMove } from "../../migration/awsMoves.ts";
import { awsPicture } from "../../migration/picture.ts";
import { planAws } from "../../stacks/aws/plan.ts";
import type { StackConfig } from "../../stacks/config.ts";
import type { Told } from "./docker.ts";

/** `before` is undefined where there is nothing yet. */
export function tellAws(before: StackConfig | undefined, config: StackConfig): Told {
  const [from, to] = [before ? planAws(before) : null, planAws(config)];
  const steps = planAwsMove({ from, to, applyImmediately: config.aws.applyImmediately, databaseBytes: null });
  const notes = [...to.notes];
  if (from && !from.nodes[0]?.multiAz && to.nodes[0]?.multiAz && from.nodes[0]?.class.name !== to.nodes[0].class.name) {
    notes.push(
      "a standby first makes the pause a failover: ./cgraph-db config set multiAz true, up, and the stage when the standby is there",
    );
  }
  return {
    // Nothing to do has no steps: looking at what is there is not one.
    steps: before?.stage === config.stage && steps.length <= 3 ? [] : steps,
    before: before && from ? awsPicture(from, before) : null,
    after: awsPicture(to, config),
    notes,
  };
}
