/** The calculation as tables: rows of text, the first row the heading. For the terminal and for docs/capacity.md. Pure. */
import { totalCost } from "../stacks/aws/cost.ts";
import { ASSUMPTIONS, READINGS, type Reading, loadOf } from "./load.ts";
import { type Input, MEASURED } from "./measured.ts";
import { PRICES, moneyOf } from "./money.ts";
import {
  type CapacityPlan,
  type Limit,
  type NoPlan,
  firstToGive,
  isPlan,
  mostUsers,
  planFor,
  walls,
  workersBy,
} from "./nodes.ts";

export type Rows = readonly (readonly string[])[];
export const READING_NAMES = Object.keys(READINGS) as Reading[];

const plain = (value: number, digits: number): string => Number(value.toFixed(digits)).toString();
/** Three digits that count: `0.176`, `12.3`, `19 400`. */
export function figure(value: number): string {
  if (value >= 1000) return String(Number(value.toPrecision(3))).replace(/\B(?=(\d{3})+$)/g, " ");
  return Number(value.toPrecision(3)).toString();
}
/** `10 M`, `1 B`. */
export const people = (users: number): string =>
  users >= 1e9 ? `${plain(users / 1e9, 1)} B` : `${plain(users / 1e6, users < 1e7 ? 1 : 0)} M`;
const percent = (share: number): string => `${Math.round(share * 100)} %`;
export const dollars = (usd: number): string => `$${figure(Math.round(usd))}`;
const limitName = ({ part, what }: Limit): string => `${part}: ${what}`;
const limitFill = ({ limit, used, unit, share }: Limit): string =>
  `${figure(used)} of ${figure(limit)} ${unit}, ${percent(share)}`;

const plansOf = (users: readonly number[], reading: Reading): CapacityPlan[] =>
  users.map((count) => planFor(count, reading)).filter(isPlan);

/** Each way of reading at each number of users. */
export function readingsTable(users: readonly number[]): Rows {
  const cell = (plan: CapacityPlan | NoPlan): string => {
    if (!isPlan(plan)) return `none: ${plan.why}`;
    const first = firstToGive(plan);
    return `${plan.servers.workers} workers, ${dollars(totalCost(moneyOf(plan)))} a month; first: ${limitName(first)}, ${percent(first.share)}`;
  };
  return [
    ["a read asks", ...users.map(people), "at most"],
    ...READING_NAMES.map((reading) => {
      const most = mostUsers(reading);
      return [
        READINGS[reading],
        ...users.map((count) => cell(planFor(count, reading))),
        most === null ? "more than 10 B" : people(most),
      ];
    }),
  ];
}

/** What comes in at the peak; CPUs where two senders' shards are asked. */
export function loadTable(users: readonly number[]): Rows {
  const loads = users.map((count) => loadOf(count, 2));
  const row = (name: string, of: (load: (typeof loads)[number]) => number): string[] => [
    name,
    ...loads.map((load) => figure(of(load))),
  ];
  return [
    ["at the peak", ...users.map(people)],
    row("messages a second", (load) => load.messagesPerSecond),
    row("reads of a conversation a second", (load) => load.readsPerSecond),
    row("statements a second", (load) => load.statementsPerSecond),
    row("database, TB", (load) => load.databaseBytes / 1e12),
    row("WAL, MB/s", (load) => load.walBytesPerSecond / 1e6),
    row("rows to the application, MB/s", (load) => load.resultBytesPerSecond / 1e6),
    row("CPUs busy at the workers", (load) => load.workerCpus),
    row("CPUs busy with routing", (load) => load.routingCpus),
  ];
}

/** How many senders' shards a read asks, and what that takes of CPUs. */
export const sendersTable = (users: number): Rows => [
  [`senders in a conversation, ${people(users)}`, "CPUs, workers and routing", "workers for CPU alone"],
  ...[1, 2, 5, 10, 20, 50].map((asked) => {
    const load = loadOf(users, asked);
    return [`${asked}`, figure(load.workerCpus + load.routingCpus), `${workersBy(users, load, true)["cpu"]}`];
  }),
];

