import { describe, expect, it } from "vitest";
import { type TableFacts, checkTables } from "../../sharding/checkTables.ts";
import { orphansSql, shardTablesSql } from "../../sharding/shardSql.ts";
import { TABLES, type TablePlacement, globalTables, shardedTables } from "../../sharding/tables.ts";

/** What a database has where it agrees with the placements. */
const facts = (tables: readonly TablePlacement[] = TABLES): TableFacts[] =>
  tables.map(({ name, shardKey, primaryKey, foreignKeys }) => ({
    name,
    columns: { ...(shardKey !== null && { [shardKey]: "uuid" }) },
    primaryKey,
    foreignKeys,
  }));
const changed = (name: string, change: Partial<TablePlacement>): TablePlacement[] =>
  TABLES.map((table) => (table.name === name ? { ...table, ...change } : table));

describe("placement of tables", () => {
  it("has a shard key in every sharded table's primary key", () => {
    for (const { name, shardKey, primaryKey } of shardedTables()) expect(primaryKey, name).toContain(shardKey);
    expect(() => checkTables(TABLES, facts())).not.toThrow();
    expect(globalTables().map(({ name }) => name)).toEqual(["forums", "settings", "feature_flags", "announcements"]);
  });

  it("refuses a table that nothing is said of, by its name", () => {
    const more = [...facts(), { name: "invoices", columns: {}, primaryKey: ["id"], foreignKeys: [] }];
    expect(() => checkTables(TABLES, more)).toThrow("invoices: a table without a shard key");
  });

  it("refuses a table without its shard key's column, and one of another type", () => {
    const without = (columns: TableFacts["columns"]) =>
      facts().map((table) => (table.name === "messages" ? { ...table, columns } : table));
    expect(() => checkTables(TABLES, without({}))).toThrow("messages: lacks the shard key's column sender_id");
    expect(() => checkTables(TABLES, without({ sender_id: "bigint" }))).toThrow(
      "sender_id is of type bigint, not uuid",
    );
    expect(() => checkTables(changed("votes", { primaryKey: ["post_id"] }), facts())).toThrow(
      "votes: its primary key (post_id) lacks the shard key user_id",
    );
  });

  it("refuses a foreign key that crosses shards, and one that nothing is said of", () => {
    const crossing = changed("groups", {
      foreignKeys: [{ columns: ["owner_id"], references: "users", kept: { as: "local" } }],
    });
    expect(() => checkTables(crossing, facts())).toThrow("groups (owner_id): a foreign key to users crosses shards");
    const silent = changed("reactions", { foreignKeys: [] });
    expect(() => checkTables(silent, facts())).toThrow(
      "reactions (message_id, message_inserted_at): nothing says what becomes of the foreign key to messages",
    );
  });

  it("names every dropped foreign key in what counts orphans", () => {
    const dropped = shardedTables().flatMap(({ name, foreignKeys }) =>
      foreignKeys.flatMap(({ kept, references }) => (kept.as === "dropped" ? [[name, references, kept.instead]] : [])),
    );
    for (const [child, parent, instead] of dropped) {
      expect(orphansSql()).toContain(`SELECT '${child}' AS child, '${parent}' AS parent`);
      expect(instead).not.toBe("");
    }
    expect(dropped).toHaveLength(6);
  });

  it("refuses rows of other shards in every sharded table, and any write of a client's in a global one", () => {
    const sql = shardTablesSql();
    for (const { name } of shardedTables()) {
      expect(sql).toContain(`TRIGGER sharding_insert BEFORE INSERT ON ${name}\n`);
      expect(sql).toContain(`TRIGGER sharding_change BEFORE UPDATE OR DELETE ON ${name}\n`);
    }
    for (const { name } of globalTables()) expect(sql).toContain(`OR DELETE OR TRUNCATE ON ${name}\n`);
    // Triggers that fire for appliers too would refuse what is being moved in.
    expect(sql).not.toMatch(/ENABLE (ALWAYS|REPLICA)/);
  });
});
