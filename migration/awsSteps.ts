/** A step of a move on AWS, and what its estimate rests on. */
import type { AwsPlan } from "../stacks/aws/plan.ts";
import { GUIDE } from "../stacks/guide.ts";
import type { Clients } from "./effect.ts";
import type { Estimate, PlannedStep } from "./moveSteps.ts";

export interface AwsMove {
  /** Null: there is nothing yet. */
  readonly from: AwsPlan | null;
  readonly to: AwsPlan;
  /** Whether what restarts a server is done at once, or in its maintenance window. */
  readonly applyImmediately: boolean;
  /** Null where no server can be asked: then the most that the guide has for the stage is taken. */
  readonly databaseBytes: number | null;
}

const GB = 1e9;

interface Does {
  readonly title: string;
  readonly does: string;
  readonly duration: Estimate;
  readonly wayBack: string;
  readonly clients?: Clients;
  readonly pause?: Estimate;
  readonly movesBytes?: number;
  readonly noReturn?: string;
}

/** The way back of what changes nothing. */
export const NONE = "nothing to take back";

export const planned = (stage: number, id: string, one: Does): PlannedStep => ({
  id: `${stage}:${id}`,
  title: one.title,
  does: one.does,
  clients: one.clients ?? "nothing",
  pause: one.pause ?? null,
  duration: one.duration,
  movesBytes: one.movesBytes ?? 0,
  wayBack: one.wayBack,
  noReturn: one.noReturn ?? null,
});

/** How large the database is taken to be, and why. */
export function sizeOf({ databaseBytes, from }: AwsMove): { bytes: number; basis: string } {
  if (databaseBytes !== null) return { bytes: databaseBytes, basis: "its size now" };
  if (from === null) return { bytes: 0, basis: "empty" };
  const most = GUIDE[from.stage].databaseSizeGB.value.max ?? 0;
  return { bytes: most * GB, basis: `${most} GB, the most that the guide has for stage ${from.stage}` };
}

/** The regions beside home. */
export const regionsOf = (plan: AwsPlan | null): string[] =>
  (plan?.citus?.regions ?? plan?.regions ?? []).map(({ name }) => name);
