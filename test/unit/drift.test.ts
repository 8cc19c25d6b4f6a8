import { describe, expect, it } from "vitest";
import { serverRoles } from "../../components/logins.ts";
import { EXTENSIONS, MEMBERSHIPS, ROLES, ROLE_NAMES, rolesSql } from "../../components/roles.ts";
import { type Finding, Remedies, clusterDrift, jsonDifferences, shellWord } from "../../migration/drift.ts";
import { type ServerFacts, type SettingRow, isSetting, serverDrift } from "../../migration/driftPostgres.ts";
import { type RoleFacts, type RoleRow, rolesDrift } from "../../migration/driftRoles.ts";

const remedies = new Remedies("s");
const brief = (findings: readonly Finding[]): string[] =>
  findings.map(({ where, what, expected, found }) => `${where} ${what}: ${expected} -> ${found}`);
const mends = (findings: readonly Finding[]): string[] => findings.map(({ remedy }) => remedy);

describe("a command that mends", () => {
  it("can be pasted into a shell as it is", () => {
    expect(shellWord("pg0")).toBe("pg0");
    expect(shellWord(`SET a = '$x"'`)).toBe(String.raw`"SET a = '\$x\"'"`);
    expect(remedies.sql("c", "ALTER SYSTEM RESET work_mem")).toBe(
      `docker exec --user postgres c psql -c "ALTER SYSTEM RESET work_mem"`,
    );
  });
  it("names the stack unless it is the default one", () => {
    expect(remedies.cgraph("up")).toBe("./cgraph-db up --stack s");
    expect(new Remedies("").cgraph("up")).toBe("./cgraph-db up");
  });
});

describe("a setting's value", () => {
  const row = (setting: string, unit: string | null, type = "integer") => ({ setting, unit, type });
  it.each([
    ["64MB", row("65536", "kB")],
    ["64MB", row("8192", "8kB")],
    ["1024MB", row("64", "16MB")],
    ["15min", row("900", "s")],
    ["1h", row("3600000", "ms")],
    ["60", row("60", "s")],
    ["60s", row("1min", "s")],
    ["-1", row("-1", "kB")],
    ["0.05", row("0.05", null, "real")],
    ["1.10", row("1.1", null, "real")],
    ["true", row("on", null, "bool")],
    ["LZ4", row("lz4", null, "enum")],
    ["%m [%p] ", row("%m [%p] ", null, "string")],
  ])("%s is %o", (expected, there) => {
    expect(isSetting(expected, there)).toBe(true);
  });
  it.each([
    ["64MB", row("65537", "kB")],
    ["60s", row("0", "s")],
    ["0.05", row("0.06", null, "real")],
    ["on", row("off", null, "bool")],
    ["a", row("b", null, "string")],
  ])("%s is not %o", (expected, there) => {
    expect(isSetting(expected, there)).toBe(false);
  });
});

