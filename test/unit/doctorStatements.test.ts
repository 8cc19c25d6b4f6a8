import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { asSelect } from "../../doctor/advice/asSelect.ts";
import { filterPredicates } from "../../doctor/advice/plan.ts";
import { batched, lookupOf } from "../../doctor/checks/statements.ts";
import type { Predicate } from "../../doctor/statements/predicates.ts";
import { readsOf } from "../../doctor/statements/reads.ts";
import { redacted } from "../../doctor/statements/redact.ts";
import { isSingleStatement, tokenize } from "../../doctor/statements/tokens.ts";

const texts = (sql: string): string[] => tokenize(sql).tokens.map(({ text }) => text);
const brief = ({ of, column, call, cast, kind }: Predicate): string => {
  const name = `${of === undefined ? "" : `${of}.`}${column}${cast === undefined ? "" : `::${cast}`}`;
  return `${kind} ${call === undefined ? name : `${call}(${name})`}`;
};
const reads = (sql: string): string[] =>
  readsOf(tokenize(sql)).map(({ schema, table, predicates, order, limited }) =>
    [
      `${schema === undefined ? "" : `${schema}.`}${table}`,
      ...predicates.map(brief),
      ...order.map(({ column, descending }) => `order ${column}${descending ? " desc" : ""}`),
      ...(limited ? ["limited"] : []),
    ].join("; "),
  );

describe("tokens", () => {
  it("are PostgreSQL's: strings, names, parameters, operators, comments", () => {
    expect(
      texts(`SELECT "a""b", 'it''s', E'\\'x', $tag$ ; $tag$, $1::text -- ; end\n/* a /* b */ ; */ + 1.5e3`),
    ).toEqual([
      "SELECT",
      '"a""b"',
      ",",
      "'it''s'",
      ",",
      "E'\\'x'",
      ",",
      "$tag$ ; $tag$",
      ",",
      "$1",
      "::",
      "text",
      "+",
      "1.5e3",
    ]);
    expect(texts("a=-1 AND b->>'x' <= $2")).toEqual(["a", "=", "-", "1", "AND", "b", "->>", "'x'", "<=", "$2"]);
  });
  it("say where something does not end", () => {
    for (const sql of ["SELECT 'x", 'SELECT "x', "SELECT /* /* */", "SELECT $a$ x"]) {
      expect(tokenize(sql).whole, sql).toBe(false);
    }
  });
  it("never lose a character but of spaces and comments", () => {
    fc.assert(
      fc.property(fc.array(fc.constantFrom("a", "'x'", '"y"', "$1", "=", "(", ")", ",", "1", "::", "<=")), (parts) => {
        expect(texts(parts.join(" "))).toEqual(parts);
      }),
    );
  });
  it("tell a single statement about rows, which may stand behind EXPLAIN, from all else", () => {
    for (const sql of ["SELECT 1", "(SELECT 1)", "WITH a AS (SELECT 1) DELETE FROM b", "UPDATE a SET b = ';'"]) {
      expect(isSingleStatement(tokenize(sql)), sql).toBe(true);
    }
    for (const sql of ["SELECT 1; DROP TABLE a", "DROP TABLE a", "SELECT 'x", "", "SELECT 1;", "VACUUM"]) {
      expect(isSingleStatement(tokenize(sql)), sql).toBe(false);
    }
  });
});