/** What there is to run. */
export function nodesTable(users: readonly number[], reading: Reading): Rows {
  const plans = plansOf(users, reading);
  const row = (name: string, of: (plan: CapacityPlan) => string): string[] => [name, ...plans.map(of)];
  return [
    ["", ...plans.map((plan) => people(plan.users))],
    row("workers", ({ servers }) => `${servers.workers}`),
    ...["cpu", "disk", "wal", "iops"].map((by) =>
      row(`for ${by === "cpu" || by === "iops" ? by.toUpperCase() : by} alone`, ({ workersBy }) => `${workersBy[by]}`),
    ),
    row("takes statements", ({ routing }) => routing),
    row("coordinator", ({ servers }) => `${servers.coordinators}`),
    row("standbys at home", ({ servers }) => `${servers.standbysAtHome}`),
    row("standbys in other regions", ({ servers }) => servers.standbysAbroad.join(" + ")),
    row("servers in all", ({ servers }) => `${servers.total}`),
    row("PgBouncers a region", ({ servers }) => `${servers.poolers}`),
    row("cache nodes a region, without standbys", ({ servers }) => `${servers.cacheNodes}`),
  ];
}

/** How full each part is, the fullest at the largest number of users first. */
export function limitsTable(users: readonly number[], reading: Reading): Rows {
  const plans = plansOf(users, reading);
  const names = [...new Set(plans.toReversed().flatMap(({ limits }) => limits.map(limitName)))];
  return [
    ["part", ...plans.map((plan) => people(plan.users))],
    ...names.map((name) => [
      name,
      ...plans.map(({ limits }) => {
        const found = limits.find((one) => limitName(one) === name);
        return found ? limitFill(found) : "no longer alone";
      }),
    ]),
  ];
}

/** What more workers do not mend, and the users at which it is full. */
export const wallsTable = (plan: CapacityPlan): Rows => [
  ["part", `at ${people(plan.users)}`, "full at"],
  ...walls(plan)
    .sort((a, b) => a.users - b.users)
    .map(({ limit, users }) => [limitName(limit), limitFill(limit), people(users)]),
];

/** A month's cost, part by part. */
export function moneyTable(users: readonly number[], reading: Reading): Rows {
  const plans = plansOf(users, reading);
  const lines = plans.map(moneyOf);
  const parts = [...new Set(lines.flat().map(({ part }) => part))];
  const sum = (of: readonly { part: string; usdPerMonth: number }[], part: string): number =>
    of.filter((line) => line.part === part).reduce((total, { usdPerMonth }) => total + usdPerMonth, 0);
  return [
    ["a month", ...plans.map((plan) => people(plan.users))],
    ...parts.map((part) => [part, ...lines.map((all) => dollars(sum(all, part)))]),
    ["in all", ...lines.map((all) => dollars(totalCost(all)))],
    ["a user and year", ...lines.map((all, index) => cents((totalCost(all) * 12) / (plans[index]?.users ?? 1)))],
  ];
}

const cents = (usd: number): string => `${plain(usd * 100, 1)} ¢`;

export const moneyLinesTable = (plan: CapacityPlan): Rows => [
  ["part", "what", "a month"],
  ...moneyOf(plan).map(({ part, what, usdPerMonth }) => [part, what, dollars(usdPerMonth)]),
];

export const measuredTable = (): Rows => [
  ["figure", "value", "from"],
  ...Object.entries<Input>(MEASURED).map(([name, { value, source }]) => [name, figure(value), source]),
];

export const assumedTable = (): Rows => [
  ["figure", "value", "what it is"],
  ...ASSUMPTIONS.map(({ name, value, why }) => [name, figure(value), why]),
];

export const pricesTable = (): Rows => [
  ["a", "US dollars", "looked up"],
  ...Object.values(PRICES).map(({ usd, per, confirmed }) => [per, `${usd}`, confirmed ?? "**not confirmed**"]),
];
