/** AWS's own command line, for what people's machines do with it anyway: who am I, sessions, image registry. */
import { EXIT, UserError } from "../../tuning/errors.ts";
import { remedyFor } from "../lib/failure.ts";
import { type RunOptions, run } from "../lib/run.ts";

const INSTALL = "install it: https://docs.aws.amazon.com/cli/latest/userguide/getting-started-install.html";

/** Whether the AWS CLI is there. */
export const hasAwsCli = async (): Promise<boolean> =>
  (await run("aws", ["--version"], { timeoutMs: 20_000 })).code === 0;

/** Throws a UserError where the AWS CLI is missing; `why`: what it is needed for. */
export async function needAwsCli(why: string): Promise<void> {
  if (!(await hasAwsCli())) throw new UserError(`the AWS CLI is missing, which ${why} needs`, INSTALL, EXIT.failed);
}

/** Runs the AWS CLI in a region and gives its JSON. Throws a UserError with AWS's own words where it fails. */
export async function aws<T>(region: string, args: readonly string[], options: RunOptions = {}): Promise<T> {
  const { code, stdout, stderr } = await run("aws", [...args, "--region", region, "--output", "json"], options);
  if (code !== 0) {
    const problem = stderr.trim().split("\n").filter(Boolean).join(" ") || `aws ${args.slice(0, 2).join(" ")} failed`;
    throw new UserError(problem, remedyFor(problem, "see what AWS says, then call this again"), EXIT.failed);
  }
  return (stdout.trim() === "" ? {} : JSON.parse(stdout)) as T;
}