describe("a statement's reads", () => {
  it.each<[string, string[]]>([
    ["SELECT * FROM messages WHERE sender_id = $1", ["messages; equal sender_id"]],
    ["SELECT * FROM app.messages m WHERE m.sender_id = $1 LIMIT $2", ["app.messages; equal m.sender_id; limited"]],
    [
      'SELECT m0."id" FROM "messages" AS m0 WHERE (m0."conversation_id" = $1) AND (m0."inserted_at" > $2) ORDER BY m0."inserted_at" DESC LIMIT $3',
      ["messages; equal m0.conversation_id; range m0.inserted_at; order inserted_at desc; limited"],
    ],
    ["SELECT 1 FROM a WHERE b = $1 OR c = $2", ["a"]],
    ["SELECT 1 FROM a WHERE b = $1 AND (c = $2 OR d = $3)", ["a; equal b"]],
    ["SELECT 1 FROM a WHERE b BETWEEN $1 AND $2 AND c = $3", ["a; range b; equal c"]],
    ["SELECT 1 FROM a WHERE b IN ($1 /*, ... */) AND c IS NULL AND d IS NOT NULL", ["a; equal b; null c"]],
    ["SELECT 1 FROM a WHERE b = ANY ($1) AND $2 = c AND NOT d = $3 AND e <> $4", ["a; equal b; equal c"]],
    [
      "SELECT 1 FROM a WHERE lower(b) = lower($1) AND abs(c) = $2 AND d::date = $3",
      ["a; equal lower(b); equal d::date"],
    ],
    ["SELECT 1 FROM a WHERE b = c + $1 AND d < now() - interval '1 day'", ["a; range d"]],
    ["SELECT 1 FROM a WHERE date = $1 AND b = null ORDER BY at LIMIT 1", ["a; equal date; equal b; order at; limited"]],
    ["SELECT 1 FROM a WHERE b = $1 AT TIME ZONE 'UTC' AND c < $2 - interval '1 day'", ["a; equal b; range c"]],
    ["SELECT 1 FROM a WHERE b NOT IN ($1) AND c NOT BETWEEN $1 AND $2", ["a"]],
    ["SELECT 1 FROM a WHERE CASE WHEN b = $1 AND c = $2 THEN true ELSE d = $3 END AND e = $4", ["a; equal e"]],
    [
      "SELECT 1 FROM a JOIN b ON b.a_id = a.id LEFT JOIN c USING (id) JOIN (SELECT 1) d ON true WHERE a.x = $1 AND y = $2",
      ["a; equal a.x; join a.id", "b; join b.a_id", "c"],
    ],
    ["SELECT 1 FROM a, b WHERE a.id = b.a_id AND b.z = $1", ["a; join a.id", "b; join b.a_id; equal b.z"]],
    ["SELECT 1 FROM a WHERE id IN (SELECT a_id FROM b WHERE c = $1)", ["a", "b; equal c"]],
    ["WITH x AS (SELECT * FROM a WHERE b = $1) SELECT * FROM x WHERE c = $2", ["a; equal b"]],
    ["SELECT 1 FROM a WHERE b = $1 UNION ALL SELECT 1 FROM c WHERE d = $2 LIMIT $3", ["a; equal b", "c; equal d"]],
    ["UPDATE a SET b = $1 WHERE c = $2", ["a; equal c"]],
    ["UPDATE a SET b = $1 FROM c WHERE c.id = a.c_id AND c.d = $2", ["a; join a.c_id", "c; join c.id; equal c.d"]],
    ["DELETE FROM only_a WHERE b = $1 RETURNING id", ["only_a; equal b"]],
    ["DELETE FROM a USING b WHERE a.id = b.id AND b.c = $1", ["a; join a.id", "b; join b.id; equal b.c"]],
    [
      "INSERT INTO a (x) SELECT y FROM b WHERE c = $1 ON CONFLICT (x) DO UPDATE SET x = $2 WHERE a.q = $3",
      ["b; equal c"],
    ],
    ["INSERT INTO a VALUES ($1)", []],
    ["SELECT extract(epoch FROM b) FROM unnest($1) u, generate_series($2, $3) WHERE u = $4", []],
    ["SELECT 1 FROM a WHERE b IS DISTINCT FROM $1 AND c = $2", ["a; equal c"]],
    ["SELECT 1 FROM a WHERE left(b, 1) = $1 AND c = $2", ["a; equal c"]],
    ["SELECT 1 FROM a ORDER BY b DESC NULLS LAST LIMIT $1", ["a; limited"]],
    ["SELECT 1 FROM a WHERE b = $1 AND (c = $2", []],
    ["CREATE TABLE a (b int)", []],
    ["", []],
  ])("%s", (sql, expected) => {
    expect(reads(sql)).toEqual(expected);
  });
  it("never throw, whatever the text", () => {
    const word = fc.constantFrom(
      ..."select from where and or ( ) , . = < a b $1 'x' join on using with as union order by limit in is null case end between not update set delete insert".split(
        " ",
      ),
    );
    fc.assert(
      fc.property(fc.array(word), (words) => {
        readsOf(tokenize(words.join(" ")));
        asSelect(words.join(" "));
        batched(words.join(" "));
      }),
    );
  });
});

