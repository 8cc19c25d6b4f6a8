/** The tables of docs/capacity.md: `node scripts/capacity/document.ts` writes them anew; a test compares them. */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { isPlan, planFor } from "../../capacity/nodes.ts";
import {
  type Rows,
  assumedTable,
  limitsTable,
  loadTable,
  measuredTable,
  moneyTable,
  nodesTable,
  pricesTable,
  readingsTable,
  sendersTable,
  wallsTable,
} from "../../capacity/tables.ts";
import { ROOT } from "../lib/paths.ts";
import { markdownTable } from "../report/markdown.ts";

export const DOCUMENT = join(ROOT, "docs", "capacity.md");
const USERS = [10e6, 30e6, 100e6];
const MOST = 100e6;

const wallsAt = (users: number): Rows => {
  const plan = planFor(users, "members");
  if (!isPlan(plan)) throw new Error(`there is no plan for ${users} users`);
  return wallsTable(plan);
};

const TABLES: Readonly<Record<string, () => Rows>> = {
  readings: () => readingsTable(USERS),
  senders: () => sendersTable(MOST),
  load: () => loadTable(USERS),
  nodes: () => nodesTable(USERS, "members"),
  limits: () => limitsTable(USERS, "members"),
  "walls at 10 M": () => wallsAt(10e6),
  "walls at 100 M": () => wallsAt(MOST),
  money: () => moneyTable(USERS, "members"),
  measured: measuredTable,
  assumed: assumedTable,
  prices: pricesTable,
};

export const TABLE_NAMES = Object.keys(TABLES);

/** The text with each `<!-- table: NAME -->` … `<!-- end -->` filled in. Throws for a name that is none of the tables. */
export const filled = (text: string): string =>
  text.replace(/(<!-- table: (.+?) -->)[\s\S]*?(<!-- end -->)/g, (_, begin: string, name: string, end: string) => {
    const [heading = [], ...rows] = TABLES[name]?.() ?? [];
    if (heading.length === 0) throw new Error(`docs/capacity.md has a table ${name}, which there is not`);
    return `${begin}\n\n${markdownTable(heading, rows)}\n\n${end}`;
  });

if (import.meta.main) writeFileSync(DOCUMENT, filled(readFileSync(DOCUMENT, "utf8")));
