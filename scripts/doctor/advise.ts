/** Index advice: statements are explained, never run; an index that is not there is tried by hypopg. */
import { literal } from "../../components/sqlText.ts";
import { asSelect } from "../../doctor/advice/asSelect.ts";
import {
  type Advice,
  type Wish,
  candidatesOf,
  merged,
  readersOf,
  scannedTables,
  servedTables,
} from "../../doctor/advice/advice.ts";
import { type Candidate, definition } from "../../doctor/advice/candidates.ts";
import { type Explained, costOf, usesHypothetical } from "../../doctor/advice/plan.ts";
import type { TableScanRow } from "../../doctor/advice/tables.ts";
import type { Statement } from "../../doctor/checks/statements.ts";
import { type Facts, extensionOf } from "../../doctor/facts.ts";
import { identifier } from "../../components/sqlText.ts";
import { MARK } from "../../doctor/sql.ts";
import { isSingleStatement, tokenize } from "../../doctor/statements/tokens.ts";
import type { Query, Session } from "./session.ts";

/** What planning costs is paid by the server: the most expensive statements do. */
const MOST_STATEMENTS = 20;
const MOST_PROOFS = 10;
/** Statements of one candidate that are explained with it. */
const MOST_OF_ONE = 3;
/** hypopg asks for an index on each partition. */
const MOST_PARTITIONS = 200;

/** GENERIC_PLAN, which explains statements whose parameters have no values. */
const GENERIC_PLAN_VERSION = 160_000;

interface Plan {
  readonly text: string;
  readonly plan: Explained;
}

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

async function explained(query: Query, text: string): Promise<Explained> {
  const [row] = await query(`EXPLAIN (GENERIC_PLAN, VERBOSE, FORMAT JSON) ${MARK} ${text}`);
  return row?.["QUERY PLAN"] as Explained;
}

/** Names of a statement without their schemas are looked for beside the table that it reads. */
const pathOf = (table: TableScanRow): string => `${identifier(table.schema)}, public`;

/** The plan of a statement, or, where only its rows may be read, of the SELECT that finds them. */
async function planOf(session: Session, { text }: Statement, table: TableScanRow): Promise<Plan | string> {
  if (!isSingleStatement(tokenize(text))) return "it is no single statement about rows";
  const texts = [text, asSelect(text)].filter((one) => one !== undefined);
  let reason = "";
  for (const one of texts) {
    try {
      const plan = await session.transaction(pathOf(table), (query) => explained(query, one));
      return { text: one, plan };
    } catch (error) {
      reason = messageOf(error);
    }
  }
  return reason;
}

/** Makes an index that is not there, of a partitioned table on each partition; adds hypopg's numbers for it to `made`. */
async function makeHypothetical(query: Query, schema: string, candidate: Candidate, made: number[]): Promise<void> {
  const { table, partitions } = candidate.table;
  const relations = partitions && partitions.length > 0 ? partitions : [table];
  for (const relation of relations) {
    const text = literal(`CREATE INDEX ON ${relation} ${definition(candidate)}`);
    const rows = await query(`SELECT indexrelid::int8::text AS oid FROM ${schema}.hypopg_create_index(${text})`);
    made.push(...rows.map((row) => Number(row["oid"])));
  }
}

/** They would stay with the connection, and a pooler may give that to somebody else. */
async function dropHypothetical(query: Query, schema: string, made: number[]): Promise<void> {
  for (const oid of made.splice(0)) await query(`SELECT ${schema}.hypopg_drop_index(${oid})`);
}

type Proof = NonNullable<Advice["proof"]>;

/** What every proof needs. */
interface Prover {
  readonly session: Session;
  /** Where hypopg is, quoted. */
  readonly schema: string;
  readonly plans: ReadonlyMap<string, Plan>;
  readonly factor: number;
}