describe("the conditions of a plan's scan", () => {
  it("are read as PostgreSQL writes them", () => {
    const filter =
      "((m.conversation_id = $1) AND (m.inserted_at > $2) AND ((m.kind)::text = ($3)::text) AND (m.read_at IS NULL))";
    expect(filterPredicates(filter).map(brief)).toEqual([
      "equal m.conversation_id",
      "range m.inserted_at",
      "equal m.kind::text",
      "null m.read_at",
    ]);
    expect(filterPredicates("((a.x = ANY ('{1,2}'::integer[])) OR (a.y = 1))")).toEqual([]);
    expect(filterPredicates("(a.x = ANY ('{1,2}'::integer[]))").map(brief)).toEqual(["equal a.x"]);
    expect(filterPredicates("(a.t >= (now() - '1 day'::interval))").map(brief)).toEqual(["range a.t"]);
    expect(filterPredicates("(a.t < '2025-01-01 00:00:00'::timestamp without time zone)").map(brief)).toEqual([
      "range a.t",
    ]);
  });
});

describe("UPDATE and DELETE as SELECT", () => {
  it.each([
    ["DELETE FROM a b WHERE b.c = $1 RETURNING id", "SELECT * FROM a b WHERE b.c = $1"],
    ['UPDATE "x"."A" AS t SET b = (SELECT 1 WHERE true) WHERE c = $2', 'SELECT * FROM "x"."A" AS t WHERE c = $2'],
    ["UPDATE a SET b = $1 FROM c WHERE c.id = a.c_id", undefined],
    ["DELETE FROM a USING b WHERE a.id = b.id", undefined],
    ["DELETE FROM a", undefined],
    ["SELECT 1 FROM a WHERE b = $1", undefined],
  ])("%s", (text, expected) => {
    expect(asSelect(text)).toBe(expected);
  });
});

describe("lookups of single rows", () => {
  it.each([
    ["SELECT * FROM users WHERE id = $1", true],
    ['SELECT u0."id" FROM "users" AS u0 WHERE (u0."id" = $1) AND (u0."deleted_at" IS NULL) LIMIT $2', true],
    ["SELECT * FROM users WHERE inserted_at > $1", false],
    ["SELECT count(*) FROM users WHERE org_id = $1", false],
    ["SELECT 1 FROM users u JOIN orgs o ON o.id = u.org_id WHERE u.id = $1", false],
    ["SELECT 1 FROM users WHERE id = $1 AND id IN (SELECT user_id FROM bans)", false],
    ["SELECT 1 FROM users", false],
    ["UPDATE users SET x = $1 WHERE id = $2", false],
  ])("%s: %s", (text, expected) => {
    expect(lookupOf(text) !== undefined).toBe(expected);
  });
  it("become one statement for many rows, where one value is compared", () => {
    expect(batched("SELECT * FROM users WHERE id = $1 LIMIT $2")).toBe("SELECT * FROM users WHERE id = ANY ($1)");
    expect(batched("SELECT * FROM users WHERE id = $1 AND org = $2")).toBeUndefined();
  });
});

describe("statements as they are shown", () => {
  it("hold no literal, no comment, no line break", () => {
    expect(redacted("SELECT *\n FROM u -- who\n WHERE email='a@example.com' AND n > 42 /* x */ AND k = $1")).toBe(
      "SELECT * FROM u WHERE email=? AND n > ? AND k = $1",
    );
    expect(redacted("ALTER ROLE a PASSWORD 'secret")).not.toContain("secret");
    expect(redacted("SELECT $$secret$$, E'sec\\'ret', U&'secret', N'secret'")).not.toContain("ecret");
    expect(redacted("x".repeat(300))).toHaveLength(160);
  });
});
