import { describe, expect, test } from "vitest";
import { checkTables, localTables } from "../../citus/distribute.ts";
import { type TableFacts, addForeignKeysSql, distributeSql, primaryKeySql } from "../../citus/distributeSql.ts";
import { citusTables } from "../../citus/tables.ts";
import { citusHbaRules } from "../../components/docker/citusFiles.ts";
import { citusGroup } from "../../components/docker/citusNames.ts";
import { configKey } from "../../components/docker/patroniFiles.ts";
import { statementsOf, wholeSchema } from "../../scripts/lib/schemaParts.ts";
import { readConfig } from "../../stacks/config.ts";
import { planTopology } from "../../stacks/topology.ts";

const tables = citusTables();
const named = (name: string) => {
  const found = tables.find((table) => table.name === name);
  if (!found) throw new Error(name);
  return found;
};
const facts = (name: string, more: Partial<TableFacts> = {}): TableFacts => ({
  ...{ name, columns: ["id", named(name).distributedBy ?? "id"], kind: null, distributedBy: null },
  ...{ primaryKey: null, foreignKeys: [], ...more },
});
const all = (): TableFacts[] => tables.map(({ name }) => facts(name));

describe("Citus tables", () => {
  test("are distributed as the guide says", () => {
    expect(distributeSql(named("messages"), 64)).toBe(
      "SELECT create_distributed_table('messages', 'sender_id', shard_count => 64, colocate_with => 'none')",
    );
    expect(distributeSql(named("reactions"), 64)).toContain("('reactions', 'user_id', colocate_with => 'messages')");
    expect(distributeSql(named("settings"), 64)).toBe("SELECT create_reference_table('settings')");
  });

  test("are all there is in schema/, reference tables first, then messages", () => {
    const made = wholeSchema().flatMap(({ sql }) =>
      [...sql.matchAll(/CREATE TABLE IF NOT EXISTS (\w+)/g)].map(([, name]) => name),
    );
    expect(tables.map(({ name }) => name).sort()).toEqual(made.sort());
    const kinds = tables.map(({ distributedBy }) => distributedBy === null);
    expect(kinds).toEqual([...kinds].sort((a, b) => Number(b) - Number(a)));
    expect(tables.find(({ distributedBy }) => distributedBy !== null)?.name).toBe("messages");
  });

  test("have their distribution column in the primary key, and get it there", () => {
    for (const { distributedBy, primaryKey } of tables) {
      if (distributedBy !== null) expect(primaryKey).toContain(distributedBy);
    }
    const primaryKey = { constraint: "messages_pkey", columns: ["id", "inserted_at"] };
    expect(primaryKeySql(named("messages"), facts("messages", { primaryKey }))).toEqual([
      'ALTER TABLE messages DROP CONSTRAINT "messages_pkey"',
      "ALTER TABLE messages ADD PRIMARY KEY (id, inserted_at, sender_id)",
    ]);
    expect(primaryKeySql(named("users"), facts("users", { primaryKey }))).toEqual([]);
  });

  test("keep foreign keys to reference tables, which cascade as schema/ has it", () => {
    const schema = wholeSchema()
      .map(({ sql }) => sql)
      .join("\n");
    for (const { name, foreignKeys } of tables) {
      const body = new RegExp(String.raw`CREATE TABLE IF NOT EXISTS ${name} \(([\s\S]*?)\n\);`).exec(schema)?.[1] ?? "";
      for (const { columns, references, cascades } of foreignKeys) {
        expect(references === "users" || references === "forums", `${name} to ${references}`).toBe(true);
        expect(body).toMatch(
          new RegExp(
            String.raw`${columns[0]} uuid NOT NULL REFERENCES ${references}${cascades ? " ON DELETE CASCADE" : ",|$"}`,
          ),
        );
      }
    }
    expect(addForeignKeysSql(named("reactions"), facts("reactions"))).toEqual([
      "ALTER TABLE reactions ADD CONSTRAINT reactions_user_id_fkey FOREIGN KEY (user_id) REFERENCES users ON DELETE CASCADE",
    ]);
    const there = [{ constraint: "x", columns: ["user_id"], references: "users" }];
    expect(addForeignKeysSql(named("reactions"), { foreignKeys: there })).toEqual([]);
  });

  test("are refused without their distribution column, or distributed in another way", () => {
    expect(() => checkTables(tables, all())).not.toThrow();
    const without = all().map((one) => (one.name === "messages" ? { ...one, columns: ["id", "author"] } : one));
    expect(() => checkTables(tables, without)).toThrow("table messages has no column sender_id");
    const other = all().map((one): TableFacts =>
      one.name === "reactions" ? { ...one, kind: "distributed", distributedBy: "message_id" } : one,
    );
    expect(() => checkTables(tables, other)).toThrow(
      "table reactions is distributed by message_id, and should be distributed by user_id",
    );
    expect(() => checkTables(tables, [])).toThrow("is not there");
  });

  test("of other people are named while nobody says how they are distributed", () => {
    expect(localTables(tables, [...all(), { ...facts("users"), name: "extra" }])).toEqual(["extra"]);
  });
});

