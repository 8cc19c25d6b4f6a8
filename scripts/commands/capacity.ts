import { totalCost } from "../../stacks/aws/cost.ts";
import { READINGS } from "../../capacity/load.ts";
import { moneyOf } from "../../capacity/money.ts";
import {
  type CapacityPlan,
  type NoPlan,
  exceedsStage,
  firstToGive,
  isPlan,
  mostUsers,
  planFor,
  walls,
} from "../../capacity/nodes.ts";
import {
  READING_NAMES,
  type Rows,
  dollars,
  limitsTable,
  moneyLinesTable,
  nodesTable,
  people,
  wallsTable,
} from "../../capacity/tables.ts";
import { UserError } from "../../tuning/errors.ts";
import { print, printJson, table } from "../lib/print.ts";

export interface CapacityFlags {
  readonly users: string;
  readonly json?: boolean;
}

const FEWEST = 1e6;
const MOST = 1e9;
const FACTORS: Readonly<Record<string, number>> = { "": 1, K: 1e3, M: 1e6, B: 1e9 };

/** Reads `100M`, `1B`, `30000000`. Throws a UserError for what is no number of users, or none for stage 5. */
export function readUsers(text: string): number {
  const [, digits, factor] = /^(\d+(?:\.\d+)?)([KMB]?)$/i.exec(text.trim()) ?? [];
  const users = digits === undefined ? Number.NaN : Number(digits) * (FACTORS[factor?.toUpperCase() ?? ""] ?? 1);
  if (Number.isInteger(users) && users >= FEWEST && users <= MOST) return users;
  const hint = users > 0 && users < FEWEST ? "; for fewer, ./cgraph-db assess says which stage fits" : "";
  throw new UserError(`--users is "${text}"`, `give a number from 1M to 1B, such as 100M${hint}`);
}

const headline = (plan: CapacityPlan | NoPlan): string => {
  if (!isPlan(plan)) {
    const most = mostUsers(plan.reading);
    return `no cluster bears it: ${plan.why}${most === null ? "" : `; ${people(most)} users at most`}`;
  }
  const first = firstToGive(plan);
  const paper = exceedsStage(plan) ? " (more workers than cgraph:workers takes)" : "";
  return [
    `${plan.servers.workers} workers${paper}, ${plan.servers.total} servers in ${plan.servers.standbysAbroad.length + 1} regions`,
    `${dollars(totalCost(moneyOf(plan)))} a month`,
    `first to give way: ${first.part}, ${first.what}, ${Math.round(first.share * 100)} % used`,
  ].join("; ");
};

const section = (title: string, rows: Rows): string => `${title}\n\n${table(rows)}`;

function text(users: number): string {
  const plan = planFor(users, "members");
  const ways = READING_NAMES.map((reading) => `  ${READINGS[reading]}:\n    ${headline(planFor(users, reading))}`);
  const parts = isPlan(plan)
    ? [
        `Where the members' shards are asked (${plan.servers.total} servers):`,
        section("Nodes", nodesTable([users], "members")),
        section("How full", limitsTable([users], "members")),
        section("What more workers do not mend", wallsTable(plan)),
        section("Money", moneyLinesTable(plan)),
      ]
    : [];
  return [
    `${people(users)} users at the peak, on paper. The way a conversation is read decides:\n\n${ways.join("\n")}`,
    ...parts,
    "What is measured, what is assumed, which prices were not confirmed: docs/capacity.md.",
  ].join("\n\n");
}

/** `capacity`: what so many users need at stage 5, on paper: nodes, money, and the part that gives way first. */
export async function capacity(flags: CapacityFlags): Promise<void> {
  const users = readUsers(flags.users);
  if (flags.json !== true) return print(text(users));
  const readings = READING_NAMES.map((reading) => {
    const plan = planFor(users, reading);
    if (!isPlan(plan)) return { ...plan, mostUsers: mostUsers(reading) };
    const lines = moneyOf(plan);
    const first = firstToGive(plan);
    return { ...plan, first, walls: walls(plan), cost: { usdPerMonth: totalCost(lines), lines } };
  });
  printJson({ users, readings });
}
