/** `up` on AWS: looks first, says what it costs, then makes it. */
import type { EngineEvent, Stack } from "@pulumi/pulumi/automation/index.js";
import { IMAGE_REPOSITORY, imageTag } from "../../components/aws/imageRepository.ts";
import { type Change, isElsewhere, resourceName } from "../../migration/change.ts";
import { moveReport } from "../../migration/report.ts";
import type { AwsStackValues } from "../../stacks/aws/outputs.ts";
import type { StackConfig } from "../../stacks/config.ts";
import { EXIT, type ExitCode, UserError } from "../../tuning/errors.ts";
import { showReport } from "../commands/preview.ts";
import type { UpFlags } from "../commands/up.ts";
import { confirm } from "../lib/ask.ts";
import { allowReplacing, releaseAllowed } from "../lib/allow.ts";
import { configCopy } from "../lib/configCopy.ts";
import { deployAws } from "../lib/deploy.ts";
import { costOfConfig, planOf } from "../lib/plan.ts";
import { print, printJson } from "../lib/print.ts";
import { note } from "../lib/progress.ts";
import { anyStackValues, openOrCreateStack, openStack } from "../lib/stack.ts";
import { checkTopology, checkedConfig, writeStackConfig } from "../lib/stackConfig.ts";
import { mendState } from "../lib/state.ts";
import { checkTarget } from "../lib/target.ts";
import { tellAws } from "../report/aws.ts";
import { renderCost } from "../report/terminal.ts";
import { setUp } from "../setup/steps.ts";
import { checkAws, checkShards } from "./checks.ts";
import { checkNotPromoted, releaseReplicas } from "./furtherRegions.ts";
import { pushPoolImage } from "./image.ts";
import { instancesOf, isPending, rebootServers, serversByRegion } from "./restart.ts";
import { applyRoles } from "./roles.ts";

const RDS = "aws:rds/instance:Instance";
const ECR = "aws:ecr/repository:Repository";

interface Wanted {
  readonly config: StackConfig;
  /** Keys to write into the stack's configuration. */
  readonly changes: Readonly<Record<string, string>>;
  /** Whether it says nothing but its progress: it is a part of something else. */
  readonly silent?: boolean;
}

/** Whether the pool's tasks need an image of ours. */
const needsImage = ({ stage, aws }: StackConfig): boolean =>
  stage > 1 && aws.pooler === "pgbouncer" && aws.poolerImage === undefined;

export async function upAws(flags: UpFlags, { config, changes: wanted, silent = false }: Wanted): Promise<ExitCode> {
  await checkTopology(config);
  const { region } = config.aws;
  const { pulumi, baseImage } = await setUp({
    mayInstall: flags.install,
    targets: needsImage(config) ? ["aws", "docker"] : ["aws"],
  });
  await checkAws(config);
  const stack = await openOrCreateStack(flags.stack, pulumi);
  const refresh = await mendState(stack);
  await checkTarget(stack, config);
  allowReplacing(stack, flags.allowReplace);
  const before = (await anyStackValues(stack).catch(() => undefined)) as AwsStackValues | undefined;
  if (before) checkShards(flags.stack, before.stage, config.stage);
  await checkNotPromoted(before);
  const copy = configCopy(flags.stack, wanted);
  let changes: readonly Change[];
  try {
    ({ changes } = await planOf(`preview of stack ${flags.stack}`, stack, copy.file));
  } finally {
    copy.remove();
  }
  const cost = costOfConfig(config);
  const costNow = before && { lines: before.cost, usdPerMonth: before.usdPerMonth };
  const report = moveReport({
    ...{ stack: flags.stack, target: "aws", from: before?.stage ?? 0, to: config.stage, changes, cost, costNow },
    ...tellAws(before && checkedConfig(flags.stack), config),
  });
  if (report.verdict === "unsafe") return showReport(flags, report);
  if (changes.length > 0) {
    if (!flags.json && !silent) print(renderCost(report, Number.POSITIVE_INFINITY));
    const what = before ? `changes ${changes.length} resources` : `makes ${changes.length} resources`;
    await confirm(`This ${what} in ${region}, for $${cost.usdPerMonth} a month.`, "yes", flags.yes === true);
  }
  const losses = await releaseAllowed(stack, changes, () => releaseReplicas(before, changes));
  writeStackConfig(flags.stack, wanted);
  const push = (image: string): Promise<void> => pushPoolImage(region, image, baseImage);
  const values = await withImage(config, before, changes, push, async (onEvent) => {
    return (await deployAws(stack, { refresh }, onEvent)).values;
  });
  for (const { urn, before: inputs } of losses.filter(({ type, urn }) => type === RDS && !isElsewhere(urn))) {
    const identifier = String(inputs["identifier"]);
    note(
      `  note: the stack has let go of ${resourceName(urn)}; ${identifier} runs on, and is paid for, until you delete it`,
    );
  }
  return finish(flags, stack, values, { changes: changes.length, silent });
}

