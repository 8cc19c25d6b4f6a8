import type { Client } from "pg";
import { describe, expect, it } from "vitest";
import { subscribe } from "../../scripts/shards/follow.ts";
import {
  type ClusterPlace,
  type ShardCluster,
  type ShardedPlaces,
  conninfoText,
  serverAt,
} from "../../scripts/shards/places.ts";
import { checkShards } from "../../scripts/aws/checks.ts";
import { filledTablesSql } from "../../sharding/shardSql.ts";
import { TABLES } from "../../sharding/tables.ts";

const LOGIN = { user: "cgraph_changes", password: "pass" };
const ENDPOINT = { host: "global.example.internal", port: 5432 };

describe("a conninfo", () => {
  it("verifies the server's name by a file of the server that connects", () => {
    expect(conninfoText(serverAt(ENDPOINT, "/ca.pem"), LOGIN)).toBe(
      "host=global.example.internal port=5432 dbname=cgraph_production sslmode=verify-full sslrootcert=/ca.pem user=cgraph_changes password=pass",
    );
  });
  it("quotes what libpq would read otherwise", () => {
    const text = conninfoText({}, { user: "a b", password: "it's\\" });
    expect(text).toBe("user='a b' password='it\\'s\\\\'");
    expect(conninfoText({ host: "" }, { user: "a", password: "b" })).toBe("host='' user=a password=b");
  });
});

interface Said {
  readonly where: string;
  readonly statement: string;
  readonly secret: boolean;
}

/** Clusters that answer what they are told to, and remember what they were asked to do. */
function fakePlaces(
  slotsBy: ShardedPlaces["slotsBy"],
  state: { follows: boolean; keeps: boolean | undefined },
): { places: ShardedPlaces; shard: ShardCluster; said: Said[] } {
  const said: Said[] = [];
  const answer = (sql: string): { rows: unknown[]; rowCount: number } => {
    const found = /pg_subscription WHERE/.test(sql)
      ? state.follows
        ? [{}]
        : []
      : /pg_replication_slots/.test(sql) && state.keeps !== undefined
        ? [{ keeps: state.keeps }]
        : [];
    return { rows: found, rowCount: found.length };
  };
  const client = { query: (sql: string) => Promise.resolve(answer(sql)) } as unknown as Client;
  const place = (name: string): ClusterPlace => ({
    name,
    owner: (work) => work(client),
    administer: (statements, { secret = false } = {}) => {
      for (const statement of statements) {
        said.push({ where: name, statement, secret });
        if (statement.startsWith("DROP SUBSCRIPTION")) state.follows = false;
      }
      return Promise.resolve();
    },
    endpoint: ENDPOINT,
    authorities: () => Promise.resolve("/ca.pem"),
  });
  const shard = { ...place("shard1"), number: 1 };
  const places: ShardedPlaces = {
    ...{ global: place("global"), shards: [shard], buckets: 256, slotsBy, serverOwner: "cgraph_owner" },
    messages: { premakeMonths: 4, retention: { months: undefined, action: "archive" } },
    loginOf: () => LOGIN,
  };
  return { places, shard, said };
}

describe("a shard's subscription to the global database", () => {
  const beginnings = (said: readonly Said[]): string[] =>
    said.map(({ where, statement }) => `${where}: ${statement.split(/[ (]/).slice(0, 2).join(" ")}`);

  it("has a slot that is made first, where nobody else makes it", async () => {
    const { places, shard, said } = fakePlaces("us", { follows: false, keeps: undefined });
    await subscribe(places, shard);
    expect(said.map(({ statement }) => statement.replace(/\s+/g, " "))).toEqual([
      "SELECT pg_create_logical_replication_slot('cgraph_global_shard1', 'pgoutput')",
      `CREATE SUBSCRIPTION cgraph_global CONNECTION '${conninfoText(serverAt(ENDPOINT, "/ca.pem"), LOGIN)}' PUBLICATION cgraph_global WITH (create_slot = false, slot_name = 'cgraph_global_shard1')`,
    ]);
  });

  it("waits for the slot that Patroni makes, and makes none itself", async () => {
    const { places, shard, said } = fakePlaces("patroni", { follows: false, keeps: true });
    await subscribe(places, shard, "only what is new");
    expect(beginnings(said)).toEqual(["shard1: CREATE SUBSCRIPTION"]);
    expect(said[0]?.statement).toContain("copy_data = false, origin = none");
  });

  it("is told of other passwords, and of tables that are new", async () => {
    const { places, shard, said } = fakePlaces("us", { follows: true, keeps: true });
    await subscribe(places, shard);
    expect(said.map(({ statement }) => statement)).toEqual([
      expect.stringMatching(/^ALTER SUBSCRIPTION cgraph_global CONNECTION 'host=.* password=pass'$/),
      "ALTER SUBSCRIPTION cgraph_global REFRESH PUBLICATION",
    ]);
  });

  it.each([
    ["has gone", undefined, []],
    ["has lost what its reader lacks", false, ["global: SELECT pg_drop_replication_slot"]],
  ])("begins anew with empty tables where its slot %s", async (_, keeps, drops) => {
    const { places, shard, said } = fakePlaces("us", { follows: true, keeps });
    await subscribe(places, shard);
    const done = beginnings(said);
    expect(done.slice(0, 3)).toEqual([
      "shard1: ALTER SUBSCRIPTION",
      "shard1: ALTER SUBSCRIPTION",
      "shard1: DROP SUBSCRIPTION",
    ]);
    expect(said[4]?.statement).toBe("SET LOCAL session_replication_role = replica");
    expect(said.map(({ statement }) => statement)).toContain("DELETE FROM public.settings");
    expect(done.slice(done.indexOf("shard1: COMMIT") + 1)).toEqual([
      ...drops,
      "global: SELECT pg_create_logical_replication_slot",
      "shard1: CREATE SUBSCRIPTION",
    ]);
  });

  it("says of every statement with a password that it has one", async () => {
    for (const follows of [true, false]) {
      const { places, shard, said } = fakePlaces("us", { follows, keeps: true });
      await subscribe(places, shard);
      for (const { statement, secret } of said) expect(secret, statement).toBe(statement.includes("pass"));
    }
  });
});

describe("tables that hold rows", () => {
  it("are asked for by name, one row each", () => {
    const sql = filledTablesSql(TABLES);
    expect(sql.split("UNION ALL")).toHaveLength(TABLES.length);
    expect(sql).toContain("SELECT 'users' AS name WHERE EXISTS (SELECT FROM public.users)");
  });
});

describe("up on AWS", () => {
  it("goes neither to shards nor back: it moves no rows", () => {
    expect(() => checkShards("dev", 3, 4)).toThrow("stack dev is at stage 3: up does not move its rows to shards");
    expect(() => checkShards("dev", 4, 3)).toThrow("up does not move its rows from shards");
    for (const [from, to] of [
      [1, 3],
      [4, 4],
      [3, 2],
    ] as const)
      expect(() => checkShards("dev", from, to)).not.toThrow();
  });
});
