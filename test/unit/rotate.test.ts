import { describe, expect, it } from "vitest";
import { loginName, loginVerifiers, refusedGeneration, secondName, serverRoles } from "../../components/logins.ts";
import { HBA_RULES } from "../../components/docker/postgresFiles.ts";
import { redisUsers } from "../../components/docker/redisFiles.ts";
import { OWNER, ROLES, ROLE_NAMES, type RoleName, rolesSql } from "../../components/roles.ts";
import { scramVerifier } from "../../components/scram.ts";
import { changeOfStep } from "../../migration/change.ts";
import { rolesDrift, type RoleRow } from "../../migration/driftRoles.ts";
import { Remedies } from "../../migration/drift.ts";
import { verdictOf } from "../../migration/verdict.ts";
import { rdsRolesSql } from "../../scripts/aws/roles.ts";
import { checkGoal, refuseOlder } from "../../scripts/commands/rotate.ts";
import { acceptedLogins, loginOf } from "../../scripts/lib/login.ts";
import { CLIENT_ROLES, next, olderNames, phaseOf, stepsTo } from "../../scripts/rotate/plan.ts";
import { readConfig } from "../../stacks/config.ts";

const passwords = (generation: number) =>
  Object.fromEntries(ROLE_NAMES.map((role) => [role, `${role}-${generation}`])) as Record<RoleName, string>;

describe("a rotation's way", () => {
  it("accepts the new, uses the new, refuses the old, and comes round", () => {
    const way = [[1], [1, 2], [2, 1], [2], [2, 3], [3, 2], [3]];
    for (const [index, generations] of way.slice(0, -1).entries()) expect(next(generations)).toEqual(way[index + 1]);
    expect(way.map(phaseOf)).toEqual([
      ...["settled", "accepting", "using"],
      ...["settled", "accepting", "using", "settled"],
    ]);
  });
  it("goes on where a killed call stopped", () => {
    expect(stepsTo("using", [1], true)).toEqual([
      [1, 2],
      [2, 1],
    ]);
    expect(stepsTo("using", [1, 2], true)).toEqual([[2, 1]]);
    // The configuration was written, the stack perhaps not brought there.
    expect(stepsTo("using", [1, 2], false)).toEqual([
      [1, 2],
      [2, 1],
    ]);
    expect(stepsTo("using", [2, 1], false)).toEqual([[2, 1]]);
    expect(stepsTo("using", [2], false)).toEqual([[2], [2, 3], [3, 2]]);
    expect(stepsTo("settled", [2, 1], true)).toEqual([[2]]);
    expect(stepsTo("settled", [2, 1], false)).toEqual([[2, 1], [2]]);
    expect(stepsTo("settled", [2], false)).toEqual([[2]]);
  });
  it("is asked for at the right time", () => {
    const asked = (flags: object, generations: number[]) => () => checkGoal({ stack: "s", ...flags }, generations);
    expect(asked({}, [1])).not.toThrow();
    expect(asked({ finish: true }, [2, 1])).not.toThrow();
    expect(asked({ finish: true }, [2])).not.toThrow();
    expect(asked({ finish: true }, [1])).toThrow("not in use yet");
    expect(asked({ finish: true }, [1, 2])).toThrow("not in use yet");
    expect(asked({ endSessions: true }, [2, 1])).toThrow("goes with --finish");
  });
  it("does not end for who is still there", () => {
    const session = { where: "pg0", user: "cgraph", application: "web", address: "10.0.0.1", count: 3 };
    expect(() => refuseOlder("s", [])).not.toThrow();
    expect(() => refuseOlder("s", [session])).toThrow(/pg0 +cgraph +web +10\.0\.0\.1 +3/);
  });
});

describe("the configuration's generations", () => {
  const read = (text?: string) =>
    readConfig((key) => (key === "passwordGenerations" ? text : undefined)).passwordGenerations;
  it("are one, or two that follow each other", () => {
    expect(read()).toEqual([1]);
    for (const text of ["[1,2]", "[2,1]", "[7]"]) expect(read(text)).toEqual(JSON.parse(text));
    for (const text of ["[]", "[0]", "[1,3]", "[2,2]", "[1,2,3]", "2", '["1"]', "{"]) {
      expect(() => read(text), text).toThrow("passwordGenerations");
    }
  });
});

describe("names to log in by", () => {
  it("take turns", () => {
    expect([1, 2, 3].map((generation) => loginName("cgraph", generation))).toEqual(["cgraph", "cgraph_b", "cgraph"]);
    expect(olderNames([2, 1], CLIENT_ROLES)).toEqual(CLIENT_ROLES);
    expect(olderNames([3, 2], ["cgraph"])).toEqual(["cgraph_b"]);
  });
  it("are in pg_hba.conf both, each where its role may", () => {
    for (const role of ROLE_NAMES) {
      const rules = HBA_RULES.filter((rule) => rule.split(/[\s,]+/).includes(role));
      expect(rules.length, role).toBeGreaterThan(0);
      for (const rule of rules) expect(rule.split(/[\s,]+/)).toContain(secondName(role));
    }
  });
  it("come from the outputs, of a version without generations too", () => {
    const one = { passwords: passwords(1) };
    expect(loginOf(one, "cgraph")).toEqual({ user: "cgraph", password: "cgraph-1" });
    const two = { passwordGenerations: [2, 1], passwords: passwords(2), otherPasswords: passwords(1) };
    expect(loginOf(two, OWNER)).toEqual({ user: "cgraph_owner_b", password: "cgraph_owner-2" });
    expect(acceptedLogins(two).filter(({ role }) => role === "cgraph")).toEqual([
      { role: "cgraph", user: "cgraph_b", password: "cgraph-2" },
      { role: "cgraph", user: "cgraph", password: "cgraph-1" },
    ]);
  });
});