describe("a server's settings", () => {
  const HBA = ["local   all  postgres  peer", "hostssl db  app  all  scram-sha-256"];
  const own = {
    name: "pg0",
    container: "c-pg0",
    settings: { work_mem: "4MB", max_connections: "40", tcp_keepalives_idle: "60s", wal_buffers: "-1" },
    hba: HBA,
    alsoInFiles: new Set(["port"]),
    writer: "c-writer",
  };
  const patroni = { ...own, writer: undefined };
  const setting = (name: string, value: string, more: Partial<SettingRow> = {}): SettingRow => ({
    ...{ name, setting: value, unit: null, type: "integer", source: "configuration file", pending: false },
    ...more,
  });
  const line = (name: string | null, value: string | null, file = "/etc/cgraph/postgresql.conf", error?: string) => ({
    ...{ name, setting: value, file, line: 7, error: error ?? null },
  });
  const facts = (rows: readonly SettingRow[], files = [] as ServerFacts["files"], hba = HBA): ServerFacts => {
    const changed = new Set(rows.map(({ name }) => name));
    const clean = [
      setting("work_mem", "4096", { unit: "kB" }),
      setting("max_connections", "40"),
      // As it reads over a Unix socket.
      setting("tcp_keepalives_idle", "0", { unit: "s" }),
      setting("wal_buffers", "512", { unit: "8kB" }),
      setting("cluster_name", "s-1", { type: "string" }),
    ];
    return {
      replica: false,
      settings: [...clean.filter(({ name }) => !changed.has(name)), ...rows],
      files: [line("port", "5432"), line("work_mem", "4MB"), line("tcp_keepalives_idle", "60s"), ...files],
      hba: hba.map((rule) => ({ rule, error: null })),
    };
  };
  const auto = "/data/postgresql.auto.conf";

  it("that are as they should be give no finding", () => {
    expect(serverDrift(own, facts([]), undefined, remedies)).toEqual([]);
    expect(serverDrift(patroni, facts([]), undefined, remedies)).toEqual([]);
  });
  it("by ALTER SYSTEM are found, also where they do not differ yet", () => {
    const found = serverDrift(own, facts([], [line("work_mem", "4MB", auto)]), undefined, remedies);
    expect(brief(found)).toEqual(["pg0 work_mem: 4MB -> 4MB (ALTER SYSTEM)"]);
    expect(mends(found)).toEqual([
      'docker exec --user postgres c-pg0 psql -c "ALTER SYSTEM RESET work_mem" -c "SELECT pg_reload_conf()"',
    ]);
  });
  it("by ALTER SYSTEM that wait for a restart are one finding", () => {
    const rows = [setting("max_connections", "40", { pending: true })];
    const files = [line("max_connections", "50", auto, "setting could not be applied")];
    expect(brief(serverDrift(own, facts(rows, files), undefined, remedies))).toEqual([
      "pg0 max_connections: 40 -> 50 (ALTER SYSTEM, waits for a restart)",
    ]);
  });
  it("that wait for a restart to be as they should be are applied", () => {
    const rows = [setting("max_connections", "30", { pending: true })];
    const found = serverDrift(own, facts(rows, [line("max_connections", "40")]), undefined, remedies);
    expect(brief(found)).toEqual(["pg0 max_connections: 40 -> 30, waits for a restart"]);
    expect(mends(found)).toEqual(["./cgraph-db config apply --stack s"]);
  });
  it("that PostgreSQL still calls pending after ALTER SYSTEM RESET are as they should be", () => {
    const rows = [
      setting("max_connections", "40", { pending: true }),
      setting("max_locks_per_transaction", "64", { pending: true, source: "default" }),
    ];
    expect(serverDrift(own, facts(rows, [line("max_connections", "40")]), undefined, remedies)).toEqual([]);
  });
  it("edited in the file are written anew; a file that is right is read again", () => {
    const rows = [setting("work_mem", "1024", { unit: "kB" })];
    expect(mends(serverDrift(own, facts(rows, [line("work_mem", "1MB")]), undefined, remedies))).toEqual([
      "docker rm --force c-writer && ./cgraph-db up --stack s",
    ]);
    expect(mends(serverDrift(own, facts(rows), undefined, remedies))).toEqual(["docker kill --signal HUP c-pg0"]);
    const waiting = facts([setting("max_connections", "40", { pending: true })], [line("max_connections", "50")]);
    expect(mends(serverDrift(own, waiting, undefined, remedies))).toEqual([
      "docker rm --force c-writer && ./cgraph-db up --stack s",
    ]);
  });
  it("that nobody set are found in its files, and errors too", () => {
    const files = [
      line("jit", "on"),
      line("work_mem", "4MBB", undefined, "invalid value"),
      line(null, null, "f", "bad"),
    ];
    expect(brief(serverDrift(own, facts([], files), undefined, remedies))).toEqual([
      "pg0 jit: not set -> on (/etc/cgraph/postgresql.conf:7)",
      "pg0 work_mem: 4MB -> invalid value (/etc/cgraph/postgresql.conf:7)",
      "pg0 configuration file: no error -> bad (f:7)",
    ]);
  });
  it("that its role or database changes for this session are not its own", () => {
    const rows = [setting("work_mem", "64", { unit: "kB", source: "user" })];
    expect(serverDrift(own, facts(rows), undefined, remedies)).toEqual([]);
  });
  it("that a changed cluster's configuration explains are told once, with the cluster", () => {
    const config = (parameters: object, pg_hba = HBA) => ({ ttl: 20, postgresql: { parameters, pg_hba } });
    const wanted = config({ work_mem: "4MB", max_connections: "40" });
    const there = config({ work_mem: "1MB", max_connections: 50, jit: "on" }, HBA.slice(0, 1));
    const cluster = clusterDrift(wanted, there, "put it back", remedies);
    expect(brief(cluster.findings)).toEqual([
      "cluster Patroni's postgresql.parameters.work_mem: 4MB -> 1MB",
      "cluster Patroni's postgresql.parameters.max_connections: 40 -> 50",
      "cluster Patroni's postgresql.parameters.jit: nothing -> on",
      "cluster Patroni's postgresql.pg_hba: hostssl db  app  all  scram-sha-256 -> nothing",
    ]);
    const rows = [
      setting("work_mem", "1024", { unit: "kB" }),
      setting("max_connections", "40", { pending: true }),
      setting("jit", "on", { type: "bool" }),
    ];
    const answered = facts(rows, [line("jit", "on"), line("max_connections", "50")], HBA.slice(0, 1));
    expect(serverDrift(patroni, answered, cluster, remedies)).toEqual([]);
    // What the cluster does not explain is still the server's own.
    const other = facts([setting("work_mem", "2048", { unit: "kB" })]);
    expect(brief(serverDrift(patroni, other, cluster, remedies))).toEqual([
      "pg0 work_mem: 4MB -> 2048 kB (configuration file)",
    ]);
  });
  it("that Patroni gave a server at its start change only when that server starts anew in its place", () => {
    const rows = [setting("max_connections", "60", { source: "command line" })];
    expect(mends(serverDrift(patroni, facts(rows), undefined, remedies))).toEqual([
      "docker exec --user postgres c-pg0 patronictl -c /etc/cgraph/patroni.yml restart --force s-1 pg0",
    ]);
  });
  it("include who may connect: rules added, missing, in another order, and lines that are none", () => {
    const rules = (hba: string[]) => brief(serverDrift(own, facts([], [], hba), undefined, remedies));
    expect(rules([...HBA, "host all all all trust"])).toEqual([
      "pg0 pg_hba.conf: nothing more -> host all all all trust",
    ]);
    expect(rules(HBA.slice(1))).toEqual(["pg0 pg_hba.conf: local all postgres peer -> missing"]);
    expect(rules(HBA.toReversed())).toEqual(["pg0 pg_hba.conf: the rules in their order -> another order"]);
    const cert = (options: string) =>
      brief(
        serverDrift(
          { ...own, hba: ["hostssl db a samenet cert map=m"] },
          facts([], [], [`hostssl db a samenet cert map=m${options}`]),
          undefined,
          remedies,
        ),
      );
    expect([cert(" clientcert=verify-full"), cert(" clientcert=verify-ca")]).toEqual([[], [expect.any(String)]]);
    const broken = { ...facts([]), hba: [{ rule: "", error: "invalid connection type" }] };
    expect(serverDrift(own, broken, undefined, remedies)).toHaveLength(1);
  });
});

