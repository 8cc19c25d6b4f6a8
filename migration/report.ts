/** A whole move, told before it is made: what every form of `preview` shows. Pure; docs/preview.schema.json has its shape. */
import type { CostLine } from "../stacks/aws/cost.ts";
import { type Change, type PropertyChange, resourceName } from "./change.ts";
import type { Finding } from "./drift.ts";
import type { Clients, Happening } from "./effect.ts";
import { type Misfit, type UseFacts, misfitsOf } from "./fitting.ts";
import type { PlannedStep } from "./moveSteps.ts";
import type { Picture } from "./picture.ts";
import { isSecretOnly } from "./secretChange.ts";
import { type Verdict, allowedLosses, effectOf, meaningOf, unsafeOf, verdictOf } from "./verdict.ts";

/** A change, without the inputs that it was told from: they would fill pages, and some are nobody's business. */
export interface ReportChange {
  readonly urn: string;
  readonly name: string;
  readonly type: string;
  readonly op: string;
  readonly happens: Happening;
  readonly holdsData: boolean;
  readonly clients: Clients;
  readonly why: string;
  readonly properties: readonly PropertyChange[];
  /** Whether `--allow-replace` is needed, or was given. */
  readonly loss: "none" | "refused" | "allowed";
}

export interface Pause {
  /** The step's id. */
  readonly step: string;
  readonly clients: Clients;
  readonly seconds: number;
  readonly basis: string;
}

export interface ReportCost {
  readonly lines: readonly CostLine[];
  readonly usdPerMonth: number;
}

export interface MoveReport {
  readonly version: 1;
  readonly stack: string;
  readonly target: "docker" | "aws";
  /** 0: there is nothing yet. */
  readonly from: number;
  readonly to: number;
  readonly verdict: Verdict;
  readonly meaning: string;
  readonly changes: readonly ReportChange[];
  /** URNs of changes in which all that differs is secret; Pulumi shows no difference of them. */
  readonly secretOnly: readonly string[];
  readonly steps: readonly PlannedStep[];
  /** The worst single pause; null where clients notice nothing. */
  readonly longestPause: Pause | null;
  /** Of all steps. */
  readonly movesBytes: number;
  /** AWS only. `usdPerMonthNow` is 0 where there is nothing yet. */
  readonly cost: (ReportCost & { readonly usdPerMonthNow: number }) | null;
  readonly costNow: ReportCost | null;
  readonly differenceUsdPerMonth: number | null;
  readonly notFitting: readonly Misfit[];
  readonly before: Picture | null;
  readonly after: Picture;
  /** What was changed behind Pulumi's back; absent where nobody looked: on AWS, and for another stage. */
  readonly drift?: readonly Finding[];
  readonly notes: readonly string[];
}

/** What a report is made of. */
export interface Found {
  readonly stack: string;
  readonly target: MoveReport["target"];
  readonly from: number;
  readonly to: number;
  readonly changes: readonly Change[];
  readonly steps: readonly PlannedStep[];
  readonly use?: UseFacts | undefined;
  readonly cost?: ReportCost | undefined;
  readonly costNow?: ReportCost | undefined;
  readonly before: Picture | null;
  readonly after: Picture;
  readonly drift?: readonly Finding[];
  readonly notes: readonly string[];
}

/** The worst pause: one in which writes wait before a reconnect, however short. */
function longestPauseOf(steps: readonly PlannedStep[]): Pause | null {
  const weight: Readonly<Record<Clients, number>> = { nothing: 0, reconnect: 1, "reads pause": 2, "writes pause": 2 };
  const pauses = steps.flatMap(({ id, clients, pause }) => (pause ? [{ step: id, clients, ...pause }] : []));
  return pauses.sort((a, b) => weight[b.clients] - weight[a.clients] || b.seconds - a.seconds)[0] ?? null;
}

const cents = (usd: number): number => Number(usd.toFixed(2));

export function moveReport(found: Found): MoveReport {
  const { changes, steps, cost, costNow, before, after } = found;
  const refused = new Set(unsafeOf(changes).map(({ urn }) => urn));
  const allowed = new Set(allowedLosses(changes).map(({ urn }) => urn));
  const verdict = verdictOf(changes);
  return {
    version: 1,
    stack: found.stack,
    target: found.target,
    from: found.from,
    to: found.to,
    verdict,
    meaning: meaningOf(changes),
    changes: changes.map((change) => ({
      urn: change.urn,
      name: resourceName(change.urn),
      type: change.type,
      op: change.op,
      holdsData: change.stateful,
      ...effectOf(change),
      properties: change.properties,
      loss: refused.has(change.urn) ? "refused" : allowed.has(change.urn) ? "allowed" : "none",
    })),
    secretOnly: changes.filter(isSecretOnly).map(({ urn }) => urn),
    steps,
    longestPause: longestPauseOf(steps),
    movesBytes: Math.round(steps.reduce((sum, { movesBytes }) => sum + movesBytes, 0)),
    cost: cost ? { lines: cost.lines, usdPerMonth: cost.usdPerMonth, usdPerMonthNow: costNow?.usdPerMonth ?? 0 } : null,
    costNow: costNow ?? null,
    differenceUsdPerMonth: cost ? cents(cost.usdPerMonth - (costNow?.usdPerMonth ?? 0)) : null,
    notFitting: before ? misfitsOf(before, after, found.use, found.target) : [],
    before,
    after,
    ...(found.drift ? { drift: found.drift } : {}),
    notes: found.notes,
  };
}
