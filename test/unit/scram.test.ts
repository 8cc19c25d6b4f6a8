import { describe, expect, it } from "vitest";
import { serverRoles } from "../../components/logins.ts";
import { ROLE_NAMES, rolesSql } from "../../components/roles.ts";
import { scramVerifier } from "../../components/scram.ts";

describe("SCRAM verifiers", () => {
  it("have PostgreSQL's form, and stay the same for the same password", () => {
    const verifier = scramVerifier("cgraph", "secret");
    expect(verifier).toMatch(/^SCRAM-SHA-256\$4096:[A-Za-z0-9+/]{22}==\$[A-Za-z0-9+/]{43}=:[A-Za-z0-9+/]{43}=$/);
    expect(scramVerifier("cgraph", "secret")).toBe(verifier);
  });

  it("differ between roles with the same password", () => {
    expect(scramVerifier("a", "secret")).not.toBe(scramVerifier("b", "secret"));
  });
});

describe("the roles' script", () => {
  const sql = rolesSql(serverRoles([1]), Object.fromEntries(ROLE_NAMES.map((role) => [role, `verifier-of-${role}`])));

  it("makes every role without powers it does not need", () => {
    for (const role of ROLE_NAMES) {
      expect(sql).toMatch(new RegExp(`ALTER ROLE ${role} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE`));
    }
    // replicator for servers, cgraph_changes for the cache.
    expect(sql.match(/ REPLICATION /g)).toHaveLength(2);
  });

  it("gives every role a statement_timeout of its own", () => {
    for (const role of ROLE_NAMES) expect(sql).toContain(`ALTER ROLE ${role} SET statement_timeout`);
  });

  it("lets nobody else into the databases", () => {
    expect(sql).toContain("REVOKE ALL ON DATABASE cgraph_production FROM PUBLIC");
    expect(sql).toContain("REVOKE ALL ON SCHEMA public FROM PUBLIC");
  });
});
