/** Index advice: statements are explained, never run; an index that is not there is tried by hypopg. */
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
import { MARK, identifier } from "../../doctor/sql.ts";
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

/** Makes an index that is not there, of a partitioned table on each partition; gives hypopg's numbers for it. */
async function makeHypothetical(query: Query, schema: string, candidate: Candidate): Promise<number[]> {
  const { table, partitions } = candidate.table;
  const relations = partitions && partitions.length > 0 ? partitions : [table];
  const made: number[] = [];
  for (const relation of relations) {
    const text = `CREATE INDEX ON ${relation} ${definition(candidate)}`.replaceAll("'", "''");
    const rows = await query(`SELECT indexrelid::int8::text AS oid FROM ${schema}.hypopg_create_index('${text}')`);
    made.push(...rows.map((row) => Number(row["oid"])));
  }
  return made;
}

interface Proof {
  readonly costBefore: number;
  readonly costAfter: number;
}

/** The statement that gains most from a candidate; undefined where the planner does not take it, or gains too little. */
async function prove(
  session: Session,
  schema: string,
  { candidate, statements }: Wish,
  plans: ReadonlyMap<string, Plan>,
  factor: number,
): Promise<Proof | undefined> {
  const explainable = statements.flatMap(({ id }) => plans.get(id) ?? []).slice(0, MOST_OF_ONE);
  return session.transaction(pathOf(candidate.table), async (query) => {
    const oids = await makeHypothetical(query, schema, candidate);
    const proofs: Proof[] = [];
    for (const { text, plan } of explainable) {
      const after = await explained(query, text);
      const [costBefore, costAfter] = [costOf(plan), costOf(after)];
      if (usesHypothetical(after, oids) && costBefore >= factor * costAfter) proofs.push({ costBefore, costAfter });
    }
    // They would stay with the connection, and a pooler may give that to somebody else.
    for (const oid of oids) await query(`SELECT ${schema}.hypopg_drop_index(${oid})`);
    return proofs.sort((a, b) => b.costBefore / b.costAfter - a.costBefore / a.costAfter)[0];
  });
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
  const wishes: Wish[] = [];
  for (const statement of readers) {
    const [table] = scanned.filter(({ name }) => statement.text.includes(name));
    const plan =
      facts.version >= GENERIC_PLAN_VERSION && table ? await planOf(session, statement, table) : "needs PostgreSQL 16";
    if (typeof plan === "string") refusals.set(statement.id, plan);
    else plans.set(statement.id, plan);
    const candidates = candidatesOf(statement, plans.get(statement.id)?.plan, scanned);
    wishes.push(...candidates.map((candidate) => ({ candidate, statements: [statement] })));
  }
  const hypopg = extensionOf(facts, "hypopg");
  const advice: Advice[] = [];
  for (const wish of merged(wishes).slice(0, MOST_PROOFS)) {
    const { candidate, statements: served } = wish;
    const isLarge = (candidate.table.partitions?.length ?? 0) > MOST_PARTITIONS;
    const hasPlan = served.some(({ id }) => plans.has(id));
    const without = !hypopg
      ? "the extension hypopg is not in this database"
      : !hasPlan
        ? (served.map(({ id }) => refusals.get(id)).find((one) => one !== undefined) ?? "no plan")
        : candidate.table.partitions === null || isLarge
          ? "too many partitions"
          : undefined;
    if (without === undefined && hypopg) {
      const proven = await prove(
        session,
        identifier(hypopg.schema),
        wish,
        plans,
        facts.thresholds.indexCostFactor,
      ).catch(messageOf);
      if (typeof proven === "string") {
        if (!candidate.partlyServed) advice.push({ ...wish, proof: undefined, unproven: proven });
      } else if (proven) advice.push({ ...wish, proof: proven, unproven: undefined });
    } else if (!candidate.partlyServed) advice.push({ ...wish, proof: undefined, unproven: without });
  }
  const served = servedTables(readers, ({ id }) => plans.get(id)?.plan, scanned);
  return { advice, served };
}