/** `config apply`: the same; then what waits for a reboot is rebooted, replicas first. */
export async function applyAws(flags: Omit<UpFlags, "install">, config: StackConfig): Promise<ExitCode> {
  const code = await upAws({ ...flags, install: false }, { config, changes: {} });
  if (code !== EXIT.done) return code;
  const values = (await anyStackValues(await openStack(flags.stack))) as AwsStackValues;
  // Another instance has it all from the start.
  if (values.citus) return EXIT.done;
  const instances = await instancesOf(values);
  const waiting = serversByRegion(values)
    .flatMap(({ nodes }) => nodes.map(({ name }) => name))
    .filter((name) => isPending(instances.get(name)));
  if (waiting.length === 0) return EXIT.done;
  await confirm(`Parameters of ${waiting.join(", ")} wait for a reboot.`, "yes", flags.yes === true);
  await rebootServers(values, isPending);
  return EXIT.done;
}

/**
 * Puts the pool's image where its tasks look for it: before anything else where its registry is there, else as soon as it
 * is, while the servers are made.
 */
async function withImage<T>(
  config: StackConfig,
  before: AwsStackValues | undefined,
  changes: readonly Change[],
  push: (image: string) => Promise<void>,
  work: (onEvent: (event: EngineEvent) => void) => Promise<T>,
): Promise<T> {
  if (!needsImage(config)) return work(() => undefined);
  const isNew = changes.some(
    ({ type, op, urn }) => type === ECR && op === "create" && resourceName(urn) === IMAGE_REPOSITORY,
  );
  const old = before?.poolImage ?? null;
  if (!isNew && old !== null) {
    await push(old.replace(/:[^:/]+$/, `:${imageTag()}`));
    return work(() => undefined);
  }
  let pushing: Promise<PromiseSettledResult<void>[]> | undefined;
  const done = await work(({ resOutputsEvent }) => {
    const url: unknown = resOutputsEvent?.metadata.new?.outputs["repositoryUrl"];
    if (resOutputsEvent?.metadata.type !== ECR || typeof url !== "string") return;
    // What it says is heard when the servers are made.
    pushing ??= Promise.allSettled([push(`${url}:${imageTag()}`)]);
  });
  for (const pushed of (await pushing) ?? []) if (pushed.status === "rejected") throw pushed.reason as Error;
  return done;
}

/** Roles, then what a person needs to know. */
async function finish(
  flags: UpFlags,
  stack: Stack,
  values: AwsStackValues,
  { changes, silent }: { changes: number; silent: boolean },
): Promise<ExitCode> {
  for (const text of values.notes) note(`  note: ${text}`);
  let missing: string | null = null;
  try {
    // Nodes of stage 5 make their roles themselves, whenever one takes over.
    if (values.stage < 5) await applyRoles(values);
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    if (silent) throw error;
    missing = `${error.message}; ${error.remedy}`;
  }
  if (silent) return EXIT.done;
  const { write, pool } = values.endpoints;
  if (flags.json) {
    printJson({
      stack: stack.name,
      stage: values.stage,
      target: values.target,
      changes,
      endpoints: values.endpoints,
      usdPerMonth: values.usdPerMonth,
      rolesMissing: missing,
    });
  } else {
    const other = stack.name === "dev" ? "" : ` --stack ${stack.name}`;
    const { host, port } = pool ?? write;
    print(`Stage ${values.stage} is up in ${values.region}, PostgreSQL ${values.postgresVersion}, $${values.usdPerMonth} a month.
${missing === null ? "" : `\nIts servers run, but the application's roles are not made: ${missing}.\nThen: ./cgraph-db config apply${other}\n`}
  for the application   ${host}:${port}, from servers in the security group ${values.clientSecurityGroup}
  psql                  ./cgraph-db psql${other}
  tables and indexes    ./cgraph-db schema apply${other}
  URLs with passwords   ./cgraph-db env${other}`);
  }
  return missing === null ? EXIT.done : EXIT.failed;
}
