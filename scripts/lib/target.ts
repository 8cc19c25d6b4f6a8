/** Where a stack is: it stays there, whatever its configuration says. */
import type { Stack } from "@pulumi/pulumi/automation/index.js";
import type { StackConfig } from "../../stacks/config.ts";
import { EXIT, UserError } from "../../tuning/errors.ts";
import { readState } from "./state.ts";

/**
 * Refuses a configuration that names another target, or another region, than the one where the stack's resources are: all
 * of them would be made anew, empty, and the old ones forgotten.
 */
export async function checkTarget(stack: Stack, config: StackConfig): Promise<void> {
  const { resources = [] } = await readState(stack);
  const target = resources.some(({ type }) => type.startsWith("aws:"))
    ? "aws"
    : resources.some(({ type }) => type.startsWith("docker:"))
      ? "docker"
      : config.target;
  if (target !== config.target) throw elsewhere(stack.name, "target", target, config.target);
  const outputs = resources.find(({ type }) => type === "pulumi:pulumi:Stack")?.outputs;
  const region = outputs?.["region"] ?? config.aws.region;
  if (target === "aws" && region !== config.aws.region) {
    throw elsewhere(stack.name, "region", String(region), config.aws.region);
  }
}

const elsewhere = (stack: string, key: string, there: string, wanted: string): UserError =>
  new UserError(
    `stack ${stack} is on ${there}; its configuration says cgraph:${key} is ${wanted}, where it would begin anew without its data`,
    `set cgraph:${key} back to ${there}, or make another stack: ./cgraph-db up --stack NAME`,
    EXIT.refused,
  );
