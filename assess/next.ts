/** What a stage needs and costs: the guide's servers, and AWS's list prices. Pure. */
import { type CostLine, costOf, totalCost } from "../stacks/aws/cost.ts";
import { planAws } from "../stacks/aws/plan.ts";
import { type ConfigSource, readConfig } from "../stacks/config.ts";
import { GUIDE, type ServerSize, type StageNumber } from "../stacks/guide.ts";
import { UserError } from "../tuning/errors.ts";

export interface StageNeeds {
  readonly stage: StageNumber;
  readonly title: string;
  readonly servers: number;
  readonly size: ServerSize;
  readonly poolers: number;
  readonly cache: boolean;
  readonly regions: readonly string[];
  /** On-demand list prices; null where this version cannot tell. */
  readonly aws: { readonly usdPerMonth: number; readonly lines: readonly CostLine[] } | null;
}

/** What a stage consists of; its price with the stack's own configuration, where it has one. */
export function needsOf(stage: StageNumber, source: ConfigSource = () => undefined): StageNeeds {
  const figures = GUIDE[stage];
  return {
    stage,
    title: figures.title,
    servers: figures.primaries.value * (1 + figures.replicasPerPrimary.value),
    size: figures.serverSize.value,
    poolers: figures.pool?.value.instances ?? 0,
    cache: figures.cache.value,
    regions: figures.regions.value,
    aws: priceOf(stage, source),
  };
}

function priceOf(stage: StageNumber, source: ConfigSource): StageNeeds["aws"] {
  const wanted: Readonly<Record<string, string>> = { stage: String(stage), target: "aws" };
  try {
    const lines = costOf(planAws(readConfig((key) => wanted[key] ?? source(key))));
    return { lines, usdPerMonth: totalCost(lines) };
  } catch (error) {
    // A stage that this version has not got, or a configuration that only fits another stage.
    if (error instanceof UserError) return null;
    throw error;
  }
}