/** The statement that gains most from a candidate; undefined where the planner does not take it, or gains too little. */
async function prove(
  { session, schema, plans, factor }: Prover,
  { candidate, statements }: Wish,
): Promise<Proof | undefined> {
  const explainable = statements.flatMap(({ id }) => plans.get(id) ?? []).slice(0, MOST_OF_ONE);
  const path = pathOf(candidate.table);
  const made: number[] = [];
  try {
    return await session.transaction(path, async (query) => {
      await makeHypothetical(query, schema, candidate, made);
      const proofs: Proof[] = [];
      for (const { text, plan } of explainable) {
        const after = await explained(query, text);
        const [costBefore, costAfter] = [costOf(plan), costOf(after)];
        if (usesHypothetical(after, made) && costBefore >= factor * costAfter) proofs.push({ costBefore, costAfter });
      }
      await dropHypothetical(query, schema, made);
      return proofs.sort((a, b) => b.costBefore / b.costAfter - a.costBefore / a.costAfter)[0];
    });
  } finally {
    // What failed has left them.
    if (made.length > 0) await session.transaction(path, (query) => dropHypothetical(query, schema, made));
  }
}

/** What is known of the statements of a table. */
interface Known {
  readonly plans: ReadonlyMap<string, Plan>;
  /** Why a statement has no plan. */
  readonly refusals: ReadonlyMap<string, string>;
}

/** Why a wish cannot be proven; undefined where it can be tried. */
function whyUnproven({ candidate, statements }: Wish, { plans, refusals }: Known, facts: Facts): string | undefined {
  const { partitions } = candidate.table;
  if (!extensionOf(facts, "hypopg")) return "the extension hypopg is not in this database";
  if (!statements.some(({ id }) => plans.has(id))) return refusals.get(statements[0]?.id ?? "") ?? "it has no plan";
  return partitions === null || partitions.length > MOST_PARTITIONS ? "it has too many partitions" : undefined;
}

/** A wish with its proof, or with the reason why there is none; undefined where it is not worth being told. */
async function adviceFor(wish: Wish, known: Known, session: Session, facts: Facts): Promise<Advice | undefined> {
  const schema = identifier(extensionOf(facts, "hypopg")?.schema ?? "public");
  const prover: Prover = { session, schema, plans: known.plans, factor: facts.thresholds.indexCostFactor };
  let unproven = whyUnproven(wish, known, facts);
  if (unproven === undefined) {
    try {
      const proof = await prove(prover, wish);
      return proof && { ...wish, proof, unproven: undefined };
    } catch (error) {
      unproven = messageOf(error);
    }
  }
  return wish.candidate.partlyServed ? undefined : { ...wish, proof: undefined, unproven };
}

export interface Advised {
  readonly advice: readonly Advice[];
  /** Tables, quoted, whose statements all have their indexes. */
  readonly served: readonly string[];
}

/** Indexes worth proposing, each proven where that is possible. `statements` undefined: they cannot be seen. */
export async function advise(
  session: Session,
  tables: readonly TableScanRow[],
  statements: readonly Statement[] | undefined,
  facts: Facts,
): Promise<Advised> {
  const scanned = scannedTables(tables, facts);
  const readers = readersOf(statements ?? [], scanned).slice(0, MOST_STATEMENTS);
  const plans = new Map<string, Plan>();
  const refusals = new Map<string, string>();
  for (const statement of readers) {
    const table = scanned.find(({ name }) => statement.text.includes(name));
    const isNew = facts.version >= GENERIC_PLAN_VERSION;
    const plan =
      isNew && table ? await planOf(session, statement, table) : "EXPLAIN (GENERIC_PLAN) needs PostgreSQL 16";
    if (typeof plan === "string") refusals.set(statement.id, plan);
    else plans.set(statement.id, plan);
  }
  const planned = ({ id }: Statement) => plans.get(id)?.plan;
  const wishes = readers.flatMap((statement) =>
    candidatesOf(statement, planned(statement), scanned).map((candidate) => ({ candidate, statements: [statement] })),
  );
  const advice: Advice[] = [];
  for (const wish of merged(wishes).slice(0, MOST_PROOFS)) {
    const one = await adviceFor(wish, { plans, refusals }, session, facts);
    if (one) advice.push(one);
  }
  return { advice, served: servedTables(readers, planned, scanned) };
}
