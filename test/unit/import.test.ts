import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { assess } from "../../scripts/import/assess.ts";
import { batches } from "../../scripts/import/compare.ts";
import { differences } from "../../scripts/import/structure.ts";
import type { SourceFacts, TargetFacts } from "../../scripts/import/inspect.ts";
import { sourceError } from "../../scripts/import/session.ts";
import {
  parseSource,
  passfilePassword,
  passfileText,
  publicUrl,
  refuseHalfTls,
  relayedConninfo,
} from "../../scripts/import/source.ts";

describe("a source's URL", () => {
  it("is taken apart, and put together again without its password", () => {
    const source = parseSource("postgres://me%40home:p%3Aw@db.example.com/app?sslmode=require", {});
    expect(source).toMatchObject({
      host: "db.example.com",
      port: 5432,
      user: "me@home",
      database: "app",
      password: "p:w",
    });
    expect(publicUrl(source)).toBe("postgresql://me%40home@db.example.com:5432/app?sslmode=require");
    expect(parseSource(publicUrl(source), {})).toEqual({ ...source, password: undefined });
  });

  it("may leave the password to PGPASSWORD, and name an IPv6 address", () => {
    const source = parseSource("postgresql://me@[::1]:5433/app", { PGPASSWORD: "x" });
    expect(source).toMatchObject({ host: "::1", port: 5433, password: "x" });
    expect(publicUrl(source)).toBe("postgresql://me@[::1]:5433/app");
  });

  it.each([
    ["host=a dbname=b", "is not a URL"],
    ["mysql://me@a/b", "begins with mysql:"],
    ["postgresql://a/b", "names no user"],
    ["postgresql://me@a", "names no database"],
    ["postgresql://me:50%@a/b", "% that encodes nothing"],
    ["postgresql://me@a/b?target_session_attrs=any", "is not known here: target_session_attrs"],
    ["postgresql://me@a/b?sslrootcert=/no/such", "that does not exist: /no/such"],
  ])("%s is refused", (url, words) => {
    expect(() => parseSource(url, {})).toThrow(words);
  });

  it("that is refused is not repeated: it may hold the password", () => {
    expect(() => parseSource("postgresql//me:secret@a/b", {})).toThrow(/^(?!.*secret)/);
  });

  it("gives any password to libpq as it is", () => {
    fc.assert(
      fc.property(
        fc.string({ minLength: 1 }).filter((text) => !/[\n\r\0]/.test(text)),
        (password) => {
          const source = parseSource(`postgresql://me:${encodeURIComponent(password)}@a/b`, {});
          expect(passfilePassword(passfileText(source), source)).toBe(password);
        },
      ),
    );
  });

  it("names files by their whole path, and gives the stack's server those that it was given", () => {
    const source = parseSource("postgresql://me@a/b?sslmode=verify-ca&sslrootcert=package.json", {});
    expect(source.files).toEqual({ sslrootcert: join(process.cwd(), "package.json") });
    expect(relayedConninfo(source, { port: 1, folder: "/run/x" })).toContain(
      "sslmode='verify-ca' sslrootcert='/run/x/sslrootcert'",
    );
    const system = parseSource("postgresql://me@a/b?sslmode=verify-full&sslrootcert=system", {});
    expect(relayedConninfo(system, { port: 1, folder: "/run/x" })).toContain("sslrootcert='system'");
    expect(() => parseSource("postgresql://me@a/b?sslcert=system", {})).toThrow("does not exist: system");
    expect(() => parseSource("postgresql://me@a/b?sslrootcert=/tmp", {})).toThrow("does not exist: /tmp");
  });

  it.each([
    ["sslmode=verify-full", "nothing to verify with"],
    ["sslmode=verify-ca&sslcert=package.json&sslkey=package.json", "nothing to verify with"],
    ["sslcert=package.json", "one of sslcert and sslkey"],
    ["sslkey=package.json&sslmode=require", "one of sslcert and sslkey"],
  ])("with half of what TLS needs is refused by an import: %s", (query, words) => {
    expect(() => refuseHalfTls(parseSource(`postgresql://me@a/b?${query}`, {}))).toThrow(words);
  });

  it("needs no more for TLS than what it says", () => {
    for (const query of ["", "sslmode=require", "sslmode=verify-full&sslrootcert=system"]) {
      expect(() => refuseHalfTls(parseSource(`postgresql://me@a/b?${query}`, {}))).not.toThrow();
    }
  });

  it.each([
    ['FATAL:  no pg_hba.conf entry for host "1.2.3.4", user "me", database "b", no encryption', "demands TLS"],
    ["FATAL:  connection requires a valid client certificate", "demands a client's certificate"],
    ["server does not support SSL, but SSL was required", "has no TLS"],
    ["SSL error: certificate verify failed", "another authority"],
    ['server certificate for "db" does not match host name "a"', "another name"],
  ])("whose TLS fails is told why: %s", (stderr, words) => {
    const error = sourceError(
      parseSource("postgresql://me@a/b", {}),
      `psql: error: connection to server failed: ${stderr}\n`,
    );
    expect(error.message).toContain(words);
    expect(error.message).toContain(stderr);
  });

  it("that lets nobody in, with TLS or without, is not said to demand it", () => {
    const rejects = (how: string): string =>
      `connection failed: FATAL:  no pg_hba.conf entry for host "1.2.3.4", ${how}\n`;
    const error = sourceError(
      parseSource("postgresql://me@a/b", {}),
      rejects("SSL encryption") + rejects("no encryption"),
    );
    expect(error.message).not.toContain("demands");
  });

  it("leads the stack's server through its own 127.0.0.1, to the name on the certificate", () => {
    const source = parseSource("postgresql://o'neil:secret@db.example.com:6000/app?sslmode=verify-full", {});
    expect(relayedConninfo(source, { port: 15432, folder: "/run/x" })).toBe(
      "host='db.example.com' hostaddr='127.0.0.1' port='15432' user='o\\'neil' dbname='app' passfile='/run/x/pgpass' sslmode='verify-full'",
    );
  });
});

