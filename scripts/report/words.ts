/** Figures and sentences that all forms of a report share. */
import type { MoveReport, ReportChange } from "../../migration/report.ts";
import type { PlannedStep } from "../../migration/moveSteps.ts";
import { PRICES_AS_OF } from "../../stacks/aws/classes.ts";
import { bytes, duration } from "../../tuning/words.ts";

export { duration };

export const usd = (amount: number): string => `$${amount.toFixed(2)}`;
export const signedUsd = (amount: number): string => `${amount < 0 ? "-" : "+"}${usd(Math.abs(amount))}`;

export const PRICES_NOTE = `On-demand list prices of ${PRICES_AS_OF}, us-east-1, without data transfer.`;
export const SECRET_NOTE = "a secret input changes: Pulumi hides what differs";

/** Which stages: `stage 1 → 2`. */
export const fromTo = ({ from, to }: Pick<MoveReport, "from" | "to">): string =>
  from === to ? `stage ${to}` : from === 0 ? `nothing → stage ${to}` : `stage ${from} → ${to}`;

export const stepsSeconds = (steps: readonly PlannedStep[]): number =>
  steps.reduce((sum, one) => sum + one.duration.seconds, 0);

/** What matters most, in a few sentences. */
export function summary(report: MoveReport): string[] {
  const { longestPause, movesBytes, steps, differenceUsdPerMonth, cost } = report;
  return [
    ...(steps.length > 0 ? [`${steps.length} steps, about ${duration(stepsSeconds(steps))} in all.`] : []),
    ...(longestPause
      ? [
          `Longest pause: ${duration(longestPause.seconds)}, ${longestPause.clients}, in ${longestPause.step} (${longestPause.basis}).`,
        ]
      : steps.length > 0
        ? ["Clients notice nothing."]
        : []),
    ...(movesBytes > 0 ? [`${bytes(movesBytes)} are copied.`] : []),
    ...(cost && differenceUsdPerMonth !== null
      ? [`${usd(cost.usdPerMonth)} a month (${signedUsd(differenceUsdPerMonth)}).`]
      : []),
  ];
}

/** Why, and that a secret changes where nothing else does. */
export const whyOf = (change: ReportChange, report: Pick<MoveReport, "secretOnly">): string =>
  [change.why, ...(report.secretOnly.includes(change.urn) ? [SECRET_NOTE] : [])]
    .filter((text) => text !== "")
    .join("; ");

/** A resource's type without what repeats in it: `docker:Container`, `aws:rds:Instance`. */
export const shortType = (type: string): string => type.replace(/:index\/[^:]*:/, ":").replace(/\/[^:]*:/, ":");

/** From data that goes to what is merely new. */
const WEIGHT: Readonly<Record<ReportChange["happens"], number>> = {
  delete: 5,
  replace: 4,
  restart: 3,
  reload: 2,
  change: 1,
  create: 0,
};

/** What matters most stands first. */
export function sorted(changes: readonly ReportChange[]): ReportChange[] {
  const weight = (one: ReportChange): number =>
    (one.loss === "none" ? 0 : 100) + (one.clients === "nothing" ? 0 : 20) + WEIGHT[one.happens];
  return [...changes].sort((a, b) => weight(b) - weight(a));
}

/** Whether somebody should look at it by itself. */
export const isNotable = (change: ReportChange, report: Pick<MoveReport, "secretOnly">): boolean =>
  change.loss !== "none" ||
  change.clients !== "nothing" ||
  (change.holdsData && change.happens !== "create") ||
  report.secretOnly.includes(change.urn);

export interface CostRow {
  readonly part: string;
  readonly what: string;
  /** Null: the part is not there. */
  readonly now: number | null;
  readonly then: number | null;
}

/** Part by part, now and then; without a "now" only then. */
export function costRows({ cost, costNow }: Pick<MoveReport, "cost" | "costNow">): CostRow[] {
  const lines = cost?.lines ?? [];
  const old = costNow?.lines ?? [];
  const parts = [...new Set([...lines, ...old].map(({ part }) => part))];
  const sum = (of: typeof old, part: string): number | null => {
    const found = of.filter((line) => line.part === part);
    return found.length === 0 ? null : found.reduce((all, { usdPerMonth }) => all + usdPerMonth, 0);
  };
  const words = (part: string): string =>
    (lines.some((line) => line.part === part) ? lines : old)
      .filter((line) => line.part === part)
      .map(({ what }) => what)
      .join(", ");
  return parts.map((part) => ({ part, what: words(part), now: sum(old, part), then: sum(lines, part) }));
}

export const money = (amount: number | null): string => (amount === null ? "" : usd(amount));
