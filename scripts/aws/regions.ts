/** `region list` and `region promote` of a stack on AWS. */
import { planCitusPromotion } from "../../migration/citusPromote.ts";
import { type PromotionPlan, type PromotionStep, planRegionPromotion } from "../../migration/regionPromote.ts";
import { rds } from "../../stacks/aws/alarms.ts";
import type { AwsStackValues } from "../../stacks/aws/outputs.ts";
import { EXIT, type ExitCode, UserError } from "../../tuning/errors.ts";
import type { RegionFlags } from "../commands/region.ts";
import { print, printJson, table, terminalWidth } from "../lib/print.ts";
import { checkedConfig } from "../lib/stackConfig.ts";
import { renderSteps } from "../report/terminal.ts";
import { listCitusRegions } from "./citusRegions.ts";
import { hasAwsCli } from "./cli.ts";
import { newestFigure } from "./figures.ts";
import { type ServerStatus, isWell, regionStatuses, unasked } from "./status.ts";

/** Seconds since the last change that a replica has replayed; null where nobody says. */
const lagSeconds = (region: string, identifier: string): Promise<number | null> =>
  newestFigure(region, rds(identifier, "ReplicaLag"));

interface RegionServer extends ServerStatus {
  readonly lagSeconds: number | null;
}

export async function listRegionsAws(flags: RegionFlags, values: AwsStackValues): Promise<ExitCode> {
  if (values.citus) return listCitusRegions(flags, values, values.citus);
  const mayAsk = await hasAwsCli();
  const regions = mayAsk ? await regionStatuses(values, flags.stack) : unasked(values);
  const withLag = await Promise.all(
    regions.map(async ({ region, nodes, silent }) => ({
      region,
      home: region === values.region,
      silent,
      nodes: await Promise.all(
        nodes.map(async (node): Promise<RegionServer> => ({
          ...node,
          lagSeconds: node.role === "replica" && mayAsk ? await lagSeconds(region, node.identifier) : null,
        })),
      ),
    })),
  );
  if (flags.json === true) {
    printJson({ stack: flags.stack, regions: withLag, nearest: values.across?.nearest ?? null });
  } else {
    print(
      table([
        ["region", "server", "role", "state", "behind", "address"],
        ...withLag.flatMap(({ region, nodes }) =>
          nodes.map((node) => [
            region,
            node.name,
            node.role,
            node.state,
            node.lagSeconds === null ? "" : `${node.lagSeconds.toFixed(1)} s`,
            `${node.host}:${node.port}`,
          ]),
        ),
      ]),
    );
    if (values.across) print(`nearest replica: ${values.across.nearest.host}:${values.across.nearest.port}`);
    if (!mayAsk) print("states and lag: install the AWS CLI to see them");
    for (const { region, silent } of withLag) if (silent !== null) print(`${region} does not answer: ${silent}`);
  }
  return withLag.every(isWell) ? EXIT.done : EXIT.failed;
}

/** Each step's commands, to copy. */
const commandsText = (steps: readonly PromotionStep[]): string =>
  steps
    .filter(({ commands }) => commands.length > 0)
    .map(({ id, commands }) => [`# ${id}`, ...commands].join("\n"))
    .join("\n\n");

function renderPlan(plan: PromotionPlan, width: number): string {
  return [
    `${plan.to} takes over from ${plan.from}. Lost: ${plan.loses}.`,
    renderSteps(plan.steps, width),
    commandsText(plan.steps),
    `The way back. Meanwhile ${plan.meanwhile}.`,
    renderSteps(plan.wayBack, width),
    commandsText(plan.wayBack),
  ].join("\n\n");
}

export function promoteRegionAws(region: string, flags: RegionFlags, values: AwsStackValues): ExitCode {
  const { backups } = checkedConfig(flags.stack);
  const plan = values.citus
    ? planCitusPromotion(values, values.citus, region)
    : planRegionPromotion({ values, region, backupRetentionDays: backups.retentionDays });
  if (flags.dryRun !== true) {
    throw new UserError(
      `on AWS a promotion is yours to carry out: ${values.citus ? "Systems Manager" : "RDS"} does its steps, and whether home is lost you know`,
      `./cgraph-db region promote ${region} --dry-run lists them with their commands`,
      EXIT.refused,
    );
  }
  if (flags.json === true) printJson({ stack: flags.stack, ...plan });
  else print(renderPlan(plan, terminalWidth()));
  return EXIT.done;
}
