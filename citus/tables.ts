/** Where each table of schema/ is once there is a Citus cluster. */
import { TABLES, type TablePlacement } from "../sharding/tables.ts";

/** A reference to a reference table, which Citus can check. */
export interface CitusForeignKey {
  readonly columns: readonly string[];
  readonly references: string;
  /** Whether rows go with the row that they refer to, as schema/ has it. */
  readonly cascades: boolean;
}

/** A table of a Citus cluster. */
export interface CitusTable {
  readonly name: string;
  /**
   * The column by which its rows are distributed (the guide's for messages and reactions); null: a reference table, whole on
   * every node.
   */
  readonly distributedBy: string | null;
  /** The primary key, which has that column in it. */
  readonly primaryKey: readonly string[];
  /** The foreign keys that stay: sharding/tables.ts says what keeps the others right. */
  readonly foreignKeys: readonly CitusForeignKey[];
}

/** The table with which all other distributed ones are co-located: rows of one user are in shards of the same node. */
export const ANCHOR = "messages";

/** Tables whose rows are nothing without their user. */
const GO_WITH_THEIR_USER = new Set(["conversation_members", "reactions", "group_members", "votes"]);

/**
 * Beside stage 4's global tables, users: their names are unique over all of them, which no distributed table can be of a
 * column that it is not distributed by; and every other table may refer to them.
 */
const isReference = ({ name, shardKey }: TablePlacement): boolean => shardKey === null || name === "users";

/** Reference tables first, then the anchor, then the others: the order in which they are made. */
export function citusTables(tables: readonly TablePlacement[] = TABLES): CitusTable[] {
  const references = new Set(tables.filter(isReference).map(({ name }) => name));
  const rank = ({ name, distributedBy }: CitusTable): number => (distributedBy === null ? 0 : name === ANCHOR ? 1 : 2);
  return tables
    .map((table) => ({
      name: table.name,
      distributedBy: references.has(table.name) ? null : table.shardKey,
      primaryKey: table.primaryKey,
      foreignKeys: table.foreignKeys
        .filter((key) => references.has(key.references))
        .map(({ columns, references: to }) => ({
          ...{ columns, references: to },
          cascades: to === "users" && GO_WITH_THEIR_USER.has(table.name),
        })),
    }))
    .sort((a, b) => rank(a) - rank(b));
}