describe("roles on a server", () => {
  const sqlAt = (generations: number[]) =>
    rolesSql(serverRoles(generations), loginVerifiers(generations, generations.map(passwords)));
  it("have no second name before the first rotation", () => expect(sqlAt([1])).not.toMatch(/ROLE \w+_b\b/));
  it("act as themselves by their second name, with their own attributes and defaults", () => {
    const sql = sqlAt([1, 2]);
    for (const { name, attributes, defaults } of ROLES) {
      const second = secondName(name);
      expect(sql).toContain(
        `ALTER ROLE ${second} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE ${attributes} PASSWORD '${scramVerifier(second, `${name}-2`)}';`,
      );
      expect(sql).toContain(`GRANT ${name} TO ${second};`);
      expect(sql).toContain(`ALTER ROLE ${second} SET role = '${name}';`);
      for (const [key, value] of Object.entries(defaults)) {
        expect(sql).toContain(`ALTER ROLE ${second} SET ${key} = '${value}';`);
      }
    }
  });
  it("have a password for what is accepted, and none for what is refused", () => {
    const accepted = (generations: number[]) =>
      Object.entries(loginVerifiers(generations, generations.map(passwords)))
        .filter(([name, verifier]) => verifier !== null && /^cgraph(_b)?$/.test(name))
        .map(([name]) => name);
    expect([[1], [1, 2], [2, 1], [2], [3]].map(accepted)).toEqual([
      ["cgraph"],
      ["cgraph", "cgraph_b"],
      ["cgraph", "cgraph_b"],
      ["cgraph_b"],
      ["cgraph"],
    ]);
    expect(sqlAt([2])).toMatch(/ALTER ROLE cgraph LOGIN .* PASSWORD NULL;/);
    expect(sqlAt([3])).toMatch(/ALTER ROLE cgraph_b LOGIN .* PASSWORD NULL;/);
  });
  it("are the same on RDS, without those that it has no use for", () => {
    const sql = rdsRolesSql(serverRoles([2, 1]), loginVerifiers([2, 1], [passwords(2), passwords(1)]));
    expect(sql).toContain("GRANT cgraph TO cgraph_b;");
    expect(sql).toContain("ALTER ROLE cgraph_b SET role = 'cgraph';");
    expect(sql).toContain("GRANT rds_replication TO cgraph_changes_b;");
    expect(sql).not.toMatch(/replicator|cgraph_pooler|cgraph_rewind/);
  });
  it("give no finding after a rotation, and one for a password that came back", () => {
    const roles = serverRoles([2]);
    const verifiers = loginVerifiers([2], [passwords(2)]);
    const wanted = { container: "c", roles, database: "db", extensions: [], verifiers };
    const rows = roles.map(({ name, attributes, memberOf }): RoleRow => ({
      ...{ name, super: false, createdb: false, createrole: false, login: true, bypassrls: false, inherit: true },
      replication: attributes.startsWith("REPLICATION"),
      limit: Number(/LIMIT (\d+)/.exec(attributes)?.[1] ?? -1),
      ...{ validUntil: null, verifier: verifiers[name] ?? null, memberOf },
    }));
    const defaults = roles.map(({ name, defaults: own }) => ({
      ...{ role: name, database: "", settings: Object.entries(own).map(([key, value]) => `${key}=${value}`) },
    }));
    const drift = (found: RoleRow[]) =>
      rolesDrift(wanted, { roles: found, defaults, extensions: [] }, "pg0", new Remedies(""));
    expect(drift(rows)).toEqual([]);
    const back = rows.map((row) => (row.name === "cgraph" ? { ...row, verifier: "SCRAM" } : row));
    expect(drift(back)).toMatchObject([{ what: "role cgraph: password", expected: "none", found: "another" }]);
  });
});

describe("passwords in a plan", () => {
  const step = (op: string, old?: object) => ({
    ...{ op, urn: "u::password-cgraph", type: "random:index/randomPassword:RandomPassword" },
    // Pulumi tells of the side that is not there by null.
    ...(old ? { old, new: null } : { old: null, new: { protect: true } }),
  });
  const verdict = (one: ReturnType<typeof step>) =>
    verdictOf([changeOfStep(one)].filter((change) => change !== undefined));
  it("may go when they are refused, and not before", () => {
    expect(verdict(step("create"))).toBe("safe");
    expect(verdict(step("delete", { inputs: {} }))).toBe("safe");
    expect(verdict(step("delete", { inputs: {}, protect: true }))).toBe("unsafe");
  });
  it("stay declared for one rotation more", () => {
    expect([[1], [1, 2], [2, 1], [2], [3]].map(refusedGeneration)).toEqual([
      undefined,
      undefined,
      undefined,
      ...[1, 2],
    ]);
  });
});

describe("the cache's users", () => {
  it("hold hashes of every accepted password", () => {
    const users = redisUsers(["new", "old"]);
    expect(users).toMatch(/^user default on sanitize-payload #[0-9a-f]{64} #[0-9a-f]{64} ~\* &\* \+@all\n$/);
    expect(users).not.toMatch(/new|old/);
  });
});
