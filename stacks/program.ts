import * as pulumi from "@pulumi/pulumi";
import { dockerHost } from "../components/docker/engine.ts";
import { UserError } from "../tuning/errors.ts";
import { checkAwsStackName } from "./aws/config.ts";
import type { AwsStackOutputs } from "./aws/outputs.ts";
import { planAws } from "./aws/plan.ts";
import { type StackConfig, readConfig } from "./config.ts";
import type { StageNumber } from "./guide.ts";
import type { StackOutputs } from "./outputs.ts";
import { stage1 } from "./stage1.ts";
import { stage2 } from "./stage2.ts";
import { stage3 } from "./stage3.ts";
import { stage4 } from "./stage4.ts";
import { stage5 } from "./stage5.ts";
import { type Topology, planTopology } from "./topology.ts";

/** `before`: while a move is prepared, the topology whose servers go on meanwhile. */
type Stage = (stack: string, config: StackConfig, topology: Topology, before?: Topology) => StackOutputs;
const STAGES: Record<StageNumber, Stage> = {
  1: stage1,
  2: stage2,
  3: (stack, config, topology) => stage3(stack, config, topology),
  4: (stack, config, topology) => stage4(stack, config, topology),
  5: stage5,
};

/**
 * The Pulumi program, the same for `pulumi up` and `cgraph-db up`: configuration, topology, then the stage's
 * components. A person's mistake ends it without a stack trace.
 */
export async function program(): Promise<StackOutputs | AwsStackOutputs> {
  try {
    const pulumiConfig = new pulumi.Config("cgraph");
    const config = readConfig((key) => pulumiConfig.get(key));
    if (config.target === "aws") {
      checkAwsStackName(pulumi.getStack());
      // The AWS SDK takes a second to load: only who needs it waits for it.
      const { awsStage } = await import("./aws/stage.ts");
      return awsStage(pulumi.getStack(), config, planAws(config));
    }
    const stage = STAGES[config.stage];
    const host = await dockerHost();
    const earlier =
      config.phase !== "prepare"
        ? undefined
        : config.stage === 2
          ? 1
          : config.stage === 5
            ? config.fromStage
            : undefined;
    const before = earlier && planTopology({ ...config, stage: earlier }, host);
    return stage(pulumi.getStack(), config, planTopology(config, host), before);
  } catch (error) {
    if (error instanceof UserError) throw new pulumi.RunError(`${error.message}\n${error.remedy}`);
    throw error;
  }
}
