/** Asks Citus which shards statements ask: they are explained with values of our own in them, never run. */
import { identifier } from "../../components/sqlText.ts";
import { asSelect } from "../../doctor/advice/asSelect.ts";
import {
  type ShardPlan,
  type ShardRead,
  narrowed,
  shardPlan,
  shardReads,
  shardSuspects,
  withValues,
} from "../../doctor/advice/shards.ts";
import type { CitusShardsRow } from "../../doctor/checks/citusShards.ts";
import type { ShardAsking } from "../../doctor/checks/citusStatements.ts";
import type { Statement } from "../../doctor/checks/statements.ts";
import type { Facts } from "../../doctor/facts.ts";
import { MARK } from "../../doctor/sql.ts";
import { isSingleStatement, tokenize } from "../../doctor/statements/tokens.ts";
import type { Query, Session } from "./session.ts";

/** What planning costs is paid by the server: the most expensive statements do. */
const MOST_STATEMENTS = 20;
const NAME = "cgraph_doctor";

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

/**
 * Citus plans no statement whose parameters have no values (GENERIC_PLAN). PREPARE tells their types; it is taken back at
 * once, for a pooler may give the connection to somebody else.
 */
async function planned(query: Query, text: string): Promise<ShardPlan> {
  await query("SET LOCAL citus.enable_repartition_joins = on; SET LOCAL citus.explain_all_tasks = off");
  await query(`PREPARE ${NAME} AS ${text}`);
  const [row] = await query(
    `SELECT parameter_types::text[] AS types FROM pg_prepared_statements WHERE name = '${NAME}'`,
  );
  await query(`DEALLOCATE ${NAME}`);
  const types = (row?.["types"] ?? []) as string[];
  const [plan] = await query(`EXPLAIN (FORMAT JSON) ${MARK} ${withValues(text, types)}`);
  return shardPlan(plan?.["QUERY PLAN"] as Parameters<typeof shardPlan>[0]);
}

/** The plan of a statement, or of the SELECT that finds its rows where only these may be read; a reason where there is none. */
async function planOf(session: Session, text: string, path: string): Promise<ShardPlan | string> {
  if (!isSingleStatement(tokenize(text))) return "it is no single statement about rows";
  let reason = "";
  for (const one of [text, asSelect(text)]) {
    if (one === undefined) continue;
    try {
      return await session.transaction(path, (query) => planned(query, one));
    } catch (error) {
      reason = messageOf(error);
    }
  }
  return reason;
}

/** What the most expensive statements on distributed tables ask; those with a value for the distribution column are well. */
export async function askedShards(
  session: Session,
  { tables }: CitusShardsRow,
  statements: readonly Statement[],
  { thresholds }: Facts,
): Promise<ShardAsking[]> {
  const schemas = new Set([
    "public",
    ...tables.filter(({ kind }) => kind === "distributed").map(({ schema }) => schema),
  ]);
  const path = [...schemas].map(identifier).join(", ");
  const suspects = shardSuspects(statements, tables, thresholds.everyShardCalls).slice(0, MOST_STATEMENTS);
  const asked: ShardAsking[] = [];
  for (const statement of suspects) {
    const reads = shardReads(statement.text, tables);
    const plan = await planOf(session, statement.text, path);
    const [only] = reads as [ShardRead];
    const asksAll = typeof plan === "string" || plan.tasks >= only.table.shards;
    const better = reads.length === 1 && asksAll ? narrowed(statement.text, only) : undefined;
    const proof = better === undefined ? undefined : await planOf(session, better, path);
    asked.push({
      ...{ statement, reads, plan, narrowed: better },
      narrowedTasks: typeof proof === "object" ? proof.tasks : undefined,
    });
  }
  return asked;
}