test("statements of schema/ are told apart, bodies whole", () => {
  expect(statementsOf("SELECT ';'; -- a; b\nDO $$ BEGIN x; END $$;\n/* ; */ SELECT 2;\n-- end\n")).toEqual([
    "SELECT ';'",
    "-- a; b\nDO $$ BEGIN x; END $$",
    "/* ; */ SELECT 2",
  ]);
  for (const { sql } of wholeSchema())
    expect(`${statementsOf(sql).join(";")};`.replace(/\s/g, "")).toBe(
      sql.replace(/--[^\n]*\n$/, "").replace(/\s/g, ""),
    );
});

describe("a Citus cluster's topology", () => {
  const host = { cpus: 2, memoryMiB: 24_000 };
  const config = (values: Record<string, string>) => readConfig((key) => ({ stage: "5", ...values })[key]);

  test("has a coordinator and workers, each with a standby", () => {
    const { nodes, citus } = planTopology(config({ workers: "3" }), host);
    expect(nodes.map(({ name }) => name)).toEqual(["coordinator-pg0", "coordinator-pg1"]);
    expect(citus?.others.map(({ name, nodes: its }) => [name, its.length])).toEqual([
      ["worker1", 2],
      ["worker2", 2],
      ["worker3", 2],
    ]);
    expect(citusGroup("coordinator")).toBe(0);
    expect(citusGroup("worker12")).toBe(12);
    expect(configKey("dev-citus-1", 2)).toBe("/cgraph/dev-citus-1/2/config");
  });

  test("has servers that can move shards in use", () => {
    const settings = planTopology(config({ workers: "2" }), host).nodes[0]?.settings;
    expect(settings?.["shared_preload_libraries"]?.value).toBe("citus,pg_stat_statements,pg_cron");
    expect(settings?.["output_plugin_libraries"]?.value).toBe("pgoutput,test_decoding,wal2json,citus");
    expect(settings?.["max_prepared_transactions"]?.value).toBe(2 * Number(settings?.["max_connections"]?.value));
  });

  test("refuses no workers, and more of them than shards", () => {
    expect(() => config({ workers: "0" })).toThrow("cgraph:workers");
    expect(() => config({ workers: "9", shardCount: "8" })).toThrow("some workers would have none");
  });

  test("lets clients in by password and nodes by certificate, whoever they act as", () => {
    const rules = citusHbaRules("dev", ["cgraph-dev-haproxy"]);
    const at = (text: RegExp): number => rules.findIndex((rule) => text.test(rule));
    expect(at(/cgraph-dev-haproxy\.cgraph-dev\s+scram/)).toBeLessThan(at(/samenet {2}cert map=/));
    expect(rules.filter((rule) => /\bpostgres,/.test(rule))).toEqual([expect.stringMatching(/cert map=cgraph_nodes$/)]);
  });
});
