/** What of a stack in Docker the report of a move tells beside Pulumi's plan; read while Pulumi plans. */
import type { Stack } from "@pulumi/pulumi/automation/index.js";
import { dockerHost } from "../../components/docker/engine.ts";
import { DATABASE } from "../../components/roles.ts";
import type { UseFacts } from "../../migration/fitting.ts";
import { planMove } from "../../migration/moves.ts";
import type { PlannedStep } from "../../migration/moveSteps.ts";
import { type Picture, dockerPicture } from "../../migration/picture.ts";
import type { StackConfig } from "../../stacks/config.ts";
import type { StackValues } from "../../stacks/outputs.ts";
import { planTopology } from "../../stacks/topology.ts";
import { currentPrimary, superuserSql } from "../lib/cluster.ts";
import { stateValues } from "../lib/state.ts";
import { factsOf } from "../migrate/facts.ts";

export interface Told {
  readonly steps: readonly PlannedStep[];
  readonly use?: UseFacts;
  readonly before: Picture | null;
  readonly after: Picture;
  readonly notes: readonly string[];
}

async function useOf(values: StackValues): Promise<UseFacts> {
  const { container } = await currentPrimary(values);
  const row = await superuserSql(
    container,
    `SELECT json_build_object('databaseBytes', (SELECT sum(pg_database_size(oid)) FROM pg_database WHERE datallowconn),
       'connections', (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()),
       'partitioned', coalesce((SELECT relkind = 'p' FROM pg_class WHERE oid = to_regclass('public.messages')), false))`,
    DATABASE,
  );
  return JSON.parse(row) as UseFacts;
}

/** Never rejects for what a server does not answer: a preview is there to look, also at what is broken. */
export async function tellDocker(stack: Stack, before: StackConfig, config: StackConfig): Promise<Told> {
  const host = await dockerHost();
  // No secret is needed.
  const values = (await stateValues(stack)) as StackValues | undefined;
  const plan = planTopology(config, host);
  const after = dockerPicture(plan, config);
  if (!values) return { steps: [], before: null, after, notes: plan.notes };
  const now = dockerPicture(planTopology({ ...before, stage: values.stage }, host), before);
  if (values.stage === config.stage) return { steps: [], before: now, after, notes: plan.notes };
  try {
    const [facts, use] = await Promise.all([factsOf(stack.name, values, config.stage), useOf(values)]);
    return { steps: planMove(values.stage, config.stage, facts), use, before: now, after, notes: plan.notes };
  } catch (error) {
    const why = error instanceof Error ? (error.message.split("\n")[0] ?? "") : String(error);
    return {
      steps: [],
      before: now,
      after,
      notes: [...plan.notes, `no steps and no sizes: they are read from servers that run (${why})`],
    };
  }
}