const SOURCE: SourceFacts = {
  version: 160_014,
  walLevel: "logical",
  inRecovery: false,
  mayReplicate: true,
  ownsDatabase: true,
  ownsTables: true,
  readsTables: true,
  freeSlots: 10,
  freeSenders: 10,
  slotKeepMiB: -1,
  sizeBytes: 2 ** 30,
  encoding: "UTF8",
  provider: "c",
  locale: "en_US.UTF-8",
  collationVersion: "2.36",
  extensions: ["plpgsql", "pg_trgm"],
  collations: ["default"],
  tables: [{ name: "public.users", bytes: 1, identity: true, unlogged: false }],
  largeObjects: 0,
  longTransactions: [],
  preparedTransactions: 0,
  collated: ["index users_name"],
  policyRoles: [],
  subscriptions: 0,
  writableRoles: [],
  settings: [],
  leftovers: [],
};
const TARGET: TargetFacts = {
  version: 170_012,
  relations: [],
  extensions: ["plpgsql", "pg_trgm"],
  collations: ["default", "C"],
  roles: ["cgraph"],
  freeBytes: 2 ** 34,
};

describe("a source", () => {
  const problems = (source: Partial<SourceFacts>, target: Partial<TargetFacts> = {}, follow = true): string[] =>
    assess({ ...SOURCE, ...source }, { ...TARGET, ...target }, { follow, stack: "dev" }).refusals.map(
      (one) => one.problem,
    );

  it("as it should be has nothing against it", () => {
    expect(problems({})).toEqual([]);
    expect(assess(SOURCE, undefined, { follow: true, stack: "dev" }).refusals).toEqual([]);
  });

  const table = { name: "public.log", bytes: 1, identity: true, unlogged: false };
  const followed: [string, Partial<SourceFacts>][] = [
    ["wal_level is replica", { walLevel: "replica" }],
    ["may not replicate", { mayReplicate: false }],
    ["does not own every table", { ownsTables: false }],
    ["no replication slot left", { freeSlots: 0 }],
    ["fewer than two WAL senders", { freeSenders: 1 }],
    ["no primary key: public.log", { tables: [{ ...table, identity: false }] }],
    ["unlogged tables cannot be followed: public.log", { tables: [{ ...table, unlogged: true }] }],
    ["large objects cannot be followed", { largeObjects: 3 }],
  ];
  it.each(followed)("cannot be followed: %s", (words, change) => {
    expect(problems(change)).toEqual([expect.stringContaining(words)]);
    expect(problems(change, {}, false)).toEqual([]);
  });

  const never: [string, Partial<SourceFacts>, Partial<TargetFacts>?][] = [
    ["is PostgreSQL 13", { version: 130_010 }],
    ["newer than the stack's 17", { version: 180_000 }],
    ["is a replica", { inRecovery: true }],
    ["SQL_ASCII", { encoding: "SQL_ASCII" }],
    ["may not read every table", { readsTables: false }],
    ["2 prepared transactions", { preparedTransactions: 2 }],
    ["itself subscribes", { subscriptions: 1 }],
    ["may not make the database read only", { ownsDatabase: false }],
    ["would go on writing to a read-only source: app", { writableRoles: ["app"] }],
    ["another import made: slot x", { leftovers: ["slot x"] }],
    ["is not empty: public.users", {}, { relations: ["public.users"] }],
    ["lacks extensions that the source uses: postgis", { extensions: ["plpgsql", "postgis"] }],
    ["lacks collations that columns of the source name: sv_SE", { collations: ["default", "sv_SE"] }],
    ["roles that the stack lacks: auditor", { policyRoles: ["auditor"] }],
    ["1.3 GiB, and the stack's disk has 1.0 GiB", {}, { freeBytes: 2 ** 30 }],
  ];
  it.each(never)("cannot be imported at all: %s", (words, source, target) => {
    expect(problems(source, target)).toEqual([expect.stringContaining(words)]);
    expect(problems(source, target, false)).toEqual([expect.stringContaining(words)]);
  });

  it("is told where it sorts otherwise, and what depends on it", () => {
    const notes = (source: Partial<SourceFacts>): string =>
      assess({ ...SOURCE, ...source }, TARGET, { follow: false, stack: "dev" }).notes.join("\n");
    expect(notes({})).toContain(
      "sorts by en_US.UTF-8 (libc, version 2.36), the stack by C.UTF-8 (builtin): ORDER BY gives another",
    );
    expect(notes({})).toContain("index users_name");
    expect(notes({ locale: "C", collationVersion: null })).toContain(
      "sorts by C (libc), the stack by C.UTF-8 (builtin): the same order",
    );
    expect(notes({ provider: "b", locale: "C.UTF-8" })).not.toContain("sorts by");
    expect(notes({ longTransactions: ["process 7 of me"] })).toContain("process 7 of me");
  });
});

describe("comparing", () => {
  it("names lines that only one side has", () => {
    expect(differences("a\nb", "b\nc")).toEqual(["a (only on the source)", "c (only in the stack)"]);
    expect(differences("", "")).toEqual([]);
  });

  it("reads every table once, small ones together, none past the bound", () => {
    const most = { bytes: 100, tables: 3 };
    fc.assert(
      fc.property(fc.array(fc.nat({ max: 150 })), (sizes) => {
        const made = batches(
          sizes.map((bytes) => ({ bytes })),
          most,
        );
        expect(made.flat().map(({ bytes }) => bytes)).toEqual(sizes);
        for (const batch of made) {
          expect(batch.length).toBeLessThanOrEqual(most.tables);
          const sum = batch.reduce((total, { bytes }) => total + bytes, 0);
          expect(batch.length === 1 || sum <= most.bytes).toBe(true);
        }
      }),
    );
  });
});
