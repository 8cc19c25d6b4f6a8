import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type pg from "pg";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ADMINISTRATOR } from "../../components/aws/names.ts";
import { loginVerifiers, serverRoles } from "../../components/logins.ts";
import { OWNER, ROLE_NAMES, ROUTER_DATABASE, type RoleName } from "../../components/roles.ts";
import { withClient } from "../../scripts/aws/client.ts";
import { rdsRolesSql } from "../../scripts/aws/roles.ts";
import { withShardPlaces } from "../../scripts/aws/shardPlaces.ts";
import { generationsOf, loginOf, passwordsOf } from "../../scripts/lib/login.ts";
import { wholeSchema } from "../../scripts/lib/schemaParts.ts";
import { applyShardedSchema } from "../../scripts/shards/apply.ts";
import { bucketOf } from "../../sharding/placement.ts";
import { firstAssignment } from "../../sharding/shardMap.ts";
import { uuidv7 } from "../../sharding/uuid.ts";
import type { AwsStackValues } from "../../stacks/aws/outputs.ts";
import { eventually } from "../support/eventually.ts";
import { type RdsServers, startRdsServers } from "../support/rdsServers.ts";
import { insertUser } from "../support/shardServer.ts";

const SHARDS = ["pg0", "shard1-pg0"] as const;
const GLOBAL = "global-pg0";
const SERVERS = [...SHARDS, GLOBAL];
const BUCKETS = 256;
const MESSAGES = { premakeMonths: 4, retention: { months: undefined, action: "archive" } } as const;
/** As long as no other word of a log. */
const passwords = (generation: number): Record<RoleName, string> =>
  Object.fromEntries(ROLE_NAMES.map((role) => [role, `${role.replaceAll("_", "")}Secret${generation}`])) as Record<
    RoleName,
    string
  >;

const folder = mkdtempSync(join(tmpdir(), "cgraph-rds-"));
let servers: RdsServers;
let values: AwsStackValues;

/** Works with a client of a role on a server's database. */
const as = <T>(
  role: RoleName | typeof ADMINISTRATOR,
  server: string,
  work: (client: pg.Client) => Promise<T>,
  { database, at = values }: { database?: string; at?: AwsStackValues } = {},
): Promise<T> =>
  servers.reach(at, servers.endpoint(server), (way) => {
    const administrator = { user: ADMINISTRATOR, password: servers.administratorPassword };
    return withClient(way, role === ADMINISTRATOR ? administrator : loginOf(at, role), "test", work, database);
  });
const rows = async <T extends pg.QueryResultRow>(
  role: RoleName,
  server: string,
  sql: string,
  parameters: readonly unknown[] = [],
  options: { database?: string; at?: AwsStackValues } = {},
): Promise<T[]> => as(role, server, async (client) => (await client.query<T>(sql, [...parameters])).rows, options);
const routed = (sql: string, parameters: readonly unknown[] = [], at = values): Promise<pg.QueryResultRow[]> =>
  rows("cgraph", GLOBAL, sql, parameters, { database: ROUTER_DATABASE, at });

const apply = (at = values): Promise<string[]> =>
  withShardPlaces(at, MESSAGES, (places) => applyShardedSchema(places, { detail: () => undefined }), servers.reach);

/** What `up` does at its end, on every server; then what rds_replication gives on RDS, and does not here. */
async function bringRoles(at: AwsStackValues): Promise<void> {
  const roles = serverRoles(generationsOf(at));
  const sql = rdsRolesSql(roles, loginVerifiers(generationsOf(at), passwordsOf(at)));
  for (const server of SERVERS) {
    await as(ADMINISTRATOR, server, (client) => client.query(sql), { at });
    for (const { name } of roles.filter((role) => role.name.startsWith("cgraph_changes"))) {
      await servers.superuser(server, `ALTER ROLE ${name} REPLICATION`);
    }
  }
}

const userOn = (shard: number): string => {
  const map = firstAssignment(BUCKETS, SHARDS.length);
  for (;;) {
    const id = uuidv7();
    if (map[bucketOf(id, BUCKETS)] === shard) return id;
  }
};

/** Every shard gets what is written in the global database. */
async function arrives(key: string, at = values): Promise<void> {
  await rows("cgraph", GLOBAL, "INSERT INTO settings (key, value) VALUES ($1, '1')", [key], { at });
  for (const server of SHARDS) {
    await eventually(`${server} has ${key}`, async () => {
      const found = await rows("cgraph_readonly", server, "SELECT FROM settings WHERE key = $1", [key], { at });
      return found.length === 1;
    });
  }
}