describe("Patroni's configuration", () => {
  it("that no server tells is a finding, not a difference", () => {
    const { findings } = clusterDrift({ ttl: 20 }, undefined, "", remedies);
    expect(brief(findings)).toEqual(["cluster Patroni's configuration: told -> no answer"]);
  });
  it("is compared by path; a number and its text are the same", () => {
    expect(jsonDifferences({ a: { b: 1, c: [1, 2] } }, { a: { b: "1", c: [1, 2] } })).toEqual([]);
    expect(jsonDifferences({ a: {} }, { a: {}, pause: true })).toEqual([
      { path: "pause", expected: "nothing", found: "true" },
    ]);
    expect(jsonDifferences([1, 2], [2, 1])).toEqual([{ path: "", expected: "1; 2", found: "2; 1" }]);
  });
});

describe("roles, defaults, extensions", () => {
  const wanted = {
    ...{ container: "c", roles: serverRoles([1]), database: "db", extensions: ["pg_stat_statements"] },
    verifiers: Object.fromEntries(ROLE_NAMES.map((name) => [name, `verifier of ${name}`])),
  };
  const row = ({ name, attributes }: (typeof ROLES)[number]): RoleRow => ({
    ...{ name, super: false, createdb: false, createrole: false, login: true, bypassrls: false, inherit: true },
    replication: attributes.startsWith("REPLICATION"),
    limit: Number(/LIMIT (\d+)/.exec(attributes)?.[1] ?? -1),
    validUntil: null,
    verifier: `verifier of ${name}`,
    memberOf: MEMBERSHIPS[name] ?? [],
  });
  const settings = (defaults: object): string[] => Object.entries(defaults).map(([key, value]) => `${key}=${value}`);
  const clean: RoleFacts = {
    roles: ROLES.map(row),
    defaults: ROLES.map(({ name, defaults }) => ({ role: name, database: "", settings: settings(defaults) })),
    extensions: ["plpgsql", "pg_stat_statements"],
  };
  const told = (change: Partial<RoleFacts>) => rolesDrift(wanted, { ...clean, ...change }, "pg0", remedies);
  const withRole = (name: string, change: Partial<RoleRow>) =>
    told({ roles: clean.roles.map((one) => (one.name === name ? { ...one, ...change } : one)) });
  const sql = (statement: string): string => `docker exec --user postgres c psql -c "${statement}"`;
  const bootstrap = "docker exec --user postgres c cgraph-bootstrap";

  it("that are as they should be give no finding", () => {
    expect(told({})).toEqual([]);
  });
  it("are what roles.sql makes", () => {
    const script = rolesSql(serverRoles([1]), {});
    for (const [role, groups] of Object.entries(MEMBERSHIPS)) {
      for (const group of groups) expect(script).toContain(`GRANT ${group} TO ${role};`);
    }
    const made = [...script.matchAll(/CREATE EXTENSION IF NOT EXISTS (\w+)/g)].map(([, name]) => name);
    expect(made).toEqual([...EXTENSIONS.always, ...EXTENSIONS.scheduled]);
  });
  it.each<[Partial<RoleRow>, string, string]>([
    [{ super: true }, "NOSUPERUSER -> SUPERUSER", sql("ALTER ROLE cgraph NOSUPERUSER")],
    [{ login: false }, "LOGIN -> NOLOGIN", sql("ALTER ROLE cgraph LOGIN")],
    [{ bypassrls: true }, "NOBYPASSRLS -> BYPASSRLS", sql("ALTER ROLE cgraph NOBYPASSRLS")],
    [{ limit: 3 }, "CONNECTION LIMIT -1 -> 3", sql("ALTER ROLE cgraph CONNECTION LIMIT -1")],
    [
      { validUntil: "2020-01-01" },
      "valid for ever -> VALID UNTIL 2020-01-01",
      sql("ALTER ROLE cgraph VALID UNTIL 'infinity'"),
    ],
    [{ memberOf: ["x"] }, "not a member of x -> member", sql("REVOKE x FROM cgraph")],
  ])("whose attributes were changed: %o", (change, text, remedy) => {
    const found = withRole("cgraph", change);
    expect(brief(found)).toEqual([`pg0 role cgraph: ${text}`]);
    expect(mends(found)).toEqual([remedy]);
  });
  it("whose password is another are found, without telling it", () => {
    const found = withRole("cgraph", { verifier: "SCRAM-SHA-256$secret" });
    expect(brief(found)).toEqual(["pg0 role cgraph: password: the stack's (env) -> another"]);
    expect(mends(found)).toEqual([bootstrap]);
    expect(JSON.stringify(found)).not.toContain("secret");
  });
  it("that are missing are made by what makes them at every start", () => {
    const found = told({ roles: clean.roles.slice(1), defaults: clean.defaults.slice(1), extensions: ["plpgsql"] });
    expect(brief(found)).toEqual([
      "pg0 role cgraph_owner: there -> missing",
      "pg0 extension pg_stat_statements: there -> missing",
    ]);
    expect(mends(found)).toEqual([bootstrap, bootstrap]);
    expect(brief(told({ extensions: undefined }))).toEqual(["pg0 database db: there -> missing"]);
  });
  it("with other defaults, in every scope that is ours and in no other", () => {
    const more = [
      { role: "cgraph", database: "", settings: ["statement_timeout=9s", "jit=on"] },
      { role: "", database: "", settings: ["a.b=1"] },
      { role: "", database: "db", settings: ["work_mem=1MB"] },
      { role: "cgraph", database: "db", settings: ["work_mem=2MB"] },
      { role: "somebody", database: "", settings: ["work_mem=3MB"] },
      { role: "cgraph", database: "elsewhere", settings: ["work_mem=4MB"] },
    ];
    const found = told({ defaults: [...clean.defaults.filter(({ role }) => role !== "cgraph"), ...more] });
    expect(found.map(({ what, expected, found: there, remedy }) => [what, expected, there, remedy])).toEqual([
      ["role cgraph: statement_timeout", "30s", "9s", sql("ALTER ROLE cgraph SET statement_timeout = '30s'")],
      ["role cgraph: lock_timeout", "10s", "not set", sql("ALTER ROLE cgraph SET lock_timeout = '10s'")],
      ["role cgraph: jit", "not set", "on", sql("ALTER ROLE cgraph RESET jit")],
      ["role ALL: a.b", "not set", "1", sql("ALTER ROLE ALL RESET a.b")],
      ["database db: work_mem", "not set", "1MB", sql("ALTER DATABASE db RESET work_mem")],
      [
        "role cgraph in database db: work_mem",
        "not set",
        "2MB",
        sql("ALTER ROLE cgraph IN DATABASE db RESET work_mem"),
      ],
    ]);
  });
});
