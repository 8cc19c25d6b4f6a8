/** Statements of a Citus cluster that ask more of it than they need: every shard, or rows of other nodes. */
import { count, milliseconds } from "../../tuning/words.ts";
import type { ShardPlan, ShardRead } from "../advice/shards.ts";
import type { Facts } from "../facts.ts";
import { type Finding, finding } from "../finding.ts";
import { redacted } from "../statements/redact.ts";
import type { Statement } from "./statements.ts";

/** A statement with what is known of the shards that it asks. */
export interface ShardAsking {
  readonly statement: Statement;
  /** Reads of distributed tables, at least one. */
  readonly reads: readonly ShardRead[];
  /** What Citus plans, or why it was not asked. */
  readonly plan: ShardPlan | string;
  /** The same statement for given values of the distribution column, as far as there is one. */
  readonly narrowed: string | undefined;
  /** Shards that it would ask then, for two values, as Citus plans it; undefined: not proven. */
  readonly narrowedTasks: number | undefined;
}

const SHOWN_CHARACTERS = 600;

const names = (reads: readonly ShardRead[]): string =>
  [...new Set(reads.map(({ table }) => `${table.table} (${table.distributedBy})`))].join(", ");

const cost = ({ calls, total }: Statement, allTotal: number): string =>
  `${count(calls)} calls, ${milliseconds(total)} in all (${Math.round((100 * total) / allTotal)} % of all time)`;

const severityOf = ({ total }: Statement, allTotal: number, { thresholds }: Facts): Finding["severity"] =>
  100 * total >= thresholds.everyShardTimeShare * allTotal ? "warning" : "info";

const evidenceOf = ({ statement, reads, plan }: ShardAsking, allTotal: number) => ({
  calls: statement.calls,
  totalMs: Math.round(statement.total),
  timePercent: Math.round((100 * statement.total) / allTotal),
  tables: [...new Set(reads.map(({ table }) => table.table))],
  tasks: typeof plan === "string" ? null : plan.tasks,
  statement: redacted(statement.text, Number.POSITIVE_INFINITY),
});

function joinFinding(asking: ShardAsking, plan: ShardPlan, allTotal: number, facts: Facts): Finding {
  const { statement, reads } = asking;
  const how = plan.repartitions
    ? "rows of a whole table are sent from node to node for its join"
    : `rows of ${plan.gathered} shards are gathered on the coordinator, and sent to the nodes for its join`;
  return finding({
    check: "shard-join",
    severity: severityOf(statement, allTotal, facts),
    subject: `statement ${statement.id}`,
    says: `${how}; ${cost(statement, allTotal)}: ${redacted(statement.text, SHOWN_CHARACTERS)}`,
    evidence: { ...evidenceOf(asking, allTotal), repartitions: plan.repartitions, gatheredShards: plan.gathered },
    note: `join by the distribution columns too, where both rows belong to the same user: ${names(reads)}; otherwise ask in two steps, the second with the first one's ids: column = ANY ($1)`,
  });
}

function everyShardFinding(asking: ShardAsking, allTotal: number, facts: Facts): Finding {
  const { statement, reads, plan, narrowed, narrowedTasks } = asking;
  const isProven = typeof plan !== "string";
  const shards = Math.max(...reads.map(({ table }) => table.shards));
  const open = reads.filter(({ given }) => !given);
  const column = open[0]?.table.distributedBy ?? "";
  return finding({
    check: "every-shard",
    severity: isProven ? severityOf(statement, allTotal, facts) : "info",
    subject: `statement ${statement.id}`,
    says: `${isProven ? `asks ${plan.tasks} of ${shards} shards` : `asks all ${shards} shards by its text, not by its plan (${plan})`}, without a value for the distribution column of ${names(open)}; ${cost(statement, allTotal)}: ${redacted(statement.text, SHOWN_CHARACTERS)}`,
    evidence: {
      ...evidenceOf(asking, allTotal),
      shards,
      distributedBy: column,
      tasksOfTwoValues: narrowedTasks ?? null,
    },
    fix: narrowed === undefined ? [] : [`EXPLAIN ${redacted(narrowed, Number.POSITIVE_INFINITY)};`],
    note: `give ${column} in WHERE${narrowedTasks === undefined ? "" : `: by Citus' plan two values of it ask ${narrowedTasks === 1 ? "one shard" : `${narrowedTasks} shards`}`}. Which ones the application knows, or asks first: to read a conversation, its members' ids. Put values in the place of $1 and the others`,
  });
}

/** What is told of statements: joins that carry rows, and what asks every shard of a table. */
export function shardFindings(asked: readonly ShardAsking[], allTotal: number, facts: Facts): Finding[] {
  return asked.flatMap((asking): Finding[] => {
    const { reads, plan } = asking;
    const shards = Math.max(...reads.map(({ table }) => table.shards));
    const isOpen = reads.some(({ given }) => !given);
    if (typeof plan === "string") {
      // A text alone says nothing certain of joins.
      return reads.length === 1 && isOpen && shards > 1 ? [everyShardFinding(asking, allTotal, facts)] : [];
    }
    if (reads.length > 1 && (plan.repartitions || plan.gathered > 1)) {
      return [joinFinding(asking, plan, allTotal, facts)];
    }
    return isOpen && shards > 1 && plan.tasks >= shards ? [everyShardFinding(asking, allTotal, facts)] : [];
  });
}
