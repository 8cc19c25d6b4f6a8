/** Where a stack is: it stays there, whatever its configuration says. */
import type { Stack } from "@pulumi/pulumi/automation/index.js";
import type { StackConfig, Target } from "../../stacks/config.ts";
import { EXIT, UserError } from "../../tuning/errors.ts";
import { type Resource, readState } from "./state.ts";

/** Where a state's resources are; undefined where there are none. */
export function targetOf(resources: readonly Pick<Resource, "type">[]): Target | undefined {
  const has = (provider: string): boolean => resources.some(({ type }) => type.startsWith(`${provider}:`));
  return has("aws") ? "aws" : has("docker") ? "docker" : undefined;
}

/**
 * Refuses a configuration that names another target, or another region, than the one where the stack's resources are: all
 * of them would be made anew, empty, and the old ones forgotten.
 */
export async function checkTarget(stack: Stack, config: StackConfig): Promise<void> {
  const { resources = [] } = await readState(stack);
  const target = targetOf(resources) ?? config.target;
  if (target !== config.target) throw elsewhere(stack.name, "target", target, config.target);
  const outputs = resources.find(({ type }) => type === "pulumi:pulumi:Stack")?.outputs;
  const region = (outputs?.["region"] as string | undefined) ?? config.aws.region;
  if (target === "aws" && region !== config.aws.region) {
    throw elsewhere(stack.name, "region", region, config.aws.region);
  }
}

const elsewhere = (stack: string, key: string, there: string, wanted: string): UserError =>
  new UserError(
    `stack ${stack} is on ${there}; its configuration says cgraph:${key} is ${wanted}, where it would begin anew without its data`,
    `set cgraph:${key} back to ${there}, or make another stack: ./cgraph-db up --stack NAME`,
    EXIT.refused,
  );
