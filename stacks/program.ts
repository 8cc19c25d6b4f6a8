import * as pulumi from "@pulumi/pulumi";
import { dockerHost } from "../components/docker/engine.ts";
import { UserError } from "../tuning/errors.ts";
import { readConfig } from "./config.ts";
import type { StackOutputs } from "./outputs.ts";
import { stage1 } from "./stage1.ts";
import { planTopology } from "./topology.ts";

/**
 * The Pulumi program, the same for `pulumi up` and `cgraph-db up`: configuration, topology, then the stage's
 * components. A person's mistake ends it without a stack trace.
 */
export async function program(): Promise<StackOutputs> {
  try {
    const pulumiConfig = new pulumi.Config("cgraph");
    const config = readConfig((key) => pulumiConfig.get(key));
    return stage1(pulumi.getStack(), config, planTopology(config, await dockerHost()));
  } catch (error) {
    if (error instanceof UserError) throw new pulumi.RunError(`${error.message}\n${error.remedy}`);
    throw error;
  }
}