beforeAll(async () => {
  servers = await startRdsServers(SERVERS);
  writeFileSync(join(folder, "rds-ca.pem"), servers.authorities);
  process.env["CGRAPH_RDS_AUTHORITIES"] = join(folder, "rds-ca.pem");
  values = {
    ...{ stage: 4, target: "aws", region: "eu-west-1", postgresVersion: 17, nodes: [] },
    endpoints: { write: servers.endpoint(SHARDS[0]), read: [], pool: null, cache: null },
    sharding: {
      ...{ shards: SHARDS.length, buckets: BUCKETS },
      others: [
        { name: "global", write: servers.endpoint(GLOBAL), read: [] },
        { name: "shard1", write: servers.endpoint(SHARDS[1]), read: [] },
      ],
    },
    ...{ poolImage: null, accessHost: null, clientSecurityGroup: "sg-1", notes: [], cost: [], usdPerMonth: 0 },
    ...{ passwordGenerations: [1], passwords: passwords(1), otherPasswords: null },
    ...{ administratorPassword: servers.administratorPassword, cachePassword: null },
  };
  await bringRoles(values);
  // The image is built where no stack has been up yet.
}, 900_000);
afterAll(async () => {
  delete process.env["CGRAPH_RDS_AUTHORITIES"];
  rmSync(folder, { recursive: true });
  await servers.stop();
});

describe("shards on servers whose administrator is no superuser", () => {
  it("are not made of a database that holds rows", async () => {
    await as(OWNER, SHARDS[0], async (client) => {
      for (const { sql } of wholeSchema()) await client.query(sql);
      await insertUser(client, userOn(1));
    });
    await expect(apply()).rejects.toMatchObject({
      message: "there is no shard map yet, and shard0 holds rows: users",
      exitCode: 3,
    });
    await rows(OWNER, SHARDS[0], "DELETE FROM users");
  });

  it("get their tables, and once more without a change", async () => {
    const applied = await apply();
    expect(applied).toContain("shards: keys and triggers of the sharded tables");
    const state = async (): Promise<unknown> => ({
      maps: await rows("cgraph", GLOBAL, "SELECT version, shards FROM sharding.maps"),
      slots: await rows("cgraph_monitor", GLOBAL, "SELECT slot_name FROM pg_replication_slots WHERE NOT temporary"),
      subscriptions: await Promise.all(
        SHARDS.map((server) =>
          rows(OWNER, server, "SELECT oid, subname, pg_get_userbyid(subowner) AS owner FROM pg_subscription"),
        ),
      ),
      months: await Promise.all(
        SHARDS.map((server) => rows(OWNER, server, "SELECT inhrelid::regclass::text FROM pg_inherits ORDER BY 1")),
      ),
    });
    const before = await state();
    expect(before).toMatchObject({
      maps: [{ shards: firstAssignment(BUCKETS, SHARDS.length) }],
      slots: expect.arrayContaining(
        SHARDS.map((_, shard) => ({ slot_name: `cgraph_global_shard${shard}` })),
      ) as unknown,
      subscriptions: SHARDS.map(() => [{ subname: "cgraph_global", owner: ADMINISTRATOR }]),
    });
    expect(await apply()).toEqual(applied);
    expect(await state()).toEqual(before);
    const months = (server: string): Promise<unknown> =>
      rows(OWNER, server, "SELECT count(*)::int AS n FROM pg_inherits WHERE inhparent = 'messages'::regclass");
    // This one, four behind and ahead, and the default partition.
    expect(await months(SHARDS[1])).toEqual([{ n: 10 }]);
    expect(await months(SHARDS[1])).toEqual(await months(SHARDS[0]));
  });

  it("take what is written in the router database, each its own, and show it there as one", async () => {
    const ids = [userOn(0), userOn(1)];
    const conversation = uuidv7();
    for (const id of ids) {
      await routed("INSERT INTO users (id, username, email) VALUES ($1, $2, $3)", [id, `u-${id}`, `${id}@example.org`]);
      await routed("INSERT INTO messages (conversation_id, sender_id, content) VALUES ($1, $2, 'hello')", [
        conversation,
        id,
      ]);
    }
    for (const [shard, id] of ids.entries()) {
      const server = SHARDS[shard] ?? "";
      expect(await rows("cgraph", server, "SELECT id FROM users")).toEqual([{ id }]);
      expect(await rows("cgraph", server, "SELECT sender_id FROM messages")).toEqual([{ sender_id: id }]);
    }
    expect(await routed("SELECT count(*)::int AS n FROM messages WHERE conversation_id = $1", [conversation])).toEqual([
      { n: 2 },
    ]);
    // The directory is the global database's; a name is taken on every shard.
    expect(await rows("cgraph", GLOBAL, "SELECT count(*)::int AS n FROM user_directory")).toEqual([{ n: 2 }]);
    await expect(
      routed("INSERT INTO users (id, username, email) VALUES ($1, $2, 'x@example.org')", [userOn(0), `u-${ids[1]}`]),
    ).rejects.toMatchObject({ code: "23505" });
    await expect(as("cgraph", SHARDS[0], (client) => insertUser(client, userOn(1)))).rejects.toMatchObject({
      code: "SH001",
    });
    const read = { database: ROUTER_DATABASE };
    expect(await rows("cgraph_readonly", GLOBAL, "SELECT FROM users", [], read)).toHaveLength(2);
  });

  it("have copies of the global tables, which clients cannot write", async () => {
    await arrives("motd");
    await expect(rows("cgraph", SHARDS[1], "DELETE FROM settings")).rejects.toMatchObject({ code: "SH003" });
    expect(await routed("SELECT key FROM settings")).toEqual([{ key: "motd" }]);
  });

  it("verify whom they reach by the authorities that RDS puts on each", async () => {
    const said = await servers.superuser(SHARDS[0], "SELECT subconninfo FROM pg_subscription");
    const { host } = servers.endpoint(GLOBAL);
    expect(said).toMatch(new RegExp(`^host=${host} port=5432 .*sslmode=verify-full sslrootcert=/tmp/d/ca-cert.pem `));
    const options = await servers.superuser(GLOBAL, "SELECT srvoptions FROM pg_foreign_server", ROUTER_DATABASE);
    expect(options.split("\n")).toHaveLength(3);
    for (const line of options.split("\n"))
      expect(line).toContain("sslmode=verify-full,sslrootcert=/tmp/d/ca-cert.pem");
  });

  it("show no password in their logs or statistics of statements, whether these succeed or fail", async () => {
    const failing = "CREATE SERVER wrong FOREIGN DATA WRAPPER missing OPTIONS (password 'hiddenSecret1')";
    const failed = withShardPlaces(
      values,
      MESSAGES,
      ({ global }) => global.administer([failing], { secret: true }),
      servers.reach,
    );
    await expect(failed).rejects.toMatchObject({
      code: "42704",
      message: expect.stringContaining("missing") as unknown,
    });
    expect(await servers.log(GLOBAL)).toContain('foreign-data wrapper "missing" does not exist');
    for (const server of SERVERS) {
      const log = await servers.log(server);
      const statistics = await servers.superuser(server, "SELECT query FROM pg_stat_statements");
      // Both do show what changes a structure.
      for (const text of [log, statistics]) expect(text).toContain("CREATE TABLE");
      for (const text of [log, statistics]) expect(text).not.toMatch(/Secret1/);
    }
  });

  it("copy the global tables anew where the global database has lost a slot", async () => {
    const slot = "cgraph_global_shard1";
    await servers.superuser(SHARDS[1], "ALTER SUBSCRIPTION cgraph_global DISABLE");
    await eventually("nobody reads the slot", async () =>
      servers
        .superuser(GLOBAL, `SELECT pg_drop_replication_slot('${slot}')`)
        .then(() => true)
        .catch(() => false),
    );
    await rows("cgraph", GLOBAL, "DELETE FROM settings");
    await rows("cgraph", GLOBAL, "INSERT INTO settings (key, value) VALUES ('missed', '1')");
    await apply();
    expect(await rows("cgraph", SHARDS[1], "SELECT key FROM settings")).toEqual([{ key: "missed" }]);
    await arrives("again");
  });

  it("go on after other passwords, when the schema was applied between the two", async () => {
    const accepting = { ...values, passwordGenerations: [2, 1], passwords: passwords(2), otherPasswords: passwords(1) };
    await bringRoles(accepting);
    await apply(accepting);
    const settled = { ...accepting, passwordGenerations: [2], otherPasswords: null };
    await bringRoles(settled);
    // Nobody logs in by an old name any more, and who is connected by one is sent away.
    await servers.superuser(
      GLOBAL,
      "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename LIKE 'cgraph%' AND usename <> 'cgraph_admin'",
    );
    await arrives("rotated", settled);
    expect(await routed("SELECT count(*)::int AS n FROM users", [], settled)).toEqual([{ n: 2 }]);
    await expect(routed("SELECT 1")).rejects.toThrow("password authentication failed");
  });
});
